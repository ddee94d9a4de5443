"""Writing files past the page cache.

A body of some size is written once and read much later, if at all: keeping it in memory first costs more than
the disk does. Measured on two cores, 300 × 4 MiB, each round hashed and made durable: 1.0 s and 1.3 s of CPU with
O_DIRECT; 0.8 to 2.4 s and 1.4 to 3.9 s of CPU through the cache, the more the less of the machine's memory is warm.
It also leaves `sync` nothing but the names to write, and the memory of a container to others.

O_DIRECT wants memory, offsets and lengths in whole blocks. So bodies are gathered in aligned memory from the start:
what comes from a socket is read right into it, hashed there, and taken from there by the disk, without a copy. Where
a file system has no O_DIRECT, the same writes go through its cache.
"""

from __future__ import annotations

import fcntl
import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["BUFFER", "CREATE", "MODE", "Buffers", "DirectFile", "write_all"]

CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
MODE = 0o640

BUFFER = 4 << 20
"""Bytes of the largest buffer that is kept."""
_SMALLEST = 256 << 10
_KEEP = 32 << 20
"""Bytes that are kept, all in all."""
_BLOCK = 4096
"""Not smaller than any disk's logical block."""
_DIRECT = getattr(os, "O_DIRECT", 0)


class Buffers:
    """Page-aligned memory. Some of it is kept: touching fresh memory costs as much as filling it. For any thread."""

    def __init__(self) -> None:
        self._kept: dict[int, list[mmap.mmap]] = {}

    def take(self, size: int) -> memoryview:
        """A buffer of at least `size` bytes, a power of two; what is in it is whatever was there."""
        wanted = max(_SMALLEST, 1 << max(size - 1, 0).bit_length())
        try:
            return memoryview(self._kept[wanted].pop())
        except (KeyError, IndexError):
            return memoryview(mmap.mmap(-1, wanted))

    def give(self, buffer: memoryview) -> None:
        """Take back a buffer, or a part of it that stands for it. The caller vouches that nobody uses it any more."""
        memory = buffer.obj
        assert isinstance(memory, mmap.mmap)
        if len(memory) > BUFFER:
            return
        if sum(size * len(kept) for size, kept in list(self._kept.items())) >= _KEEP:
            self._kept.clear()  # of sizes that are wanted no longer, perhaps
        self._kept.setdefault(len(memory), []).append(memory)

    @contextmanager
    def lent(self, size: int) -> Iterator[memoryview]:
        """`size` bytes of a buffer."""
        buffer = self.take(size)
        yield buffer[:size]
        self.give(buffer)


def write_all(fd: int, body: bytes | memoryview) -> None:
    """Write all of it at the file's place."""
    written = os.write(fd, body)
    while written < len(body):
        written += os.write(fd, memoryview(body)[written:])


class DirectFile:
    """A new file, written from start to end. Blocks; not for two threads at once. Raises OSError."""

    def __init__(self, path: str) -> None:
        try:
            self.fd = os.open(path, CREATE | _DIRECT, MODE)
        except FileExistsError:
            raise
        except OSError:
            self.fd = os.open(path, CREATE, MODE)
        self._tail = b""

    def append(self, memory: memoryview) -> None:
        """Write what lies in aligned memory: whole blocks, but for the last part of a file."""
        assert not self._tail  # nothing comes after the last part
        whole = len(memory) - len(memory) % _BLOCK
        if whole:
            write_all(self.fd, memory[:whole])
        self._tail = bytes(memory[whole:])

    def finish(self) -> None:
        """Write what is left of the last block, through the cache: only whole blocks can go past it."""
        if self._tail:
            fcntl.fcntl(self.fd, fcntl.F_SETFL, fcntl.fcntl(self.fd, fcntl.F_GETFL) & ~_DIRECT)
            write_all(self.fd, self._tail)
            self._tail = b""

    def close(self) -> None:
        """Close it, whatever has been written. Idempotent."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
