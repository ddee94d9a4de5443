"""The streaming writer of the local blob store."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

from stores.blobs.direct import BUFFER, Buffers, DirectFile
from stores.blobs.writing import BatchWriter, Run

__all__ = ["LocalWriter", "WriterHost"]


class WriterHost(Protocol):
    """What the writer needs of its store."""

    buffers: Buffers

    def put(self, body: memoryview) -> str:
        """Put a whole body that lies in aligned memory under its name."""

    def path(self, sha256: str) -> str:
        """Where a blob is."""

    def temporary(self) -> str:
        """A new name in the same file system."""


class LocalWriter(BatchWriter[memoryview]):
    """Bodies that fit into one buffer are put like small ones; longer ones go through a temporary file.

    A buffer goes back to the store when what was in it has been written. After any failure it is dropped instead:
    who was reading into it may not know yet.
    """

    def __init__(self, store: WriterHost, run: Run, expected_size: int | None) -> None:
        super().__init__(run)
        self._store = store
        self._expected = expected_size
        self._buffer: memoryview | None = None
        self._filled = 0
        self._file: DirectFile | None = None
        self._temporary = ""

    def room(self) -> memoryview:
        """See BlobWriter."""
        if self._buffer is not None and self._filled == len(self._buffer):
            # A body that is longer than was announced.
            self._pieces.append(self._buffer)
            self._buffer = None
        if self._buffer is None:
            left = BUFFER if self._expected is None else max(self._expected - self.size, 0)
            self._buffer, self._filled = self._store.buffers.take(min(left, BUFFER)), 0
        return self._buffer[self._filled :]

    async def filled(self, count: int) -> None:
        """See BlobWriter."""
        assert self._buffer is not None  # that is where it was put
        self._filled += count
        self.size += count
        if self._filled == len(self._buffer) and self.size != self._expected:
            self._pieces.append(self._buffer)
            self._buffer = None
        if self._pieces:
            await self._flush()

    async def write(self, chunk: bytes) -> None:
        """See BlobWriter."""
        with memoryview(chunk) as rest:
            start = 0
            while start < len(rest):
                room = self.room()
                some = rest[start : start + len(room)]
                room[: len(some)] = some
                start += len(some)
                await self.filled(len(some))

    async def finish(self) -> str:
        """See BlobWriter."""
        if self._buffer is not None:
            self._pieces.append(self._buffer[: self._filled])
            self._buffer = None
        return await super().finish()

    def put_whole(self, pieces: list[memoryview]) -> str:
        """See BatchWriter."""
        if not pieces:
            return self._store.put(memoryview(b""))
        [body] = pieces
        sha256 = self._store.put(body)
        self._store.buffers.give(body)
        return sha256

    def write_out(self, pieces: list[memoryview]) -> None:
        """See BatchWriter."""
        if self._file is None:
            self._temporary = self._store.temporary()
            self._file = DirectFile(self._temporary)
        for piece in pieces:
            self._file.append(piece)

    def let_go(self, pieces: list[memoryview]) -> None:
        """See BatchWriter."""
        for piece in pieces:
            self._store.buffers.give(piece)

    def give_name(self, sha256: str) -> None:
        """See BatchWriter."""
        assert self._file is not None  # a body of one batch is put whole
        self._file.finish()
        path = self._store.path(sha256)
        try:
            os.link(self._temporary, path)
        except OSError:
            # Taken, or a file system without links: what is there may be torn, or durable and referenced.
            # Only a file that is on disk itself may take its place.
            os.fdatasync(self._file.fd)
            Path(self._temporary).replace(path)
            self._temporary = ""

    def take_back(self) -> None:
        """See BatchWriter. After `give_name` only the second name of a linked file is left to remove."""
        if self._file is not None:
            self._file.close()
            self._file = None
        if self._temporary:
            Path(self._temporary).unlink(missing_ok=True)
            self._temporary = ""
