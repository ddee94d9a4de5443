"""Pause and resume: within seconds, for as long as it takes, without losing or redoing anything."""

from __future__ import annotations

from activities.contracts import CommandArgs, PauseArgs, TriggerArgs
from tests.workflow_model.rig import Rig

DAY = 86_400


async def running(rig: Rig, size: int = 8_000) -> None:
    """A run in the middle of its chunks."""
    rig.model.books.source = set(range(size))
    rig.model.hold("ingest_chunk")
    await rig.start()
    await rig.until(lambda: rig.model.in_flight["ingest_chunk"] >= 3)


async def test_pause_mid_run_hands_back_parks_and_resume_goes_on(skip_rig: Rig) -> None:
    model = skip_rig.model
    await running(skip_rig)
    paused = await skip_rig.update("pause", PauseArgs(by="usr_1", reason="night"))
    assert (paused.outcome, paused.state) == ("paused", "paused")
    state = await skip_rig.until_state(lambda s: s["run"] and s["run"]["parked"])
    assert sum(model.in_flight.values()) == 0
    job_id = state["run"]["id"]
    await skip_rig.until(lambda: model.books.jobs[job_id].status == "interrupted")
    calls = dict(model.books.calls)

    await skip_rig.skip(60 * DAY)
    assert model.books.calls == calls

    model.release("ingest_chunk")
    resumed = await skip_rig.update("resume", CommandArgs(by="usr_1"))
    assert (resumed.outcome, resumed.sync_job_id) == ("resumed", job_id)
    done = await skip_rig.until_state(lambda s: s["last_status"] == "completed")
    assert model.books.stored == model.books.source
    assert done["last_counts"]["stored"] == 8_000
    assert model.books.jobs[job_id].resumed == 1
    assert len(model.books.jobs) == 1
    await skip_rig.check()


async def test_a_chunk_that_was_done_is_not_done_again_after_a_pause(rig: Rig) -> None:
    model = rig.model
    model.books.source = set(range(6_000))
    model.hold("ingest_chunk")
    await rig.start()
    await rig.until(lambda: model.in_flight["ingest_chunk"] >= 3)
    model.release("ingest_chunk")
    model.hold("list_pages")
    await rig.until(lambda: len(model.books.stored) > 0)
    await rig.update("pause")
    model.release("list_pages")
    await rig.until_state(lambda s: s["run"] is None or s["run"]["parked"])
    await rig.update("resume")
    await rig.until_state(lambda s: s["last_status"] == "completed")
    assert model.books.stored == model.books.source
    await rig.check()


async def test_pause_while_idle_stops_polling(skip_rig: Rig) -> None:
    await skip_rig.start()
    await skip_rig.until_state(lambda s: s["last_status"] == "completed")
    await skip_rig.update("pause", PauseArgs(reason="x"))
    assert (await skip_rig.update("pause")).outcome == "unchanged"
    await skip_rig.skip(30 * DAY)
    assert skip_rig.model.books.calls["begin_run"] == 1
    assert (await skip_rig.update("resume")).outcome == "resumed"
    await skip_rig.until(lambda: skip_rig.model.books.calls["begin_run"] == 2)
    assert (await skip_rig.update("resume")).outcome == "unchanged"
    await skip_rig.check()


async def test_pause_in_the_idle_beginning_of_a_run_is_the_last_word_in_the_documents(rig: Rig) -> None:
    model = rig.model
    model.hold("begin_run")
    await rig.start()
    await rig.until(lambda: model.in_flight["begin_run"] == 1)
    await rig.update("pause")
    await rig.until_state(lambda s: s["run"] is None or s["run"]["parked"])
    await rig.until(lambda: model.books.status == "SUSPENDED")
    assert model.books.paused
    await rig.check()


async def test_a_pause_while_throttled_parks_at_once(skip_rig: Rig) -> None:
    skip_rig.model.books.source = set(range(1_000))
    skip_rig.model.script["ingest_chunk"].extend(["throttle"] * 3)
    await skip_rig.start()
    await skip_rig.until_state(lambda s: s["run"] and s["run"]["slow"])
    await skip_rig.update("pause")
    await skip_rig.until_state(lambda s: s["run"]["parked"])
    await skip_rig.check()


async def test_pausing_and_unlocking_while_removals_are_in_progress(rig: Rig) -> None:
    books = rig.model.books
    books.source, books.stored = set(range(90)), set(range(100))
    rig.model.hold("reconcile")
    await rig.start()
    await rig.until(lambda: rig.model.in_flight["reconcile"] == 1)
    await rig.update("pause")
    await rig.until_state(lambda s: s["run"]["parked"])
    unlocked = await rig.update("unlock")
    assert unlocked.outcome == "unlocked"
    rig.model.release("reconcile")
    await rig.update("resume")
    await rig.until_state(lambda s: s["last_status"] == "completed")
    assert books.stored == books.source
    await rig.check()


async def test_trigger_while_paused_waits_for_resume(skip_rig: Rig) -> None:
    books = skip_rig.model.books
    books.paused = True
    await skip_rig.start()
    triggered = await skip_rig.update("trigger", TriggerArgs(by="usr_1", full_sync=True))
    assert (triggered.outcome, triggered.state) == ("started", "paused")
    await skip_rig.skip(DAY)
    assert books.calls["begin_run"] == 0
    await skip_rig.update("resume")
    await skip_rig.until(lambda: books.jobs[triggered.sync_job_id].closed)
    job = books.jobs[triggered.sync_job_id]
    assert (job.status, job.trigger, job.full_sync) == ("completed", "manual", True)
    await skip_rig.check()
