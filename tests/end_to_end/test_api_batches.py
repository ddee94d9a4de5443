"""Buckets changed and deleted, batches made by hand, dead letters given up: with a real worker."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest_asyncio
from temporalio.client import Client

from api.bucket_changes import breaks
from deploy.local.paths import CHECKOUT
from models.scope import Scope
from models.settings import Settings
from tests.api_rig import Key, Rig, RunningRig, environment

SCHEMA: dict[str, Any] = {"properties": {"content": {"type": "text"}, "n": {"type": "integer"}}}
B = "/v1/buckets/docs"


@pytest_asyncio.fixture(loop_scope="session")
async def rig(settings: Settings, temporal_address: str, temporal_client: Client) -> AsyncIterator[Rig]:
    hasty = settings.model_copy(update={"draft_keep_seconds": 3})
    process = await asyncio.create_subprocess_exec(
        sys.executable, "worker.py", "--processes", "1", cwd=CHECKOUT, env=environment(hasty, temporal_address)
    )
    try:
        async with RunningRig(hasty, temporal_client) as running:
            yield running
    finally:
        process.terminate()
        # A test may end before the worker listens to signals.
        assert await asyncio.wait_for(process.wait(), 30) in {0, -15}


async def filled(rig: Rig, key: Key, count: int = 5) -> str:
    _, made, _ = await rig.ask("POST", "/v1/buckets", key, body={"bucket_name": "docs", "bucket_schema": SCHEMA})
    now = datetime.now(UTC)
    scope = {"internal_id": key.internal_id, "namespace_id": key.namespace_id, "bucket_id": made["bucket_id"]}
    documents = [
        {"_id": f"obj_{n}", **scope, "fields": {"n": n}, "status": "PENDING", "created_at": now, "batch_id": None}
        for n in range(count)
    ]
    await rig.database["objects"].insert_many(documents)
    await rig.database["buckets"].update_one({"_id": made["bucket_id"]}, {"$set": {"object_count": count}})
    return str(made["bucket_id"])


async def until(ask: Callable[[], Awaitable[Any]], good: Callable[[Any], bool]) -> Any:
    async with asyncio.timeout(30):
        while not good(answer := await ask()):
            await asyncio.sleep(0.2)
    return answer


async def test_a_batch_from_draft_to_done(rig: Rig) -> None:
    key = await rig.key()
    await filled(rig, key)
    status, draft, _ = await rig.ask("POST", f"{B}/batches", key, body={"object_ids": ["obj_0"], "batch_name": "x"})
    assert status == 200 and draft["status"] == "DRAFT" and draft["object_ids"] == ["obj_0"], draft
    where = f"{B}/batches/{draft['batch_id']}"
    status, reply, _ = await rig.ask("POST", f"{where}/objects", key, body={"object_ids": ["obj_0", "obj_1"]})
    assert status == 200 and reply["object_ids"] == ["obj_0", "obj_1"]
    status, reply, _ = await rig.ask("POST", f"{where}/objects", key, body={"object_ids": ["obj_nowhere"]})
    assert status == 422 and reply["error"]["code"] == "unknown_objects"
    status, task, _ = await rig.ask("POST", f"{where}/submit", key, body={"collection_ids": ["col_1"]})
    assert status == 200 and task["task_id"] == f"batch/{draft['batch_id']}"
    done = await until(lambda: rig.ask("GET", where, key), lambda found: found[1]["status"] == "COMPLETED")
    assert done[1]["collection_ids"] == ["col_1"] and done[1]["lifecycle"] == "indexed"
    assert (await rig.ask("GET", f"{B}/objects/obj_1", key))[1]["status"] == "COMPLETED"
    assert (await rig.ask("GET", f"{B}/objects/obj_2", key))[1]["status"] == "PENDING"
    for path in ("submit", "cancel"):
        assert (await rig.ask("POST", f"{where}/{path}", key))[0] == 409
    assert (await rig.ask("POST", f"{where}/objects", key, body={"object_ids": ["obj_2"]}))[0] == 409
    assert (await rig.ask("DELETE", where, key))[0] == 200
    assert (await rig.ask("GET", where, key))[0] == 404


async def test_selection_deduplication_and_what_is_refused(rig: Rig) -> None:
    key = await rig.key()
    await filled(rig, key)
    filters = {"AND": [{"field": "n", "operator": "gte", "value": 3}]}
    _, first, _ = await rig.ask("POST", f"{B}/batches", key, body={"filters": filters})
    assert first["object_ids"] == ["obj_3", "obj_4"]
    _, second, _ = await rig.ask("POST", f"{B}/batches", key, body={"object_ids": ["obj_2", "obj_3"]})
    assert second["object_ids"] == ["obj_2"]
    _, third, _ = await rig.ask(
        "POST", f"{B}/batches", key, body={"object_ids": ["obj_4"], "dedup_strategy": "replace"}
    )
    assert third["object_ids"] == ["obj_4"]
    assert (await rig.ask("GET", f"{B}/batches/{first['batch_id']}", key))[1]["object_ids"] == ["obj_3"]
    status, reply, _ = await rig.ask("POST", f"{B}/batches?auto_submit=true", key, body={"object_ids": ["obj_3"]})
    assert status == 409 and reply["error"]["code"] == "empty_batch"
    body = {"object_ids": ["obj_3"], "dedup_strategy": "force", "auto_submit": True}
    status, reply, _ = await rig.ask("POST", f"{B}/batches", key, body=body)
    assert status == 200 and reply["status"] == "PENDING"
    empty = (await rig.ask("POST", f"{B}/batches", key, body={}))[1]["batch_id"]
    assert (await rig.ask("POST", f"{B}/batches/{empty}/submit", key))[0] == 409
    status, reply, _ = await rig.ask("POST", f"{B}/batches/{empty}/cancel?reason=mistake", key)
    assert status == 200 and reply["status"] == "CANCELED"
    _, reply, _ = await rig.ask("GET", f"{B}/batches/{empty}", key)
    assert reply["lifecycle_reason"] == "mistake"
    # Drafts end with their time; what was submitted or cancelled stays.
    gone = f"{B}/batches/{first['batch_id']}"
    await until(lambda: rig.ask("GET", gone, key), lambda found: found[0] == 404)
    assert (await rig.ask("GET", f"{B}/batches/{empty}", key))[0] == 200


async def test_a_bucket_is_changed(rig: Rig) -> None:
    key = await rig.key()
    await filled(rig, key)
    await rig.ask("POST", "/v1/buckets", key, body={"bucket_name": "other", "bucket_schema": SCHEMA})
    _, reply, _ = await rig.ask("PATCH", B, key, body={"description": "d", "metadata": {"a": 1}})
    assert (reply["description"], reply["metadata"], reply["bucket_name"]) == ("d", {"a": 1}, "docs")
    _, reply, _ = await rig.ask("PUT", B, key, body={"description": None, "storage_class": "nearline"})
    assert (reply["description"], reply["metadata"], reply["storage_class"]) == (None, {"a": 1}, "nearline")
    assert (await rig.ask("PATCH", B, key, body={"bucket_name": "other"}))[0] == 409
    assert (await rig.ask("PATCH", B, key, body={"bucket_name": None}))[0] == 422
    narrower = {"bucket_schema": {"properties": {"content": {"type": "image"}}}}
    status, reply, _ = await rig.ask("PATCH", B, key, body=narrower)
    assert status == 409 and len(reply["error"]["details"]["breaks"]) == 2
    status, reply, _ = await rig.ask("PATCH", f"{B}?force_schema_break=true", key, body=narrower)
    assert status == 200 and set(reply["bucket_schema"]["properties"]) == {"content"}
    status, reply, _ = await rig.ask("PATCH", B, key, body={"unique_key": {"fields": ["n"]}})
    assert status == 409 and reply["error"]["code"] == "unique_key_fixed"
    assert (await rig.ask("PATCH", B, key, body={"ingest_filter": {"retriever_id": "r"}}))[0] == 422
    assert (await rig.ask("PATCH", B, key, body={"bucket_name": "new"}))[1]["bucket_name"] == "new"


async def test_a_bucket_is_deleted_with_all_that_is_in_it(rig: Rig) -> None:
    key = await rig.key()
    bucket_id = await filled(rig, key, 2500)
    sync = await rig.services.syncs.create(
        Scope(key.internal_id, key.namespace_id), bucket_id,
        {"connection_id": "conn_x", "source_path": "s", "source_type": "s3", "polling_interval_seconds": 300},
        user_id="usr_x",
    )  # fmt: skip
    await rig.services.commands.start_sync(sync)
    await rig.ask("POST", f"{B}/batches", key, body={"object_ids": ["obj_1"]})
    status, reply, _ = await rig.ask("DELETE", B, key)
    assert status == 200 and reply["status"] == "PENDING" and reply["object_count"] == 2500
    again = await rig.ask("DELETE", f"/v1/buckets/{bucket_id}", key)
    assert again[0] == 404 or again[1]["task_id"] == reply["task_id"]
    address = f"/v1/tasks/{reply['task_id'].replace('/', '%2F')}"
    _, task, _ = await until(lambda: rig.ask("GET", address, key), lambda found: found[1]["status"] == "COMPLETED")
    assert task["task_type"] == "api_buckets_delete" and task["additional_data"]["removed_objects"] == 2500
    assert (await rig.ask("GET", B, key))[0] == 404
    for name in ("objects", "batches", "syncs"):
        assert await rig.database[name].count_documents({"bucket_id": bucket_id}) == 0
    assert (await rig.ask("GET", address, await rig.key()))[0] == 404
    status, _, _ = await rig.ask("POST", "/v1/buckets", key, body={"bucket_name": "docs", "bucket_schema": SCHEMA})
    assert status == 200


async def test_dead_letters_are_given_up_until_requeued(rig: Rig) -> None:
    key = await rig.key()
    bucket_id = await filled(rig, key)
    scope = Scope(key.internal_id, key.namespace_id)
    sync = await rig.services.syncs.create(scope, bucket_id, {"connection_id": "c", "source_path": "s"}, user_id="u")
    now = datetime.now(UTC)
    for n, kind in enumerate(("NotFoundError", "NotFoundError", "TimeoutError")):
        letter = {"sync_config_id": sync["_id"], "source_object_id": f"s{n}", "error_type": kind, "error_message": "m"}
        more = {"_id": f"dlq_{n}", "bucket_id": bucket_id, "resolved_at": None, "last_seen_at": now}
        await rig.database["dead_letters"].insert_one({**letter, **more, **scope.fields})
    where = f"/v1/buckets/{bucket_id}/syncs/{sync['_id']}/dlq"
    for expected in (2, 0):
        _, reply, _ = await rig.ask("POST", f"{where}/bulk-mark-failed", key, body={"error_types": ["NotFoundError"]})
        assert reply == {"updated": expected}
    assert (await rig.ask("POST", f"{where}/bulk-mark-failed", key, body={"error_types": []}))[0] == 422
    _, reply, _ = await rig.ask("POST", where, key, body={"only_max_retries": True})
    assert {one["disposal_reason"] for one in reply["results"]} == {"marked_permanently_failed"}
    assert reply["total"] == 2


def test_what_breaks_a_schema() -> None:
    old = {"properties": {"a": {"type": "string"}, "o": {"type": "object", "properties": {"x": {"type": "string"}}}}}
    new = {
        "properties": {
            "a": {"type": "string", "enum": ["x"]},
            "o": {"type": "object", "properties": {"x": {"type": "integer"}}},
            "b": {"type": "string", "required": True},
            "c": {"type": "string", "required": True, "default": "d"},
        }
    }
    assert sorted(breaks(old, new)) == [
        "a allows fewer values", "b becomes required", "o.x turns from string into integer"
    ]  # fmt: skip
    assert list(breaks(old, old)) == []
