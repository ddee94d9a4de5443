"""Memory and history stay flat whatever the size. `TIDEMARK_TEST_SCALE=full` runs the sizes of the issue:

    TIDEMARK_TEST_SCALE=full make test ARGS="tests/chaos/test_scale.py -s"

3 GiB in one object, 1,000,000 keys in a poll, and a first run of 1,000,000 objects (about 20 minutes on
two cores). Otherwise the same is shown with a part of it and projected.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pymongo
import pytest

from deploy.local.client import Json
from deploy.local.stack import Stack
from models.ids import object_id
from tests.chaos.rig import FULL, Landing, World, say, settled
from tests.chaos.synthetic import fingerprint_of, giant_block, key_of, synthetic_s3

pytestmark = pytest.mark.slow

_GIANT = (3 << 30) if FULL else (512 << 20)
_POLLED = 1_000_000 if FULL else 100_000
_FIRST = 1_000_000 if FULL else 20_000
_EVENTS = 4096
_MIB = 1 << 20
_PLANTED_AT_ONCE = 10_000


def _resident(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) * 1024
    return 0


class Memory:
    """Most resident memory of the workers, above what each had at the beginning."""

    def __init__(self, stack: Stack) -> None:
        self._pids = [stack.processes.pid(f"worker-{n}") or 0 for n in range(1, stack.workers + 1)]
        self._before = [_resident(pid) for pid in self._pids]
        self.growth = 0
        self.most = 0

    def look(self) -> None:
        now = [_resident(pid) for pid in self._pids]
        self.most = max(self.most, *now)
        self.growth = max(self.growth, *(n - before for n, before in zip(now, self._before, strict=True)))

    def __str__(self) -> str:
        return f"at most {self.most / _MIB:.0f} MiB resident, {self.growth / _MIB:.0f} MiB more than before"


@asynccontextmanager
async def watched(stack: Stack) -> AsyncIterator[Memory]:
    memory = Memory(stack)

    async def keep_looking() -> None:
        while True:
            memory.look()
            await asyncio.sleep(0.1)

    watcher = asyncio.create_task(keep_looking())
    try:
        yield memory
    finally:
        watcher.cancel()
        with suppress(asyncio.CancelledError):
            await watcher


@pytest.fixture
def endpoint() -> Iterator[str]:
    with synthetic_s3() as url:
        yield url


async def landing_on(here: World, endpoint: str, source: str, **fields: Any) -> Landing:
    connection = await here.api.create_source(here.name("synthetic"), endpoint_url=endpoint)
    return await here.sync(source, connection_id=connection, **fields)


async def events_of(landing: Landing) -> list[int]:
    """Events of each execution of the workflow."""
    counts = []
    async for one in landing.world.temporal.list_workflows(f"WorkflowId = 'sync/{landing.sync.id}'"):
        handle = landing.world.temporal.get_workflow_handle(one.id, run_id=one.run_id)
        counts.append(len((await handle.fetch_history()).events))
    return counts


@pytest.mark.timeout(600)
async def test_one_giant_object_leaves_the_worker_flat(here: World, shaken: Stack, endpoint: str) -> None:
    async with watched(shaken) as memory:
        landing = await landing_on(here, endpoint, f"giant-{_GIANT}")
        job = await landing.first(seconds=500)
    settled(job, stored=1, bytes=_GIANT)
    say(f"{_GIANT >> 20} MiB in one object: {memory}, {job['throughput_files_per_min']} files a minute")
    digest = hashlib.sha256()
    for _ in range(_GIANT // len(giant_block())):
        digest.update(giant_block())
    [found] = await landing.objects()
    assert found["hash"] == f"sha256:{digest.hexdigest()}"
    blob = shaken.home / "blobs" / digest.hexdigest()[:2] / digest.hexdigest()
    assert blob.stat().st_size == _GIANT
    blob.unlink()
    assert memory.growth < 100 * _MIB


def _plant(uri: str, landing: Landing, count: int) -> None:
    """Store what a first run would have stored beside the one it was allowed, as far as a poll looks at it."""
    born = datetime.now(UTC)
    with pymongo.MongoClient[Json](uri) as client:
        objects = client["tidemark"]["objects"]
        for start in range(1, count, _PLANTED_AT_ONCE):
            ids = [f"{landing.source}/{key_of(n)}" for n in range(start, min(count, start + _PLANTED_AT_ONCE))]
            objects.insert_many(
                [
                    {
                        "_id": object_id(landing.bucket_id, landing.connection_id, source_id),
                        "sync_config_id": landing.sync.id,
                        "bucket_id": landing.bucket_id,
                        "source_object_id": source_id,
                        "fingerprint": fingerprint_of(start + n),
                        "created_at": born,
                        "fence": 0,
                    }
                    for n, source_id in enumerate(ids)
                ],
                ordered=False,
            )


@pytest.mark.timeout(600)
async def test_a_poll_of_many_keys_leaves_the_worker_flat(here: World, shaken: Stack, endpoint: str) -> None:
    landing = await landing_on(here, endpoint, f"many-{_POLLED}", max_objects_per_run=1)
    await landing.first()
    await asyncio.to_thread(_plant, here.env["MONGODB_URI"], landing, _POLLED)
    before = sum(await events_of(landing))
    async with watched(shaken) as memory:
        job = await landing.again(seconds=500)
    settled(job, seen=_POLLED, unchanged=_POLLED, removed=0)
    events = sum(await events_of(landing)) - before
    say(f"{_POLLED} keys polled in {_seconds(job):.1f} s, {events} events: {memory}")
    assert memory.growth < 60 * _MIB
    assert events <= 30  # the trigger's update included


def _seconds(job: Json) -> float:
    began, ended = (datetime.fromisoformat(job[name]) for name in ("started_at", "completed_at"))
    return (ended - began).total_seconds()


@pytest.mark.timeout(3600)
async def test_a_first_run_of_many_objects_stays_small_in_history(here: World, shaken: Stack, endpoint: str) -> None:
    async with watched(shaken) as memory:
        landing = await landing_on(
            here, endpoint, f"many-{_FIRST}", max_objects_per_run=2_000_000, skip_batch_submission=True
        )
        job = await landing.first(seconds=3500)
    settled(job, seen=_FIRST, stored=_FIRST, failed=0)
    events = await events_of(landing)
    each = 1000 * sum(events) / _FIRST
    say(f"{_FIRST} objects in {_seconds(job):.0f} s: events {events}, {each:.1f} for 1,000 objects; {memory}")
    assert max(events) < _EVENTS
    assert each <= 20
    bucket = await here.api.call("GET", f"/buckets/{landing.bucket_id}")
    assert bucket["object_count"] == _FIRST
    assert memory.growth < 150 * _MIB
