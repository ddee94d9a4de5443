"""Opening a file: the listed version by a fresh download address, verified while it streams, resumed when cut.

The address (`@microsoft.graph.downloadUrl`) is as good as a password for an hour: it is asked for when
needed, used at once, and never kept, logged or put into an error.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import aiohttp
import structlog

from providers.base import Attributes, Content, SourceObject
from providers.errors import Changed, Gone, Permanent, Transient
from providers.sharepoint.errors import Kind, from_status
from providers.sharepoint.graph import Graph
from providers.sharepoint.items import Options, content_of, drifts, modified_at, source_object
from providers.sharepoint.quickxor import QuickXorHash

__all__ = ["attributes_of", "open_item", "read_item"]

_LOG = structlog.get_logger(__name__)
# Held whole up to here: what follows saves a file on disk.
_WHOLE = 1024 * 1024
_RESUMES = 3
_URL_FIELD = "@microsoft.graph.downloadUrl"


def _where(source: SourceObject) -> str:
    drive, item = str(source.locator["drive"]), str(source.locator["item"])
    return f"/drives/{quote(drive, safe='!')}/items/{quote(item, safe='!')}"


async def read_item(graph: Graph, source: SourceObject) -> dict[str, Any]:
    """The driveItem as it is now. Raises Gone, Permanent, Denied, Transient, Throttled."""
    item = await graph.get(_where(source), kind=Kind.ITEM, path=source.path)
    if "deleted" in item:
        raise Gone("no longer there", provider="sharepoint", path=source.path)
    return item


def attributes_of(item: Mapping[str, Any]) -> Attributes:
    """What a mapping may use of an item. No addresses that carry a right."""
    properties = {name: value for name, value in item.items() if not name.startswith("@")}
    flat = {name: str(value) for name, value in properties.items() if isinstance(value, str | int | float)}
    for who in ("createdBy", "lastModifiedBy"):
        if name := ((properties.get(who) or {}).get("user") or {}).get("displayName"):
            flat[who] = str(name)
    return Attributes(metadata=flat, properties=properties)


async def open_item(graph: Graph, source: SourceObject, *, any_version: bool, max_bytes: int) -> Content:
    """See Provider.open."""
    if source.locator.get("malware") == "refused":
        message = "the file is marked as malware (provider_filters.allow_malware takes it all the same)"
        raise Permanent(message, provider="sharepoint", path=source.path, reason="quarantined")
    item = await read_item(graph, source)
    now = _current(source, item, any_version=any_version)
    if now.size is not None and now.size > max_bytes:
        message = f"{now.size} bytes are over the limit of {max_bytes} (TIDEMARK_MAX_OBJECT_BYTES)"
        raise Permanent(message, provider="sharepoint", path=now.path, reason="too_large")
    transfer = _Transfer(graph, now, item)
    await transfer.start()
    attributes = attributes_of(item)
    if transfer.size is not None and transfer.size <= _WHOLE:
        body = b"".join([part async for part in transfer.chunks()])
        if transfer.differs:
            attributes.metadata = {**attributes.metadata, "bytes_differ_from_listing": "true"}
        return Content(now, len(body), now.mime_type, body=body, attributes=attributes)
    if transfer.size is not None and transfer.size != now.size:
        attributes.metadata = {**attributes.metadata, "bytes_differ_from_listing": "true"}
    return Content(now, transfer.size, now.mime_type, chunks=transfer.chunks(), attributes=attributes)


def _current(source: SourceObject, item: Mapping[str, Any], *, any_version: bool) -> SourceObject:
    """The row to deliver: as listed if that is still the version, else what is there now, else Changed."""
    same = _same(source, item)
    if same and ("malware" in source.locator or "malware" not in item):
        return source
    if not same and not any_version:
        raise Changed("no longer the listed version", provider="sharepoint", path=source.path)
    path = source.path
    parent = str((item.get("parentReference") or {}).get("id") or "")
    if item.get("name") and parent == source.locator.get("parent"):
        path = f"{path.rpartition('/')[0]}/{item['name']}".removeprefix("/")
    allowed = Options(allow_malware=source.locator.get("malware") == "allowed")
    now = source_object(str(source.locator["drive"]), {**item, "id": source.locator["item"]}, path, options=allowed)
    if now.locator.get("malware") == "refused":
        raise Permanent("the file is marked as malware", provider="sharepoint", path=path, reason="quarantined")
    return now


def _same(source: SourceObject, item: Mapping[str, Any]) -> bool:
    """Whether an item is still the listed version: by hash where both have one, else by eTag, else by time and size."""
    listed, now = str(source.locator.get("content") or ""), content_of(item)
    if listed == now:
        return True
    if listed[:1] in "qsa" and now[:1] in "qsa" and listed[:1] == now[:1]:
        return False
    if source.locator.get("etag") and item.get("eTag"):
        return bool(source.locator["etag"] == item["eTag"])
    return source.size == item.get("size") and source.modified_at == modified_at(item)


@dataclass(slots=True)
class _Announced:
    start: int
    total: int | None


class _Transfer:
    """One download. What was announced must come; a cut one goes on where it stopped, if the version is the same."""

    def __init__(self, graph: Graph, source: SourceObject, item: Mapping[str, Any]) -> None:
        self._graph = graph
        self._source = source
        self._item = item
        self._answer: aiohttp.ClientResponse | None = None
        self._received = 0
        self.size: int | None = None
        self.differs = False
        hashes = (item.get("file") or {}).get("hashes") or {}
        self._expected = str(hashes.get("quickXorHash") or "")
        self._hash = QuickXorHash() if self._expected else None
        self._loose = drifts(str(item.get("name") or source.name))

    async def start(self) -> None:
        """Begin; `size` is known afterwards if the server says it."""
        self._answer = await self._request(0)
        self.size = _announced(self._answer, self._source).total
        listed = self._item.get("size")
        if self.size is not None and isinstance(listed, int) and self.size != listed and not self._loose:
            self._drop()
            message = f"{self.size} bytes are announced, {listed} were listed"
            raise self._broken(message, "size_differs")

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body, once. Raises Transient when it is not whole."""
        resumes = 0
        try:
            while True:
                began = self._received
                cut: Exception | None = None
                try:
                    async for part in self._parts():
                        yield part
                except (aiohttp.ClientError, TimeoutError, OSError) as error:
                    cut = error
                if cut is None and (self.size is None or self._received >= self.size):
                    break
                if resumes >= _RESUMES or self.size is None or self._received == began:
                    if cut is not None:
                        raise self._graph.translate(cut, self._source.path) from None
                    raise self._broken(f"{self._received} of {self.size} bytes came", "cut")
                resumes += 1
                await self._resume()
            self._verify()
        finally:
            self._drop()

    async def _parts(self) -> AsyncIterator[bytes]:
        assert self._answer is not None  # start() was called
        async for part in self._answer.content.iter_any():
            self._received += len(part)
            if self.size is not None and self._received > self.size:
                raise self._broken("more bytes came than were announced", "too_long")
            if self._hash is not None:
                self._hash.update(part)
            yield part

    async def _resume(self) -> None:
        """Go on where it was cut. The address may have expired, the file may have changed: both are looked up."""
        self._drop()
        item = await read_item(self._graph, self._source)
        if not _same(self._source, item):
            raise Changed("changed while it was read", provider="sharepoint", path=self._source.path)
        self._item = item
        self._answer = await self._request(self._received)
        announced = _announced(self._answer, self._source)
        if announced.start != self._received or announced.total != self.size:
            raise self._broken("the server does not go on where it was asked to", "cut")

    async def _request(self, offset: int) -> aiohttp.ClientResponse:
        """Ask for the bytes; an address that has expired is replaced once."""
        url = str(self._item.get(_URL_FIELD) or "") or await self._redirected()
        headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={offset}-"} if offset else {})}
        for last in (False, True):
            answer = await self._graph.fetch(url, headers, path=self._source.path)
            if answer.status in {200, 206}:
                self._graph.gate.note_success(answer.headers)
                return answer
            body = await answer.content.read(64 * 1024)
            answer.release()
            if last and answer.status == 401:
                # Our own token was accepted just now: this says nothing about the connection's credentials.
                raise self._broken("a new download address is refused at once", "download_refused")
            if last or answer.status not in {401, 403, 404, 410}:
                raise from_status(
                    answer.status, answer.headers, body, kind=Kind.ITEM, path=self._source.path, gate=self._graph.gate
                )
            self._item = await read_item(self._graph, self._source)
            url = str(self._item.get(_URL_FIELD) or "") or await self._redirected()
        raise AssertionError("unreachable")  # pragma: no cover - the second round returns or raises

    async def _redirected(self) -> str:
        """Items without an address of their own have one behind `/content`."""
        return await self._graph.redirect(f"{_where(self._source)}/content", path=self._source.path)

    def _verify(self) -> None:
        listed = self._item.get("size")
        self.differs = isinstance(listed, int) and self._received != listed
        if self._hash is not None and self._hash.digest() != self._expected:
            if not self._loose:
                raise self._broken("the bytes have another hash than is listed", "hash_differs")
            self.differs = True
        if self.differs and not self._loose:
            raise self._broken(f"{self._received} bytes came, {listed} were listed", "size_differs")
        if self.differs:
            _LOG.info("bytes differ from listing", id=self._source.id, listed=listed, received=self._received)

    def _broken(self, message: str, reason: str) -> Transient:
        return Transient(message, provider="sharepoint", path=self._source.path, reason=reason)

    def _drop(self) -> None:
        answer, self._answer = self._answer, None
        if answer is not None:
            answer.release()


def _announced(answer: aiohttp.ClientResponse, source: SourceObject) -> _Announced:
    """Where the body begins and how long the whole is, as the head says."""
    length = answer.headers.get("Content-Length", "")
    if answer.status == 206:
        match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", answer.headers.get("Content-Range", ""))
        if match is None:
            raise Transient("the range is not stated", provider="sharepoint", path=source.path, reason="malformed")
        return _Announced(int(match.group(1)), None if match.group(2) == "*" else int(match.group(2)))
    if answer.headers.get("Content-Encoding", "identity") != "identity":
        return _Announced(0, None)  # the length is that of other bytes than those we are given
    return _Announced(0, int(length) if length.isdigit() else None)
