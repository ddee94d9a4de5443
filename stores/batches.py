"""Batches: the groups in which accepted objects are handed to processing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any

from pymongo import UpdateOne

from stores.database import Database, Document

__all__ = ["BatchStore", "batch_id_of"]

_ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"


def batch_id_of(run_id: str, index: int) -> str:
    """The id of batch `index` of a run: the same every time, so a repeated attempt makes no second one."""
    number = int.from_bytes(blake2b(f"{run_id}/{index}".encode(), digest_size=10).digest())
    digits = []
    for _ in range(12):
        number, digit = divmod(number, len(_ALPHABET))
        digits.append(_ALPHABET[digit])
    return "btch_" + "".join(digits)


class BatchStore:
    """The `batches` collection, and the status of the objects in a batch."""

    def __init__(self, database: Database) -> None:
        self._batches = database["batches"]
        self._objects = database["objects"]

    async def make(self, batches: Sequence[Document]) -> None:
        """Record batches and tie their objects to them. Idempotent by batch id."""
        now = datetime.now(UTC)
        await self._batches.bulk_write(
            [
                UpdateOne(
                    {"_id": batch["_id"]},
                    {
                        "$setOnInsert": {
                            **{k: v for k, v in batch.items() if k != "_id"},
                            "created_at": now,
                            "updated_at": now,
                        }
                    },
                    upsert=True,
                )
                for batch in batches
            ],
            ordered=False,
        )
        for batch in batches:
            # Only what this run wrote: an object changed by a later run belongs to a later batch.
            await self._objects.update_many(
                {"_id": {"$in": batch["object_ids"]}, "run_id": batch["run_id"], "batch_id": None},
                {"$set": {"batch_id": batch["_id"]}},
            )

    async def get(self, batch_id: str) -> Document | None:
        """One batch."""
        return await self._batches.find_one({"_id": batch_id})

    async def set_status(self, batch_id: str, fields: Mapping[str, Any], *, unless: Sequence[str] = ()) -> bool:
        """Move a batch on, unless it is already in one of the given (final) states."""
        result = await self._batches.update_one(
            {"_id": batch_id, "status": {"$nin": list(unless)}}, {"$set": {**fields, "updated_at": datetime.now(UTC)}}
        )
        return bool(result.matched_count)

    async def settle_objects(self, batch_id: str, object_ids: Sequence[str], status: str) -> int:
        """Objects that are still of this batch turn COMPLETED or FAILED."""
        result = await self._objects.update_many(
            {"_id": {"$in": list(object_ids)}, "batch_id": batch_id},
            {"$set": {"status": status, "updated_at": datetime.now(UTC)}},
        )
        return result.modified_count

    async def of_run(self, run_id: str) -> list[str]:
        """Ids of the batches a run has made, in order."""
        return [doc["_id"] async for doc in self._batches.find({"run_id": run_id}, {"_id": 1}).sort("index")]
