"""All 45 operations of the contract, driven by the unmodified public client against the stack of `make up`.

Between the two stands a proxy that checks every reply against the contract.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import re
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import boto3
import mixpeek
import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestServer
from mixpeek.exceptions import ApiException, ConflictException, NotFoundException, UnprocessableEntityException

from deploy.local.paths import CHECKOUT
from deploy.local.ports import Ports
from deploy.local.stack import Stack
from tests.api_rig import call
from tests.contract_proxy import ContractProxy
from tests.simulators.google_drive import DriveSimulator

ME = "me@example.com"


@pytest.fixture(scope="module")
def drive() -> Iterator[DriveSimulator]:
    with DriveSimulator.running() as simulator:
        simulator.tree.put("work/inner/a.txt", b"a")
        simulator.tree.put("work/b.txt", b"b")
        yield simulator


@pytest.fixture(scope="module")
def own_stack(session_home: Path, drive: DriveSimulator) -> Iterator[Stack]:
    """As `make up` starts it, with Google's address replaced by the simulator's."""
    settings = {"TIDEMARK_GOOGLE_API_ENDPOINT": drive.url, "TIDEMARK_GOOGLE_TOKEN_URI": drive.token_uri}
    whole = Stack(session_home / "every-operation", ports=Ports.pick(), workers=1, settings=settings, say=print)
    try:
        whole.up()
        yield whole
    finally:
        whole.down(wipe=True)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def proxy(own_stack: Stack) -> AsyncIterator[ContractProxy]:
    async with ContractProxy(own_stack.env["TIDEMARK_URL"]) as between:
        yield between


@dataclass
class User:
    """The generated classes of the public client, and files at the source."""

    env: dict[str, str]
    client: Any
    s3: Any

    def __post_init__(self) -> None:
        self.connections = mixpeek.OrganizationConnectionsApi(self.client)
        self.buckets = mixpeek.BucketsApi(self.client)
        self.objects = mixpeek.BucketObjectsApi(self.client)
        self.syncs = mixpeek.BucketSyncsApi(self.client)
        self.batches = mixpeek.BucketBatchesApi(self.client)
        self.tasks = mixpeek.TasksApi(self.client)
        self.health = mixpeek.HealthApi(self.client)

    def put(self, bucket: str, **files: bytes) -> None:
        self.s3.create_bucket(Bucket=bucket)
        for name, body in files.items():
            self.s3.put_object(Bucket=bucket, Key=name, Body=body)

    async def connect(self, name: str) -> Any:
        config = {
            "endpoint_url": self.env["S3_ENDPOINT_URL"],
            "use_ssl": False,
            "credentials": {
                "type": "access_key",
                "access_key_id": self.env["S3_ACCESS_KEY_ID"],
                "secret_access_key": self.env["S3_SECRET_ACCESS_KEY"],
            },
        }
        wanted = mixpeek.StorageConnectionCreateRequest(
            name=name, provider_type=mixpeek.StorageProvider.S3, provider_config=config
        )
        return await call(self.connections.create_storage_connection_organizations, wanted)

    async def bucket(self, name: str) -> str:
        field = mixpeek.BucketSchemaFieldInput
        kind = mixpeek.BucketSchemaFieldType
        schema = mixpeek.BucketSchemaInput(
            properties={"content": field(type=kind.TEXT), "sku": field(type=kind.STRING)}
        )
        wanted = mixpeek.BucketCreateRequest(bucket_name=name, bucket_schema=schema)
        return str((await call(self.buckets.create_bucket, wanted)).bucket_id)

    async def make(self, bucket_id: str, sku: str) -> Any:
        wanted = mixpeek.CreateObjectRequest.from_dict(
            {"sku": sku, "blobs": [{"property": "content", "type": "text", "data": f"text of {sku}"}]}
        )
        return await call(self.objects.create_object_buckets, bucket_id, wanted)


@pytest.fixture(scope="module")
def user(own_stack: Stack, proxy: ContractProxy) -> User:
    env = own_stack.env
    configuration = mixpeek.Configuration(
        host=proxy.url,
        access_token=env["TIDEMARK_API_KEY"],
        api_key={"NamespaceHeader": env["TIDEMARK_NAMESPACE"]},
    )
    s3 = boto3.client(
        "s3",
        endpoint_url=env["S3_ENDPOINT_URL"],
        aws_access_key_id=env["S3_ACCESS_KEY_ID"],
        aws_secret_access_key=env["S3_SECRET_ACCESS_KEY"],
        region_name="us-east-1",
    )
    return User(dict(env), mixpeek.ApiClient(configuration), s3)


async def until(ask: Callable[[], Any], good: Callable[[Any], bool]) -> Any:
    async with asyncio.timeout(60):
        while not good(answer := await call(ask)):
            await asyncio.sleep(0.25)
    return answer


async def test_health(user: User) -> None:
    assert (await call(user.health.healthcheck_health))["status"] == "ok"
    assert (await call(user.health.liveness_health))["status"] == "alive"


async def test_connections(user: User, drive: DriveSimulator) -> None:
    api = user.connections
    made = await user.connect("a/b of mine")
    identifier = made.connection_id
    listed = await call(
        api.list_storage_connections_organizations, include_total=True,
        list_storage_connections_request=mixpeek.ListStorageConnectionsRequest(provider_type="s3"),
    )  # fmt: skip
    assert identifier in {one.connection_id for one in listed.results} and listed.pagination.total == listed.total
    read = await call(api.get_storage_connection_organizations, "a/b of mine")
    assert read.connection_id == identifier
    assert user.env["S3_SECRET_ACCESS_KEY"] not in str(read.to_dict())
    changed = await call(
        api.update_storage_connection_organizations, identifier,
        mixpeek.StorageConnectionUpdateRequest(description="new words"),
    )  # fmt: skip
    assert changed.description == "new words"
    assert (await call(api.test_storage_connection_organizations, identifier)).success is True
    with pytest.raises(ConflictException):
        await user.connect("a/b of mine")

    wanted = mixpeek.StorageConnectionCreateRequest(
        name="drive", provider_type=mixpeek.StorageProvider.GOOGLE_DRIVE,
        provider_config={"credentials": drive.service_account(), "impersonate_user": ME},
    )  # fmt: skip
    browsed = (await call(api.create_storage_connection_organizations, wanted)).connection_id
    folders = await call(api.list_google_drive_folders_organizations_connections, browsed, path="/work")
    assert [one.name for one in folders.results] == ["inner"]
    files = await call(api.list_google_drive_files_organizations_connections, browsed, path="/work", max_results=5)
    assert [one["name"] for one in files["files"]] == ["b.txt"]
    for one in (identifier, browsed):
        assert (await call(api.delete_storage_connection_organizations, one))["status"] == "ARCHIVED"


async def test_buckets_and_their_deletion(user: User) -> None:
    api = user.buckets
    b = await user.bucket("shelf one")
    listed = await call(api.list_buckets_get, search="shelf", include_total=True)
    assert [one.bucket_id for one in listed.results] == [b] and listed.total_count == 1
    ordered = mixpeek.ListBucketsRequest(search="shelf", limit=5)
    assert (await call(api.list_buckets, list_buckets_request=ordered)).results[0].bucket_id == b
    assert (await call(api.get_bucket, "shelf one")).bucket_id == b
    patched = await call(api.patch_bucket, b, mixpeek.BucketPatchRequest(description="first"))
    assert patched.description == "first"
    put = await call(api.update_bucket, b, mixpeek.BucketUpdateRequest(bucket_name="shelf 1"))
    assert put.bucket_name == "shelf 1" and put.description == "first"
    await user.make(b, "x")
    deleted = await call(api.delete_bucket, b)
    task = await until(lambda: user.tasks.get_task(deleted["task_id"]), lambda found: found.status != "PENDING")
    task = await until(lambda: user.tasks.get_task(deleted["task_id"]), lambda found: found.status == "COMPLETED")
    assert task.task_type == "api_buckets_delete" and task.additional_data["removed_objects"] == 1
    with pytest.raises(NotFoundException):
        await call(api.get_bucket, b)


async def test_objects_and_batches_by_hand(user: User) -> None:
    b = await user.bucket("by hand")
    first, second, third = [await user.make(b, sku) for sku in ("one", "two", "three")]
    assert first.additional_properties["sku"] == "one" and first.status == "PENDING"
    got = await call(user.objects.get_object_buckets, b, first.object_id, return_presigned_urls=True)
    assert got.blobs[0].presigned_url.startswith("http")
    pages = await call(user.objects.list_objects_get_buckets, b, limit=2)
    rest = await call(user.objects.list_objects_get_buckets, b, limit=2, cursor=pages.pagination.next_cursor)
    assert [one.object_id for one in pages.results + rest.results] == [one.object_id for one in (first, second, third)]
    tree = {"filters": {"AND": [{"field": "sku", "operator": "in", "value": ["one", "three"]}]}, "limit": 10}
    found = await call(
        user.objects.list_objects_buckets, b, list_objects_request=mixpeek.ListObjectsRequest.from_dict(tree)
    )
    assert len(found.results) == 2

    api = user.batches
    draft = await call(api.create_batch_buckets_batches, b, mixpeek.CreateBatchRequest(object_ids=[first.object_id]))
    assert draft.status == "DRAFT"
    more = mixpeek.AddObjectsToBatchRequest(object_ids=[second.object_id])
    grown = await call(api.add_objects_to_batch_buckets_batches, b, draft.batch_id, more)
    assert grown.object_ids == [first.object_id, second.object_id]
    task = await call(api.submit_batch_buckets_batches, b, draft.batch_id)
    await until(lambda: user.tasks.get_task(task.task_id), lambda now: now.status == "COMPLETED")
    done = await call(api.get_batch_buckets_batches, b, draft.batch_id)
    assert done.status == "COMPLETED" and done.lifecycle == "indexed"
    assert (await call(user.objects.get_object_buckets, b, first.object_id)).status == "COMPLETED"
    other = await call(api.create_batch_buckets_batches, b, mixpeek.CreateBatchRequest(object_ids=[third.object_id]))
    cancelled = await call(api.cancel_batch_buckets_batches, b, other.batch_id, reason="not yet")
    assert cancelled.task_id == f"batch/{other.batch_id}"
    listed = await call(
        api.list_batches_buckets, b, list_batches_request=mixpeek.ListBatchesRequest(status="COMPLETED")
    )
    assert [one.batch_id for one in listed.results] == [draft.batch_id]
    await until(lambda: api.get_batch_buckets_batches(b, other.batch_id), lambda now: now.status == "CANCELED")
    assert (await call(api.delete_batch_buckets_batches, b, other.batch_id)).success is True
    assert await call(user.objects.delete_object_buckets, b, third.object_id) is None
    with pytest.raises(NotFoundException):
        await call(user.objects.get_object_buckets, b, third.object_id)


async def test_syncs_their_jobs_and_dead_letters(user: User) -> None:
    user.put("source", **{"in/1-good.txt": b"good", "in/2-good.txt": b"good too", "in/bad.txt": b"bad"})
    connection, b = await user.connect("source"), await user.bucket("synced")
    api = user.syncs
    mapping = mixpeek.SchemaMappingInput(
        mappings={
            "content": mixpeek.MappingsValue(
                mixpeek.BlobMappingEntry(source=mixpeek.Source(mixpeek.FileSource()), blob_property="content")
            ),
            "sku": mixpeek.MappingsValue(
                mixpeek.FieldMappingEntry(
                    source=mixpeek.Source1(mixpeek.FilenameRegexSource(pattern=r"^(\d)-")), required=True
                )
            ),
        }
    )
    made = await call(
        api.create_sync_configuration_buckets, b,
        mixpeek.SyncCreateRequest(
            connection_id=connection.connection_id, source_path="source/in", schema_mapping=mapping,
            polling_interval_seconds=86_400,
        ),
    )  # fmt: skip
    s = made.sync_config_id

    async def ended(number: int) -> Any:
        await until(
            lambda: api.get_sync_configuration_buckets_id_config(b, s),
            lambda now: now.sync_run_counter >= number and not now.locked,
        )
        jobs = await call(
            api.list_sync_jobs_buckets_id_config, b, s,
            list_sync_jobs_request=mixpeek.ListSyncJobsRequest(status="completed"),
        )  # fmt: skip
        return jobs.results[0]

    job = await ended(1)
    assert (job.files_synced, job.files_failed) == (2, 1)
    read = await call(api.get_sync_job_buckets_id_config, b, s, job.sync_job_id)
    assert read.metadata["counts"]["seen"] == 3
    assert [one.sync_config_id for one in (await call(api.list_sync_configurations_buckets, b)).results] == [s]
    letters = await call(api.list_dlq_entries_buckets_id_syncs_config, b, s)
    assert letters.total == 1 and letters.results[0].source_object_id == "source/in/bad.txt"
    kind = letters.results[0].error_type
    wanted = mixpeek.BulkMarkDLQRequest(error_types=[kind])
    assert (await call(api.bulk_mark_dlq_permanently_failed_buckets_id_syncs_config, b, s, wanted)).updated == 1
    requeued = await call(api.requeue_dlq_entries_buckets_id_syncs_config, b, s)
    assert requeued.requeued == 1

    changed = await call(api.update_sync_configuration_buckets_id_config, b, s, mixpeek.SyncUpdateRequest(batch_size=7))
    assert changed.batch_size == 7
    assert (await call(api.pause_sync_configuration_buckets_id_config, b, s)).paused is True
    assert (await call(api.resume_sync_configuration_buckets_id_config, b, s)).paused is False
    triggered = await call(api.trigger_sync_configuration_buckets_id_config, b, s, full_sync=True)
    assert triggered["status"] == "running"
    await ended(2)
    unlocked = await call(api.force_unlock_sync_configuration_buckets_id_config, b, s)
    assert unlocked["status"] == "unlocked"
    metrics = await call(api.get_sync_metrics_buckets_id_config, b, s)
    assert metrics.total_files_synced == 2
    with pytest.raises(UnprocessableEntityException):
        await call(
            api.update_sync_configuration_buckets_id_config, b, s,
            mixpeek.SyncUpdateRequest.from_dict({"ingest_filter": {"retriever_id": "r"}}),
        )  # fmt: skip
    assert (await call(api.delete_sync_configuration_buckets_id_config, b, s))["status"] == "deleted"


async def test_the_ten_lines_of_the_readme_work_as_they_stand(user: User) -> None:
    user.put("my-bucket", **{"texts/a.txt": b"a", "texts/b.txt": b"b", "other/c.txt": b"c"})
    (lines,) = re.findall(r"```python\n(import os.*?)```", (CHECKOUT / "README.md").read_text(), re.DOTALL)
    assert lines.count("\n") == 10
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", lines, env={**os.environ, **user.env}, stdout=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(60):
        output = (await process.communicate())[0].decode()
    shas = {name: hashlib.sha256(name.encode()).hexdigest() for name in "ab"}
    assert process.returncode == 0
    assert sorted(output.splitlines()) == [f"my-bucket/texts/{name}.txt sha256:{shas[name]}" for name in "ab"]


async def test_what_is_not_served_is_refused_as_the_readme_says(user: User) -> None:
    b = await user.bucket("refusals")
    owner = {"Authorization": f"Bearer {user.env['TIDEMARK_API_KEY']}", "X-Namespace": user.env["TIDEMARK_NAMESPACE"]}
    objects = f"/v1/buckets/{b}/objects"
    blob = {"property": "content", "type": "text"}
    asked = [
        ("POST", "/v1/buckets", {"bucket_name": "x", "bucket_schema": {"properties": {}}, "destination": {"a": 1}}),
        ("PATCH", f"/v1/buckets/{b}", {"ingest_filter": {"retriever_id": "r"}}),
        ("POST", objects, {"blobs": [{**blob, "upload_id": "upl_1"}]}),
        ("POST", objects, {"blobs": [{**blob, "data": "s3://a/b"}]}),
        ("POST", objects, {"blobs": [{**blob, "data": "x"}], "canonicalize_source": False}),
        ("POST", f"{objects}/list", {"filters": {"AND": [{"field": "sku", "operator": "phrase", "value": "x"}]}}),
        ("GET", f"{objects}?page=200&limit=100", None),
        ("POST", "/v1/organizations/connections", {"name": "x", "provider_type": "rss", "provider_config": {}}),
        ("POST", f"{objects}/aggregate", {}),
        ("POST", "/v1/tasks/list", {}),
    ]  # fmt: skip
    got = []
    async with aiohttp.ClientSession(headers=owner) as session:
        for method, path, body in asked:
            async with session.request(method, user.client.configuration.host + path, json=body) as reply:
                error = (await reply.json())["error"]
                got.append((reply.status, error.get("code")))
    refused = (422, "not_supported")
    assert got[:7] == [refused] * 5 + [(422, "bad_filter"), (422, "page_too_deep")]
    assert [status for status, _ in got[7:]] == [422, 405, 405]


async def test_every_operation_was_answered_as_the_contract_says(proxy: ContractProxy) -> None:
    """Last of this module: what the proxy has seen of the tests above."""
    proxy.assert_kept()
    assert proxy.unanswered() == set()


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        (200, {"task_id": "t", "task_type": "api_buckets_delete"}, "'status' is a required property"),
        (200, {"task_id": "t", "task_type": "cooking", "status": "PENDING"}, "cooking"),
        (404, {"detail": "Not Found"}, "'status' is a required property"),
        (200, "words", "not of type"),
    ],
)
async def test_a_reply_that_breaks_the_contract_is_found(status: int, body: Any, told: str) -> None:
    async def lie(_request: web.Request) -> web.Response:
        return web.json_response(body, status=status, headers={"X-Request-Id": "r"})

    app = web.Application()
    app.router.add_get("/v1/tasks/{id}", lie)
    async with TestServer(app) as server, ContractProxy(str(server.make_url("")).rstrip("/")) as between:
        client = mixpeek.ApiClient(mixpeek.Configuration(host=between.url, access_token="k"))
        with contextlib.suppress(ApiException, ValueError):
            await call(mixpeek.TasksApi(client).get_task, "t")
        assert len(between.broken) == 1 and told in between.broken[0]
        assert between.unanswered() >= {"get_bucket"}
