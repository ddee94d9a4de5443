"""Batches as the API reads them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from models.paging import PageRequest
from models.scope import Scope
from stores.database import Database, Document
from stores.pages import PageOfDocuments, Sort, find_page

__all__ = ["BatchReader"]

_NEWEST_FIRST = Sort("created_at", descending=True)


class BatchReader:
    """Batches of a bucket."""

    def __init__(self, database: Database) -> None:
        self._batches = database["batches"]

    async def get(self, scope: Scope, batch_id: str, *, bucket_id: str | None = None) -> Document | None:
        """One batch; tasks ask without a bucket, because they belong to the organization."""
        query: dict[str, Any] = {"_id": batch_id, **scope.fields}
        if bucket_id is not None:
            query["bucket_id"] = bucket_id
        return await self._batches.find_one(query)

    async def page(
        self, scope: Scope, bucket_id: str, conditions: Mapping[str, Any], page: PageRequest
    ) -> PageOfDocuments:
        """Newest first."""
        query = {"bucket_id": bucket_id, **scope.fields, **conditions}
        return await find_page(self._batches, query, page, sort=_NEWEST_FIRST, count=True)
