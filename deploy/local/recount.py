"""The recount: every source file is in the bucket once, with the right bytes, and nothing else is.

It trusts nothing of what the product counted: it lists the objects, fetches every blob through its
presigned URL and compares hashes with those of the source files.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import aiohttp

from deploy.local.client import Api, Json

__all__ = ["Recount", "recount"]

_FETCHERS = 16


@dataclass
class Recount:
    """What was found. `wrong` is empty when all is well."""

    objects: int = 0
    bytes: int = 0
    missing: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    different: list[str] = field(default_factory=list)
    seen: Counter[str] = field(default_factory=Counter)

    @property
    def wrong(self) -> dict[str, list[str]]:
        """The lists that are not empty."""
        kinds = ("missing", "doubled", "unexpected", "different")
        return {kind: getattr(self, kind) for kind in kinds if getattr(self, kind)}

    async def check(self, session: aiohttp.ClientSession, item: Json, key: str, expected: tuple[str, int]) -> None:
        """Fetch the one blob of an object and compare it with what the source has."""
        [blob] = item["blobs"]
        digest, size = hashlib.sha256(), 0
        async with session.get(blob["presigned_url"]) as reply:
            reply.raise_for_status()
            async for part in reply.content.iter_chunked(1 << 20):
                digest.update(part)
                size += len(part)
        self.bytes += size
        if (digest.hexdigest(), size) != expected:
            self.different.append(key)


async def recount(
    api: Api,
    bucket_id: str,
    key_of: Callable[[Json], str],
    truth: Mapping[str, tuple[str, int]],
    each: Callable[[], object] = lambda: None,
) -> Recount:
    """Compare a bucket with `truth` (key to sha256 and size); `each` is called after every object.

    `key_of` tells an object's key by its first `source_details`.
    """
    found = Recount()
    queue: asyncio.Queue[Json] = asyncio.Queue(maxsize=2000)

    async def fetch(session: aiohttp.ClientSession) -> None:
        while True:
            item = await queue.get()
            key = key_of(item["source_details"][0])
            found.objects += 1
            found.seen[key] += 1
            if key in truth:
                await found.check(session, item, key, truth[key])
            else:
                found.unexpected.append(key)
            each()
            queue.task_done()

    # A session without our key: a presigned URL has to do without.
    async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as group:
        fetchers = [group.create_task(fetch(session)) for _ in range(_FETCHERS)]
        async for item in api.objects(bucket_id):
            await queue.put(item)
        await queue.join()
        for fetcher in fetchers:
            fetcher.cancel()
    found.missing = sorted(truth.keys() - found.seen.keys())
    found.doubled = sorted(key for key, times in found.seen.items() if times > 1)
    return found
