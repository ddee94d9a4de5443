"""The bytes of one object, exactly the version that was listed, checked while they are read."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC
from email.header import decode_header, make_header
from email.utils import parsedate_to_datetime
from functools import partial

from providers.base import Attributes, Content, Room, SourceObject
from providers.errors import Changed, Permanent, Transient
from providers.http import Response, TransportError
from providers.resuming import goes_on, resumed, small_once_more
from providers.s3.client import S3Client
from providers.s3.errors import from_status, from_transport

__all__ = ["metadata_of", "open_object"]

SMALL_BYTES = 1024 * 1024
_META = "x-amz-meta-"


async def open_object(
    client: S3Client, source: SourceObject, *, any_version: bool, max_bytes: int, provider: str
) -> Content:
    """GET one object. See `Provider.open` for what it promises and raises."""
    if not any_version and source.size is not None and source.size > max_bytes:
        raise _too_large(source, provider)
    locator = source.locator
    etag = locator.get("e")
    plain = _if_match(etag) if etag and not any_version else ""
    response = await small_once_more(partial(_get, client, source, plain, SMALL_BYTES))
    headers = response.headers
    if response.status != 200:
        response.release()
        raise from_status(response.status, headers, response.body, provider=provider, path=source.id, root=False)
    served = _etag(headers)
    if etag and served and served != etag and not any_version:
        # A store that knows no If-Match.
        response.release()
        raise Changed("no longer the listed version", provider=provider, path=source.id)
    encoded = headers.get("content-encoding", "identity").lower() not in {"", "identity", "aws-chunked"}
    length = headers.get("content-length")
    size = int(length) if length is not None else None
    if size is not None and size > max_bytes:
        response.release()
        raise _too_large(source, provider)
    now = source
    if any_version and served != etag:
        now = _as_served(source, response, served, size)
    elif not encoded and size is not None and source.size is not None and size != source.size:
        response.release()
        raise Transient(
            f"answer announces {size} bytes where {source.size} were listed",
            provider=provider,
            path=source.id,
            reason="size_mismatch",
        )
    # What a store compresses on the fly has no length that could be known before.
    expected = size if size is not None else (None if encoded else now.size)
    content = Content(
        now,
        expected,
        headers.get("content-type"),
        attributes=Attributes(metadata=metadata_of(headers)),
    )
    if response.body is not None:
        _check_length(response.received, expected, source, provider)
        content.body = response.body
    else:
        go_on = (
            partial(_go_on, client, source, provider=provider, etag=served, total=size)
            if served and size and not encoded
            else None
        )
        content.fills = partial(_checked, response, source, go_on=go_on, expected=expected, provider=provider)
    return content


async def _get(client: S3Client, source: SourceObject, plain: str, whole_up_to: int) -> Response:
    locator = source.locator
    signed = [("x-amz-request-payer", "requester")] if locator.get("p") else ()
    return await client.send("GET", locator["b"], locator["k"], plain=plain, signed=signed, whole_up_to=whole_up_to)


def _etag(headers: Mapping[str, str]) -> str:
    return headers.get("etag", "").removeprefix("W/").strip('"')


def _if_match(etag: str) -> str:
    return f'If-Match: "{etag}"\r\n'


async def _go_on(
    client: S3Client, source: SourceObject, offset: int, *, provider: str, etag: str, total: int
) -> Response:
    """The rest of a body that was cut, of the very version that began."""
    response = await _get(client, source, f"{_if_match(etag)}Range: bytes={offset}-\r\n", 0)
    status, headers = response.status, response.headers
    same = "etag" not in headers or _etag(headers) == etag
    if same and goes_on(status, headers, offset, total):
        return response
    response.release()
    if status >= 300:
        raise from_status(status, headers, response.body, provider=provider, path=source.id, root=False)
    if not same:
        raise Changed("changed while it was read", provider=provider, path=source.id)
    raise Transient(
        f"{offset} of {total} bytes came, and the store does not go on from there",
        provider=provider,
        path=source.id,
        reason="body_cut",
    )


def _too_large(source: SourceObject, provider: str) -> Permanent:
    return Permanent("larger than the largest allowed object", provider=provider, path=source.id, reason="too_large")


def metadata_of(headers: dict[str, str]) -> dict[str, str]:
    """User metadata of a GET or HEAD answer, names without `x-amz-meta-`."""
    return {name[len(_META) :]: _text(value) for name, value in headers.items() if name.startswith(_META)}


def _text(value: str) -> str:
    """A metadata value: AWS wraps what is not ASCII in RFC 2047 words, others send bare UTF-8."""
    if value.isascii():
        if not value.startswith("=?"):
            return value
        try:
            return str(make_header(decode_header(value)))
        except (ValueError, LookupError):
            return value
    try:
        return value.encode("latin-1").decode()
    except UnicodeError:
        return value


def _as_served(source: SourceObject, response: Response, etag: str, size: int | None) -> SourceObject:
    """What the source is now. Its stamp is to the second; a listing that tells it finer makes another one of it."""
    changed = response.headers.get("last-modified", "")
    try:
        instant = parsedate_to_datetime(changed).astimezone(UTC)
        stamp = instant.strftime("%Y-%m-%dT%H:%M:%S.000Z")
    except ValueError:
        instant, stamp = None, changed
    locator = {**source.locator, "e": etag} if etag else {k: v for k, v in source.locator.items() if k != "e"}
    return replace(
        source,
        fingerprint=f"{etag or '@' + stamp}:{size if size is not None else ''}|{stamp}",
        size=size,
        modified_at=instant,
        locator=locator,
    )


def _check_length(received: int, expected: int | None, source: SourceObject, provider: str) -> None:
    if expected is not None and received != expected:
        raise Transient(
            f"{received} bytes came where {expected} were announced",
            provider=provider,
            path=source.id,
            reason="body_cut",
        )


async def _checked(
    response: Response,
    source: SourceObject,
    room: Room,
    *,
    go_on: Callable[[int], Awaitable[Response]] | None,
    expected: int | None,
    provider: str,
) -> AsyncGenerator[int]:
    received = 0
    try:
        async with aclosing(resumed(response, go_on, room)) as counts:
            async for count in counts:
                received += count
                yield count
    except TransportError as error:
        raise from_transport(error, provider=provider, path=source.id) from None
    _check_length(received, expected, source, provider)
