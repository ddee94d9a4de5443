"""What only the local blob store has to promise: torn files, crashes, coalesced syncs, disks that fail."""
# ruff: noqa: ASYNC220, ASYNC240 - a test may block its own loop for a small file or a process

from __future__ import annotations

import asyncio
import errno
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from stores.blobs import BlobStoreError
from stores.blobs import direct as direct_module
from stores.blobs.local import LocalBlobStore
from tests.contract.blobs import MIB, names, put, read, sha, some_bytes


async def stream(store: LocalBlobStore, body: bytes) -> None:
    async with store.writer() as writer:
        await writer.write(body)
        await writer.finish()


@pytest_asyncio.fixture
async def local(tmp_path: Path) -> AsyncIterator[LocalBlobStore]:
    opened = LocalBlobStore(tmp_path / "blobs")
    yield opened
    await opened.close()


@pytest.mark.parametrize("torn", [b"", b"x" * 100, bytes(300_000), b"longer" * 100_000])
@pytest.mark.parametrize("length", [5000, 300_000, 9 * MIB])
async def test_a_torn_file_under_its_name_is_replaced(local: LocalBlobStore, torn: bytes, length: int) -> None:
    body = some_bytes(length)
    Path(local.path(sha(body))).write_bytes(torn)
    async with local.writer() as writer:
        await writer.write(body)
        assert await writer.finish() == sha(body)
    assert await read(local, sha(body)) == body
    Path(local.path(sha(body))).write_bytes(torn)
    await put(local, body)
    assert await read(local, sha(body)) == body
    assert await local.clean(-60) == 0


async def test_an_equal_file_is_not_written_again(local: LocalBlobStore) -> None:
    [name] = await put(local, b"same")
    before = os.stat(local.path(name)).st_ino  # noqa: PTH116
    await put(local, b"same", b"same")
    assert os.stat(local.path(name)).st_ino == before  # noqa: PTH116


async def test_a_torn_file_that_was_discarded_is_never_restored(local: LocalBlobStore) -> None:
    body = some_bytes(5000)
    Path(local.path(sha(body))).write_bytes(body[:4096])
    await local.discard(sha(body))
    await put(local, body)
    await local.restore(sha(body))
    assert await read(local, sha(body)) == body
    assert await names(local, discarded=True) == Counter()


async def test_a_good_file_that_was_discarded_replaces_a_torn_one(local: LocalBlobStore) -> None:
    body = some_bytes(5000)
    await put(local, body)
    await local.discard(sha(body))
    Path(local.path(sha(body))).write_bytes(b"")
    await local.restore(sha(body))
    assert await read(local, sha(body)) == body


_CRASHING_WRITER = """
import os, random, sys
from pathlib import Path
from stores.blobs.local import LocalBlobStore
store = LocalBlobStore(Path(sys.argv[1]))
rng = random.Random("bodies")
bodies = [rng.randbytes(rng.choice((100, 4096, 20_000, 400_000))) for _ in range(300)]
rng = random.Random(int(sys.argv[2])); rng.shuffle(bodies)
print("ready", flush=True)
while True:
    store.put_many_small(bodies)
"""


async def test_writers_killed_at_any_moment_leave_nothing_that_is_taken_for_a_blob(tmp_path: Path) -> None:
    root = tmp_path / "blobs"
    rng = random.Random(7)
    for _ in range(3):
        writers = [
            subprocess.Popen([sys.executable, "-c", _CRASHING_WRITER, str(root), str(n)], stdout=subprocess.PIPE)
            for n in range(2)
        ]
        for writer in writers:
            assert writer.stdout is not None
            assert await asyncio.to_thread(writer.stdout.readline) == b"ready\n"
        await asyncio.sleep(rng.random() * 0.08)
        for writer in writers:
            writer.kill()
            writer.wait()
            assert writer.stdout is not None
            writer.stdout.close()
        # What a crash of the machine would leave besides: names without their bytes.
        files = sorted(root.glob("??/*"))
        for file in rng.sample(files, min(5, len(files))):
            os.truncate(file, rng.randrange(file.stat().st_size))
    store = LocalBlobStore(root)
    rng = random.Random("bodies")
    bodies = [rng.randbytes(rng.choice((100, 4096, 20_000, 400_000))) for _ in range(300)]
    for body, name in zip(bodies, await put(store, *bodies), strict=True):
        assert await read(store, name) == body
    assert await names(store) == Counter(map(sha, bodies))
    await store.close()


