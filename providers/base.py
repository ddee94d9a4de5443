"""The provider contract. A provider knows one kind of source and three verbs: check, list, open.

A provider
- never retries, waits or schedules: it raises an error of `providers.errors` and Temporal decides (a body that
  is cut on its way is no refusal: `providers/resuming.py`);
- never imports temporalio, pymongo or a store: it is handed credentials and gives back objects;
- is safe to use from many tasks of one event loop at once, and holds bounded memory whatever the
  size of an object or of the source;
- never puts a secret, a token or a signed URL into an error, a log line, a cursor or an attribute.

Identity. `SourceObject.id` is stable for the life of the source object and unique within the
provider account (design.md, `source_object_id`). It is never normalised, trimmed or case-folded.

Fingerprint. `content|stamp`, one string. Two fingerprints with the same content part promise the
same bytes; the same string promises that nothing a mapping could use has changed. A provider that
cannot tell versions apart must say so by a content part that always differs: null is never equal
to null.

Pages. `list_page` returns at most `limit` objects, in the order the source gives them. Columns
first (`ids`, `fingerprints`), rows on demand (`row(i)`), because most rows of most polls are only
compared. `skips[i]` names why row i is present but must not be ingested (folder marker, archived):
it still proves presence. `next_cursor` is None on the last page only, and `complete` is true on
that page only if the provider can vouch that nothing within the cursor's range was left out; a
reply that is not provably a whole page (blank, cut, foreign) is `Transient`, never an empty page.
A full walk of an unordered source that had to pass over a part of known bounds is complete without it:
it says so by `unproven`, keeps no position for that part, and the run is partial.
A cursor is opaque to the caller, holds no secret, is at most 4 KiB, and stays valid across
processes; a refused cursor is `Transient` with reason `cursor_refused`, and the caller starts over.

Absence. What a complete full walk did not show is gone, unless `capabilities.confirms`: of such a source,
whose listings have been seen to leave things out, `still_there` is asked by id before anything is removed.

Change feeds. A provider with `capabilities.change_feed` also has `list_changes`: pages of what changed
since the kept `positions`. Its rows are compared and ingested like any others; what it does not show is
not absent. Removals are explicit (`removed`), later events win over earlier ones, and whatever cannot
be decided from the feed alone (a moved folder, a refused place) asks for a full walk by `rescan`.

Ranges. A provider with `capabilities.ranges` can list `(after, until]` of its order: `range_cursor`
makes the starting cursor. Several ranges may be listed at once.

Open. `open` delivers exactly the version that was listed or raises `Changed`; with
`any_version=True` it delivers whatever is there now and `Content.source` says what that was.
The body is verified while it is read: a body shorter or longer than announced is `Transient`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, Protocol

from providers.errors import Misconfigured

__all__ = [
    "Attributes",
    "Capabilities",
    "CheckReport",
    "Content",
    "Page",
    "Positions",
    "Provider",
    "Room",
    "SourceObject",
    "content_part",
    "copied",
]

Room = Callable[[], memoryview]
"""Where the next bytes of an object are wanted; never empty. It is asked anew for each portion."""


def content_part(fingerprint: str) -> str:
    """The part of a fingerprint that stands for the bytes."""
    return fingerprint.rpartition("|")[0]


@dataclass(frozen=True, slots=True)
class SourceObject:
    """One file or row as listed. JSON-serialisable by `to_document`, restored by `from_document`."""

    id: str
    path: str
    """Human path from the source root, `/`-separated, with the file name; what filters and mappings see."""
    fingerprint: str
    size: int | None = None
    modified_at: datetime | None = None
    mime_type: str | None = None
    locator: Mapping[str, Any] = field(default_factory=dict)
    """What the provider needs to open it again; BSON- and JSON-safe, no secrets."""
    weight: int = 0
    """Bytes that `locator` takes, where that is more than a few hundred (rows that carry their values)."""

    @property
    def name(self) -> str:
        """The file name: what follows the last `/` of the path."""
        return self.path.rpartition("/")[2]

    def to_document(self) -> dict[str, Any]:
        """As stored in a staged chunk."""
        return {
            "id": self.id,
            "path": self.path,
            "fp": self.fingerprint,
            "size": self.size,
            "mtime": self.modified_at,
            "mime": self.mime_type,
            "loc": dict(self.locator),
        }

    @classmethod
    def from_document(cls, doc: Mapping[str, Any]) -> SourceObject:
        """Inverse of `to_document`."""
        return cls(doc["id"], doc["path"], doc["fp"], doc["size"], doc["mtime"], doc["mime"], doc["loc"])


@dataclass(slots=True)
class Page:
    """What one listing call returns. See the module docstring for what it promises."""

    ids: Sequence[str]
    fingerprints: Sequence[str]
    row: Callable[[int], SourceObject]
    next_cursor: str | None
    complete: bool
    skips: Mapping[int, str] = field(default_factory=dict)
    removed: Mapping[str, str] = field(default_factory=dict)
    """Explicit deletion events: id -> reason (`deleted`, `trashed`, `moved_out`, `not_visible`). Change feeds only."""
    positions: Mapping[str, str] = field(default_factory=dict)
    """Places in change feeds (key -> opaque place of at most 4 KiB, no secrets) to be kept once everything listed
    up to here is durable. A full walk gives the place that was taken *before* its listing."""
    proven: Sequence[tuple[str, str | None]] = ()
    """Id ranges `[low, high)` that this pass has enumerated wholly when this page ends: what is owned within
    and was not shown is gone. For change feeds that had to enumerate a part anew; a complete full walk needs none."""
    unproven: Sequence[tuple[str, str | None, str]] = ()
    """Id ranges `[low, high)` that this pass could not enumerate, and why (a library that cannot be read): nothing in
    them is taken for absent. At most 64 in a pass; with more, or with unknown ranges, a full walk is not complete."""
    rescan: str = ""
    """Change feeds: why only a full walk can tell what has changed (a folder moved, the place was refused)."""
    in_order: bool = True
    """False when this page is not in ascending UTF-8 byte order of `ids`, or not after the page before."""
    requests: int = 1


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What the caller may count on.

    `ordered`: ids ascend in UTF-8 byte order over the whole walk. `confirms`: a walk alone proves no absence,
    `still_there` has to be asked.
    """

    ordered: bool = False
    ranges: bool = False
    change_feed: bool = False
    confirms: bool = False
    page_limit: int = 1000


