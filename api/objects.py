"""Objects: list, read, delete. Their bytes are reached by presigned URLs, see `blobs.py`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from api.buckets import bucket_of, within_bucket
from api.errors import not_found
from api.operations import Call, NoBody, NoQuery, Operations
from api.pagination import pagination
from models.objects import ListObjectsRequest, ListObjectsResponse, ObjectQuery, ObjectResponse
from models.paging import PageQuery, PageRequest
from models.scope import Role
from stores.blobs import sign
from stores.database import Document

__all__ = ["operations", "shown"]

operations = Operations("BucketObjectsApi", "/v1/buckets/{bucket_identifier}/objects", namespaced=True)

_ALWAYS = {"object_id", "bucket_id"}


@operations.add("GET", "", "list_objects_get_buckets", role=Role.READ, query=PageQuery, answers=ListObjectsResponse)
async def find_by_get(call: Call[NoBody, PageQuery]) -> ListObjectsResponse:
    """List the objects of a bucket, oldest first."""
    return await _list(call, call.query.resolve(), ListObjectsRequest())


@operations.add(
    "POST", "/list", "list_objects_buckets",
    role=Role.READ, body=ListObjectsRequest, query=PageQuery, answers=ListObjectsResponse,
)  # fmt: skip
async def find(call: Call[ListObjectsRequest, PageQuery]) -> ListObjectsResponse:
    """List the objects that match, in the order asked for."""
    return await _list(call, call.query.resolve(call.body.model_dump()), call.body)


@operations.add(
    "GET", "/{object_identifier}", "get_object_buckets", role=Role.READ, query=ObjectQuery, answers=ObjectResponse
)
async def get(call: Call[NoBody, ObjectQuery]) -> ObjectResponse:
    """Read an object."""
    identifier = call.path["object_identifier"]
    document = await within_bucket(call, lambda bucket_id: call.services.objects.get(call.scope, bucket_id, identifier))
    if document is None:
        raise not_found("object", identifier)
    return shown(call, document, presigned=bool(call.query.return_presigned_urls))


@operations.add("DELETE", "/{object_identifier}", "delete_object_buckets", role=Role.WRITE, status=204)
async def delete(call: Call[NoBody, NoQuery]) -> web.Response:
    """Remove an object. A sync whose source still has it brings it back with its next full pass."""
    bucket = await bucket_of(call)
    identifier = call.path["object_identifier"]
    scope = {**call.scope.fields, "bucket_id": bucket["_id"]}
    removed = await call.services.object_writer.remove_one(identifier, scope=scope, by=call.caller.user_id)
    if removed is None:
        raise not_found("object", identifier)
    await call.services.buckets.removed_one(bucket["_id"], size=removed.get("size_bytes") or 0)
    await call.audit("delete", "object", identifier, bucket_id=bucket["_id"])
    return web.Response(status=204)


async def _list(call: Call[Any, Any], page: PageRequest, body: ListObjectsRequest) -> ListObjectsResponse:
    bucket = await bucket_of(call)
    selective = body.filters is not None or bool(body.search)
    found = await call.services.objects.page(
        call.scope,
        bucket["_id"],
        page,
        filters=body.filters,
        search=body.search,
        sort=body.sort,
        # A whole bucket is counted already; counting a million again would cost more than the page.
        count=page.include_total and selective,
    )
    results = [
        _selected(shown(call, document, presigned=bool(body.return_presigned_urls)), body.select)
        for document in found.documents
    ]
    total = found.total if selective else bucket["object_count"]
    return ListObjectsResponse(results=results, pagination=pagination(call.request, page, found, total=total))


def _selected(shown: ObjectResponse, names: list[str] | None) -> ObjectResponse:
    """Only the named fields (by their first part), and always the ids."""
    if not names:
        return shown
    wanted = {name.partition(".")[0] for name in names} | _ALWAYS
    kept = {name: value for name, value in shown.model_dump().items() if name in wanted}
    return ObjectResponse.model_validate(kept)


def shown(call: Call[Any, Any], document: Document, *, presigned: bool) -> ObjectResponse:
    """An object as answered: custom fields at its root, never over its own properties."""
    own = {
        "object_id": document["_id"],
        "bucket_id": document["bucket_id"],
        "key_prefix": document.get("key_prefix"),
        "blobs": [
            _blob(call, document["_id"], index, blob, presigned=presigned)
            for index, blob in enumerate(document.get("blobs") or [])
        ],
        "source_details": _source_details(document),
        "edges": document.get("edges"),
        "status": document.get("status"),
        "error": document.get("error"),
        "created_at": document.get("created_at"),
        "updated_at": document.get("updated_at"),
        "document_count": None,
        "hash": document.get("hash"),
    }
    return ObjectResponse.model_validate({**(document.get("fields") or {}), **own})


def _source_details(document: Document) -> list[dict[str, Any]] | None:
    if document.get("source_object_id") is None:
        return None
    source: Mapping[str, Any] = document.get("source") or {}
    return [
        {
            # The contract's word for "from outside storage"; it has none for each provider.
            "type": "bucket",
            "source_id": document["source_object_id"],
            "provider_type": document.get("provider_type"),
            "sync_config_id": document.get("sync_config_id"),
            "connection_id": document.get("connection_id"),
            "source_path": source.get("path"),
            "version": source.get("version"),
            "modified_at": source.get("modified_at"),
            "size_bytes": source.get("size_bytes"),
        }
    ]


def _blob(
    call: Call[Any, Any], object_id: str, index: int, blob: Mapping[str, Any], *, presigned: bool
) -> dict[str, Any]:
    shown: dict[str, Any] = {**blob, "properties": dict(blob.get("properties") or {})}
    if presigned:
        settings = call.services.settings
        expires = int(time.time()) + settings.presigned_url_seconds
        query = sign(call.services.signing_key, object_id, index, expires)
        address = f"{settings.public_url}/v1/blobs/{object_id}/{index}?{query}"
        shown["presigned_url"] = address
        shown["properties"]["presigned_url"] = address
    return shown