async def test_unfinished_files_of_crashed_writers_are_cleaned_by_age(local: LocalBlobStore) -> None:
    old, new = Path(local.temporary()), Path(local.temporary())
    old.write_bytes(b"old")
    new.write_bytes(b"new")
    os.utime(old, (time.time() - 90_000,) * 2)
    assert await local.clean() == 1
    assert new.exists() and not old.exists()


async def test_syncs_that_wait_share_the_next_one(local: LocalBlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = 0

    def slow() -> None:
        nonlocal ran
        ran += 1
        time.sleep(0.05)

    monkeypatch.setattr(local, "_sync", slow)
    await asyncio.gather(*(local.sync() for _ in range(20)))
    assert ran == 1
    first = asyncio.create_task(local.sync())
    await asyncio.sleep(0.01)
    # These may have written after the running one began, so it is not theirs; the next one is everybody's.
    await asyncio.gather(*(local.sync() for _ in range(20)))
    assert first.done()
    assert ran == 3
    cancelled = asyncio.create_task(local.sync())
    await asyncio.sleep(0.01)
    cancelled.cancel()
    await local.sync()
    assert ran == 5


async def test_after_a_write_error_nothing_that_is_only_in_the_cache_is_trusted(
    local: LocalBlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    [name] = await put(local, b"perhaps never written out")
    before = os.stat(local.path(name)).st_ino  # noqa: PTH116

    def fail() -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(local, "_sync", fail)
        with pytest.raises(BlobStoreError, match="Input/output error"):
            await local.sync()
    await put(local, b"perhaps never written out")
    assert os.stat(local.path(name)).st_ino != before  # noqa: PTH116
    await local.sync()


async def test_sync_really_reports_what_the_kernel_says(local: LocalBlobStore) -> None:
    os.close(local._root_fd)
    with pytest.raises(BlobStoreError, match="Bad file descriptor"):
        await local.sync()
    local._root_fd = -1


async def test_a_full_disk_is_an_error_of_the_store_and_leaves_no_blob(
    local: LocalBlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(fd: int, body: Any) -> None:
        os.write(fd, memoryview(body)[: len(body) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    small, long = some_bytes(5000), some_bytes(9 * MIB)
    with monkeypatch.context() as patch:
        patch.setattr(direct_module, "write_all", full)
        patch.setattr("stores.blobs.local.write_all", full)
        with pytest.raises(BlobStoreError, match="No space left"):
            await put(local, small)
        with pytest.raises(BlobStoreError, match="No space left"):
            await stream(local, long)
    assert await local.clean(-60) == 0
    await put(local, small)
    await stream(local, long)
    assert await read(local, sha(small)) == small
    assert await read(local, sha(long)) == long


async def test_short_writes_are_completed(local: LocalBlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, body: write(fd, memoryview(body)[: max(4096, len(body) // 3 & -4096)]))
    bodies = [some_bytes(n) for n in (10, 50_000, 400_001, 9 * MIB + 5)]
    for body in bodies:
        await stream(local, body)
        assert await read(local, sha(body)) == body


async def test_a_file_system_without_direct_writes_or_links(
    local: LocalBlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = os.open

    def no_direct(path: str, flags: int, *rest: Any) -> int:
        if flags & os.O_DIRECT:
            raise OSError(errno.EINVAL, "Invalid argument")
        return opened(path, flags, *rest)

    def no_links(*_: Any) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "open", no_direct)
    monkeypatch.setattr(os, "link", no_links)
    body = some_bytes(9 * MIB + 5)
    await stream(local, body)
    await put(local, body[:300_001])
    assert await read(local, sha(body)) == body
    assert await read(local, sha(body[:300_001])) == body[:300_001]


async def test_a_root_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(BlobStoreError, match="Not a directory"):
        LocalBlobStore(tmp_path / "file")


async def test_memory_stays_flat_for_a_body_of_any_size(local: LocalBlobStore) -> None:
    piece = some_bytes(MIB)

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

    async with local.writer() as writer:
        for _ in range(16):
            await writer.write(piece)
        before = resident()
        for _ in range(240):
            await writer.write(piece)
        name = await writer.finish()
    async for _ in local.open(name):
        pass
    assert resident() - before < 32 * MIB
