"""SharePoint through the whole stack: API, Temporal, workers, MongoDB, and Graph's simulator over TLS."""

from __future__ import annotations

import json
import signal
import time
import urllib.request
from collections.abc import Callable
from typing import Any

import pymongo
import pytest

from deploy.local.stack import Stack
from tests.contract.sharepoint_rig import CREDENTIALS, Rig
from tests.simulators.graph import Answer
from tests.simulators.graph_json import error_json
from tests.simulators.graph_tree import Drive

PARTS = ["mongod", "temporal", "worker-1", "worker-2", "api"]


class Scene:
    """A stack, a sync of the simulator's site, and what is in the bucket."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.stack.up(PARTS)
        self.mongo: pymongo.MongoClient[dict[str, Any]] = pymongo.MongoClient(stack.env["MONGODB_URI"], tz_aware=True)
        self.database = self.mongo["tidemark"]

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        env = self.stack.env
        request = urllib.request.Request(
            env["TIDEMARK_URL"] + path,
            method=method,
            data=json.dumps(body or {}).encode(),
            headers={
                "Authorization": f"Bearer {env['TIDEMARK_API_KEY']}",
                "X-Namespace": env["TIDEMARK_NAMESPACE"],
                "Content-Type": "application/json",
            },
        )
        with urllib.request.urlopen(request, timeout=30) as reply:
            return json.loads(reply.read())

    def begin(self, path: str) -> None:
        config = {"provider_type": "sharepoint", "credentials": CREDENTIALS}
        made = self.call(
            "POST",
            "/v1/organizations/connections",
            {"name": "graph", "provider_type": "sharepoint", "provider_config": config, "test_before_save": True},
        )
        self.connection = made["connection_id"]
        schema = {"properties": {"content": {"type": "text"}}}
        self.bucket = self.call("POST", "/v1/buckets", {"bucket_name": "docs", "bucket_schema": schema})["bucket_id"]
        self.sync = self.call(
            "POST",
            f"/v1/buckets/{self.bucket}/syncs",
            {"connection_id": self.connection, "source_path": path, "skip_batch_submission": True},
        )["sync_config_id"]

    def jobs(self) -> list[dict[str, Any]]:
        return list(self.database["jobs"].find({"sync_config_id": self.sync}).sort("created_at", 1))

    def finished(self, number: int, *, seconds: float = 90) -> dict[str, Any]:
        """The `number`-th job, once it has ended."""
        ended = self.until(lambda: [job for job in self.jobs() if job.get("completed_at")][number - 1 :][:1], seconds)
        job: dict[str, Any] = ended[0]
        return job

    def poll(self) -> dict[str, Any]:
        """Trigger a run and wait for its end."""
        before = len(self.jobs())
        self.call("POST", f"/v1/buckets/{self.bucket}/syncs/{self.sync}/trigger")
        return self.finished(before + 1)

    def until(self, ask: Callable[[], Any], seconds: float = 90) -> Any:
        end = time.monotonic() + seconds
        while not (answer := ask()):
            assert time.monotonic() < end, [(job["status"], job.get("error")) for job in self.jobs()]
            time.sleep(0.2)
        return answer

    def paths(self) -> list[str]:
        found = self.database["objects"].find({"bucket_id": self.bucket}, {"source.path": 1})
        return sorted(doc["source"]["path"] for doc in found)


@pytest.fixture
def scene(make_stack: Callable[..., Stack], tenant: Rig) -> Any:
    graph = tenant.graph
    made = Scene(
        make_stack(
            settings={
                "TIDEMARK_GRAPH_ENDPOINT": graph.url,
                "TIDEMARK_MICROSOFT_AUTHORITY": graph.authority,
                "REQUESTS_CA_BUNDLE": graph.ca_file,
            }
        )
    )
    yield made
    made.mongo.close()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_site_through_the_whole_stack(scene: Scene, tenant: Rig) -> None:
    graph, tree, documents = tenant.graph, tenant.graph.tree, tenant.library
    archive: Drive = tree.add_library(tree.sites[documents.site], "Archive")
    for i in range(40):
        tree.put(documents, f"in/{i:02d}.txt", b"document %d" % i)
    for i in range(10):
        tree.put(archive, f"old/{i:02d}.txt", b"archived %d" % i)
    graph.faults.max_top = 20
    scene.begin("/sites/Sales")
    first = scene.finished(1)
    expected = {f"Documents/in/{i:02d}.txt" for i in range(40)} | {f"Archive/old/{i:02d}.txt" for i in range(10)}
    assert set(scene.paths()) == expected and len(scene.paths()) == 50
    assert (first["status"], first["metadata"]["pass"], first["metadata"]["partial"]) == ("completed", "full", False), (
        first.get("error")
    )
    drives = {documents.id, archive.id}
    kept = scene.database["positions"].find({"sync_config_id": scene.sync})
    assert drives <= {doc["key"] for doc in kept}

    graph.clear()
    rest = scene.poll()
    assert rest["metadata"]["pass"] == "incremental" and sum(graph.counts.values()) <= 12, graph.counts
    graph.clear()
    tree.put(documents, "in/00.txt", b"changed")
    tree.put(documents, "in/new.txt", b"new")
    tree.move(documents, "in/01.txt", "in/renamed.txt")
    tree.remove(archive, "old/00.txt")
    job = scene.poll()
    expected = expected - {"Documents/in/01.txt", "Archive/old/00.txt"}
    expected |= {"Documents/in/new.txt", "Documents/in/renamed.txt"}
    assert set(scene.paths()) == expected, job
    assert graph.counts["delta"] <= 4 and graph.counts["download"] == 2
    changed = scene.database["objects"].find_one({"bucket_id": scene.bucket, "source.path": "Documents/in/00.txt"})
    assert changed is not None and changed["size_bytes"] == len(b"changed")

    graph.clear()
    tree.move(documents, "in", "renamed folder")
    scene.poll()
    expected = {path.replace("Documents/in/", "Documents/renamed folder/") for path in expected}
    assert set(scene.paths()) == expected
    assert graph.counts["download"] == 0  # paths change, bytes do not
    tree.descendants_reported = False
    tree.remove(archive, "old")
    scene.poll()
    assert set(scene.paths()) == {path for path in expected if path.startswith("Documents/")}


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_faults_cost_no_file_no_attempt_and_no_removal(scene: Scene, tenant: Rig) -> None:
    graph, tree, documents = tenant.graph, tenant.graph.tree, tenant.library
    for i in range(12):
        tree.put(documents, f"in/{i:02d}.txt", b"document %d" % i)
    slow = Answer(429, error_json("activityLimitReached"), {"Retry-After": "1"})
    graph.script("delta", slow, times=2)
    graph.script("download", slow, times=5)  # more often than there are attempts
    graph.script("download", Answer(500, error_json("generalException")), times=2)
    scene.begin("/sites/Sales")
    job = scene.finished(1, seconds=150)
    counts = job["metadata"]["counts"]
    assert (job["status"], counts["stored"], counts["failed"]) == ("completed", 12, 0), job
    assert counts["throttle_waits"] >= 2 and scene.database["dead_letters"].count_documents({}) == 0
    # A library that cannot be read says nothing of what is in it.
    documents.status = 403
    tree.put(tree.add_library(tree.sites[documents.site], "Archive"), "old.txt", b"old")
    scene.poll()
    scene.until(lambda: "Archive/old.txt" in scene.paths())
    assert len(scene.paths()) == 13
    assert all(job["metadata"]["counts"]["removed"] == 0 for job in scene.jobs())


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_moved_out_of_a_folder_and_a_restart_in_the_middle_of_a_crawl(scene: Scene, tenant: Rig) -> None:
    graph, tree, documents = tenant.graph, tenant.graph.tree, tenant.library
    for i in range(300):
        tree.put(documents, f"in/{i:03d}.txt", b"document %d" % i)
    graph.faults.max_top, graph.faults.delays = 25, {"delta": 1.0}
    scene.begin("/sites/Sales/Documents/in")
    scene.until(lambda: graph.counts["delta"] >= 5 and len(scene.paths()) >= 25)
    for worker in ("worker-1", "worker-2"):
        scene.stack.kill(worker, signal.SIGKILL)
    scene.stack.processes.wait_gone(["worker-1", "worker-2"], 5)
    scene.stack.up(PARTS)
    job = scene.finished(1, seconds=150)
    assert (job["status"], job["metadata"]["pass"]) == ("completed", "full"), job
    assert scene.paths() == [f"{i:03d}.txt" for i in range(300)]
    begun = [raw for kind, raw, _ in graph.requests if kind == "delta" and "token=" not in raw]
    assert len(begun) == 1  # never from the beginning again
    graph.faults.delays = {}
    tree.move(documents, "in/000.txt", "out/000.txt")
    scene.poll()
    assert scene.paths() == [f"{i:03d}.txt" for i in range(1, 300)]
