"""Objects of syncs: what is stored of a source, and the only writes that change it.

Every write is idempotent and fenced. `fence` grows with (run, attempt); a write with a lower fence
than the document's changes nothing, so a zombie attempt that wakes up late has no effect. A removed
object leaves a tombstone under the same `_id`, so a late insert collides with it instead of
bringing the object back.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from bson import decode_all
from pymongo import DeleteOne, ReplaceOne, UpdateOne
from pymongo.errors import BulkWriteError

from stores.database import Database, Document

__all__ = ["ObjectStore", "fence_of"]

_DUPLICATE_KEY = 11000
# Long past the life of any activity attempt, and long enough to answer "where did that file go?".
_TOMBSTONE_LIFE = timedelta(days=30)
_COVERED = {"_id": 0, "source_object_id": 1, "fingerprint": 1}
_ATTEMPT_BITS = 16


def fence_of(run_no: int, attempt: int) -> int:
    """Orders writers: a later run beats an earlier one, a later attempt of one run beats an earlier one."""
    return (run_no << _ATTEMPT_BITS) | min(attempt, (1 << _ATTEMPT_BITS) - 1)


class ObjectStore:
    """Reads and writes of the `objects` collection that belong to the sync engine."""

    def __init__(self, database: Database) -> None:
        self._objects = database["objects"]
        self._syncs = database["syncs"]

    async def stored_slice(self, sync_config_id: str, *, after: str | None, limit: int) -> tuple[list[str], list[str]]:
        """The first `limit` ids this sync owns above `after` (None: from the first), ascending, and their fingerprints.

        Answered from an index alone, with one command.
        """
        query: dict[str, Any] = {"sync_config_id": sync_config_id}
        if after is not None:
            query["source_object_id"] = {"$gt": after}
        cursor = self._objects.find_raw_batches(
            query, _COVERED, sort=[("source_object_id", 1)], limit=limit, batch_size=limit + 1,
            hint=[("sync_config_id", 1), ("source_object_id", 1), ("fingerprint", 1)],
        )  # fmt: skip
        rows: list[Document] = []
        async for raw in cursor:
            rows += decode_all(raw)  # type: ignore[call-overload]  # raw batches are bytes, the stubs say documents
        return [row["source_object_id"] for row in rows], [row["fingerprint"] for row in rows]

    async def stored_among(self, sync_config_id: str, ids: Sequence[str]) -> dict[str, str]:
        """Fingerprints of those `ids` that this sync owns (for unordered listings)."""
        found: dict[str, str] = {}
        async for row in self._objects.find(
            {"sync_config_id": sync_config_id, "source_object_id": {"$in": list(ids)}}, _COVERED
        ):
            found[row["source_object_id"]] = row["fingerprint"]
        return found

    async def owned_by(self, sync_config_ids: Sequence[str], object_ids: Sequence[str]) -> set[str]:
        """Those of the objects that one of these syncs owns."""
        query = {"_id": {"$in": list(object_ids)}, "sync_config_id": {"$in": list(sync_config_ids)}}
        return {doc["_id"] async for doc in self._objects.find(query, {"_id": 1})}

    async def owned_count(self, sync_config_id: str) -> int:
        """How many objects the sync owns: one walk of the index."""
        return await self._objects.count_documents({"sync_config_id": sync_config_id})

    async def all_ids(self, sync_config_id: str, *, low: str, high: str, step: int) -> AsyncIterator[list[str]]:
        """Owned ids within `[low, high)` in ascending order, `step` at a time; an empty `high` is unbounded."""
        bounds: dict[str, str] = {"$gte": low, **({"$lt": high} if high else {})}
        while True:
            query: dict[str, Any] = {"sync_config_id": sync_config_id, "source_object_id": bounds}
            rows = await self._objects.find(query, _COVERED, sort=[("source_object_id", 1)], limit=step).to_list()
            if not rows:
                return
            bounds = {**{k: v for k, v in bounds.items() if k == "$lt"}, "$gt": rows[-1]["source_object_id"]}
            yield [row["source_object_id"] for row in rows]

    async def committed(self, object_ids: Sequence[str]) -> dict[str, Document]:
        """What stands under these ids now (tombstones included), with the fields needed to tell what is done."""
        fields = {
            "fingerprint": 1, "run_id": 1, "chunk_id": 1, "outcome": 1, "sync_config_id": 1, "fence": 1, "tombstone": 1,
            "fields": 1, "size_bytes": 1, "size_before": 1, "status": 1, "accepted": 1, "fetched": 1, "added": 1,
        }  # fmt: skip
        return {doc["_id"]: doc async for doc in self._objects.find({"_id": {"$in": list(object_ids)}}, fields)}

    async def standing(self, object_ids: Sequence[str]) -> set[str]:
        """Those of these ids under which an object stands, not a tombstone."""
        query = {"_id": {"$in": list(object_ids)}, "tombstone": None}
        return {doc["_id"] async for doc in self._objects.find(query, {"_id": 1})}

    async def insert_new(self, documents: Sequence[Document]) -> list[Document]:
        """Insert known-new objects in one command; returns those whose id was already taken."""
        if not documents:
            return []
        try:
            await self._objects.insert_many(documents, ordered=False)
        except BulkWriteError as error:
            failures = (error.details or {}).get("writeErrors", [])
            if any(failure["code"] != _DUPLICATE_KEY for failure in failures) or (error.details or {}).get(
                "writeConcernErrors"
            ):
                raise
            return [documents[failure["index"]] for failure in failures]
        return []

    async def replace(self, documents: Iterable[tuple[Document, Sequence[str]]]) -> None:
        """Write documents over what stands under their ids.

        A tombstone or an object of the same sync gives way to a fence as high or higher, one of another
        sync only if that sync is among those named with the document: fences of two syncs say nothing
        about each other.
        """
        operations = []
        for doc, gone in documents:
            own, fenced = doc["sync_config_id"], {"fence": {"$lte": doc["fence"]}}
            ways: list[Document] = [
                {"sync_config_id": own, **fenced},
                {"tombstone.sync_config_id": own, **fenced},
                {"tombstone": {"$exists": True}, "tombstone.sync_config_id": {"$ne": own}},
            ]
            if gone:
                ways.append({"sync_config_id": {"$in": list(gone)}})
            operations.append(ReplaceOne({"_id": doc["_id"], "$or": ways}, doc))
        if operations:
            await self._objects.bulk_write(operations, ordered=False)

    async def update(self, sync_config_id: str, changes: Sequence[tuple[str, int, Mapping[str, Any]]]) -> None:
        """Set fields of known objects in one command: (object id, fence, fields). Older fences win nothing."""
        operations = [
            UpdateOne(
                {"_id": object_id, "sync_config_id": sync_config_id, "fence": {"$lte": fence}},
                {"$set": {**fields, "fence": fence}},
            )
            for object_id, fence, fields in changes
        ]
        if operations:
            await self._objects.bulk_write(operations, ordered=False)

    async def live_syncs(self, sync_config_ids: Sequence[str]) -> set[str]:
        """Those of the given sync configs that still exist."""
        return {
            doc["_id"]
            async for doc in self._syncs.find({"_id": {"$in": list(sync_config_ids)}, "deleted_at": None}, {"_id": 1})
        }

    async def remove(
        self, sync_config_id: str, object_ids: Sequence[str], *, fence: int, run_id: str, reason: str
    ) -> tuple[int, int]:
        """Turn objects into tombstones; returns (how many, their bytes) that this (run, fence) has removed.

        Idempotent: a repeated call counts what an earlier attempt of the same run removed.
        """
        now = datetime.now(UTC)
        query = {"_id": {"$in": list(object_ids)}, "sync_config_id": sync_config_id, "fence": {"$lte": fence}}
        fields = {"bucket_id": 1, "source_object_id": 1, "size_bytes": 1, "internal_id": 1}
        operations = [
            ReplaceOne(
                {"_id": doc["_id"], "sync_config_id": sync_config_id, "fence": {"$lte": fence}},
                tombstone(doc, sync_config_id=sync_config_id, fence=fence, run_id=run_id, reason=reason, at=now),
            )
            async for doc in self._objects.find(query, fields)
        ]
        if operations:
            await self._objects.bulk_write(operations, ordered=False)
        return await self.graves(object_ids, run_id=run_id)

    async def graves(self, object_ids: Sequence[str], *, run_id: str) -> tuple[int, int]:
        """How many of these a run has removed, and their bytes."""
        count = size = 0
        async for doc in self._objects.find(
            {"_id": {"$in": list(object_ids)}, "tombstone.run_id": run_id}, {"tombstone.size_bytes": 1}
        ):
            count += 1
            size += doc["tombstone"]["size_bytes"]
        return count, size

    async def remove_one(self, object_id: str, *, scope: Mapping[str, Any], by: str) -> Document | None:
        """Remove one object on a person's word; returns what it was, or None when there was none in `scope`.

        The next pass brings it back if the source still has it: a bucket mirrors its source.
        """
        doc = await self._objects.find_one({"_id": object_id, **scope})
        if doc is None:
            return None
        grave = tombstone(
            doc,
            sync_config_id=doc.get("sync_config_id"),
            fence=doc.get("fence", 0),
            run_id="",
            reason="api",
            at=datetime.now(UTC),
        )
        grave["tombstone"]["by"] = by
        result = await self._objects.replace_one({"_id": object_id, **scope}, grave)
        return doc if result.modified_count else None

    async def forget_tombstones(self, object_ids: Sequence[str]) -> None:
        """Drop tombstones at once (tests and wiping a bucket)."""
        await self._objects.bulk_write(
            [DeleteOne({"_id": object_id, "tombstone": {"$exists": True}}) for object_id in object_ids]
        )


def tombstone(
    doc: Document, *, sync_config_id: str | None, fence: int, run_id: str, reason: str, at: datetime
) -> Document:
    """What is left of a removed object: enough to explain it, invisible to ordinary queries, gone after 30 days."""
    return {
        "_id": doc["_id"],
        "tombstone": {
            "bucket_id": doc.get("bucket_id"),
            "internal_id": doc.get("internal_id"),
            "sync_config_id": sync_config_id,
            "source_object_id": doc.get("source_object_id"),
            "size_bytes": doc.get("size_bytes", 0),
            "reason": reason,
            "run_id": run_id,
            "at": at,
        },
        "fence": fence,
        "expire_at": at + _TOMBSTONE_LIFE,
    }
