"""The failure classes of the design, as the workflow lives them."""

from __future__ import annotations

from datetime import timedelta

import pytest

from activities.contracts import TriggerArgs
from tests.workflow_model.rig import Rig
from workflows import policies


async def test_a_throttled_chunk_waits_on_a_timer_and_spends_no_attempt(skip_rig: Rig) -> None:
    rig, model = skip_rig, skip_rig.model
    model.books.source = set(range(2_000))
    model.script["ingest_chunk"].extend(["throttle"] * 6)
    model.script["begin_run"].append("throttle")
    model.script["list_pages"].append("throttle")
    await rig.start()
    await rig.until_state(lambda s: s["run"] and s["run"]["slow"])
    await rig.skip(120)
    state = await rig.until_state(lambda s: s["last_status"] == "completed")
    assert model.books.stored == model.books.source
    assert state["last_counts"]["throttle_waits"] == 8
    (history,) = await rig.check()
    attempts = [
        e.activity_task_started_event_attributes.attempt
        for e in history.events
        if e.HasField("activity_task_started_event_attributes")
    ]
    assert set(attempts) == {1}


async def test_a_chunk_handed_back_by_a_worker_that_stops_is_done_by_the_next(rig: Rig) -> None:
    rig.model.books.source = set(range(3_000))
    rig.model.script["ingest_chunk"].extend(["hand_back"] * 3)
    await rig.start()
    await rig.until_state(lambda s: s["last_status"] == "completed")
    assert rig.model.books.stored == rig.model.books.source
    await rig.check()


@pytest.mark.parametrize("name", ["ingest_chunk", "reconcile", "make_batches"])
@pytest.mark.parametrize("outcome", ["bug", "store", "transient"])
async def test_trouble_that_passes_is_waited_for(skip_rig: Rig, name: str, outcome: str) -> None:
    rig, model = skip_rig, skip_rig.model
    model.books.source, model.books.stored = set(range(50)), set(range(40, 60))
    model.script[name].extend([outcome] * 4)
    await rig.start()
    await rig.skip(200)
    state = await rig.until_state(lambda s: s["last_status"] == "completed")
    assert model.books.stored == model.books.source
    assert state["attention"] == ""
    assert len(model.books.jobs) == 1
    await rig.check()


@pytest.mark.parametrize("name", ["begin_run", "list_pages", "ingest_chunk", "reconcile", "make_batches"])
@pytest.mark.parametrize("outcome", ["denied", "waits"])
async def test_a_refusal_ends_the_run_and_nothing_else(rig: Rig, name: str, outcome: str) -> None:
    model = rig.model
    model.books.source, model.books.stored = set(range(4_000)), set(range(3_900, 4_005))
    model.script[name].append(outcome)
    await rig.start()
    state = await rig.until_state(lambda s: s["last_status"] == "failed")
    assert "scripted" in state["last_error"]
    await rig.update("trigger")
    await rig.until_state(lambda s: s["last_status"] == "completed")
    assert model.books.stored == model.books.source
    assert not model.books.open_jobs()
    await rig.check()


@pytest.mark.parametrize("name", ["load_state", "project", "finish_run", "requeue_dead_letters"])
async def test_bookkeeping_is_never_given_up(skip_rig: Rig, name: str) -> None:
    rig, model = skip_rig, skip_rig.model
    model.books.source = set(range(10))
    model.script[name].extend(["fatal", "store", "fatal"])
    await rig.start()
    for signal in ("pause", "requeue", "resume"):
        await rig.handle.signal(signal)
    await rig.skip(200)
    await rig.until_state(lambda s: s["last_status"] == "completed")
    assert model.books.stored == model.books.source
    assert not model.script[name]
    await rig.check()


async def test_a_lost_worker_costs_a_retry_and_nothing_else(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policies, "_HEARTBEAT", timedelta(seconds=1))
    rig.model.books.source = set(range(1_000))
    rig.model.script["ingest_chunk"].append("lost")
    await rig.start()
    await rig.until_state(lambda s: s["last_status"] == "completed")
    assert rig.model.books.stored == rig.model.books.source
    await rig.check()


async def test_five_failing_runs_suspend_and_resume_goes_on(skip_rig: Rig) -> None:
    rig, model = skip_rig, skip_rig.model
    model.script["begin_run"].extend(["denied"] * 5)
    await rig.start()
    await rig.skip(310 * 6)
    state = await rig.until_state(lambda s: s["suspended"])
    assert state["name"] == "suspended"
    assert model.books.calls["begin_run"] == 5
    await rig.skip(86_400)
    assert model.books.calls["begin_run"] == 5
    assert (await rig.update("resume")).outcome == "resumed"
    await rig.until_state(lambda s: s["last_status"] == "completed")
    await rig.check()


async def test_a_trigger_lifts_a_suspension(skip_rig: Rig) -> None:
    rig, model = skip_rig, skip_rig.model
    model.script["begin_run"].extend(["denied"] * 5)
    await rig.start()
    await rig.skip(310 * 6)
    await rig.until_state(lambda s: s["suspended"])
    await rig.update("trigger")
    await rig.until_state(lambda s: s["last_status"] == "completed")
    assert (await rig.state())["suspended"] == ""
    await rig.check()


async def test_a_source_out_of_order_is_walked_again_and_keeps_a_full_sync(rig: Rig) -> None:
    rig.model.books.paused = True
    rig.model.script["begin_run"].append("unordered")
    await rig.start()
    await rig.update("trigger", TriggerArgs(full_sync=True))
    await rig.update("resume")
    await rig.until(lambda: sum(job.closed for job in rig.model.books.jobs.values()) == 2)
    assert [job.full_sync for job in rig.model.books.jobs.values()] == [True, True]
    assert [job.status for job in rig.model.books.jobs.values()] == ["interrupted", "completed"]
    await rig.check()


async def test_a_sync_that_is_gone_ends(rig: Rig) -> None:
    rig.model.script["begin_run"].append("gone")
    handle = await rig.start()
    assert await handle.result() == "deleted"
    await rig.check()
