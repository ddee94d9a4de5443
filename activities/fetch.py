"""Fetching one source object: attributes, filters, mapping, and its bytes as a body or a blob on disk."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass
from enum import Enum

from activities.engine import Engine, SyncContext
from activities.mapping import MappedObject
from providers.base import Attributes, Content, SourceObject
from providers.errors import Changed, Gone, Permanent

__all__ = ["Fetched", "Fetcher", "Verdict"]


class Verdict(Enum):
    """What came of fetching; transient trouble and throttling are exceptions."""

    FETCHED = "fetched"
    TOUCHED = "touched"
    SKIPPED = "skipped"
    FAILED = "failed"


@dataclass(slots=True)
class Fetched:
    """One fetched object on its way into a group. `body` holds it, or `sha256` names the blob already written."""

    operation: str
    listed: SourceObject
    source: SourceObject
    verdict: Verdict
    body: bytes | None = None
    sha256: str = ""
    size: int = 0
    mapped: MappedObject | None = None
    reason: str = ""
    message: str = ""
    requests: int = 1
    budget: int = 0


class Fetcher:
    """Fetches for one chunk."""

    def __init__(self, engine: Engine, context: SyncContext) -> None:
        self._blobs = engine.blobs
        self._provider = context.provider
        self._filters = context.filters
        self._mapping = context.mapping
        self._schema = context.bucket.get("bucket_schema")
        self._limit = engine.settings.max_object_bytes
        tags, metadata = context.mapping.needs
        filter_tags, filter_metadata = context.filters.needs_attributes if context.filters else (False, False)
        self._tags, self._metadata = tags or filter_tags, metadata or filter_metadata
        # A filter on attributes is asked before the body is paid for; a mapping can wait for what GET brings along.
        self._ask_first = filter_tags or filter_metadata or tags

    async def fetch(self, operation: str, listed: SourceObject) -> Fetched:
        """Fetch exactly the listed version; if it has changed since, whatever is there now, once.

        Raises Transient and Throttled, and Denied or Misconfigured where the whole run must stop.
        """
        try:
            return await self._fetch(operation, listed, listed, any_version=False)
        except Changed:
            try:
                return await self._fetch(
                    "update" if operation == "touch" else operation, listed, listed, any_version=True
                )
            except Gone:
                return Fetched(operation, listed, listed, Verdict.SKIPPED, reason="gone")
            except Permanent as error:
                return _failed(operation, listed, error)
        except Gone:
            # Deleted between list and get: the next pass finds it absent and removes what is stored.
            return Fetched(operation, listed, listed, Verdict.SKIPPED, reason="gone")
        except Permanent as error:
            return _failed(operation, listed, error)

    async def _fetch(self, operation: str, listed: SourceObject, source: SourceObject, *, any_version: bool) -> Fetched:
        if source.size is not None and source.size > self._limit:
            message = f"{source.size} bytes are over the limit of {self._limit} (TIDEMARK_MAX_OBJECT_BYTES)"
            raise Permanent(message, provider=self._provider.name, path=source.path, reason="over_size")
        requests = 0
        attributes: Attributes | None = None
        touch = operation == "touch"
        if (self._ask_first or touch) and (self._tags or self._metadata):
            attributes = await self._provider.attributes(source, tags=self._tags, metadata=self._metadata)
            requests += self._tags + self._metadata
            if self._filters is not None and (reason := self._filters.reject_attributes(source, attributes)):
                return Fetched(operation, listed, source, Verdict.SKIPPED, reason=reason, requests=requests)
        if touch:
            mapped = self._mapping.apply(source, attributes or Attributes(), source.mime_type)
            return Fetched(
                operation, listed, source, Verdict.TOUCHED, size=source.size or 0, mapped=mapped, requests=requests
            )
        content = await self._provider.open(source, any_version=any_version)
        requests += 1
        source = content.source
        if attributes is None:
            attributes = content.attributes
            if self._metadata and attributes is None:
                attributes = await self._provider.attributes(source, tags=False, metadata=True)
                requests += 1
        fetched = Fetched(operation, listed, source, Verdict.FETCHED, requests=requests)
        fetched.mapped = self._mapping.apply(source, attributes or Attributes(), content.mime_type)
        if content.body is not None:
            fetched.body, fetched.size = content.body, len(content.body)
        else:
            fetched.sha256, fetched.size = await self._stream(content)
        return fetched

    async def _stream(self, content: Content) -> tuple[str, int]:
        size = 0
        async with self._blobs.writer(content.size) as writer, aclosing(content.into(writer.room)) as counts:
            async for count in counts:
                size += count
                if size > self._limit:
                    message = f"more than {self._limit} bytes (TIDEMARK_MAX_OBJECT_BYTES)"
                    raise Permanent(message, provider=self._provider.name, path=content.source.path, reason="over_size")
                await writer.filled(count)
            return await writer.finish(), size


def _failed(operation: str, listed: SourceObject, error: Permanent) -> Fetched:
    return Fetched(operation, listed, listed, Verdict.FAILED, reason=error.reason, message=str(error))
