"""Lists at scale: every query has its index, and a page costs the same however deep it lies.

    OBJECTS=1000000 make test ARGS=tests/end_to_end/test_api_paging.py

tries the number of the README of the API; without OBJECTS it is a tenth of that, for the sake of time.
"""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio
from temporalio.client import Client

from models.scope import Role
from models.settings import Settings
from tests.api_rig import Key, Rig, RunningRig

OBJECTS = int(os.environ.get("OBJECTS", "100000"))
LIMIT = 100
ROUNDS = 15
_BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
_WAVE = 10_000


@pytest_asyncio.fixture(loop_scope="session")
async def rig(settings: Settings, temporal_client: Client) -> AsyncIterator[Rig]:
    async with RunningRig(settings, temporal_client) as running:
        yield running


def _object(scope: dict[str, str], number: int) -> dict[str, Any]:
    """As a sync leaves it; a group of 50 shares a moment."""
    return {
        "_id": f"obj_{number:012}", **scope, "sync_config_id": "sync_1", "connection_id": "conn_1",
        "provider_type": "s3", "source_object_id": f"b/in/{number:08}.txt", "fingerprint": f"{number}:1",
        "status": "COMPLETED", "created_at": _BEGAN + timedelta(milliseconds=number // 50), "updated_at": _BEGAN,
        "hash": f"sha256:{number:064x}", "size_bytes": 10, "fence": 1, "run_id": "job_1",
        "blobs": [{"blob_id": "blob_1", "property": "content", "type": "text", "sha256": f"{number:064x}"}],
        "fields": {"number": number}, "source": {"path": f"b/in/{number:08}.txt", "size_bytes": 10},
    }  # fmt: skip


async def _fill(rig: Rig, key: Key, count: int) -> str:
    """A bucket of so many objects, and one of everything else."""
    body = {"bucket_name": "big", "bucket_schema": {"properties": {}}}
    _, bucket, _ = await rig.ask("POST", "/v1/buckets", key, body=body)
    scope = {"internal_id": key.internal_id, "namespace_id": key.namespace_id, "bucket_id": bucket["bucket_id"]}
    for start in range(0, count, _WAVE):
        documents = [_object(scope, number) for number in range(start, min(count, start + _WAVE))]
        await rig.database["objects"].insert_many(documents, ordered=False)
    await rig.database["buckets"].update_one({"_id": bucket["bucket_id"]}, {"$set": {"object_count": count}})
    for name, fields in (
        ("syncs", {"deleted_at": None, "connection_id": "conn_1", "source_path": "b/in", "is_active": True,
                   "created_by_user_id": "usr_1", "status": "ACTIVE"}),
        ("jobs", {"sync_config_id": "sync_1", "status": "completed"}),
        ("batches", {"status": "COMPLETED", "object_ids": []}),
        ("dead_letters", {"sync_config_id": "sync_1", "source_object_id": "x", "error_type": "e", "error_message": "m",
                          "last_seen_at": _BEGAN, "max_retries_reached": True, "resolved_at": None}),
    ):  # fmt: skip
        await rig.database[name].insert_one({"_id": f"{name[:4]}_1", **scope, **fields, "created_at": _BEGAN})
    return str(bucket["bucket_id"])


async def _page(rig: Rig, key: Key, bucket: str, cursor: str | None) -> tuple[float, Any]:
    """Seconds until the last byte, and the reply: without the rig's own check of it, which costs more than the page."""
    where = f"{rig.url}/v1/buckets/{bucket}/objects?limit={LIMIT}" + (f"&cursor={cursor}" if cursor else "")
    headers = {"Authorization": f"Bearer {key.key}", "X-Namespace": key.namespace_id}
    began = time.perf_counter()
    async with rig.session.get(where, headers=headers) as answer:
        raw = await answer.read()
    seconds = time.perf_counter() - began
    reply = json.loads(raw)
    assert answer.status == 200 and len(reply["results"]) == LIMIT
    return seconds, reply


async def _deep_cursor(rig: Rig, key: Key, bucket: str, skip: int) -> str:
    """The cursor of the page after `skip` objects, reached as a client reaches it: page after page."""
    cursor, seen = "", 0
    while seen < skip:
        where = f"/v1/buckets/{bucket}/objects/list?limit=1000&cursor={cursor}"
        _, reply, _ = await rig.ask("POST", where, key, body={"select": ["status"]})
        found = [one["object_id"] for one in reply["results"]]
        assert found == [f"obj_{number:012}" for number in range(seen, seen + len(found))]
        seen, cursor = seen + len(found), reply["pagination"]["next_cursor"]
    return cursor


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_a_page_costs_the_same_however_deep_it_lies(rig: Rig) -> None:
    key = await rig.key(Role.READ, of=(owner := await rig.key()))
    bucket = await _fill(rig, owner, OBJECTS)
    # Walking there would be most of the time at a million: a cursor is made of the last row it follows.
    shallow = await _deep_cursor(rig, key, bucket, 20_000)
    places = {"first": None, "20,000": shallow, "the last": await _last(rig, key, bucket)}
    times: dict[str, list[float]] = {name: [] for name in places}
    for _ in range(ROUNDS):
        for name, cursor in places.items():  # in turn, so that a busy moment meets all of them
            seconds, reply = await _page(rig, key, bucket, cursor)
            times[name].append(seconds)
            if name == "the last":
                assert reply["results"][-1]["object_id"] == f"obj_{OBJECTS - 1:012}"
                assert reply["pagination"]["next_cursor"] is None
    fastest = {name: 1000 * min(taken) for name, taken in times.items()}
    middle = {name: 1000 * statistics.median(taken) for name, taken in times.items()}
    print(f"\n{OBJECTS:,} objects, pages of {LIMIT}: " + "; ".join(
        f"{name} {middle[name]:.1f} ms (at best {fastest[name]:.1f})" for name in times))  # fmt: skip
    assert max(fastest.values()) <= 3 * fastest["first"]


async def _last(rig: Rig, key: Key, bucket: str) -> str:
    """The cursor of the last page, from the far end: newest first, and back."""
    sort = {"field": "created_at", "direction": "desc"}
    where = f"/v1/buckets/{bucket}/objects/list?limit={LIMIT}"
    _, reply, _ = await rig.ask("POST", where, key, body={"sort": sort})
    assert reply["results"][0]["object_id"] == f"obj_{OBJECTS - 1:012}"
    # A cursor says after which row to go on and in which order, and nothing else.
    from stores.pages import Sort, _encode  # noqa: PLC0415 - only this test makes one

    before = OBJECTS - LIMIT - 1
    document = {"_id": f"obj_{before:012}", "created_at": _BEGAN + timedelta(milliseconds=before // 50)}
    return _encode(document, Sort("created_at"))


def _stages(plan: Any) -> Iterator[str]:
    """Names of all stages of a plan."""
    if isinstance(plan, dict):
        if "stage" in plan:
            yield str(plan["stage"])
        for value in plan.values():
            yield from _stages(value)
    elif isinstance(plan, list):
        for value in plan:
            yield from _stages(value)


@pytest.mark.slow
async def test_every_list_is_read_from_an_index(rig: Rig) -> None:
    owner = await rig.key()
    bucket = await _fill(rig, owner, 5_000)
    syncs = f"/v1/buckets/{bucket}/syncs"
    cursor = await _deep_cursor(rig, owner, bucket, 4_000)
    newest = {"sort": {"field": "created_at", "direction": "desc"}}
    lists = [
        ("GET", f"/v1/buckets/{bucket}/objects?limit=10", None),
        ("GET", f"/v1/buckets/{bucket}/objects?limit=10&cursor={cursor}", None),
        ("GET", f"/v1/buckets/{bucket}/objects?limit=10&include_total=true", None),
        ("POST", f"/v1/buckets/{bucket}/objects/list?limit=10", newest),
        ("GET", f"/v1/buckets/{bucket}/objects/obj_{77:012}", None),
        ("GET", "/v1/buckets?limit=10", None),
        ("POST", "/v1/buckets/list", {"limit": 10}),
        ("POST", f"{syncs}/list", {"is_active": True}),
        ("GET", f"{syncs}/sync_1", None),
        ("GET", f"{syncs}/sync_1/metrics", None),
        ("POST", f"{syncs}/sync_1/jobs", {}),
        ("POST", f"{syncs}/sync_1/dlq", {}),
        ("POST", f"/v1/buckets/{bucket}/batches/list", {}),
        ("POST", "/v1/organizations/connections/list", {}),
        ("GET", "/v1/tasks/batch%2Fbatc_1", None),
    ]  # fmt: skip
    # What the server itself says of every query that the API sends: the explanation of what it did.
    await rig.database.command("profile", 2)
    for method, path, body in lists:
        status, reply, _ = await rig.ask(method, path, owner, body=body)
        assert status == 200, (path, reply)
    await rig.database.command("profile", 0)
    told = [one async for one in rig.database["system.profile"].find({"op": {"$in": ["query", "command"]}})]
    queries = [one for one in told if "execStats" in one and not one["ns"].endswith("system.profile")]
    assert len(queries) >= len(lists)
    for query in queries:
        stages = set(_stages(query["execStats"]))
        assert not stages & {"COLLSCAN", "SORT"}, (query["ns"], query["command"], stages)
        assert stages & {"IXSCAN", "IDHACK", "COUNT_SCAN", "EXPRESS_IXSCAN"}, (query["ns"], stages)
        # One row more than the page says whether there is another; a tie at its edge is read again.
        assert query.get("docsExamined", 0) <= 10 + 1 + 50, (query["ns"], query["command"])


def test_a_plan_without_an_index_would_be_found() -> None:
    plan = {"stage": "LIMIT", "inputStage": {"stage": "SORT", "inputStage": {"stage": "COLLSCAN"}}}
    assert list(_stages(plan)) == ["LIMIT", "SORT", "COLLSCAN"]
