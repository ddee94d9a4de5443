"""Dead letters: three tries for the object that fails and one for the others, quarantine, another chance."""

from __future__ import annotations

from tests.chaos.rig import Landing, World, bodies, gets, settled, until


async def _letter(landing: Landing) -> dict[str, object]:
    [letter] = await landing.letters()
    return letter


async def test_three_tries_quarantine_and_a_change(here: World) -> None:
    files = bodies(30)
    source = here.fill(files)
    here.s3.put(source, "bad", b"short", listed_size=500)
    landing = await here.sync(source)
    job = await landing.first()
    assert job["status"] == "completed"
    settled(job, seen=31, stored=30, failed=1)
    # Only what failed was fetched again.
    assert {key: n for key, n in gets(here.s3, source).items() if n != 1} == {"bad": 3}
    letter = await _letter(landing)
    assert (letter["retry_count"], letter["max_retries_reached"], letter["resolved_at"]) == (3, True, None)
    assert letter["source_object_id"] == f"{source}/bad" and letter["sync_job_id"] == job["sync_job_id"]
    counts = settled(await landing.again(), unchanged=30, skipped=1, failed=0)
    assert counts["skipped_by_reason"] == {"quarantined": 1} and gets(here.s3, source)["bad"] == 3
    metrics = await here.api.call("GET", f"{landing.path}/metrics")
    assert metrics["dlq_total"] == 1
    here.s3.put(source, "bad", b"mended", listed_size=None)
    settled(await landing.again(), unchanged=30, stored=1)
    assert (await _letter(landing))["resolved_at"] is not None
    assert await landing.recount() == 31


async def test_requeued_letters_are_tried_in_a_run_that_comes_at_once(here: World) -> None:
    source = here.fill(bodies(5))
    for name in ("one", "two"):
        here.s3.put(source, name, name.encode(), denied=True)
    landing = await here.sync(source)
    settled(await landing.first(), stored=5, failed=2)
    # For good: a refused object is not asked for three times.
    assert gets(here.s3, source)["one"] == 1
    here.s3.change(source, "one", denied=False)
    runs = len(await landing.jobs())
    answer = await here.api.call("POST", f"{landing.path}/dlq/requeue", {})
    assert answer["requeued"] == 2
    job = (await _next_run(landing, runs))[0]
    settled(job, stored=1, failed=1, unchanged=5)
    letters = {str(one["source_path"]): one for one in await landing.letters()}
    assert letters["one"]["resolved_at"] and not letters["two"]["resolved_at"]
    assert letters["two"]["max_retries_reached"] and letters["two"]["requeued_at"]
    assert (await here.api.call("POST", f"{landing.path}/dlq/requeue", {"error_types": ["other"]}))["requeued"] == 0


async def _next_run(landing: Landing, before: int) -> list[dict[str, object]]:
    async def ended() -> list[dict[str, object]]:
        jobs = await landing.jobs()
        return jobs if len(jobs) > before and jobs[0]["status"] != "running" else []

    found: list[dict[str, object]] = await until(ended, seconds=20)
    return found
