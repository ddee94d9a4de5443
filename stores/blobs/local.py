"""Blobs in a directory: `ab/<sha256>`, `trash/<sha256>`, `unfinished/<random>`. Needs a local Linux file system.

How a blob gets its name, and why no reader can meet half of one:

- Bodies up to a few MiB are created with O_EXCL directly under their name: three system calls. A crash may leave
  a torn file there (nobody refers to it: references are committed after `sync`). So a name that is taken
  proves nothing: the next writer compares every byte, and what differs is replaced by a complete file.
- A replacement and a large body are written elsewhere and renamed or linked. A file that may take the
  place of another one is flushed first: otherwise a crash could leave the name pointing at nothing where
  a durable blob was.
- Two writers of the same body: the later one finds the earlier one's file equal, or torn (still being
  written) and replaces it; the earlier one goes on writing to a file without a name, and its bytes are
  under the name all the same.
- No writer ever unlinks a blob's name, whatever went wrong with its own file: it may be another one's by then.

How it becomes durable. `syncfs` writes out everything dirty in the file system, whoever wrote it and
under which name, the directories with it, and flushes the disk's own cache (where large bodies are already, see
`direct.py`): one call per group however many files, and an equal file that another process wrote a moment
ago is covered too. Measured on ext4: 50 files 2 ms (an fdatasync each: 15 ms), 1,000 files 17 ms (300 ms;
120 ms in 16 threads). The kernel (since 5.8) reports write errors of the whole file system to every descriptor
that was open at the time, once: so one is held from the start. After such an error cached bytes are not trusted
any more: every taken name is written anew.
"""

from __future__ import annotations

import asyncio
import ctypes
import hashlib
import os
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from stores.blobs.base import READ_BLOCK, BlobNotFound, BlobStat, BlobStore, BlobStoreError, checked_name
from stores.blobs.direct import CREATE, MODE, Buffers, DirectFile, write_all
from stores.blobs.local_writer import LocalWriter

__all__ = ["LocalBlobStore"]

T = TypeVar("T")

_THREADS = 6
"""Enough to hash, write, sync and read at once on a few cores; more only wait for the same disk."""

_DIRECT_FROM = 256 << 10
"""Bodies from this size on go past the page cache; below it, waiting for the disk each time costs more."""

_libc = ctypes.CDLL(None, use_errno=True)


