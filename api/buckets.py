"""Buckets: create, read, list."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from api.errors import conflict, invalid, not_found
from api.operations import Call, NoBody, NoQuery, Operations
from api.pagination import pagination
from models.buckets import (
    BucketCreateRequest,
    BucketListQuery,
    BucketResponse,
    ListBucketsRequest,
    ListBucketsResponse,
)
from models.common import DegradedEntry
from models.paging import PageQuery, PageRequest
from models.scope import Role
from stores.database import Document
from stores.failures import DuplicateError
from stores.pages import PageOfDocuments, Sort

__all__ = ["UNSERVED", "bucket_of", "open_bucket_of", "operations", "shown", "within_bucket"]

operations = Operations("BucketsApi", "/v1/buckets", namespaced=True)

# What an id begins with; no name does.
_ID_PREFIX = "bkt_"
_DEFAULT_LIMIT = 10  # the contract's, for this list only
UNSERVED = {
    "destination": "blobs are kept in the server's own blob store",
    "ingest_filter": "it needs retrievers, which are not part of this system",
    "source_adapter": "objects come from syncs or from the objects operations",
}
_FIELDS = {
    "bucket_id": "_id",
    "bucket_name": "bucket_name",
    "description": "description",
    "status": "status",
    "created_at": "created_at",
    "updated_at": "updated_at",
    "object_count": "object_count",
    "total_size_bytes": "total_size_bytes",
}


@operations.add("POST", "", "create_bucket", role=Role.WRITE, body=BucketCreateRequest, answers=BucketResponse)
async def create(call: Call[BucketCreateRequest, NoQuery]) -> BucketResponse:
    """Create a bucket."""
    body = call.body.settled()
    for name, reason in UNSERVED.items():
        if body.pop(name) is not None:
            raise invalid(f"{name} is not supported: {reason}", code="not_supported", field=name)
    try:
        document = await call.services.buckets.create(call.scope, body)
    except DuplicateError as error:
        raise conflict(str(error), code="name_in_use", details={"bucket_name": body["bucket_name"]}) from error
    await call.audit("create", "bucket", document["_id"])
    return shown(document)


@operations.add(
    "GET", "", "list_buckets_get",
    role=Role.READ, query=BucketListQuery, answers=ListBucketsResponse, lenient_namespace=True,
)  # fmt: skip
async def find_by_get(call: Call[NoBody, BucketListQuery]) -> ListBucketsResponse:
    """List buckets, newest first."""
    page = call.query.resolve(default_limit=_DEFAULT_LIMIT)
    return await _list(call, page, search=call.query.search)


@operations.add(
    "POST", "/list", "list_buckets",
    role=Role.READ, body=ListBucketsRequest, query=PageQuery, answers=ListBucketsResponse, lenient_namespace=True,
)  # fmt: skip
async def find(call: Call[ListBucketsRequest, PageQuery]) -> ListBucketsResponse:
    """List buckets that match, in the order asked for."""
    body = call.body
    page = call.query.resolve(body.model_dump(), default_limit=_DEFAULT_LIMIT)
    sorts = [body.sort] if body.sort else body.sorts or []
    return await _list(
        call,
        page,
        search=body.search,
        conditions=_conditions(body.filters or {}),
        sort=_order(sorts[0]) if sorts else None,
        case_sensitive=bool(body.case_sensitive),
    )


@operations.add("GET", "/{bucket_identifier}", "get_bucket", role=Role.READ, answers=BucketResponse)
async def get(call: Call[NoBody, NoQuery]) -> BucketResponse:
    """Read a bucket by id or name."""
    return shown(await bucket_of(call))


async def bucket_of(call: Call[Any, Any]) -> Document:
    """The bucket that the address names. Raises 404."""
    identifier = call.path.get("bucket_identifier") or call.path["bucket_id"]
    document = await call.services.buckets.get(call.scope, identifier)
    if document is None:
        raise not_found("bucket", identifier)
    return document


async def within_bucket(call: Call[Any, Any], find: Callable[[str], Awaitable[Document | None]]) -> Document | None:
    """What `find` finds in the bucket that the address names; the bucket is read only if it must be. Raises 404.

    Everything in a bucket carries its id, so where something is found the bucket needs no look of its own.
    """
    identifier = call.path.get("bucket_identifier") or call.path["bucket_id"]
    found = await find(identifier) if identifier.startswith(_ID_PREFIX) else None
    return found if found is not None else await find((await bucket_of(call))["_id"])


async def open_bucket_of(call: Call[Any, Any]) -> Document:
    """The same for something new in it. Raises 404, and 409 once the bucket is being deleted."""
    document = await bucket_of(call)
    if document["status"] == "DEACTIVATED":
        raise conflict("the bucket is being deleted", code="bucket_deleting")
    return document


def shown(document: Document) -> BucketResponse:
    """A bucket as answered."""
    return BucketResponse.model_validate(
        {**document, "bucket_id": document["_id"], "is_locked": document.get("status") == "DEACTIVATED"}
    )


async def _list(call: Call[Any, Any], page: PageRequest, **conditions: Any) -> ListBucketsResponse:
    if call.namespace_id is None:
        return _unresolved(call, page)
    found = await call.services.buckets.page(call.scope, page, **conditions)
    return ListBucketsResponse(
        results=[shown(document) for document in found.documents],
        total_count=found.total or 0,
        pagination=pagination(call.request, page, found),
    )


def _unresolved(call: Call[Any, Any], page: PageRequest) -> ListBucketsResponse:
    """A namespace that this key does not reach: nothing, and the reason (the contract answers 200 here)."""
    call.reply_headers["X-Namespace-Unresolved"] = "true"
    warning = DegradedEntry(
        resource="namespace",
        id=call.asked_namespace,
        reason="unresolved",
        next_step="send the id or name of a namespace of the key's organization in X-Namespace",
    )
    return ListBucketsResponse(
        results=[],
        total_count=0,
        pagination=pagination(call.request, page, PageOfDocuments([], None, 0)),
        warnings=[warning],
    )


def _conditions(filters: dict[str, Any]) -> dict[str, Any]:
    """Plain `{field: value}` equality; the contract does not say what else it could be."""
    conditions: dict[str, Any] = {}
    for name, value in filters.items():
        path = _path(name, "filters")
        if isinstance(value, dict | list):
            raise invalid(f"filters.{name} is not a single value", field=f"filters.{name}")
        conditions[path] = {"$eq": value}
    return conditions


def _order(sort: dict[str, Any]) -> Sort:
    field, direction = sort.get("field"), sort.get("direction", sort.get("order", "asc"))
    if not isinstance(field, str) or direction not in {"asc", "desc"}:
        raise invalid("sort takes {field, direction: asc or desc}", field="sort")
    path = _path(field, "sort")
    return Sort(path, descending=direction == "desc", indexed=path == "created_at")


def _path(name: str, where: str) -> str:
    if name.startswith("metadata.") and "$" not in name and all(name.split(".")):
        return name
    if name not in _FIELDS:
        raise invalid(f"{where}: {name!r} is not one of {', '.join(_FIELDS)}, metadata.*", field=where)
    return _FIELDS[name]
