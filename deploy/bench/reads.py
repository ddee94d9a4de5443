"""Load of mixed reads on the API, at a fixed rate: what the answers cost while a sync runs.

    python -m deploy.bench.reads        a stack of its own, 30 seconds, RATE=1000 requests a second

Requests are sent when they are due, whether or not earlier ones have been answered, and a request's time
counts from when it was due: a server that falls behind cannot hide it.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import boto3

from deploy.local import setup
from deploy.local.client import Api, Json
from deploy.local.paths import CHECKOUT
from deploy.local.ports import Ports
from deploy.local.stack import Stack

__all__ = ["Load", "Read", "Target", "put_files", "reads_of", "send"]

_FILES = 10_000


@dataclass(frozen=True, slots=True)
class Read:
    """One kind of request, and how often it comes among others."""

    weight: int
    method: str
    path: str
    body: Json | None = None


@dataclass(slots=True)
class Load:
    """What became of the requests."""

    seconds: float = 0.0
    times: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)

    @property
    def rate(self) -> float:
        """Answers a second."""
        return len(self.times) / self.seconds

    def quantile(self, share: float) -> float:
        """The time, in milliseconds, in which this share of the requests was answered."""
        ordered = sorted(self.times)
        return 1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    def __str__(self) -> str:
        shares = ", ".join(f"p{100 * share:g} {self.quantile(share):.0f} ms" for share in (0.5, 0.95, 0.99, 0.999))
        return f"{len(self.times)} reads, {self.rate:.0f} a second: {shares}; statuses {dict(self.statuses)}"


@dataclass(frozen=True, slots=True)
class Target:
    """A sync and its bucket, to be read."""

    bucket_id: str
    sync_config_id: str
    connection_id: str
    object_ids: Sequence[str]


def reads_of(target: Target) -> list[Read]:
    """What a dashboard and a client that polls ask for, in about their proportions."""
    bucket, sync = f"/buckets/{target.bucket_id}", f"/buckets/{target.bucket_id}/syncs/{target.sync_config_id}"
    objects = [Read(2, "GET", f"{bucket}/objects/{one}?return_presigned_urls=true") for one in target.object_ids[:10]]
    return [
        *objects,
        Read(25, "GET", sync),
        Read(15, "GET", bucket),
        Read(10, "GET", f"{sync}/metrics"),
        Read(10, "POST", f"{sync}/jobs?limit=5", {}),
        Read(8, "GET", f"{bucket}/objects?limit=10"),
        Read(5, "POST", f"{bucket}/objects/list", {"limit": 10, "sort": {"field": "created_at", "direction": "desc"}}),
        Read(4, "POST", "/buckets/list", {"limit": 10}),
        Read(3, "GET", f"/organizations/connections/{target.connection_id}"),
    ]


async def send(env: Mapping[str, str], reads: Sequence[Read], *, rate: float, seconds: float) -> Load:
    """Send so many reads a second for so long, and wait for every answer."""
    load, chosen = Load(), random.Random(20261125)  # noqa: S311 - the same mix every time
    kinds = chosen.choices(reads, weights=[read.weight for read in reads], k=int(rate * seconds))
    headers = {"Authorization": f"Bearer {env['TIDEMARK_API_KEY']}", "X-Namespace": env["TIDEMARK_NAMESPACE"]}
    async with aiohttp.ClientSession(
        headers=headers, connector=aiohttp.TCPConnector(limit=64), timeout=aiohttp.ClientTimeout(total=60)
    ) as session:

        async def ask(read: Read, due: float) -> None:
            async with session.request(read.method, f"{env['TIDEMARK_URL']}/v1{read.path}", json=read.body) as reply:
                await reply.read()
            load.times.append(time.perf_counter() - due)
            load.statuses[reply.status] += 1

        began = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for number, read in enumerate(kinds):
                due = began + number / rate
                if (early := due - time.perf_counter()) > 0:
                    await asyncio.sleep(early)
                group.create_task(ask(read, due))
        load.seconds = time.perf_counter() - began
    return load


def put_files(env: Mapping[str, str], bucket: str, count: int) -> None:
    """Small files at the source."""
    s3: Any = boto3.client(
        "s3",
        endpoint_url=env["S3_ENDPOINT_URL"],
        aws_access_key_id=env["S3_ACCESS_KEY_ID"],
        aws_secret_access_key=env["S3_SECRET_ACCESS_KEY"],
        region_name="us-east-1",
    )
    s3.create_bucket(Bucket=bucket)
    for number in range(count):
        s3.put_object(Bucket=bucket, Key=f"in/{number:06}.txt", Body=b"%d" % number)


async def measure(stack: Stack, rate: float, seconds: float) -> bool:
    """Print what reads cost alone and while a sync runs; whether that sync ended with every file."""
    env = stack.env
    await asyncio.to_thread(put_files, env, "reads", _FILES)
    async with Api(env) as api:
        connection = await api.create_source("reads")
        bucket = await api.create_bucket("reads", {"content": {"type": "text"}})
        made = [(await api.call("POST", f"/buckets/{bucket}/objects", {"n": n}))["object_id"] for n in range(10)]
        sync = await api.create_sync(bucket, connection, "reads/none", polling_interval_seconds=86_400)
        await sync.idle()
        reads = reads_of(Target(bucket, sync.id, connection, made))
        print(f"alone: {await send(env, reads, rate=rate, seconds=seconds)}", flush=True)
        sync = await api.create_sync(bucket, connection, "reads/in", polling_interval_seconds=86_400)
        reads = reads_of(Target(bucket, sync.id, connection, made))
        began = time.monotonic()
        load = asyncio.create_task(send(env, reads, rate=rate, seconds=seconds))
        job = await sync.watch(await sync.newest_job(), seconds=600)
        took = time.monotonic() - began
        print(f"while a sync takes {_FILES} files ({took:.0f} s): {await load}", flush=True)
        counts, found = job["metadata"]["counts"], await sync.object_count()
    print(f"the sync: {job['status']}, {counts}, {found} objects")
    return bool(job["status"] == "completed" and counts["stored"] == counts["seen"] == found == _FILES)


def main() -> int:
    """Command line."""
    rate, seconds = float(os.environ.get("RATE", "1000")), float(os.environ.get("SECONDS_OF_LOAD", "30"))
    setup.prepare("bench")
    (CHECKOUT / ".local").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CHECKOUT / ".local", prefix="reads-") as root:
        stack = Stack(Path(root), ports=Ports.pick(), say=print)
        try:
            stack.up()
            return 0 if asyncio.run(measure(stack, rate, seconds)) else 1
        finally:
            stack.down()


if __name__ == "__main__":
    sys.exit(main())