class LocalBlobStore(BlobStore):
    """Opens (and makes, if need be) the directory `root`.

    Raises BlobStoreError if it cannot be used.
    """

    def __init__(self, root: Path) -> None:
        self.root = str(root.absolute())
        try:
            for name in ("unfinished", "trash", *(f"{i:02x}" for i in range(256))):
                (root / name).mkdir(parents=True, exist_ok=True)
            self._root_fd = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise _translated(error) from error
        self.buffers = Buffers()
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="blobs")
        self._running: asyncio.Task[None] | None = None
        self._waiting: asyncio.Task[None] | None = None
        self._cache_is_true = True

    # --- writing

    def put_many_small(self, bodies: Sequence[bytes]) -> list[str]:
        """See BlobStore. About 20 µs for 4 KiB."""
        try:
            return [self._put_small(body) if len(body) < _DIRECT_FROM else self._put_copied(body) for body in bodies]
        except OSError as error:
            raise _translated(error) from error

    def _put_small(self, body: bytes | memoryview) -> str:
        sha256 = hashlib.sha256(body).hexdigest()
        path = self.path(sha256)
        try:
            fd = os.open(path, CREATE, MODE)
        except FileExistsError:
            self._settle(path, body)
            return sha256
        try:
            write_all(fd, body)
        finally:
            os.close(fd)
        return sha256

    def _put_copied(self, body: bytes) -> str:
        with self.buffers.lent(len(body)) as memory:
            memory[:] = body
            return self.put(memory)

    def put(self, body: memoryview) -> str:
        """Put one body that lies in aligned memory; blocks, raises OSError. For this package only."""
        if len(body) < _DIRECT_FROM:
            return self._put_small(body)
        sha256 = hashlib.sha256(body).hexdigest()
        path = self.path(sha256)
        try:
            file = DirectFile(path)
        except FileExistsError:
            self._settle(path, body)
            return sha256
        try:
            file.append(body)
            file.finish()
        finally:
            file.close()
        return sha256

    def _settle(self, path: str, body: bytes | memoryview) -> None:
        """The name is taken: by the blob, by what a crash has left of it, or by one that is being written now."""
        if self._cache_is_true and _holds(path, body):
            return
        temporary = self.temporary()
        fd = os.open(temporary, CREATE, MODE)
        try:
            try:
                write_all(fd, body)
                os.fdatasync(fd)
            finally:
                os.close(fd)
            Path(temporary).replace(path)
        except OSError:
            Path(temporary).unlink(missing_ok=True)
            raise

    def writer(self, expected_size: int | None = None) -> LocalWriter:
        """See BlobStore."""
        return LocalWriter(self, self.run, expected_size)

    async def sync(self) -> None:
        """See BlobStore. Callers that come while one runs share the next: the running one may have passed their files.

        Raises BlobStoreError if anything could not be written out; the blobs since the sync before must be put again.
        """
        if self._waiting is None:
            self._waiting = asyncio.create_task(self._sync_after(self._running))
        await asyncio.shield(self._waiting)

    async def _sync_after(self, running: asyncio.Task[None] | None) -> None:
        if running is not None:
            await asyncio.wait([running])
        self._running, self._waiting = self._waiting, None
        try:
            await self.run(self._sync)
        except BlobStoreError:
            self._cache_is_true = False
            raise

    def _sync(self) -> None:
        if not hasattr(_libc, "syncfs"):
            # Not Linux: good enough to try Tidemark out, no promise that it has reached the disk.
            os.sync()
        elif _libc.syncfs(self._root_fd) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), self.root)

    # --- reading

    async def open(self, sha256: str, offset: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        """See BlobStore."""
        fd = await self.run(self._open, checked_name(sha256))
        try:
            left = length
            while left is None or left > 0:
                block = await self.run(os.pread, fd, READ_BLOCK if left is None else min(READ_BLOCK, left), offset)
                if not block:
                    return
                offset += len(block)
                left = None if left is None else left - len(block)
                yield block
        finally:
            os.close(fd)

    def _open(self, sha256: str) -> int:
        for path in (self.path(sha256), self.discarded(sha256)):
            try:
                return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                continue
        raise BlobNotFound(sha256)

    async def size(self, sha256: str) -> int:
        """See BlobStore."""
        return await self.run(self._size, checked_name(sha256))

    def _size(self, sha256: str) -> int:
        for path in (self.path(sha256), self.discarded(sha256)):
            try:
                return Path(path).stat().st_size
            except FileNotFoundError:
                continue
        raise BlobNotFound(sha256)

    # --- removing

    async def iterate(self, *, discarded: bool = False) -> AsyncIterator[BlobStat]:
        """See BlobStore. Holds one of 256 directories in memory at a time."""
        for name in ("trash",) if discarded else (f"{i:02x}" for i in range(256)):
            for stat in await self.run(lambda name=name: list(_stats(f"{self.root}/{name}"))):
                yield stat

    async def discard(self, sha256: str) -> None:
        """See BlobStore."""

        def move() -> None:
            path = self.path(sha256)
            try:
                os.utime(path)  # its age as a discarded blob starts now
                Path(path).replace(self.discarded(sha256))
            except FileNotFoundError:
                return

        checked_name(sha256)
        await self.run(move)

    async def restore(self, sha256: str) -> None:
        """See BlobStore. A torn file that was discarded while its name was being written anew is erased instead."""

        def move() -> None:
            path = Path(self.discarded(sha256))
            try:
                with path.open("rb") as file:
                    whole = hashlib.file_digest(file, "sha256").hexdigest() == sha256
                if whole:
                    path.replace(self.path(sha256))
                else:
                    path.unlink()
            except FileNotFoundError:
                return

        checked_name(sha256)
        await self.run(move)

    async def erase(self, sha256: str) -> None:
        """See BlobStore."""
        await self.run(partial(Path(self.discarded(checked_name(sha256))).unlink, missing_ok=True))

    async def clean(self, older_than_seconds: float = 86_400) -> int:
        """See BlobStore."""

        def remove() -> int:
            removed = 0
            before = time.time() - older_than_seconds
            with os.scandir(f"{self.root}/unfinished") as entries:
                for entry in entries:
                    try:
                        if entry.stat(follow_symlinks=False).st_mtime < before:
                            Path(entry.path).unlink()
                            removed += 1
                    except FileNotFoundError:
                        continue
            return removed

        return await self.run(remove)

    async def close(self) -> None:
        """See BlobStore."""
        await asyncio.to_thread(self._threads.shutdown)
        if self._root_fd >= 0:
            os.close(self._root_fd)
            self._root_fd = -1

    # --- for the writer

    def path(self, sha256: str) -> str:
        """Where a blob is."""
        return f"{self.root}/{sha256[:2]}/{sha256}"

    def discarded(self, sha256: str) -> str:
        """Where it is once discarded."""
        return f"{self.root}/trash/{sha256}"

    def temporary(self) -> str:
        """A new name in the same file system for a file that is not whole yet."""
        return f"{self.root}/unfinished/{secrets.token_hex(16)}"

    async def run(self, function: Callable[..., T], *args: Any) -> T:
        """Run a blocking call in this store's own threads, with its errors translated."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, function, *args)
        except OSError as error:
            raise _translated(error) from error


def _holds(path: str, body: bytes | memoryview) -> bool:
    """Whether the file is exactly these bytes. One that has just been discarded does not hold them."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        if os.fstat(fd).st_size != len(body):
            return False
        # A read of a regular file is short only at its end or above 2 GiB; a short one just fails the comparison.
        # Bytes are compared by memcmp, a view byte by byte.
        return os.read(fd, len(body) + 1) == bytes(body)
    finally:
        os.close(fd)


def _stats(directory: str) -> Iterator[BlobStat]:
    now = time.time()
    with os.scandir(directory) as entries:
        for entry in entries:
            try:
                stat = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            yield BlobStat(entry.name, stat.st_size, now - stat.st_mtime)


def _translated(error: OSError) -> BlobStoreError:
    return BlobStoreError(f"blob directory: {error.strerror or type(error).__name__} ({error.filename or 'no file'})")
