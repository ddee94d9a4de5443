"""The sync engine's view of sync configs, connections and buckets: settings in, state out.

The API owns the configuration fields of these documents, the workflow owns the state fields; only
the latter are written here.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from stores.database import Database, Document

__all__ = ["SyncConfigStore"]

_LIVE = {"deleted_at": None}


class SyncConfigStore:
    """Reads configurations and projects workflow state."""

    def __init__(self, database: Database) -> None:
        self._syncs = database["syncs"]
        self._connections = database["connections"]
        self._buckets = database["buckets"]

    async def sync(self, sync_config_id: str, *, deleted: bool = False) -> Document | None:
        """A sync config that exists (or, with `deleted`, has existed), with everything the API stored."""
        return await self._syncs.find_one({"_id": sync_config_id, **({} if deleted else _LIVE)})

    async def connection(self, connection_id: str) -> Document | None:
        """A connection with its encrypted credentials."""
        return await self._connections.find_one({"_id": connection_id})

    async def bucket(self, bucket_id: str) -> Document | None:
        """A bucket."""
        return await self._buckets.find_one({"_id": bucket_id})

    async def rivals(self, sync: Document) -> list[str]:
        """Other live syncs whose source objects become the same objects: same bucket, same connection."""
        query = {"bucket_id": sync["bucket_id"], "connection_id": sync["connection_id"], "_id": {"$ne": sync["_id"]}}
        return [doc["_id"] async for doc in self._syncs.find({**query, **_LIVE}, {"_id": 1})]

    async def project(self, sync_config_id: str, fields: Mapping[str, Any]) -> None:
        """Show the workflow's state in the sync document."""
        await self._syncs.update_one({"_id": sync_config_id}, {"$set": {**fields, "updated_at": datetime.now(UTC)}})

    async def take_run_number(self, sync_config_id: str, run_id: str) -> int:
        """The number of this run, one higher than any before it; the same again for the same run."""
        taken = await self._syncs.find_one_and_update(
            {"_id": sync_config_id, "numbered_run": {"$ne": run_id}},
            {"$inc": {"sync_run_counter": 1}, "$set": {"numbered_run": run_id}},
            {"sync_run_counter": 1},
            return_document=True,
        )
        if taken is None:
            taken = await self._syncs.find_one({"_id": sync_config_id}, {"sync_run_counter": 1})
        return int((taken or {}).get("sync_run_counter") or 0)

    async def book_run(
        self, sync_config_id: str, run_id: str, *, fields: Mapping[str, Any], add: Mapping[str, float], peak: float
    ) -> bool:
        """Add a finished run to the totals, once: a repeated call for the same run adds nothing."""
        result = await self._syncs.update_one(
            {"_id": sync_config_id, "last_booked_run": {"$ne": run_id}},
            {
                "$set": {**fields, "last_booked_run": run_id, "updated_at": datetime.now(UTC)},
                "$inc": dict(add),
                "$max": {"stats.peak_objects_per_min": peak},
            },
        )
        return bool(result.modified_count)

    async def book_bucket(self, bucket_id: str, sync_config_id: str, run_id: str, *, objects: int, size: int) -> None:
        """Add a run's change to the bucket's totals, once per (sync, run)."""
        mark = f"stats_runs.{sync_config_id}"
        await self._buckets.update_one(
            {"_id": bucket_id, mark: {"$ne": run_id}},
            {
                "$inc": {"object_count": objects, "total_size_bytes": size},
                "$set": {mark: run_id, "stats_updated_at": datetime.now(UTC)},
            },
        )

    async def connection_used(self, connection_id: str, *, fault: str | None) -> Document | None:
        """Record that a connection worked (`fault` None) or failed; returns it as it is afterwards."""
        now = datetime.now(UTC)
        if fault is None:
            change: Any = {"$set": {"last_used_at": now, "consecutive_failures": 0, "last_error": None}}
        else:
            change = {"$set": {"last_used_at": now, "last_error": fault[:1000]}, "$inc": {"consecutive_failures": 1}}
        return await self._connections.find_one_and_update({"_id": connection_id}, change, return_document=True)

    async def set_connection_status(self, connection_id: str, *, expect: Sequence[str], status: str) -> bool:
        """Move a connection to `status` if it is in one of `expect`."""
        result = await self._connections.update_one(
            {"_id": connection_id, "status": {"$in": list(expect)}},
            {"$set": {"status": status, "is_active": status == "ACTIVE", "updated_at": datetime.now(UTC)}},
        )
        return bool(result.modified_count)

    async def throttle_connection(self, connection_id: str, until: datetime) -> None:
        """All work on this connection waits until then; an earlier time never shortens a wait."""
        await self._connections.update_one({"_id": connection_id}, {"$max": {"throttled_until": until}})

    async def due_syncs(self) -> AsyncIterator[Document]:
        """Every sync that should have a running workflow, of all organizations: ids only."""
        query = {**_LIVE, "is_active": True, "status": {"$nin": ["COMPLETED", "FAILED"]}}
        fields = {"internal_id": 1, "bucket_id": 1, "connection_id": 1, "source_type": 1}
        async for doc in self._syncs.find(query, fields):
            yield doc

    async def live_connections(self) -> AsyncIterator[str]:
        """Ids of every connection that is not archived."""
        async for doc in self._connections.find({"status": {"$ne": "ARCHIVED"}}, {"_id": 1}):
            yield doc["_id"]

    async def syncs_of_connection(self, connection_id: str) -> list[str]:
        """Ids of the live syncs that use a connection."""
        return [doc["_id"] async for doc in self._syncs.find({"connection_id": connection_id, **_LIVE}, {"_id": 1})]
