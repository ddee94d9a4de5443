"""What the engine's tests stand on: a real stack, the scripted S3 server beside it, and a recount of our own.

The recount trusts nothing that Tidemark counted: it lists the objects by the API, fetches every byte
through presigned URLs and compares with what lies in the S3 server's memory.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any
from urllib.parse import unquote

import aiohttp
from temporalio.client import Client

from deploy.local.client import Api, Json, Sync
from deploy.local.ports import is_free
from deploy.local.stack import Stack
from tests.simulators.s3_faults import FaultyS3

__all__ = [
    "FULL",
    "World",
    "bodies",
    "crash",
    "fetched",
    "gets",
    "resettled",
    "say",
    "settled",
    "source_server",
    "until",
    "world",
]

FULL = os.environ.get("TIDEMARK_TEST_SCALE") == "full"
"""Whether the sizes and times of the issue are asked for, which take a quarter of an hour."""
_FETCHERS = 16
_SCHEMA = {"content": {"type": "text"}}


def bodies(count: int, *, seed: int = 1, largest: int = 200) -> dict[str, bytes]:
    """So many small files, no two alike, in a few folders."""
    source = random.Random(seed)
    return {
        f"d{number % 7}/f{number:06}.txt": b"%d:" % number + source.randbytes(source.randrange(largest))
        for number in range(count)
    }


def gets(s3: FaultyS3, bucket: str) -> Counter[str]:
    """How often each key was asked for, answered or not."""
    prefix = f"/{bucket}/"
    return Counter(
        unquote(path.partition("?")[0].removeprefix(prefix))
        for kind, path, _ in list(s3.requests)
        if kind == "get" and path.startswith(prefix)
    )


def fetched(s3: FaultyS3, bucket: str) -> int:
    """How many GETs a bucket has had."""
    return gets(s3, bucket).total()


def say(line: str) -> None:
    """A measured number, shown with `pytest -s` or when the test fails."""
    sys.stdout.write(f"{line}\n")


async def crash(stack: Stack, *names: str, again: bool = True) -> None:
    """Kill parts (-9) and, unless told otherwise, start them again."""

    def act() -> None:
        for name in names:
            stack.kill(name, signal.SIGKILL)
        assert stack.processes.wait_gone(names, 10) == []
        for name in names if again else ():
            # A killed process is gone before its last thread has let go of its ports.
            while not all(is_free(port) for port in stack.service(name).ports.values()):
                time.sleep(0.05)
            stack.start(name)

    await asyncio.to_thread(act)


async def until(ask: Callable[[], Awaitable[Any]], *, seconds: float = 30, poll: float = 0.1) -> Any:
    """Wait for a true answer."""
    async with asyncio.timeout(seconds):
        while not (answer := await ask()):
            await asyncio.sleep(poll)
        return answer


def settled(job: Json, **expected: Any) -> Json:
    """Check that a finished job's counts balance and are the expected ones; returns them."""
    counts: Json = job["metadata"]["counts"]
    outcomes = ("stored", "updated", "unchanged", "skipped", "failed")
    assert counts["seen"] == sum(counts[name] for name in outcomes), counts
    assert counts["skipped"] == sum(counts["skipped_by_reason"].values()), counts
    found = {name: counts.get(name, job.get(name)) for name in expected}
    assert found == expected, (found, job)
    return counts


class World:
    """One organization of a running stack."""

    def __init__(self, env: Mapping[str, str], api: Api, s3: FaultyS3, temporal: Client) -> None:
        self.env = env
        self.api = api
        self.s3 = s3
        self.temporal = temporal
        self._names = 0

    def name(self, prefix: str) -> str:
        """A name of its own."""
        self._names += 1
        return f"{prefix}-{self._names}-{random.SystemRandom().randrange(10**9)}"

    def fill(self, files: Mapping[str, bytes]) -> str:
        """A new source bucket with these files; its name."""
        bucket = self.name("src")
        self.s3.buckets[bucket] = {}
        for key, body in files.items():
            self.s3.put(bucket, key, body)
        return bucket

    async def connection(self, **config: Any) -> str:
        """A connection to the S3 server."""
        return await self.api.create_source(self.name("conn"), endpoint_url=self.s3.url, **config)

    async def bucket(self, properties: Json | None = None) -> str:
        """A bucket to land in."""
        return await self.api.create_bucket(self.name("bucket"), properties or _SCHEMA)

    async def sync(self, source_path: str, **fields: Any) -> Landing:
        """A sync of a path into a bucket; a connection and a bucket are made unless given. It starts at once."""
        connection = fields.pop("connection_id", None) or await self.connection()
        bucket = fields.pop("bucket_id", None) or await self.bucket()
        fields.setdefault("polling_interval_seconds", 3600)
        sync = await self.api.create_sync(bucket, connection, source_path, **fields)
        return Landing(self, sync, bucket, connection, source_path.partition("/")[0])


