"""The bytes of one file: the version that was listed, its digest checked while they are read.

Drive cannot be asked for a version. A binary file proves itself by length and MD5; a native document by its time
of change, read when its export has begun. Whether a mismatch is a newer version or a spoilt body is asked then.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from functools import partial
from typing import Any

from providers.base import Attributes, Content, Room, SourceObject, content_part
from providers.errors import Changed, Denied, Gone, Misconfigured, Permanent, ProviderError, Transient
from providers.google_drive.client import DriveClient
from providers.google_drive.errors import PROVIDER, from_status, from_transport, reason_of
from providers.google_drive.exports import SHORTCUT, fallback_of
from providers.google_drive.files import FIELDS, row_of
from providers.http import Response, TransportError
from providers.resuming import goes_on, resumed, small_once_more

__all__ = ["attributes_of", "open_file"]

_SMALL_BYTES = 1024 * 1024
_ACKNOWLEDGE = "cannotDownloadAbusiveFile"
_TOO_LARGE = "exportSizeLimitExceeded"


def attributes_of(source: SourceObject) -> Attributes:
    """What the listing told already."""
    return Attributes(properties=dict(source.locator.get("p") or {}))


async def open_file(client: DriveClient, source: SourceObject, *, any_version: bool, max_bytes: int) -> Content:
    """See `Provider.open`."""
    if any_version:
        source = await _now(client, source)
    if source.size is not None and source.size > max_bytes:
        raise Permanent(
            "larger than the largest allowed object", provider=PROVIDER, path=source.path, reason="too_large"
        )
    opened = _Opening(client, source)
    content = await (opened.export() if "x" in source.locator else opened.download())
    if content.size is not None and content.size > max_bytes:
        raise Permanent(
            "larger than the largest allowed object", provider=PROVIDER, path=source.path, reason="too_large"
        )
    return content


async def _look(client: DriveClient, file_id: str, keys: Mapping[str, str], path: str) -> dict[str, Any]:
    file = await client.call("files.get", fileId=file_id, fields=FIELDS, keys=keys, path=path, of_file=True)
    if not isinstance(file.get("id"), str):
        raise Transient("not an answer to this request", provider=PROVIDER, path=path, reason="foreign_answer")
    if file.get("trashed"):
        raise Gone("in the bin", provider=PROVIDER, path=path, reason="trashed")
    return file


async def _now(client: DriveClient, source: SourceObject) -> SourceObject:
    """The file as it is now, in the folder where it was listed."""
    locator = source.locator
    target_id = str(locator["i"])
    keys = {target_id: str(locator["k"])} if locator.get("k") else {}
    file = await _look(client, source.id, keys, source.path)
    target = None
    if file.get("mimeType") == SHORTCUT:
        details = file.get("shortcutDetails") or {}
        target_id = str(details.get("targetId") or target_id)
        target = await _look(client, target_id, keys, source.path)
    folder = source.path.rpartition("/")[0]
    row = row_of(file, folder, locator.get("f") or {}, acknowledge=bool(locator.get("a")), target=target)
    if row.skip:
        raise Permanent("it has no bytes that could be fetched", provider=PROVIDER, path=source.path, reason=row.skip)
    return row.source


class _Opening:
    """One attempt at one file."""

    def __init__(self, client: DriveClient, source: SourceObject) -> None:
        self._client = client
        self._source = source
        self._path = source.path
        self._id = str(source.locator["i"])
        key = source.locator.get("k")
        self._keys: dict[str, str] = {self._id: str(key)} if key else {}
        self._acknowledge = False

    # --- binary files

    async def download(self) -> Content:
        """A file's own bytes."""
        response = await small_once_more(self._media)
        if response.status == 403 and self._source.locator.get("a") and reason_of(response.body) == _ACKNOWLEDGE:
            self._acknowledge = True
            response = await small_once_more(self._media)
        if response.status == 416 and self._source.size == 0:
            response.release()
            return self._content(0, body=b"")
        if response.status != 200:
            raise await self._refused(response)
        size, source = _length(response), self._source
        if size is not None and source.size is not None and size != source.size:
            response.release()
            raise await self._mismatch(f"{size} bytes are announced where {source.size} were listed", "size_mismatch")
        expected = size if size is not None else source.size
        if response.body is None:
            return self._content(expected, fills=partial(self._checked, response, size, expected))
        body = response.body
        if expected is not None and len(body) != expected:
            raise self._cut(len(body), expected)
        digest = source.locator.get("m")
        if digest and hashlib.md5(body, usedforsecurity=False).hexdigest() != digest:
            raise await self._mismatch("the bytes are not those that were listed", "digest_mismatch")
        if not digest:
            await self._unchanged()
        return self._content(len(body), body=body)

    async def _media(self, offset: int = 0) -> Response:
        return await self._client.media(
            self._id,
            path=self._path,
            keys=self._keys,
            acknowledge=self._acknowledge,
            offset=offset,
            whole_up_to=0 if offset else _SMALL_BYTES,
        )

    async def _go_on(self, total: int, offset: int) -> Response:
        """The rest of a body that was cut; whether it is of the same version, its digest or its stamp tells."""
        response = await self._media(offset)
        if goes_on(response.status, response.headers, offset, total):
            return response
        if response.status >= 300:
            raise await self._refused(response)
        response.release()
        raise self._cut(offset, total)

    async def _checked(
        self, response: Response, size: int | None, expected: int | None, room: Room
    ) -> AsyncGenerator[int]:
        digest = hashlib.md5(usedforsecurity=False)
        go_on = partial(self._go_on, size) if size else None
        target = memoryview(b"")

        def next_room() -> memoryview:
            nonlocal target
            target = room()
            return target

        async with aclosing(self._stream(response, expected, next_room, go_on)) as counts:
            async for count in counts:
                digest.update(target[:count])
                yield count
        listed = self._source.locator.get("m")
        if listed and digest.hexdigest() != listed:
            raise await self._mismatch("the bytes are not those that were listed", "digest_mismatch")
        if not listed:
            await self._unchanged()

    def _cut(self, received: int, expected: int) -> Transient:
        message = f"{received} bytes came where {expected} were announced"
        return Transient(message, provider=PROVIDER, path=self._path, reason="body_cut")

    async def _mismatch(self, message: str, reason: str) -> ProviderError:
        """A newer version, or a body that was spoilt on its way."""
        await self._unchanged()
        return Transient(message, provider=PROVIDER, path=self._path, reason=reason)

    async def _unchanged(self) -> None:
        """Raises Changed unless Drive still shows the listed version, Gone if it shows none."""
        now = await _now(self._client, self._source)
        if content_part(now.fingerprint) != content_part(self._source.fingerprint):
            raise Changed("no longer the listed version", provider=PROVIDER, path=self._path)

    # --- native documents

    async def export(self) -> Content:
        """A native document in the format of its row; where that is too large, by its export link, then as PDF."""
        wanted = str(self._source.locator["x"])
        response = await self._exported(wanted)
        if response.status != 200 and self._too_large(response):
            refusal = await self._refused(response)
            response = await self._by_link(wanted) or response
            fallback = fallback_of(str((self._source.locator.get("p") or {}).get("mimeType") or ""), wanted)
            if response.status != 200 and fallback:
                wanted = fallback
                response = await self._exported(wanted)
                if response.status != 200 and self._too_large(response):
                    response = await self._by_link(wanted) or response
            if response.status != 200:
                response.release()
                raise refusal
        if response.status != 200:
            raise await self._refused(response)
        try:
            await self._unchanged()
        except BaseException:
            response.release()
            raise
        if response.body == b"" and wanted != "text/plain":
            raise Transient("the export is empty", provider=PROVIDER, path=self._path, reason="export_empty")
        expected = _length(response)
        if response.body is not None:
            if expected is not None and len(response.body) != expected:
                raise self._cut(len(response.body), expected)
            return self._content(len(response.body), body=response.body, mime_type=wanted)
        return self._content(expected, fills=partial(self._stream, response, expected), mime_type=wanted)

    @staticmethod
    def _too_large(response: Response) -> bool:
        """Over the limit for exports; for PDF, Drive says so by a plain 500."""
        return reason_of(response.body) == _TOO_LARGE or response.status == 500

    async def _exported(self, mime_type: str) -> Response:
        return await small_once_more(
            partial(
                self._client.export, self._id, mime_type, path=self._path, keys=self._keys, whole_up_to=_SMALL_BYTES
            )
        )

    async def _by_link(self, mime_type: str) -> Response | None:
        """The address under which Drive itself offers the format, which knows no limit of size."""
        file = await self._client.call(
            "files.get", fileId=self._id, fields="id,exportLinks", keys=self._keys, path=self._path, of_file=True
        )
        link = (file.get("exportLinks") or {}).get(mime_type)
        if not isinstance(link, str):
            return None
        return await small_once_more(partial(self._client.fetch, link, path=self._path, whole_up_to=_SMALL_BYTES))

    async def _stream(
        self,
        response: Response,
        expected: int | None,
        room: Room,
        go_on: Callable[[int], Awaitable[Response]] | None = None,
    ) -> AsyncGenerator[int]:
        received = 0
        try:
            async with aclosing(resumed(response, go_on, room)) as counts:
                async for count in counts:
                    received += count
                    yield count
        except TransportError as error:
            raise from_transport(error, path=self._path) from None
        if expected is not None and received != expected:
            raise self._cut(received, expected)

    # --- both

    async def _refused(self, response: Response) -> ProviderError:
        response.release()
        error = from_status(response.status, response.headers, response.body, path=self._path, of_file=True)
        if isinstance(error, Permanent) and error.reason == "access_denied":
            # Perhaps not this file's fault: has the account lost the whole source?
            try:
                await _look(self._client, self._id, self._keys, self._path)
            except (Gone, Denied, Misconfigured) as worse:
                return worse
        return error

    def _content(
        self,
        size: int | None,
        *,
        body: bytes | None = None,
        fills: Callable[[Room], AsyncGenerator[int]] | None = None,
        mime_type: str | None = None,
    ) -> Content:
        source = self._source
        return Content(source, size, mime_type or source.mime_type, body, attributes=attributes_of(source), fills=fills)


def _length(response: Response) -> int | None:
    value = response.headers.get("content-length", "")
    coded = response.headers.get("content-encoding", "identity").lower() not in {"", "identity"}
    return int(value) if value.isdigit() and not coded else None
