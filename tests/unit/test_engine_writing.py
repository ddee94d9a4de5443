"""Fences: what a zombie attempt writes late changes nothing, and what it wrote early is counted once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest_asyncio

from activities.engine import Engine, SyncContext
from activities.fetch import Fetched, Verdict
from activities.mapping import compile_mapping
from activities.writing import GroupWriter, Written
from models.ids import object_id
from models.settings import Settings
from providers.base import Attributes, SourceObject
from providers.memory import MemoryProvider
from stores.blobs import open_blob_store
from stores.database import Document, connect, ensure_indexes
from stores.objects import fence_of

_T = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class Desk:
    """An engine on a real database and blob store, and a sync."""

    engine: Engine

    def context(self, sync_id: str = "sync_1") -> SyncContext:
        sync = {
            "_id": sync_id, "bucket_id": "bkt_1", "connection_id": "conn_1", "internal_id": "int_1",
            "namespace_id": "ns_1", "source_path": "",
        }  # fmt: skip
        connection = {"_id": "conn_1", "provider_type": "memory"}
        schema = {"properties": {"content": {"type": "text"}}}
        bucket = {"_id": "bkt_1", "bucket_schema": schema}
        mapping = compile_mapping(None, schema)
        return SyncContext(sync, connection, bucket, MemoryProvider({}), "", None, mapping)

    async def write(
        self,
        operation: str,
        body: bytes,
        *,
        run: int = 1,
        attempt: int = 1,
        chunk: str = "c1",
        sync_id: str = "sync_1",
        name: str = "a.txt",
    ) -> Written:
        context = self.context(sync_id)
        writer = GroupWriter(self.engine, context, run_id=f"job_{run}", chunk_id=chunk, fence=fence_of(run, attempt))
        source = SourceObject(name, name, f"{hash(body)}|{_T}", len(body), _T)
        fetched = Fetched(operation, source, source, Verdict.FETCHED, body=body, size=len(body))
        fetched.mapped = context.mapping.apply(source, Attributes(), "text/plain")
        [written] = await writer.write([fetched])
        return written

    async def standing(self, name: str = "a.txt") -> Document:
        key = object_id("bkt_1", "conn_1", name)
        found: Document | None = await self.engine.database["objects"].find_one({"_id": key})
        assert found is not None
        return found

    async def remove(self, *, run: int, attempt: int = 1, sync_id: str = "sync_1") -> tuple[int, int]:
        key = object_id("bkt_1", "conn_1", "a.txt")
        return await self.engine.objects.remove(
            sync_id, [key], fence=fence_of(run, attempt), run_id=f"job_{run}", reason="source_gone"
        )


@pytest_asyncio.fixture(loop_scope="session")
async def desk(settings: Settings) -> AsyncIterator[Desk]:
    client, database = connect(settings)
    await ensure_indexes(database)
    blobs = open_blob_store(settings)
    yield Desk(Engine(settings, database, None, blobs))  # type: ignore[arg-type]  # writing needs no vault
    await blobs.close()
    await client.close()


def growth(written: Written) -> tuple[int, int]:
    return written.added, written.size_delta


async def test_a_zombie_insert_after_a_removal_changes_nothing(desk: Desk) -> None:
    await desk.write("new", b"old", run=1)
    assert await desk.remove(run=3) == (1, 3)
    grave = await desk.standing()
    assert grave["tombstone"]["reason"] == "source_gone" and grave["tombstone"]["run_id"] == "job_3"
    await desk.write("new", b"zombie", run=2)
    assert await desk.standing() == grave
    # What comes later does replace it, and counts as added.
    assert growth(await desk.write("new", b"again!", run=4)) == (1, 6)
    assert (await desk.standing())["size_bytes"] == 6


async def test_a_zombie_update_changes_nothing(desk: Desk) -> None:
    await desk.write("new", b"one", run=1)
    await desk.write("update", b"three", run=3, chunk="c3")
    now = await desk.standing()
    await desk.write("update", b"two", run=2, chunk="c2")
    await desk.write("update", b"earlier attempt", run=3, attempt=0, chunk="c3")
    assert await desk.standing() == now


async def test_a_zombie_removal_changes_nothing(desk: Desk) -> None:
    await desk.write("new", b"one", run=5)
    assert await desk.remove(run=4) == (0, 0)
    assert "tombstone" not in await desk.standing()


async def test_a_repeated_removal_counts_the_same(desk: Desk) -> None:
    await desk.write("new", b"one", run=1)
    assert await desk.remove(run=2) == (1, 3)
    assert await desk.remove(run=2, attempt=2) == (1, 3)


async def test_two_attempts_at_one_chunk_grow_the_bucket_once(desk: Desk) -> None:
    assert growth(await desk.write("new", b"body", attempt=1)) == (1, 4)
    # The second attempt looked before the first one's insert arrived.
    assert growth(await desk.write("new", b"body", attempt=2)) == (1, 4)
    assert growth(await desk.write("update", b"longer body", run=2, chunk="c2", attempt=1)) == (0, 7)
    assert growth(await desk.write("update", b"longer body", run=2, chunk="c2", attempt=2)) == (0, 7)


async def test_an_object_removed_by_hand_in_the_middle_is_left_to_the_next_pass(desk: Desk) -> None:
    await desk.write("new", b"one", run=1)
    await desk.remove(run=1, attempt=2)
    written = await desk.write("update", b"two", run=2, chunk="c2")
    assert (written.outcome, growth(written)) == ("skipped:removed_meanwhile", (0, 0))
    assert "tombstone" in await desk.standing()


async def test_fences_of_another_sync_do_not_count(desk: Desk) -> None:
    syncs = desk.engine.database["syncs"]
    await syncs.insert_many([{"_id": "sync_1", "deleted_at": _T}, {"_id": "sync_2", "deleted_at": None}])
    await desk.write("new", b"by the first", run=900)
    written = await desk.write("new", b"second", run=1, sync_id="sync_2", chunk="c2")
    assert (written.outcome, growth(written)) == ("stored", (0, 6 - 12))
    now = await desk.standing()
    assert now["sync_config_id"] == "sync_2"
    # Whatever the deleted sync's workers still do has no effect.
    await desk.write("update", b"late", run=900, attempt=2)
    assert await desk.remove(run=901) == (0, 0)
    assert await desk.standing() == now
    # And a live sync keeps what is its own.
    await syncs.insert_one({"_id": "sync_3", "deleted_at": None})
    written = await desk.write("new", b"third", run=5, sync_id="sync_3", chunk="c3")
    assert written.outcome == "skipped:owned_by_another_sync" and await desk.standing() == now


async def test_tombstones_of_another_sync_give_way(desk: Desk) -> None:
    await desk.write("new", b"one", run=900)
    await desk.remove(run=901)
    written = await desk.write("new", b"two", run=1, sync_id="sync_2", chunk="c2")
    assert growth(written) == (1, 3) and (await desk.standing())["sync_config_id"] == "sync_2"


async def test_blobs_are_there_before_the_object_is(desk: Desk) -> None:
    written: Any = await desk.write("new", b"durable")
    [blob] = (await desk.standing())["blobs"]
    assert await desk.engine.blobs.size(blob["sha256"]) == 7 and written.accepted
