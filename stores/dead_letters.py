"""Dead letters: source objects that failed, with their attempts and last error.

Three tries, then quarantine. A quarantined object is tried again when it changes, when a person
requeues it, and at most once per healing interval; it is disposed of a week after its quarantine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from pymongo import UpdateOne

from models.ids import new_id
from stores.database import Database

__all__ = ["DeadLetterStore"]


class DeadLetterStore:
    """The sync engine's side of the `dead_letters` collection."""

    def __init__(self, database: Database) -> None:
        self._letters = database["dead_letters"]

    async def any(self, sync_config_id: str) -> bool:
        """Whether the sync has any open dead letter."""
        return (
            await self._letters.find_one({"sync_config_id": sync_config_id, "resolved_at": None}, {"_id": 1})
            is not None
        )

    async def held(self, sync_config_id: str, fingerprints: Mapping[str, str], *, heal_after: timedelta) -> set[str]:
        """Those of the given source objects (id -> fingerprint) that must not be tried now.

        Held back: in quarantine, unchanged since, and last tried less than `heal_after` ago. One that is
        due for healing is let through once and stamped.
        """
        now = datetime.now(UTC)
        held: set[str] = set()
        healing: list[str] = []
        async for doc in self._letters.find(
            {
                "sync_config_id": sync_config_id,
                "source_object_id": {"$in": list(fingerprints)},
                "max_retries_reached": True,
                "resolved_at": None,
            },
            {"source_object_id": 1, "fingerprint": 1, "last_seen_at": 1, "last_reattempt_at": 1, "given_up_at": 1},
        ):
            source_id = doc["source_object_id"]
            if doc.get("fingerprint") != fingerprints[source_id]:
                continue
            if doc.get("given_up_at") or (doc.get("last_reattempt_at") or doc["last_seen_at"]) + heal_after > now:
                held.add(source_id)
            else:
                healing.append(doc["_id"])
        if healing:
            await self._letters.update_many({"_id": {"$in": healing}}, {"$set": {"last_reattempt_at": now}})
        return held

    async def bury(self, letters: Sequence[Mapping[str, Any]]) -> None:
        """Record failed source objects, exhausted. Keyed by (sync, source object): a repeat doubles nothing.

        Each mapping has the fields of the collection; `last_seen_at` freezes at the first quarantine.
        """
        now = datetime.now(UTC)
        operations = []
        for letter in letters:
            key = {"sync_config_id": letter["sync_config_id"], "source_object_id": letter["source_object_id"]}
            rest = {name: value for name, value in letter.items() if name not in key}
            # A pipeline, because a letter that is buried again must keep the date of its quarantine.
            fresh = {"$ne": [{"$ifNull": ["$max_retries_reached", False]}, True]}
            operations.append(
                UpdateOne(
                    key,
                    [
                        {
                            "$set": {
                                "_id": {"$ifNull": ["$_id", new_id("key").replace("key_", "dlq_")]},
                                "first_seen_at": {"$ifNull": ["$first_seen_at", now]},
                                "last_seen_at": {"$cond": [fresh, now, "$last_seen_at"]},
                                **{name: {"$literal": value} for name, value in rest.items()},
                                "max_retries_reached": True,
                                "resolved_at": None,
                            }
                        }
                    ],
                    upsert=True,
                )
            )
        if operations:
            await self._letters.bulk_write(operations, ordered=False)

    async def resolve(self, sync_config_id: str, source_object_ids: Sequence[str]) -> None:
        """These were stored after all."""
        await self._letters.update_many(
            {
                "sync_config_id": sync_config_id,
                "source_object_id": {"$in": list(source_object_ids)},
                "resolved_at": None,
            },
            {"$set": {"resolved_at": datetime.now(UTC), "max_retries_reached": False}},
        )

    async def requeue(self, sync_config_id: str, error_types: Sequence[str]) -> int:
        """Give exhausted letters three new tries; empty `error_types` means all."""
        query: dict[str, Any] = {"sync_config_id": sync_config_id, "max_retries_reached": True, "resolved_at": None}
        if error_types:
            query["error_type"] = {"$in": list(error_types)}
        result = await self._letters.update_many(
            query,
            {
                "$set": {
                    "max_retries_reached": False,
                    "retry_count": 0,
                    "disposal_reason": None,
                    "given_up_at": None,
                    "requeued_at": datetime.now(UTC),
                }
            },
        )
        return result.modified_count

    async def count(self, sync_config_id: str) -> int:
        """Open exhausted letters of a sync."""
        return await self._letters.count_documents(
            {"sync_config_id": sync_config_id, "max_retries_reached": True, "resolved_at": None}
        )

    async def dispose(self, sync_config_id: str, *, keep: timedelta) -> int:
        """Drop letters whose quarantine is older than `keep`, and resolved ones as old."""
        before = datetime.now(UTC) - keep
        result = await self._letters.delete_many({"sync_config_id": sync_config_id, "last_seen_at": {"$lt": before}})
        return result.deleted_count
