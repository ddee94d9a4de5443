"""One suite for every blob store, purging included; each store's own promises are tested beside it."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from models.settings import Settings
from stores.blobs import BlobNotFound, BlobStore, open_blob_store, purge_unreferenced, s3_writer
from stores.blobs.local import LocalBlobStore
from stores.database import Database, connect
from tests.contract.blobs import MIB, names, put, read, s3_settings, sha, some_bytes
from tests.s3_server import S3Server


@pytest.fixture(params=["local", "moto", "versitygw"])
def make_store(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], BlobStore]:
    """Opens the same place again and again, as several processes would."""
    if request.param == "local":
        return lambda: LocalBlobStore(tmp_path / "blobs")
    server: S3Server = request.getfixturevalue(f"{request.param}_s3")
    # The smallest part S3 allows, so that a body of some MiB is a multipart upload.
    monkeypatch.setattr(s3_writer, "_PART", 5 * MIB)
    settings = s3_settings(server, f"{server.make_bucket('blobs')}/some/prefix")
    return lambda: open_blob_store(settings)


@pytest_asyncio.fixture
async def store(make_store: Callable[[], BlobStore]) -> AsyncIterator[BlobStore]:
    opened = make_store()
    yield opened
    await opened.close()


# --- the contract


async def test_many_small_come_back_under_their_hashes(store: BlobStore) -> None:
    bodies = [b"", b"a", *(some_bytes(n) for n in (1, 100, 4095, 4096, 4097, 300_000, 3 * MIB + 1)), b"a"]
    assert await put(store, *bodies) == [sha(body) for body in bodies]
    await store.sync()
    for body in bodies:
        assert await read(store, sha(body)) == body
        assert await store.size(sha(body)) == len(body)
        assert await store.exists(sha(body))
    assert await names(store) == Counter({sha(body) for body in bodies})
    assert await put(store) == []


async def test_put_again_by_another_process_is_one_blob(store: BlobStore, make_store: Callable[[], BlobStore]) -> None:
    body, long = some_bytes(5000), some_bytes(11 * MIB)
    other = make_store()
    for one in (store, other, store):
        assert await put(one, body) == [sha(body)]
        async with one.writer(len(long)) as writer:
            await writer.write(long)
            assert await writer.finish() == sha(long)
        await one.sync()
    await other.close()
    assert await names(store) == Counter([sha(body), sha(long)])
    assert await read(store, sha(long)) == long


@pytest.mark.parametrize("length", [0, 1, 4096, 4 * MIB, 4 * MIB + 1, 5 * MIB, 10 * MIB, 13 * MIB + 4097])
@pytest.mark.parametrize("piece", [1_000_003, 20 * MIB])
async def test_streamed_bodies_of_any_length(store: BlobStore, length: int, piece: int) -> None:
    body = some_bytes(length)
    async with store.writer(length) as writer:
        for start in range(0, length, piece):
            await writer.write(body[start : start + piece])
        assert writer.size == length
        assert await writer.finish() == sha(body)
    await store.sync()
    assert await store.size(sha(body)) == length
    assert await read(store, sha(body)) == body
    assert await names(store) == Counter([sha(body)])
    assert await store.clean(older_than_seconds=-60) == 0


@pytest.mark.parametrize("announced", ["exactly", "nothing", "too little", "too much"])
@pytest.mark.parametrize("portion", [700_001, 100_001])
@pytest.mark.parametrize("length", [1, 300_000, 4 * MIB, 9 * MIB + 5])
async def test_bodies_that_are_put_where_the_writer_wants_them(
    store: BlobStore, length: int, announced: str, portion: int
) -> None:
    size = {"exactly": length, "nothing": None, "too little": length // 2, "too much": 2 * length}[announced]
    for round_ in range(2):  # buffers are used again
        body = some_bytes(length, seed=round_)
        async with store.writer(size) as writer:
            taken = 0
            while taken < length:
                room = writer.room()
                count = min(len(room), length - taken, portion)
                room[:count] = body[taken : taken + count]
                taken += count
                await writer.filled(count)
            assert writer.size == length
            assert await writer.finish() == sha(body)
        assert await read(store, sha(body)) == body


async def test_a_writer_without_an_announced_size_and_with_tiny_pieces(store: BlobStore) -> None:
    body = some_bytes(5 * MIB + 777)
    async with store.writer() as writer:
        for start in range(0, len(body), 3000):
            await writer.write(body[start : start + 3000])
        assert await writer.finish() == sha(body)
    assert await read(store, sha(body)) == body


@pytest.mark.parametrize("length", [1000, 11 * MIB])
async def test_a_writer_that_is_left_early_leaves_nothing(store: BlobStore, length: int) -> None:
    async def cut_short() -> None:
        async with store.writer(length) as writer:
            await writer.write(some_bytes(length))
            raise RuntimeError("cut")

    with pytest.raises(RuntimeError, match="cut"):
        await cut_short()
    async with store.writer(length) as writer:
        await writer.write(some_bytes(length))
    await writer.abort()
    assert await names(store) == Counter()
    assert await store.clean(older_than_seconds=-60) == 0


async def test_a_writer_cancelled_at_any_moment_leaves_nothing_unfinished(store: BlobStore) -> None:
    body = some_bytes(12 * MIB)

    async def work() -> None:
        async with store.writer(len(body)) as writer:
            for start in range(0, len(body), MIB):
                await writer.write(body[start : start + MIB])
            await writer.finish()

    for delay in (0, 0.001, 0.003, 0.006, 0.01, 0.02, 0.05):
        task = asyncio.create_task(work())
        await asyncio.sleep(delay)
        task.cancel()
        await asyncio.wait([task])
    # Whatever was being done in a thread is through, and cleaned up after, soon.
    for _ in range(100):
        if await store.clean(older_than_seconds=-60) == 0:
            break
        await asyncio.sleep(0.02)
    assert set(await names(store)) <= {sha(body)}


async def test_ranges(store: BlobStore) -> None:
    body = some_bytes(5 * MIB + 3)
    [name] = await put(store, body)
    for offset, length in ((0, 0), (0, 10), (7, None), (4 * MIB - 1, 2), (MIB, MIB + 1), (len(body) - 1, 100)):
        end = None if length is None else offset + length
        assert await read(store, name, offset, length) == body[offset:end]
    assert await read(store, name, len(body), None) == b""
    assert await read(store, name, len(body) + 5, 5) == b""


async def test_what_is_not_there(store: BlobStore) -> None:
    for name in (sha(b"never"), "", "x", "../../etc/passwd", sha(b"a").upper(), sha(b"a") + "\n", "trash/" + sha(b"a")):
        with pytest.raises(BlobNotFound):
            await store.size(name)
        with pytest.raises(BlobNotFound):
            await read(store, name)
        assert not await store.exists(name)
    for act in (store.discard, store.restore, store.erase):
        await act(sha(b"never"))


async def test_discarded_blobs_stay_readable_and_out_of_the_way(store: BlobStore) -> None:
    body = some_bytes(5000)
    [name] = await put(store, body)
    await store.discard(name)
    assert await names(store) == Counter()
    assert await names(store, discarded=True) == Counter([name])
    assert await read(store, name, 10, 20) == body[10:30]
    assert await store.size(name) == 5000
    await put(store, body)
    assert await names(store) == Counter([name])
    await store.erase(name)
    assert await read(store, name) == body
    await store.discard(name)
    await store.restore(name)
    assert await names(store) == Counter([name])
    assert await names(store, discarded=True) == Counter()
    await store.discard(name)
    await store.erase(name)
    assert not await store.exists(name)


async def test_ages(store: BlobStore) -> None:
    await put(store, b"young")
    [blob] = [blob async for blob in store.iterate()]
    assert blob.size == 5
    assert -5 < blob.age_seconds < 60


async def test_many_writers_at_once(store: BlobStore) -> None:
    bodies = [some_bytes(6 * MIB, seed) for seed in range(3)]

    async def work(body: bytes) -> None:
        async with store.writer(len(body)) as writer:
            for start in range(0, len(body), MIB):
                await writer.write(body[start : start + MIB])
            await writer.finish()
        await store.sync()

    await asyncio.gather(*(work(body) for body in bodies * 3), put(store, *[b"x", b"y"] * 20))
    assert await names(store) == Counter([*map(sha, bodies), sha(b"x"), sha(b"y")])
    for body in bodies:
        assert await read(store, sha(body)) == body


async def test_close_twice(make_store: Callable[[], BlobStore]) -> None:
    store = make_store()
    await put(store, b"a")
    await store.close()
    await store.close()


# --- purging


@pytest_asyncio.fixture
async def db(settings: Settings) -> AsyncIterator[Database]:
    client, database = connect(settings)
    yield database
    await client.close()


async def refer(db: Database, name: str) -> None:
    await db["objects"].insert_one({"blobs": [{"sha256": name}]})


async def test_purge_takes_its_time_and_only_the_unreferenced(store: BlobStore, db: Database) -> None:
    kept, gone = await put(store, b"kept", b"gone")
    await refer(db, kept)
    assert (await purge_unreferenced(store, db, 3600)).discarded == 0
    first = await purge_unreferenced(store, db, -60)
    assert (first.discarded, first.erased) == (1, 0)
    assert await store.exists(gone)
    # The grace begins anew with the discard.
    assert (await purge_unreferenced(store, db, 3600)).erased == 0
    second = await purge_unreferenced(store, db, -60)
    assert (second.erased, second.bytes) == (1, 4)
    assert not await store.exists(gone)
    assert await names(store) == Counter([kept])


async def test_a_blob_that_is_referenced_after_its_discard_is_restored(store: BlobStore, db: Database) -> None:
    [name] = await put(store, b"found present a moment before")
    await purge_unreferenced(store, db, -60)
    await refer(db, name)
    report = await purge_unreferenced(store, db, -60)
    assert (report.restored, report.erased, report.discarded) == (1, 0, 0)
    assert await read(store, name) == b"found present a moment before"
    assert await names(store) == Counter([name])


async def test_purge_beside_writers_loses_nothing_that_is_referenced(store: BlobStore, db: Database) -> None:
    """Blobs lose and regain their only reference while a purge without a grace at discard runs all the time."""
    bodies = [f"body {n}".encode() for n in range(12)]
    done = asyncio.Event()

    async def purge() -> None:
        while not done.is_set():
            # The first half of a purge with no grace at all; erasing keeps one, as it must.
            async for blob in store.iterate():
                if await db["objects"].find_one({"blobs.sha256": blob.sha256}) is None:
                    await store.discard(blob.sha256)
            await purge_unreferenced(store, db, 30)

    async def use(seed: int) -> None:
        rng = random.Random(seed)
        for _ in range(8):
            some = rng.sample(bodies, 4)
            digests = await put(store, *some)
            await store.sync()
            await asyncio.sleep(rng.random() * 0.02)
            for digest in digests:
                await db["objects"].insert_one(
                    {"_id": f"{seed}:{digest}:{rng.random()}", "blobs": [{"sha256": digest}]}
                )
            for body, digest in zip(some, digests, strict=True):
                assert await read(store, digest) == body
            await db["objects"].delete_many({"_id": {"$regex": f"^{seed}:"}})

    purging = asyncio.create_task(purge())
    await asyncio.gather(*(use(seed) for seed in range(3)))
    done.set()
    await purging
