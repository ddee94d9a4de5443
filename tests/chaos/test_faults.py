"""A source that throttles and cuts: everything arrives, and nothing of it is a dead letter."""

from __future__ import annotations

import pytest

from tests.chaos.rig import World, bodies, gets, say, settled

pytestmark = pytest.mark.slow


@pytest.mark.timeout(180)
async def test_s28_slow_downs_and_cut_bodies(here: World) -> None:
    count = 5000
    source = here.fill(bodies(count))
    here.s3.faults.slow_down = 0.10
    here.s3.faults.cut_bodies = 0.02
    landing = await here.sync(source)
    job = await landing.first(seconds=150)
    assert job["status"] == "completed", job
    counts = settled(job, seen=count)
    asked = gets(here.s3, source)
    say(
        f"{here.s3.counts['slow_down']} times 503, {here.s3.counts['cut']} cut, {asked.total()} GETs, {counts},"
        f" {job['throughput_files_per_min']} a minute"
    )
    assert await landing.letters() == []
    assert counts["stored"] == count
    assert counts["throttle_waits"] > 0
    # Each is fetched once more for each 503 or cut it met, and not otherwise.
    assert asked.total() <= count + here.s3.counts["slow_down"] + here.s3.counts["cut"]
    assert await landing.recount() == count
