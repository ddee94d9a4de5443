"""Objects made by hand: put, found again and changed, together with the totals of their bucket.

A unique key becomes the `_id`, so the database itself keeps it unique, and the tombstone of a removed
object gives way. Every write is one transaction with the bucket: totals cannot drift, and nothing
gets into a bucket whose deletion has begun.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import DuplicateKeyError

from stores.database import Database, Document
from stores.failures import DuplicateError

__all__ = ["BucketClosedError", "ObjectCreator"]


class BucketClosedError(Exception):
    """The bucket is gone or being deleted."""


class ObjectCreator:
    """The API's writes of the `objects` collection, removals aside."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._objects = database["objects"]
        self._buckets = database["buckets"]

    async def by_idempotency_key(self, bucket_id: str, key: str) -> Document | None:
        """What an earlier request of the same key has made."""
        return await self._objects.find_one({"bucket_id": bucket_id, "idempotency_key": key})

    async def get(self, bucket_id: str, object_id: str) -> Document | None:
        """The live object of that id in the bucket."""
        return await self._objects.find_one({"_id": object_id, "bucket_id": bucket_id})

    async def held(self, bucket_id: str, digests: Sequence[str]) -> set[str]:
        """Those of the digests that are contents of the bucket's objects already."""
        query = {"blobs.sha256": {"$in": list(digests)}, "bucket_id": bucket_id}
        found = self._objects.find(query, {"blobs.sha256": 1})
        return {blob["sha256"] async for doc in found for blob in doc["blobs"] if "sha256" in blob} & set(digests)

    async def put(self, document: Document) -> None:
        """Insert a document; a tombstone of its id gives way.

        Raises DuplicateError when a live object has its id or idempotency key, BucketClosedError.
        """

        async def write(session: AsyncClientSession) -> None:
            await self._count(session, document["bucket_id"], objects=1, size=document["size_bytes"])
            # A live object does not match, so the upsert collides with it.
            grave = {"_id": document["_id"], "tombstone": {"$exists": True}}
            await self._objects.replace_one(grave, document, upsert=True, session=session)

        try:
            await self._together(write)
        except DuplicateKeyError as error:
            raise DuplicateError(f"there is an object {document['_id']} already") from error

    async def change(self, before: Document, fields: Mapping[str, Any]) -> Document | None:
        """Set fields of an object that is still as it was read; None when it is not.

        Raises DuplicateError on an idempotency key in use, BucketClosedError.
        """
        changed: list[Document | None] = []

        async def write(session: AsyncClientSession) -> None:
            changed.clear()
            fence = before.get("fence", 0)
            found = await self._objects.find_one_and_update(
                {"_id": before["_id"], "bucket_id": before["bucket_id"], "fence": fence},
                {"$set": {**fields, "fence": fence + 1, "updated_at": datetime.now(UTC)}},
                return_document=True,
                session=session,
            )
            changed.append(found)
            if found is not None:
                grown = found["size_bytes"] - before.get("size_bytes", 0)
                await self._count(session, before["bucket_id"], objects=0, size=grown)

        try:
            await self._together(write)
        except DuplicateKeyError as error:
            raise DuplicateError("the idempotency key is in use") from error
        return changed[0]

    async def _count(self, session: AsyncClientSession, bucket_id: str, *, objects: int, size: int) -> None:
        now = datetime.now(UTC)
        result = await self._buckets.update_one(
            {"_id": bucket_id, "status": {"$ne": "DEACTIVATED"}},
            {
                "$inc": {"object_count": objects, "total_size_bytes": size},
                "$set": {"last_upload_at": now, "stats_updated_at": now},
            },
            session=session,
        )
        if not result.matched_count:
            raise BucketClosedError(bucket_id)

    async def _together(self, write: Callable[[AsyncClientSession], Awaitable[None]]) -> None:
        async with self._database.client.start_session() as session:
            await session.with_transaction(write)
