"""Dead letters over time, and under a lost worker. Healing and disposal take seconds here instead of days."""

from __future__ import annotations

import asyncio

import pytest

from deploy.local.stack import Stack
from tests.chaos.rig import World, bodies, crash, gets, resettled, settled, until

pytestmark = pytest.mark.slow


async def test_healing_at_most_once_per_interval_then_disposal(here: World, shaken: Stack) -> None:
    async with resettled(shaken, dead_letter_heal_seconds="6", dead_letter_keep_seconds="13"):
        source = here.fill(bodies(3))
        for name in ("heals", "never"):
            here.s3.put(source, name, name.encode(), denied=True)
        landing = await here.sync(source)
        settled(await landing.first(), stored=3, failed=2)
        born = {one["source_path"]: one for one in await landing.letters()}
        here.s3.change(source, "heals", denied=False)
        settled(await landing.again(), unchanged=3, skipped=2)
        await asyncio.sleep(6.5)
        settled(await landing.again(), unchanged=3, stored=1, failed=1)
        settled(await landing.again(), unchanged=4, skipped=1)
        assert gets(here.s3, source)["never"] == 2
        [never] = [one for one in await landing.letters() if one["source_path"] == "never"]
        assert never["last_seen_at"] == born["never"]["last_seen_at"], (
            "the date of its quarantine is what disposal counts"
        )
        assert never["last_reattempt_at"] and never["max_retries_reached"]
        await asyncio.sleep(7)
        await landing.again()
        assert [one["source_path"] for one in await landing.letters()] == []
        # Without its letter it is an object like any other, and gets three tries anew.
        settled(await landing.again(), unchanged=4, failed=1)
        assert await landing.recount({**bodies(3), "heals": b"heals"}) == 4


@pytest.mark.timeout(180)
async def test_a_lost_worker_costs_an_object_no_try(here: World, shaken: Stack) -> None:
    source = here.fill({})
    here.s3.put(source, "bad", b"short", listed_size=500)
    here.s3.faults.get_delay = 2.0
    landing = await here.sync(source)
    job_id = await landing.sync.newest_job()
    await until(lambda: _asked(here, source, 1))
    await crash(shaken, "worker-1", "worker-2")
    job = await landing.sync.watch(job_id, seconds=120)
    assert job["status"] == "completed"
    settled(job, seen=1, failed=1)
    [letter] = await landing.letters()
    assert letter["retry_count"] == 3
    assert gets(here.s3, source)["bad"] == 4


async def _asked(here: World, source: str, count: int) -> bool:
    return gets(here.s3, source).total() >= count
