"""The bytes behind a presigned URL: the signature is the permission, no key is needed.

A browser must never run what a customer uploaded as a page of this origin: the download is an
attachment, with no sniffing and a sandbox.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import structlog
from aiohttp import web

from api.errors import ApiError, forbidden, not_found
from api.operations import REQUEST_ID, Call, NoBody, Operations
from models.paging import Query
from stores.blobs import BlobNotFound, BlobStoreError, verify

__all__ = ["operations"]

operations = Operations("BlobsApi", "/v1/blobs", namespaced=False)

log = structlog.get_logger("api.blobs")

_UNKNOWN_TYPE = "application/octet-stream"
_MAX_INDEX_DIGITS = 6


class SignatureQuery(Query):
    """What `sign` put into the address."""

    expires: str = ""
    signature: str = ""


@operations.add("GET", "/{object_id}/{index}", "get_blob", role=None, query=SignatureQuery, streams=True)
async def get(call: Call[NoBody, SignatureQuery]) -> web.StreamResponse:
    """Serve a blob of an object, whole or a range of it."""
    object_id, index = call.path["object_id"], call.path["index"]
    number = int(index) if index.isascii() and index.isdigit() and len(index) <= _MAX_INDEX_DIGITS else -1
    if number < 0 or not verify(call.services.signing_key, object_id, number, call.query.expires, call.query.signature):
        raise forbidden("the address is not valid or has expired; ask for a new one with return_presigned_urls")
    blob = await _blob(call, object_id, number)
    try:
        size = await call.services.blobs.size(blob["sha256"])
    except BlobNotFound:
        raise not_found("content of object", object_id) from None
    return await _send(call, blob, size)


async def _blob(call: Call[Any, Any], object_id: str, number: int) -> dict[str, Any]:
    document = await call.services.objects.by_id(object_id)
    blobs = (document or {}).get("blobs") or []
    if number >= len(blobs) or not blobs[number].get("sha256"):
        raise not_found("content of object", object_id)
    found: dict[str, Any] = blobs[number]
    return found


async def _send(call: Call[Any, Any], blob: dict[str, Any], size: int) -> web.StreamResponse:
    request = call.request
    etag = f'"{blob["sha256"]}"'
    headers = {**_headers(blob), "ETag": etag}
    if etag in (tag.strip() for tag in request.headers.get("If-None-Match", "").split(",")):
        return web.Response(status=304, headers=headers)
    begin, end, status = 0, size, 200
    if request.headers.get("If-Range", etag) == etag:
        begin, end, status = _range(request, size)
    if status == 206:
        headers["Content-Range"] = f"bytes {begin}-{end - 1}/{size}"
    response = web.StreamResponse(status=status, headers=headers)
    response.content_length = end - begin
    if request.method == "HEAD":
        await response.prepare(request)
        return response
    pieces = call.services.blobs.open(blob["sha256"], begin, end - begin)
    try:
        # The first piece before the header, so that a lost blob is still answered as an error.
        first = await anext(pieces, b"")
    except BlobNotFound:
        raise not_found("content of object", call.path["object_id"]) from None
    except BlobStoreError as error:
        raise ApiError(503, "unavailable", "the blob store does not answer", headers={"Retry-After": "5"}) from error
    await response.prepare(request)
    await response.write(first)
    try:
        async for piece in pieces:
            await response.write(piece)
    except BlobStoreError as error:
        # Too late for an error reply: a cut connection tells the client that the content is not whole.
        log.exception("blob_cut", object_id=call.path["object_id"], request_id=request[REQUEST_ID])
        raise ConnectionResetError from error
    await response.write_eof()
    return response


def _range(request: web.Request, size: int) -> tuple[int, int, int]:
    """(begin, end, status) of a single byte range; anything this server does not serve gets the whole."""
    unit, _, wanted = request.headers.get("Range", "").partition("=")
    first, dash, last = wanted.strip().partition("-")
    simple = all(not part or (part.isascii() and part.isdigit() and len(part) < 20) for part in (first, last))
    if unit.strip().lower() != "bytes" or not dash or not simple or not (first or last):
        return 0, size, 200
    begin = int(first) if first else max(0, size - int(last))
    end = min(size, int(last) + 1) if first and last else size
    if first and last and int(last) < int(first):
        return 0, size, 200
    if begin >= size or (not first and int(last) == 0):
        raise ApiError(
            416,
            "range_not_satisfiable",
            f"the content has {size} bytes",
            headers={"Content-Range": f"bytes */{size}"},
        )
    return begin, end, 206


def _headers(blob: dict[str, Any]) -> dict[str, str]:
    details = blob.get("details") or {}
    mime = details.get("mime_type") or _UNKNOWN_TYPE
    name = _file_name(details.get("filename") or blob.get("property") or "download")
    plain = "".join(c if c.isascii() and c.isprintable() and c not in '"\\%' else "_" for c in name)
    return {
        "Content-Type": mime if mime.isascii() and mime.isprintable() and "/" in mime else _UNKNOWN_TYPE,
        "Content-Disposition": f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}",
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, max-age=0, must-revalidate",
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "default-src 'none'; sandbox",
    }


def _file_name(name: str) -> str:
    """Without any folder: what a client writes it as must not leave its download folder."""
    last = name.replace("\\", "/").rpartition("/")[2]
    clean = "".join(c for c in last if c.isprintable())
    clean = clean.encode("utf-8", "replace").decode()
    return clean if clean.strip(". ") else "download"
