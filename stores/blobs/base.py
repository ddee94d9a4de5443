"""The blob store contract: bytes under the name of their SHA-256, written once however many objects share them.

A blob has no other name, no metadata and no versions; what refers to it is in MongoDB
(`objects.blobs.sha256`). A store is used by many processes at once and keeps no state of its own.

Atomicity. A blob is either absent or whole to everyone who has a right to read it: those who found its
name in a committed object. What a crashed writer leaves under a blob's name is never taken for the
blob by a later `put_many_small` or `writer`; they compare what they find.

Durability. Nothing is durable before `sync` has returned. A caller puts the blobs of a group, calls
`sync` once, and only then commits the objects that name them.

Retries. Retrying is the caller's (a network client's own quick second try aside). Every method is safe to
repeat; repeating a put that already took effect costs a comparison.

Errors. `BlobNotFound` (repeating is of no use) and `BlobStoreError` (disk full, permission, unreachable:
repeating may help). Nothing else escapes; no message carries bytes of a blob or a credential.

Removal. Nothing deletes a blob that may still be referenced. `discard` moves a blob out of the way of
new puts but leaves it readable; `restore` brings it back, `erase` ends it. Only `purge_unreferenced`
calls them. That is what makes purging safe beside running writers: one that found the blob present a
moment before it was discarded commits a reference to something still readable, and the purge that would
erase it a grace period later finds the reference and restores it.

Memory is bounded: for an open writer, two buffers of 4 MiB (local) or two batches of 8 MiB and one more while a batch
is on its way (S3); a few MiB for an open reader.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

__all__ = ["READ_BLOCK", "BlobNotFound", "BlobStat", "BlobStore", "BlobStoreError", "BlobWriter", "checked_name"]

READ_BLOCK = 1 << 20
"""Largest piece that `open` yields, in bytes."""

_ROOM = 256 << 10
_NAME = re.compile(r"[0-9a-f]{64}\Z")


class BlobStoreError(Exception):
    """The store could not do it now. Repeating may help; if it does not, an operator has to look."""


class BlobNotFound(BlobStoreError):
    """There is no such blob."""

    def __init__(self, sha256: str) -> None:
        super().__init__(f"no blob {sha256[:80]!r}")


def checked_name(sha256: str) -> str:
    """The name itself if it is one: anything else is no path and no key, but a blob that cannot exist.

    Raises BlobNotFound.
    """
    if _NAME.match(sha256) is None:
        raise BlobNotFound(sha256)
    return sha256


@dataclass(frozen=True, slots=True)
class BlobStat:
    """One blob as `iterate` meets it. `age_seconds` counts from its last write (or discard)."""

    sha256: str
    size: int
    age_seconds: float


class BlobWriter(ABC):
    """Writes one blob whose name is known only at its end. Use as `async with store.writer(n) as w`.

    Leaving the block without `finish`, for whatever reason, leaves nothing unfinished behind.
    Not for use by two tasks at once.
    """

    size: int = 0
    """Bytes taken so far."""
    _room: bytearray | None = None

    @abstractmethod
    async def write(self, chunk: bytes) -> None:
        """Take the next bytes. They may still be on their way when this returns; an error shows at the next call."""

    def room(self) -> memoryview:
        """Where the next bytes may be put, never empty; `filled` takes them. Valid until then, or until `write`."""
        if self._room is None:
            self._room = bytearray(_ROOM)
        return memoryview(self._room)

    async def filled(self, count: int) -> None:
        """Take the first `count` bytes of `room()`, like `write`; nothing may be put there any more."""
        await self.write(bytes(self.room()[:count]))

    @abstractmethod
    async def finish(self) -> str:
        """Put the blob under its name and return that: the SHA-256 in lower-case hex. Not durable before `sync`."""

    @abstractmethod
    async def abort(self) -> None:
        """Remove everything written so far; after `finish` or a first `abort` this does nothing."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.abort()


class BlobStore(ABC):
    """See the module docstring for what every store promises."""

    @abstractmethod
    def put_many_small(self, bodies: Sequence[bytes]) -> list[str]:
        """Put whole bodies; their SHA-256 names in the same order. Blocks: call it in a thread, once per group."""

    @abstractmethod
    def writer(self, expected_size: int | None = None) -> BlobWriter:
        """A writer for a body that comes in pieces. `expected_size` is a hint, not a limit."""

    @abstractmethod
    async def sync(self) -> None:
        """Make everything that has been put so far, by this process, durable, in one operation for all of it."""

    @abstractmethod
    def open(self, sha256: str, offset: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        """The bytes `[offset, offset + length)`, as far as the blob goes, in pieces of at most `READ_BLOCK`.

        Raises BlobNotFound when the first piece is asked for.
        """

    @abstractmethod
    async def size(self, sha256: str) -> int:
        """Its length in bytes. Raises BlobNotFound."""

    async def exists(self, sha256: str) -> bool:
        """Whether it can be read."""
        try:
            await self.size(sha256)
        except BlobNotFound:
            return False
        return True

    @abstractmethod
    def iterate(self, *, discarded: bool = False) -> AsyncIterator[BlobStat]:
        """Every blob (or every discarded one) in no order; those put or removed meanwhile may or may not show."""

    @abstractmethod
    async def discard(self, sha256: str) -> None:
        """Out of the way of new puts, still readable. Absent: nothing happens."""

    @abstractmethod
    async def restore(self, sha256: str) -> None:
        """Bring a discarded blob back, if its bytes are what its name says. Absent: nothing happens."""

    @abstractmethod
    async def erase(self, sha256: str) -> None:
        """Remove a discarded blob for good. Absent: nothing happens."""

    @abstractmethod
    async def clean(self, older_than_seconds: float = 86_400) -> int:
        """Remove what crashed writers left unfinished; how many pieces that were."""

    @abstractmethod
    async def close(self) -> None:
        """Release threads, sockets and descriptors. Idempotent."""
