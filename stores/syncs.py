"""Sync configs as the API reads and writes them: settings in, and the workflow's projected state out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from typing import Any

from models.ids import new_id
from models.paging import PageRequest
from models.scope import Scope
from stores.database import Database, Document
from stores.pages import PageOfDocuments, Sort, find_page

__all__ = ["SyncStore"]

_NEWEST_FIRST = Sort("created_at", descending=True)

# State of a sync that has not begun; from here on only its workflow writes these.
_UNBORN: Mapping[str, Any] = {
    "status": "PENDING",
    "is_active": True,
    "paused": False,
    "pause_reason": None,
    "paused_at": None,
    "paused_by_user_id": None,
    "pending_full_sync": False,
    "locked": False,
    "locked_by_worker_id": None,
    "locked_at": None,
    "lock_expires_at": None,
    "current_sync_run_id": None,
    "sync_run_counter": 0,
    "last_sync_at": None,
    "next_sync_at": None,
    "last_error": None,
    "consecutive_failures": 0,
    "total_files_discovered": 0,
    "total_files_synced": 0,
    "total_files_failed": 0,
    "total_bytes_synced": 0,
    "batches_created": 0,
    "delete_proposal": None,
    "deleted_at": None,
}


class SyncStore:
    """Sync configs of a bucket."""

    def __init__(self, database: Database) -> None:
        self._syncs = database["syncs"]

    async def create(self, scope: Scope, bucket_id: str, fields: Mapping[str, Any], *, user_id: str) -> Document:
        """A new sync config, not yet started."""
        now = datetime.now(UTC)
        document: Document = {
            "_id": new_id("sync"),
            **scope.fields,
            "bucket_id": bucket_id,
            "created_by_user_id": user_id,
            **fields,
            **_UNBORN,
            "created_at": now,
            "updated_at": now,
        }
        await self._syncs.insert_one(document)
        return document

    async def get(self, scope: Scope, bucket_id: str, sync_config_id: str) -> Document | None:
        """A sync of that bucket that is not deleted."""
        return await self._syncs.find_one(
            {"_id": sync_config_id, **scope.fields, "bucket_id": bucket_id, "deleted_at": None}
        )

    async def page(
        self, scope: Scope, bucket_id: str, conditions: Mapping[str, Any], page: PageRequest
    ) -> PageOfDocuments:
        """Newest first."""
        query = {"bucket_id": bucket_id, **scope.fields, "deleted_at": None, **conditions}
        return await find_page(self._syncs, query, page, sort=_NEWEST_FIRST, count=True)

    async def configure(self, scope: Scope, sync_config_id: str, fields: Mapping[str, Any]) -> Document | None:
        """Set configuration fields."""
        return await self._syncs.find_one_and_update(
            {"_id": sync_config_id, **scope.fields, "deleted_at": None},
            {"$set": {**fields, "updated_at": datetime.now(UTC)}},
            return_document=True,
        )

    async def delete(self, scope: Scope, sync_config_id: str) -> None:
        """Soft deletion. Idempotent; keeps the time of the first."""
        now = datetime.now(UTC)
        await self._syncs.update_one(
            {"_id": sync_config_id, **scope.fields},
            [
                {
                    "$set": {
                        "deleted_at": {"$ifNull": ["$deleted_at", now]},
                        "is_active": False,
                        "status": "ARCHIVED",
                        "updated_at": now,
                    }
                }
            ],
        )

    async def forget(self, scope: Scope, sync_config_id: str) -> None:
        """Take back a sync config whose workflow could not be started: it was never answered to anyone."""
        await self._syncs.delete_one({"_id": sync_config_id, **scope.fields})

    async def all_due(self) -> AsyncIterator[Document]:
        """Every sync that should have a running workflow, of all organizations (start-up only)."""
        query = {"deleted_at": None, "is_active": True, "status": {"$nin": ["COMPLETED", "FAILED"]}}
        fields = {"internal_id": 1, "bucket_id": 1, "connection_id": 1, "source_type": 1, "source_path": 1}
        async for document in self._syncs.find(query, fields):
            yield document

    async def live_of_connection(self, connection_id: str) -> list[Document]:
        """Active syncs that use a connection."""
        return await self._syncs.find(
            {"connection_id": connection_id, "deleted_at": None, "is_active": True},
            {"internal_id": 1, "bucket_id": 1, "connection_id": 1, "source_type": 1, "source_path": 1},
        ).to_list()
