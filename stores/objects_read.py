"""Objects as the API reads them. Tombstones have no bucket at their root, so no query here sees one."""

from __future__ import annotations

import re
from typing import Any

from pymongo.errors import OperationFailure

from models.objects import Filter, SortOption
from models.paging import PageRequest
from models.scope import Scope
from stores.database import Database, Document
from stores.object_filters import FilterError, document_path, to_query
from stores.pages import PageOfDocuments, Sort, find_page

__all__ = ["ObjectReader"]

# Patterns that Python knows and the database does not (RegexMissing..., BadValue, FailedToParse).
_REFUSED_QUERIES = {51091, 51108, 2, 9}
_OLDEST_FIRST = Sort("created_at")


class ObjectReader:
    """Objects of a bucket."""

    def __init__(self, database: Database) -> None:
        self._objects = database["objects"]

    async def get(self, scope: Scope, bucket_id: str, object_id: str) -> Document | None:
        """One object of that bucket."""
        return await self._objects.find_one({"_id": object_id, "bucket_id": bucket_id, **scope.fields})

    async def by_id(self, object_id: str) -> Document | None:
        """An object whose signed address was shown: the signature is the permission."""
        return await self._objects.find_one(
            {"_id": object_id, "bucket_id": {"$exists": True}}, {"blobs": 1, "updated_at": 1}
        )

    async def page(
        self,
        scope: Scope,
        bucket_id: str,
        page: PageRequest,
        *,
        filters: Filter | None = None,
        search: str | None = None,
        sort: SortOption | None = None,
        count: bool = False,
    ) -> PageOfDocuments:
        """Oldest first unless sorted. Raises FilterError, BadCursorError."""
        parts: list[dict[str, Any]] = [{"bucket_id": bucket_id, **scope.fields}]
        if filters is not None:
            parts.append(to_query(filters))
        if search:
            text = {"$regex": re.escape(search), "$options": "i"}
            parts.append({"$or": [{"source.path": text}, {"blobs.details.filename": text}]})
        query = parts[0] if len(parts) == 1 else {"$and": parts}
        try:
            return await find_page(self._objects, query, page, sort=_order(sort), count=count)
        except OperationFailure as error:
            if error.code not in _REFUSED_QUERIES:
                raise
            raise FilterError("the database cannot carry out this filter: check its patterns") from error


def _order(sort: SortOption | None) -> Sort:
    if sort is None:
        return _OLDEST_FIRST
    path = document_path(sort.field)
    return Sort(path, descending=sort.direction == "desc", indexed=path == "created_at")
