"""Batches made by hand: drafts, and what is done with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from models.ids import new_id
from models.objects import Filter
from models.scope import Scope
from stores.database import Database, Document
from stores.object_filters import to_query

__all__ = ["BatchWriter"]

_UNFINISHED = ["DRAFT", "PENDING", "QUEUED", "PROCESSING", "IN_PROGRESS"]


class BatchWriter:
    """The API's writes of the `batches` collection."""

    def __init__(self, database: Database) -> None:
        self._batches = database["batches"]
        self._objects = database["objects"]

    async def existing(self, scope: Scope, bucket_id: str, object_ids: Sequence[str]) -> set[str]:
        """Those of the ids that are objects of the bucket."""
        query = {"_id": {"$in": list(object_ids)}, "bucket_id": bucket_id, **scope.fields}
        return {doc["_id"] async for doc in self._objects.find(query, {"_id": 1})}

    async def select(self, scope: Scope, bucket_id: str, filters: Filter, limit: int) -> list[str]:
        """Ids of matching objects, oldest first. Raises FilterError."""
        query = {"$and": [{"bucket_id": bucket_id, **scope.fields}, to_query(filters)]}
        found = self._objects.find(query, {"_id": 1}, sort=[("created_at", 1), ("_id", 1)], limit=limit)
        return [doc["_id"] async for doc in found.max_time_ms(15_000)]

    async def taken(self, bucket_id: str, object_ids: Sequence[str]) -> set[str]:
        """Those of the ids that an unfinished batch holds."""
        wanted = set(object_ids)
        query = {"bucket_id": bucket_id, "status": {"$in": _UNFINISHED}, "object_ids": {"$in": list(wanted)}}
        taken: set[str] = set()
        async for doc in self._batches.find(query, {"object_ids": 1}):
            taken |= wanted.intersection(doc["object_ids"])
        return taken

    async def take_from_drafts(self, bucket_id: str, object_ids: Sequence[str]) -> None:
        """Move the ids out of other drafts."""
        await self._batches.update_many(
            {"bucket_id": bucket_id, "status": "DRAFT"}, {"$pull": {"object_ids": {"$in": list(object_ids)}}}
        )

    async def draft(self, scope: Scope, bucket_id: str, fields: Mapping[str, Any]) -> Document:
        """A new draft."""
        now = datetime.now(UTC)
        document: Document = {
            "_id": new_id("btch"),
            **scope.fields,
            "bucket_id": bucket_id,
            "sync_config_id": None,
            "run_id": None,
            "index": 0,
            **fields,
            "status": "DRAFT",
            "task_id": None,
            "created_at": now,
            "updated_at": now,
        }
        await self._batches.insert_one(document)
        return document

    async def add(self, batch_id: str, object_ids: Sequence[str]) -> Document | None:
        """Add objects to a draft, each once; None when it is none any more."""
        return await self._batches.find_one_and_update(
            {"_id": batch_id, "status": "DRAFT"},
            {"$addToSet": {"object_ids": {"$each": list(object_ids)}}, "$set": {"updated_at": datetime.now(UTC)}},
            return_document=True,
        )

    async def move(self, batch_id: str, expect: Sequence[str], fields: Mapping[str, Any]) -> Document | None:
        """Set fields of a batch that is in one of the expected states; None when it is not."""
        return await self._batches.find_one_and_update(
            {"_id": batch_id, "status": {"$in": list(expect)}},
            {"$set": {**fields, "updated_at": datetime.now(UTC)}},
            return_document=True,
        )

    async def tie(self, scope: Scope, batch: Document) -> None:
        """The batch's objects wait for it from now on."""
        await self._objects.update_many(
            {"_id": {"$in": batch["object_ids"]}, "bucket_id": batch["bucket_id"], **scope.fields},
            {"$set": {"batch_id": batch["_id"], "status": "PENDING", "updated_at": datetime.now(UTC)}},
        )

    async def delete(self, batch_id: str, states: Sequence[str]) -> bool:
        """Remove a batch that is in one of these states."""
        return bool((await self._batches.delete_one({"_id": batch_id, "status": {"$in": list(states)}})).deleted_count)

    async def unfinished(self, bucket_id: str) -> list[str]:
        """Submitted batches of a bucket that have not ended, at most 20."""
        query = {"bucket_id": bucket_id, "status": {"$in": [state for state in _UNFINISHED if state != "DRAFT"]}}
        return [doc["_id"] async for doc in self._batches.find(query, {"_id": 1}, limit=20)]
