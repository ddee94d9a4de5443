"""Pause and SIGTERM: what runs hands back at its next object, and nothing is fetched twice for it."""

from __future__ import annotations

import asyncio
import os
import signal
import time

import pytest

from deploy.local.stack import Stack
from tests.chaos.rig import FULL, World, bodies, fetched, gets, say, settled, until

pytestmark = pytest.mark.slow

# Half the objects and a sixth of the pause show the same; the whole is asked for as in `test_scale.py`.
_COUNT, _PAUSE_SECONDS = (20_000, 60) if FULL else (10_000, 10)


@pytest.mark.timeout(240)
async def test_pause_stops_within_five_seconds_and_resume_fetches_nothing_twice(here: World) -> None:
    count = _COUNT
    source = here.fill(bodies(count))
    here.s3.faults.get_delay = 0.05
    landing = await here.sync(source)
    job_id = await landing.sync.newest_job()
    await until(lambda: _reached(here, source, count // 5))
    asked = time.monotonic()
    await landing.sync.pause()
    answered = time.monotonic() - asked
    await asyncio.sleep(max(0.0, 5 - answered))
    at_five = fetched(here.s3, source)
    await asyncio.sleep(_PAUSE_SECONDS - 5)
    assert fetched(here.s3, source) == at_five < count, "GETs after 5 s"
    shown = await landing.sync.get()
    assert (shown["paused"], shown["status"], shown["is_active"]) == (True, "SUSPENDED", False)
    job = await landing.sync.job(job_id)
    assert job["status"] == "interrupted", job
    here.s3.faults.get_delay = 0
    await landing.sync.resume()
    job = await landing.sync.watch(job_id, seconds=120, resumed=True)
    assert (job["status"], job["trigger"]) == ("completed", "resume"), job
    settled(job, seen=count, stored=count)
    asked_for = gets(here.s3, source)
    say(f"pause answered in {answered:.2f} s with {at_five} fetched; {asked_for.total()} GETs in all")
    assert max(asked_for.values()) == 1 and asked_for.total() == count
    assert await landing.recount() == count


async def test_sigterm_hands_back_within_ten_seconds(here: World, shaken: Stack) -> None:
    count = 3000
    source = here.fill(bodies(count))
    here.s3.faults.get_delay = 0.3
    landing = await here.sync(source)
    job_id = await landing.sync.newest_job()
    await until(lambda: _reached(here, source, 500))
    took = {}
    for name in ("worker-1", "worker-2"):
        pid = shaken.processes.pid(name)
        began = time.monotonic()
        shaken.kill(name, signal.SIGTERM)
        status = await asyncio.to_thread(_exit_status, pid)
        took[name] = time.monotonic() - began
        assert status == 0
        await asyncio.to_thread(shaken.start, name)
    say(f"handed back in {took}")
    assert max(took.values()) < 10
    job = await landing.sync.watch(job_id, seconds=90)
    settled(job, seen=count, stored=count)
    asked_for = gets(here.s3, source)
    assert asked_for.total() == count and max(asked_for.values()) == 1
    attempts = [
        event.activity_task_started_event_attributes.attempt
        async for event in landing.workflow.fetch_history_events()
        if event.HasField("activity_task_started_event_attributes")
    ]
    assert set(attempts) == {1}, "an attempt was spent"
    assert await landing.recount() == count


def _exit_status(pid: int | None) -> int:
    assert pid is not None
    _, raw = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(raw)


async def _reached(here: World, source: str, count: int) -> bool:
    return fetched(here.s3, source) >= count
