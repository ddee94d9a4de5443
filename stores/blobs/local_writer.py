"""The streaming writer of the local blob store: writes and hashes in a thread, a few MiB at a time."""

from __future__ import annotations

import asyncio
import ctypes
import hashlib
import os
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from stores.blobs.base import BlobWriter

__all__ = ["CREATE", "MODE", "LocalWriter", "WriterHost", "write_all"]

CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
MODE = 0o640

_BATCH = 4 << 20
"""Bytes handed to a thread at once. A writer holds two such batches at most: one on its way, one being filled."""
_IOV_MAX = 1024
_WRITE_EARLY = 256 << 10
_SYNC_FILE_RANGE_WRITE = 2  # <fcntl.h>: begin to write out, wait for nothing

_libc = ctypes.CDLL(None, use_errno=True)
_sync_file_range = getattr(_libc, "sync_file_range", None)
if _sync_file_range is not None:
    _sync_file_range.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)


def write_all(fd: int, body: bytes) -> None:
    """Write a whole body at the start of a file and have the disk begin with it if it is worth the call."""
    written = os.write(fd, body)
    while written < len(body):
        written += os.write(fd, memoryview(body)[written:])
    if written >= _WRITE_EARLY:
        _begin_writing_out(fd, 0, written)


def _begin_writing_out(fd: int, offset: int, length: int) -> None:
    """Keep the disk busy while the next bytes come in, so that `sync` finds little left. Errors show there."""
    if _sync_file_range is not None:
        _sync_file_range(fd, offset, length, _SYNC_FILE_RANGE_WRITE)


def _write_pieces(fd: int, pieces: Sequence[bytes]) -> int:
    total = 0
    for start in range(0, len(pieces), _IOV_MAX):
        some = list(pieces[start : start + _IOV_MAX])
        expected = sum(map(len, some))
        written = os.writev(fd, some)
        total += expected
        if written < expected:
            rest = memoryview(b"".join(some))[written:]
            while rest:
                rest = rest[os.write(fd, rest) :]
    return total


class WriterHost(Protocol):
    """What the writer needs of its store."""

    def put(self, body: bytes) -> str:
        """Put a whole body under its name."""

    def path(self, sha256: str) -> str:
        """Where a blob is."""

    def temporary(self) -> str:
        """A new name in the same file system."""

    def run(self, function: Callable[..., Any], *args: Any) -> Awaitable[Any]:
        """Run in the store's threads, errors translated."""


class LocalWriter(BlobWriter):
    """Bodies of up to one batch are put like small ones; longer ones go through a temporary file."""

    def __init__(self, store: WriterHost) -> None:
        self._store = store
        self._hash = hashlib.sha256()
        self._pieces: list[bytes] = []
        self._filled = 0
        self._busy: asyncio.Future[Any] | None = None
        self._fd = -1
        self._temporary = ""
        self._written = 0
        self.size = 0

    async def write(self, chunk: bytes) -> None:
        """See BlobWriter."""
        self._pieces.append(chunk)
        self._filled += len(chunk)
        self.size += len(chunk)
        if self._filled > _BATCH:
            await self._flush()

    async def finish(self) -> str:
        """See BlobWriter."""
        if self._busy is None:
            body = b"".join(self._pieces)
            self._pieces = []
            self._start(self._store.put, body)
            return str(await self._settle())
        await self._flush()
        await self._settle()
        sha256 = self._hash.hexdigest()
        self._start(self._give_name, self._store.path(sha256))
        await self._settle()
        return sha256

    async def abort(self) -> None:
        """See BlobWriter."""
        self._pieces = []
        busy, self._busy = self._busy, None
        if busy is None or busy.done():
            self._dispose()
        else:
            # By callback: it must happen after the thread is through, even if this wait is cancelled too.
            busy.add_done_callback(self._dispose)
            await asyncio.wait([busy])

    async def _flush(self) -> None:
        await self._settle()
        pieces, self._pieces, self._filled = self._pieces, [], 0
        self._start(self._write_out, pieces)

    def _start(self, function: Callable[..., Any], *args: Any) -> None:
        self._busy = asyncio.ensure_future(self._store.run(function, *args))

    async def _settle(self) -> Any:
        return None if self._busy is None else await asyncio.shield(self._busy)

    def _write_out(self, pieces: list[bytes]) -> None:
        if self._fd < 0:
            self._temporary = self._store.temporary()
            self._fd = os.open(self._temporary, CREATE, MODE)
        length = _write_pieces(self._fd, pieces)
        _begin_writing_out(self._fd, self._written, length)
        self._written += length
        for piece in pieces:
            self._hash.update(piece)

    def _give_name(self, path: str) -> None:
        try:
            os.link(self._temporary, path)
            Path(self._temporary).unlink()
        except OSError:
            # Taken, or a file system without links: what is there may be torn, or durable and referenced.
            # Only a file that is on disk itself may take its place.
            os.fdatasync(self._fd)
            Path(self._temporary).replace(path)
        self._temporary = ""

    def _dispose(self, busy: asyncio.Future[Any] | None = None) -> None:
        if busy is not None and not busy.cancelled():
            busy.exception()  # it has been told, or nobody is left to tell
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        if self._temporary:
            Path(self._temporary).unlink(missing_ok=True)
            self._temporary = ""
