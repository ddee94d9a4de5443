"""What both stores' streaming writers share: write and hash in threads, a batch at a time, and always clean up."""

from __future__ import annotations

import asyncio
import hashlib
from abc import abstractmethod
from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

from stores.blobs.base import BlobWriter

__all__ = ["BatchWriter", "Run"]

Run = Callable[..., Awaitable[Any]]
"""`run(function, *args)`: call it in the store's threads, with its errors translated."""


Piece = TypeVar("Piece", bytes, memoryview)


class BatchWriter(BlobWriter, Generic[Piece]):
    """Holds two batches at most: one on its way, one being filled. A body that fits into one is put whole.

    The hooks block and are called in a thread, one at a time.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._hash = hashlib.sha256()
        self._pieces: list[Piece] = []
        self._busy: asyncio.Future[Any] | None = None
        self._cleaning: asyncio.Future[None] | None = None
        self.size = 0

    @abstractmethod
    def put_whole(self, pieces: list[Piece]) -> str:
        """Put a body that never left memory."""

    @abstractmethod
    def write_out(self, pieces: list[Piece]) -> None:
        """Write the next batch where it can still be taken back."""

    def let_go(self, pieces: list[Piece]) -> None:
        """Nobody needs these any more."""

    @abstractmethod
    def give_name(self, sha256: str) -> None:
        """Everything is written: put it under its name."""

    @abstractmethod
    def take_back(self) -> None:
        """Remove what was written without a name, if there is any. Repeatable."""

    async def finish(self) -> str:
        """See BlobWriter."""
        if self._busy is None:
            pieces, self._pieces = self._pieces, []
            self._start(self.put_whole, pieces)
            sha256 = str(await self._settle())
            self._busy = None
            return sha256
        await self._flush()
        await self._settle()
        sha256 = self._hash.hexdigest()
        self._start(self.give_name, sha256)
        await self._settle()
        return sha256

    async def abort(self) -> None:
        """See BlobWriter."""
        self._pieces = []
        if self._busy is not None and self._cleaning is None:
            # A task of its own: it must happen after the thread is through, even if this wait is cancelled.
            self._cleaning = asyncio.ensure_future(self._clean_up(self._busy))
        if self._cleaning is not None:
            await asyncio.shield(self._cleaning)

    async def _clean_up(self, busy: asyncio.Future[Any]) -> None:
        await asyncio.wait([busy])
        if not busy.cancelled():
            busy.exception()  # it has been told, or nobody is left to tell
        await self._run(self.take_back)

    async def _flush(self) -> None:
        await self._settle()
        pieces, self._pieces = self._pieces, []
        self._start(self._write_and_hash, pieces)

    def _write_and_hash(self, pieces: list[Piece]) -> None:
        self.write_out(pieces)
        for piece in pieces:
            self._hash.update(piece)
        self.let_go(pieces)

    def _start(self, function: Callable[..., Any], *args: Any) -> None:
        self._busy = asyncio.ensure_future(self._run(function, *args))

    async def _settle(self) -> Any:
        return None if self._busy is None else await asyncio.shield(self._busy)
