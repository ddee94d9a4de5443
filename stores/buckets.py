"""Buckets as the API reads and writes them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from pymongo.errors import DuplicateKeyError

from models.ids import new_id
from models.paging import PageRequest
from models.scope import Scope
from stores.database import Database, Document
from stores.failures import DuplicateError
from stores.pages import PageOfDocuments, Sort, find_page

__all__ = ["BucketStore"]


class BucketStore:
    """Buckets of a namespace."""

    def __init__(self, database: Database) -> None:
        self._buckets = database["buckets"]

    async def create(self, scope: Scope, fields: Mapping[str, Any]) -> Document:
        """A new, empty bucket. Raises DuplicateError on a name in use."""
        now = datetime.now(UTC)
        document: Document = {
            "_id": new_id("bkt"),
            **scope.fields,
            **fields,
            "status": "ACTIVE",
            "object_count": 0,
            "total_size_bytes": 0,
            "stats_runs": {},
            "created_at": now,
            "updated_at": now,
        }
        try:
            await self._buckets.insert_one(document)
        except DuplicateKeyError as error:
            raise DuplicateError(f"a bucket named {fields['bucket_name']!r} exists already") from error
        return document

    async def get(self, scope: Scope, identifier: str) -> Document | None:
        """By `bkt_…` id or by name."""
        key = "_id" if identifier.startswith("bkt_") else "bucket_name"
        return await self._buckets.find_one({**scope.fields, key: identifier}, {"stats_runs": 0})

    async def page(
        self,
        scope: Scope,
        page: PageRequest,
        *,
        search: str | None = None,
        conditions: Mapping[str, Any] | None = None,
        sort: Sort | None = None,
        case_sensitive: bool = False,
    ) -> PageOfDocuments:
        """Newest first unless sorted; `search` is part of the name or description."""
        parts: list[dict[str, Any]] = [dict(scope.fields)]
        if search:
            text = {"$regex": re.escape(search), "$options": "" if case_sensitive else "i"}
            parts.append({"$or": [{"bucket_name": text}, {"description": text}]})
        if conditions:
            parts.append(dict(conditions))
        return await find_page(
            self._buckets,
            {"$and": parts},
            page,
            sort=sort or Sort("created_at", descending=True),
            count=True,
            projection={"stats_runs": 0},
        )

    async def change(self, scope: Scope, bucket_id: str, fields: Mapping[str, Any]) -> Document | None:
        """Set fields. Raises DuplicateError on a name in use."""
        try:
            return await self._buckets.find_one_and_update(
                {**scope.fields, "_id": bucket_id},
                {"$set": {**fields, "updated_at": datetime.now(UTC)}},
                {"stats_runs": 0},
                return_document=True,
            )
        except DuplicateKeyError as error:
            raise DuplicateError(f"a bucket named {fields.get('bucket_name')!r} exists already") from error

    async def all_deleting(self) -> list[str]:
        """Ids of the buckets whose deletion has begun, of all organizations (start-up only)."""
        found = self._buckets.find({"status": "DEACTIVATED"}, {"_id": 1})
        return [document["_id"] async for document in found]

    async def removed_one(self, bucket_id: str, *, size: int) -> None:
        """An object was removed by hand."""
        await self._buckets.update_one(
            {"_id": bucket_id},
            {"$inc": {"object_count": -1, "total_size_bytes": -size}, "$set": {"stats_updated_at": datetime.now(UTC)}},
        )
