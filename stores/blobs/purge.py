"""Removing blobs that nothing refers to any more, beside running writers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

from stores.blobs.base import BlobStat, BlobStore
from stores.database import Database

__all__ = ["PurgeReport", "purge_unreferenced"]

_AT_ONCE = 64
"""Reference look-ups in flight; one index probe each, whatever the number of objects that share a blob."""


@dataclass(slots=True)
class PurgeReport:
    """What one purge did. `bytes` counts what was erased."""

    discarded: int = 0
    restored: int = 0
    erased: int = 0
    bytes: int = 0
    unfinished: int = 0


async def purge_unreferenced(store: BlobStore, db: Database, grace_seconds: float) -> PurgeReport:
    """Discard what is unreferenced and older than the grace; erase what was discarded that long ago and still is.

    So a blob is readable for at least the grace after it lost its last reference. The grace must be longer than
    a writer may take from putting a blob to committing its object: a blob that was found present, discarded, and
    then referenced is restored by the next purge. Idempotent; may run in several processes and stop anywhere.

    Raises BlobStoreError.
    """
    report = PurgeReport(unfinished=await store.clean())
    async for blob, referenced in _with_references(store, db, discarded=True, older_than=0):
        if referenced:
            await store.restore(blob.sha256)
            report.restored += 1
        elif blob.age_seconds >= grace_seconds:
            await store.erase(blob.sha256)
            report.erased += 1
            report.bytes += blob.size
    async for blob, referenced in _with_references(store, db, discarded=False, older_than=grace_seconds):
        if not referenced:
            await store.discard(blob.sha256)
            report.discarded += 1
    return report


async def _with_references(
    store: BlobStore, db: Database, *, discarded: bool, older_than: float
) -> AsyncIterator[tuple[BlobStat, bool]]:
    async def referenced(blob: BlobStat) -> bool:
        return await db["objects"].find_one({"blobs.sha256": blob.sha256}, {"_id": 1}) is not None

    async def answered(blobs: list[BlobStat]) -> list[tuple[BlobStat, bool]]:
        return list(zip(blobs, await asyncio.gather(*map(referenced, blobs)), strict=True))

    blobs: list[BlobStat] = []
    async for blob in store.iterate(discarded=discarded):
        if blob.age_seconds >= older_than:
            blobs.append(blob)
        if len(blobs) == _AT_ONCE:
            for pair in await answered(blobs):
                yield pair
            blobs = []
    for pair in await answered(blobs):
        yield pair
