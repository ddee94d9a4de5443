"""Contents from an address that a client names: fetched into the blob store, within limits.

The rules of `providers/endpoints.py` hold for every socket that is opened, so neither a redirect nor a
DNS answer that changes meanwhile reaches into our own network. Redirects are followed here by hand.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from aiohttp import hdrs
from yarl import URL

from activities.media import specific
from api.errors import ApiError, invalid
from models.settings import Settings
from providers.http import HttpClient, Origin, Response, TransportError
from stores.blobs import BlobStore

__all__ = ["Content", "fetch"]

_REDIRECTS = {301, 302, 303, 307, 308}
_MOST_REDIRECTS = 5
_PORTS = {"http": 80, "https": 443}
_NAMED = re.compile(r'filename="?([^";]+)"?', re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Content:
    """Bytes in the blob store, and what is known about them. `mime_type` is what was stated, if anything."""

    sha256: str
    size: int
    mime_type: str | None = None
    filename: str | None = None


async def fetch(address: str, blobs: BlobStore, settings: Settings, *, field: str) -> Content:
    """Fetch an http or https address. Raises ApiError 422 naming `field` and the reason."""
    seconds = settings.api_request_timeout_seconds
    client = HttpClient(allow_private=settings.allow_private_endpoints, read_timeout=seconds)
    try:
        url = _checked(address, field)
        for _ in range(_MOST_REDIRECTS + 1):
            response = await client.request(_origin(url), _head(url))
            if response.status not in _REDIRECTS:
                return await _store(url, response, blobs, settings, field=field)
            response.release()
            url = _next(url, response.headers.get("location", ""), field)
    except TransportError as error:
        hint = "; TIDEMARK_ALLOW_PRIVATE_ENDPOINTS allows private ones" if error.kind == "refused" else ""
        raise _failed(f"{error}{hint}", field, error.kind) from None
    finally:
        await client.close()
    raise _failed(f"more than {_MOST_REDIRECTS} redirects", field, "redirects")


def _failed(why: str, field: str, reason: str) -> ApiError:
    return invalid(f"{field}: the content cannot be fetched: {why}", code="fetch_failed", field=field, reason=reason)


def _checked(address: str | URL, field: str) -> URL:
    """An address that may be asked. Raises ApiError 422."""
    try:
        url = URL(address)
        host, port = url.raw_host, url.port
    except ValueError:
        raise _failed("it is no address", field, "address") from None
    if url.scheme not in _PORTS or not host or not port:
        raise _failed("it is no http:// or https:// address", field, "address")
    if url.raw_user is not None or url.raw_password is not None:
        raise _failed("an address with a user name or password is not taken", field, "address")
    return url


def _next(url: URL, location: str, field: str) -> URL:
    try:
        following = _checked(url.join(URL(location)), field)
    except ValueError:
        raise _failed("it redirects to what is no address", field, "redirects") from None
    if url.scheme == "https" and following.scheme != "https":
        raise _failed("it redirects from https to http", field, "redirects")
    return following


def _origin(url: URL) -> Origin:
    return Origin(url.scheme, url.raw_host or "", url.port or _PORTS[url.scheme], guard=True)


def _head(url: URL) -> bytes:
    lines = (
        f"GET {url.raw_path_qs or '/'} HTTP/1.1",
        f"Host: {_origin(url).authority}",
        "User-Agent: tidemark",
        "Accept: */*",
        # What is stored is what a client of the same address would see, not a compressed form of it.
        "Accept-Encoding: identity",
    )
    return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")


async def _store(url: URL, response: Response, blobs: BlobStore, settings: Settings, *, field: str) -> Content:
    limit, headers = settings.api_fetch_max_bytes, response.headers
    if response.status != 200:
        raise _failed(f"the address answers {response.status}", field, "status")
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise _failed("the answer is compressed although that was not asked for", field, "encoding")
    length = headers.get(hdrs.CONTENT_LENGTH.lower(), "")
    async with blobs.writer(int(length) if length.isdigit() and len(length) < 16 else None) as writer:
        async for piece in response.chunks():
            if response.received > limit:
                raise _failed(f"it is longer than {limit} bytes (TIDEMARK_API_FETCH_MAX_BYTES)", field, "too_large")
            await writer.write(piece)
        sha256 = await writer.finish()
        size = writer.size
    named = _NAMED.search(headers.get("content-disposition", ""))
    filename = named[1] if named else url.name or None
    return Content(sha256, size, specific(headers.get("content-type")), filename)
