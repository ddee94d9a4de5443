"""Pages of a collection by keyset: the cost of a page does not grow with how deep it lies.

A cursor holds the sort value and id of the last row; it is opaque to clients and worthless without
the query it belongs to, because the query is never taken from it.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import bson
from bson.codec_options import CodecOptions
from bson.errors import BSONError
from pymongo.asynchronous.collection import AsyncCollection

from models.paging import PageRequest
from stores.database import Document
from stores.failures import BadCursorError

__all__ = ["PageOfDocuments", "Sort", "find_page"]

_OPTIONS: CodecOptions[dict[str, Any]] = CodecOptions(tz_aware=True)
_MAX_CURSOR = 2048
# A regular expression or an unindexed sort must not hold a connection for ever.
_MAX_TIME_MS = 15_000


@dataclass(frozen=True, slots=True)
class Sort:
    """Order by one field, ties by id. `indexed` fields are present in every document and hold one scalar type."""

    field: str
    descending: bool = False
    indexed: bool = True

    @property
    def direction(self) -> int:
        """As MongoDB writes it."""
        return -1 if self.descending else 1


@dataclass(frozen=True, slots=True)
class PageOfDocuments:
    """`total` is None unless it was asked for."""

    documents: list[Document]
    next_cursor: str | None
    total: int | None


async def find_page(
    collection: AsyncCollection[Document],
    query: Mapping[str, Any],
    page: PageRequest,
    *,
    sort: Sort,
    count: bool = False,
    projection: Mapping[str, Any] | None = None,
) -> PageOfDocuments:
    """One page of what `query` selects. `projection` only leaves fields out. Raises BadCursorError."""
    rows = _by_index if sort.indexed else _by_computed_key
    documents = await rows(collection, query, page=page, sort=sort, projection=projection)
    more = len(documents) > page.limit
    documents = documents[: page.limit]
    cursor = _encode(documents[-1], sort) if more and documents else None
    for document in documents:
        document.pop("_key", None)
    total = await collection.count_documents(dict(query), maxTimeMS=_MAX_TIME_MS) if count else None
    return PageOfDocuments(documents, cursor, total)


async def _by_index(
    collection: AsyncCollection[Document],
    query: Mapping[str, Any],
    *,
    page: PageRequest,
    sort: Sort,
    projection: Mapping[str, Any] | None,
) -> list[Document]:
    where: dict[str, Any] = dict(query)
    if page.cursor:
        value, last_id = _decode(page.cursor, sort)
        beyond = "$lt" if sort.descending else "$gt"
        where = {
            "$and": [
                where,
                {sort.field: {f"{beyond}e": value}},
                {"$or": [{sort.field: {beyond: value}}, {sort.field: value, "_id": {beyond: last_id}}]},
            ]
        }
    found = collection.find(
        where,
        projection,
        sort=[(sort.field, sort.direction), ("_id", sort.direction)],
        skip=page.offset,
        limit=page.limit + 1,
    ).max_time_ms(_MAX_TIME_MS)
    return await found.to_list()


async def _by_computed_key(
    collection: AsyncCollection[Document],
    query: Mapping[str, Any],
    *,
    page: PageRequest,
    sort: Sort,
    projection: Mapping[str, Any] | None,
) -> list[Document]:
    """For fields of any type, missing in some documents: compared as the sort compares them."""
    path = f"${sort.field}"
    key = {"$cond": [{"$isArray": [path]}, None, {"$ifNull": [path, None]}]}
    stages: list[dict[str, Any]] = [{"$match": dict(query)}, {"$set": {"_key": key}}]
    if page.cursor:
        value, last_id = _decode(page.cursor, sort)
        beyond = "$lt" if sort.descending else "$gt"
        literal = {"$literal": value}
        tie = {"$and": [{"$eq": ["$_key", literal]}, {beyond: ["$_id", {"$literal": last_id}]}]}
        stages.append({"$match": {"$expr": {"$or": [{beyond: ["$_key", literal]}, tie]}}})
    stages += [
        {"$sort": {"_key": sort.direction, "_id": sort.direction}},
        {"$skip": page.offset},
        {"$limit": page.limit + 1},
    ]
    if projection is not None:
        stages.append({"$project": dict(projection)})
    found = await collection.aggregate(stages, allowDiskUse=True, maxTimeMS=_MAX_TIME_MS)
    return await found.to_list()


def _value(document: Mapping[str, Any], sort: Sort) -> Any:
    if not sort.indexed:
        return document.get("_key")
    value: Any = document
    for part in sort.field.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _encode(document: Mapping[str, Any], sort: Sort) -> str:
    raw = bson.encode({"f": sort.field, "d": sort.descending, "v": _value(document, sort), "i": document["_id"]})
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _decode(cursor: str, sort: Sort) -> tuple[Any, str]:
    if len(cursor) > _MAX_CURSOR:
        raise BadCursorError("the cursor is not one of this list")
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        decoded = bson.decode(raw, codec_options=_OPTIONS)
    except (binascii.Error, BSONError, ValueError) as error:
        raise BadCursorError("the cursor is not one of this list") from error
    if decoded.get("f") != sort.field or decoded.get("d") != sort.descending:
        raise BadCursorError("the cursor belongs to another order")
    if not isinstance(decoded.get("i"), str) or isinstance(decoded.get("v"), Mapping):
        raise BadCursorError("the cursor is not one of this list")
    return decoded.get("v"), decoded["i"]