class Landing:
    """A sync, with the bucket it lands in."""

    def __init__(self, world: World, sync: Sync, bucket_id: str, connection_id: str, source: str) -> None:
        self.world = world
        self.sync = sync
        self.bucket_id = bucket_id
        self.connection_id = connection_id
        self.source = source
        self.path = f"/buckets/{bucket_id}/syncs/{sync.id}"

    @property
    def workflow(self) -> Any:
        """The handle of its workflow."""
        return self.world.temporal.get_workflow_handle(f"sync/{self.sync.id}")

    async def first(self, *, seconds: float = 60) -> Json:
        """The first run, ended."""
        return await self.sync.watch(await self.sync.newest_job(), seconds=seconds, poll=0.1)

    async def again(self, *, full: bool = False, seconds: float = 60) -> Json:
        """Trigger a run and wait for its end."""
        answer = await self.world.api.call("POST", f"{self.path}/trigger", None, full_sync=str(full).lower())
        assert answer["outcome"] == "started", answer
        return await self.sync.watch(str(answer["sync_job_id"]), seconds=seconds, poll=0.1)

    async def jobs(self) -> list[Json]:
        """All runs, newest first."""
        reply = await self.world.api.call("POST", f"{self.path}/jobs", {}, limit=100)
        found: list[Json] = reply["results"]
        return found

    async def letters(self) -> list[Json]:
        """Dead letters."""
        found: list[Json] = (await self.world.api.call("POST", f"{self.path}/dlq", {}))["results"]
        return found

    async def objects(self) -> list[Json]:
        """What lies in the bucket."""
        return [item async for item in self.world.api.objects(self.bucket_id)]

    async def batches(self) -> list[Json]:
        """Batches of the bucket."""
        reply = await self.world.api.call("POST", f"/buckets/{self.bucket_id}/batches/list", {"limit": 100})
        found: list[Json] = reply["results"]
        return found

    async def keys(self) -> list[str]:
        """Source keys of what lies in the bucket, sorted."""
        prefix = f"{self.source}/"
        return sorted(str(one["source_details"][0]["source_id"]).removeprefix(prefix) for one in await self.objects())

    async def recount(self, truth: Mapping[str, bytes] | None = None) -> int:
        """Every source object once with its bytes, nothing else, and the bucket's counters exact; how many."""
        if truth is None:
            truth = {key: one.body for key, one in self.world.s3.buckets[self.source].items()}
        objects, prefix = await self.objects(), f"{self.source}/"
        found: dict[str, Json] = {}
        for one in objects:
            key = str(one["source_details"][0]["source_id"]).removeprefix(prefix)
            assert key not in found, f"{key} is there twice"
            found[key] = one
        assert found.keys() == truth.keys(), (
            f"missing {sorted(truth.keys() - found.keys())[:5]}, unexpected {sorted(found.keys() - truth.keys())[:5]}"
        )
        queue = list(found.items())
        async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as group:
            for _ in range(_FETCHERS):
                group.create_task(_compare(session, queue, truth))
        bucket = await self.world.api.call("GET", f"/buckets/{self.bucket_id}")
        sizes = sum(len(body) for body in truth.values())
        assert (bucket["object_count"], bucket["total_size_bytes"]) == (len(truth), sizes), bucket
        return len(truth)


async def _compare(session: aiohttp.ClientSession, queue: list[tuple[str, Json]], truth: Mapping[str, bytes]) -> None:
    while queue:
        key, one = queue.pop()
        [blob] = one["blobs"]
        async with session.get(blob["presigned_url"]) as reply:
            assert reply.status == 200, (key, reply.status)
            assert await reply.read() == truth[key], f"{key} has other bytes"


@asynccontextmanager
async def resettled(stack: Stack, **settings: str) -> AsyncIterator[None]:
    """The stack's workers with other settings (`name` without `TIDEMARK_`), until the end of the block."""
    workers = [f"worker-{number}" for number in range(1, stack.workers + 1)]
    before = dict(stack._settings)

    def restart(wanted: Mapping[str, str]) -> None:
        stack.processes.stop(workers, 15)
        stack._settings = dict(wanted)
        stack.up(workers)

    await asyncio.to_thread(restart, {**before, **{f"TIDEMARK_{k.upper()}": v for k, v in settings.items()}})
    try:
        yield
    finally:
        await asyncio.to_thread(restart, before)


@contextmanager
def source_server(seed: int = 1) -> Iterator[FaultyS3]:
    """The scripted S3 server."""
    # A killed worker's half-answered requests are what these tests are about, no news.
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)
    with FaultyS3.running(seed=seed) as server:
        yield server


@asynccontextmanager
async def world(stack: Stack, s3: FaultyS3) -> AsyncIterator[World]:
    """The world of a running stack."""
    env = stack.env
    temporal = await Client.connect(env["TEMPORAL_ADDRESS"])
    async with Api(env) as api:
        yield World(env, api, s3, temporal)
