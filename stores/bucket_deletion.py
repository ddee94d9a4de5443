"""What a bucket leaves behind, removed step by step. Every step may be repeated."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from stores.database import Database, Document

__all__ = ["BucketRemover", "TaskReader", "deletion_task_id"]

_OPEN = ["PENDING", "QUEUED", "PROCESSING", "IN_PROGRESS"]
# What a late attempt may still write.
_IN_BUCKETS = ("objects", "batches", "jobs", "dead_letters")
_PREFIX = "bucket-deletion/"
_OF_SYNCS = ("jobs", "dead_letters", "positions")


def deletion_task_id(bucket_id: str) -> str:
    """The id of the task, which is its workflow's id."""
    return f"{_PREFIX}{bucket_id}"


class BucketRemover:
    """The deletion workflow's side of a bucket."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def exists(self, bucket_id: str) -> bool:
        """Whether the bucket is still there."""
        return await self._database["buckets"].find_one({"_id": bucket_id}, {"_id": 1}) is not None

    async def retire_syncs(self, bucket_id: str) -> list[str]:
        """Ids of every sync of the bucket; from now on none of them is live."""
        syncs = self._database["syncs"]
        now = datetime.now(UTC)
        await syncs.update_many(
            {"bucket_id": bucket_id, "deleted_at": None},
            {"$set": {"deleted_at": now, "is_active": False, "status": "ARCHIVED", "updated_at": now}},
        )
        return [doc["_id"] async for doc in syncs.find({"bucket_id": bucket_id}, {"_id": 1})]

    async def open_batches(self, bucket_id: str) -> list[str]:
        """Batches that something may still work on."""
        query = {"bucket_id": bucket_id, "status": {"$in": _OPEN}}
        return [doc["_id"] async for doc in self._database["batches"].find(query, {"_id": 1})]

    async def purge(self, bucket_id: str, *, step: int) -> int:
        """Remove up to `step` objects; how many it were. Their blobs go when nothing refers to them any more."""
        objects = self._database["objects"]
        ids = [doc["_id"] async for doc in objects.find({"bucket_id": bucket_id}, {"_id": 1}, limit=step)]
        if ids:
            await objects.delete_many({"_id": {"$in": ids}, "bucket_id": bucket_id})
        return len(ids)

    async def finish(self, bucket_id: str) -> None:
        """Remove what belongs to the bucket, then the bucket itself."""
        async for sync in self._database["syncs"].find({"bucket_id": bucket_id}, {"_id": 1}):
            for name in _OF_SYNCS:
                await self._database[name].delete_many({"sync_config_id": sync["_id"]})
        for name in ("batches", "syncs"):
            await self._database[name].delete_many({"bucket_id": bucket_id})
        await self._database["buckets"].delete_one({"_id": bucket_id})

    async def show(self, bucket_id: str, status: str, **fields: Any) -> None:
        """The task's state."""
        await self._database["tasks"].update_one(
            {"_id": deletion_task_id(bucket_id)},
            {"$set": {"status": status, **fields, "updated_at": datetime.now(UTC)}},
        )

    async def removed(self, bucket_id: str, count: int) -> None:
        """Count removed objects on the task."""
        await self._database["tasks"].update_one(
            {"_id": deletion_task_id(bucket_id)}, {"$inc": {"removed_objects": count}}
        )

    async def sweep(self, since: datetime) -> int:
        """Remove what late attempts wrote into buckets whose deletion has ended since then; how many documents."""
        swept = 0
        ended = {"_id": {"$regex": f"^{_PREFIX}"}, "status": "COMPLETED", "updated_at": {"$gte": since}}
        async for task in self._database["tasks"].find(ended, {"bucket_id": 1}):
            bucket_id = task["bucket_id"]
            if await self.exists(bucket_id):
                continue
            for name in _IN_BUCKETS:
                swept += (await self._database[name].delete_many({"bucket_id": bucket_id})).deleted_count
        return swept

    async def drafts(self) -> list[Document]:
        """Every draft with its age, oldest first."""
        found = self._database["batches"].find({"status": "DRAFT"}, {"created_at": 1}, sort=[("created_at", 1)])
        return await found.to_list()

    async def reap_draft(self, batch_id: str) -> bool:
        """Remove a batch that is still a draft."""
        result = await self._database["batches"].delete_one({"_id": batch_id, "status": "DRAFT"})
        return bool(result.deleted_count)


class TaskReader:
    """Tasks other than batches, as the API writes and reads them."""

    def __init__(self, database: Database) -> None:
        self._tasks = database["tasks"]

    async def get(self, internal_id: str, task_id: str) -> Document | None:
        """A task of this organization."""
        return await self._tasks.find_one({"_id": task_id, "internal_id": internal_id})

    async def begin(self, task: Document) -> None:
        """Record a task that has not begun; one that is there stays as it is."""
        now = datetime.now(UTC)
        fields = {name: value for name, value in task.items() if name != "_id"}
        await self._tasks.update_one(
            {"_id": task["_id"]},
            {"$setOnInsert": {**fields, "status": "PENDING", "created_at": now, "updated_at": now}},
            upsert=True,
        )

    async def forget(self, task_id: str) -> None:
        """Take back a task whose workflow could not be started."""
        await self._tasks.delete_one({"_id": task_id, "status": "PENDING"})