@dataclass(slots=True)
class Attributes:
    """Costly per-object attributes, fetched only when a mapping or filter needs them."""

    tags: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    properties: Mapping[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Content:
    """An opened object: `body` holds it whole (small ones), or `chunks` or `fills` give it once.

    `fills(room)` reads it to where `room()` says, each time something is there, and yields how many bytes that was:
    what comes from a socket is copied nowhere on its way. `size` is what will be delivered, in bytes, or None where
    the provider cannot know before the end. `attributes` is filled where the answer carried them for free (S3 user
    metadata), else None.
    """

    source: SourceObject
    size: int | None
    mime_type: str | None
    body: bytes | None = None
    chunks: AsyncIterator[bytes] | None = None
    attributes: Attributes | None = None
    fills: Callable[[Room], AsyncGenerator[int]] | None = None

    async def into(self, room: Room) -> AsyncGenerator[int]:
        """The object in whatever form it came, by `fills`."""
        if self.fills is not None:
            async with aclosing(self.fills(room)) as counts:
                async for count in counts:
                    yield count
        elif self.chunks is not None:
            async for chunk in self.chunks:
                for count in copied(chunk, room):
                    yield count
        else:
            assert self.body is not None
            for count in copied(self.body, room):
                yield count


def copied(piece: bytes, room: Room) -> Iterator[int]:
    """Put bytes where `room` says; how many each time."""
    rest = memoryview(piece)
    while rest:
        target = room()
        count = min(len(target), len(rest))
        target[:count] = rest[:count]
        yield count
        rest = rest[count:]


@dataclass(slots=True)
class CheckReport:
    """Answer of a connection check. `message` is for a person; `details` are JSON-safe facts, no secrets."""

    message: str
    details: dict[str, Any] = field(default_factory=dict)


class Positions(Protocol):
    """The kept places of one sync."""

    async def get(self, key: str) -> str | None:
        """The place kept under `key`, None if there is none."""

    async def all(self) -> Mapping[str, str]:
        """All of them (one per drive or table: thousands at most)."""


class Provider(ABC):
    """One connection to one source account. Constructed by `providers.open_provider` only."""

    name: ClassVar[str]
    capabilities: Capabilities

    @abstractmethod
    async def check(self, path: str | None = None) -> CheckReport:
        """Prove that the credentials (and `path`, if given) work, as cheaply as that can be proven.

        Raises Denied or Misconfigured with a message naming what to change; Transient, Throttled.
        """

    @abstractmethod
    async def list_page(self, path: str, cursor: str | None, limit: int) -> Page:
        """One page of the walk of `path`; `cursor` None starts it.

        Raises Denied, Misconfigured, Transient, Throttled.
        """

    async def list_changes(self, path: str, positions: Positions, cursor: str | None, limit: int) -> Page:
        """One page of what changed since `positions`; only with `capabilities.change_feed`. Errors of `list_page`."""
        raise NotImplementedError((path, positions, cursor, limit))  # pragma: no cover - only change feeds are asked

    async def still_there(self, path: str, ids: Sequence[str]) -> set[str]:
        """Those of `ids`, not shown by a complete walk of `path`, that the source has within it when asked by id.

        Only with `capabilities.confirms`; at most 100 ids. What is not decided counts as there. Errors of `list_page`.
        """
        raise NotImplementedError((path, ids))  # pragma: no cover - only providers that confirm are asked

    @abstractmethod
    async def open(self, source: SourceObject, *, any_version: bool = False) -> Content:
        """Open exactly the listed version (or, with `any_version`, the current one).

        Raises Changed, Gone, Permanent, Denied, Transient, Throttled.
        """

    def capabilities_for(self, path: str) -> Capabilities:
        """What the caller may count on for `path`: one account may hold sources of several kinds."""
        del path
        return self.capabilities

    def narrow(self, path: str, provider_filters: Mapping[str, Any]) -> str:
        """`path` narrowed by a sync's `provider_filters`, for `list_page`, `scope` and `range_cursor`.

        The result is opaque and holds no secret; what file paths are relative to does not change.
        Raises Misconfigured for a filter the provider does not have.
        """
        if provider_filters:
            raise Misconfigured(
                f"there are no provider_filters for this provider: {', '.join(sorted(provider_filters))}",
                provider=self.name,
            )
        return path

    async def attributes(self, source: SourceObject, *, tags: bool, metadata: bool) -> Attributes:
        """Costly attributes of one object. Providers without any return empty ones."""
        del source, tags, metadata
        return Attributes()

    def scope(self, path: str) -> tuple[str, str | None]:
        """For ordered providers: the id range `(low, high)` that `path` covers; every id i has low <= i < high.

        `high` None means unbounded.
        """
        raise NotImplementedError(path)  # pragma: no cover - only ordered providers are asked

    def range_cursor(self, path: str, after: str | None, until: str | None) -> str:
        """The cursor that starts a walk of ids in `(after, until]`; None means open-ended."""
        raise NotImplementedError((path, after, until))  # pragma: no cover - only with capabilities.ranges

    @abstractmethod
    async def close(self) -> None:
        """Release sockets. Idempotent."""
