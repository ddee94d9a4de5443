"""Parts of the stack die in the middle of a run; the recount is exact all the same."""

from __future__ import annotations

import asyncio
import random
import time

import pytest

from deploy.local.stack import Stack
from tests.chaos.rig import World, bodies, crash, fetched, gets, say, settled, until

pytestmark = pytest.mark.slow

_OBJECTS = 5000
_KILLS = 10
_GROUP = 50
_SLOTS = 2


@pytest.mark.timeout(240)
async def test_workers_killed_at_ten_random_moments(here: World, shaken: Stack) -> None:
    seed = random.SystemRandom().randrange(10**6)
    say(f"seed {seed}")
    moments = random.Random(seed)
    source = here.fill(bodies(_OBJECTS))
    here.s3.faults.get_delay = 0.1
    # The source gives a share before each kill: none is too late, however fast or slow the machine.
    here.s3.faults.get_allowance = _OBJECTS // (_KILLS + 1)
    landing = await here.sync(source, batch_size=_GROUP)
    job_id = await landing.sync.newest_job()
    began = time.monotonic()
    await until(lambda: _some(here, source, 1))
    for kill in range(_KILLS):
        await asyncio.sleep(moments.uniform(0.1, 1.5))
        assert (await landing.sync.job(job_id))["status"] == "running", f"over before kill {kill + 1}"
        await crash(shaken, f"worker-{moments.randint(1, 2)}")
        here.s3.faults.get_allowance += _OBJECTS // (_KILLS + 1)
    here.s3.faults.get_allowance = None
    job = await landing.sync.watch(job_id, seconds=150)
    seconds = time.monotonic() - began
    assert job["status"] == "completed", job
    settled(job, seen=_OBJECTS, stored=_OBJECTS, failed=0)
    asked = gets(here.s3, source)
    again = asked.total() - _OBJECTS
    say(f"{_OBJECTS} objects, {_KILLS} kills, {again} fetched again, {seconds:.0f} s")
    # A killed worker loses what was in flight and not committed: at most one group of each chunk it had.
    assert again <= _KILLS * _SLOTS * _GROUP
    assert await landing.recount() == _OBJECTS


async def _some(here: World, source: str, count: int) -> bool:
    return fetched(here.s3, source) >= count


@pytest.mark.parametrize("part", ["temporal", "mongod"])
async def test_a_server_killed_in_the_middle(here: World, shaken: Stack, part: str) -> None:
    count = 2000
    source = here.fill(bodies(count))
    here.s3.faults.get_delay = 0.3
    landing = await here.sync(source, batch_size=_GROUP)
    job_id = await landing.sync.newest_job()
    await until(lambda: _some(here, source, count // 4))
    await crash(shaken, part)
    assert fetched(here.s3, source) < count, "over before the kill"
    job = await landing.sync.watch(job_id, seconds=90)
    assert job["status"] == "completed", job
    settled(job, seen=count, stored=count, failed=0)
    again = fetched(here.s3, source) - count
    say(f"{part} killed: {again} of {count} fetched again")
    # At most two workers with two chunks each lost a group, or three times over where they tried while it was away.
    assert again <= 2 * _SLOTS * _GROUP
    assert await landing.recount() == count
