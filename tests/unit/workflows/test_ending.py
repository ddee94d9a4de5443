"""How a sync ends or goes into its next execution: stop, delete, cancel, continue-as-new."""

from __future__ import annotations

import asyncio

import pytest
from temporalio.client import WorkflowExecutionStatus, WorkflowFailureError, WorkflowUpdateFailedError
from temporalio.exceptions import CancelledError
from temporalio.service import RPCError

from activities.contracts import TriggerArgs
from tests.workflow_model.rig import Rig


async def test_stop_hands_back_and_closes_the_run(rig: Rig) -> None:
    job_id = await rig.mid_run()
    assert (await rig.update("stop")).outcome == "stopped"
    assert await rig.handle.result() == "stopped"
    assert rig.model.books.jobs[job_id].status == "interrupted"
    assert not rig.model.books.open_jobs()
    assert sum(rig.model.in_flight.values()) == 0
    rig.model.release("ingest_chunk")
    await rig.start()
    await rig.until_state(lambda s: s["last_status"] == "completed")
    assert rig.model.books.stored == rig.model.books.source
    await rig.check()


async def test_stop_closes_a_run_that_was_asked_for(rig: Rig) -> None:
    rig.model.books.paused = True
    await rig.start()
    job_id = (await rig.update("trigger")).sync_job_id
    await rig.update("stop")
    assert await rig.handle.result() == "stopped"
    assert rig.model.books.jobs[job_id].status == "interrupted"
    await rig.check()


async def test_delete_ends_it_for_good(rig: Rig) -> None:
    job_id = await rig.mid_run()
    assert (await rig.update("delete")).outcome == "deleted"
    assert rig.model.books.deleted
    assert await rig.handle.result() == "deleted"
    assert rig.model.books.jobs[job_id].closed
    await rig.check()


async def test_cancellation_is_a_stop_that_reads_canceled(rig: Rig) -> None:
    job_id = await rig.mid_run()
    await rig.handle.cancel()
    with pytest.raises(WorkflowFailureError) as failure:
        await rig.handle.result()
    assert isinstance(failure.value.cause, CancelledError)
    assert (await rig.handle.describe()).status == WorkflowExecutionStatus.CANCELED
    assert rig.model.books.jobs[job_id].status == "interrupted"
    assert sum(rig.model.in_flight.values()) == 0
    await rig.check()


@pytest.mark.parametrize("held", ["load_state", "begin_run", "finish_run", "project", "make_batches"])
async def test_cancellation_at_any_step_loses_nothing(rig: Rig, held: str) -> None:
    rig.model.books.source = set(range(10))
    rig.model.hold(held)
    await rig.start()
    if held == "project":
        await rig.handle.signal("pause")
    await rig.until(lambda: rig.model.in_flight[held] == 1)
    await rig.handle.cancel()
    await asyncio.sleep(0.2)
    rig.model.release(held)
    with pytest.raises(WorkflowFailureError):
        await rig.handle.result()
    assert not rig.model.books.open_jobs()
    await rig.check()


@pytest.mark.parametrize("ending", ["stop", "cancel"])
async def test_a_trigger_while_it_is_ending_starts_it_again(rig: Rig, ending: str) -> None:
    first = await rig.mid_run()
    rig.model.hold("finish_run")
    await (rig.handle.signal("stop") if ending == "stop" else rig.handle.cancel())
    await rig.until(lambda: rig.model.in_flight["finish_run"] == 1)
    triggering = asyncio.create_task(rig.update("trigger"))
    await asyncio.sleep(0.2)
    rig.model.release("finish_run")
    rig.model.release("ingest_chunk")
    answer = await triggering
    assert answer.outcome == "started"
    assert answer.sync_job_id != first
    await rig.until(lambda: rig.model.books.jobs[answer.sync_job_id].status == "completed")
    assert rig.model.books.jobs[first].status == "interrupted"
    assert rig.model.books.stored == rig.model.books.source
    await rig.check()


async def test_a_trigger_after_delete_does_not_revive_it(rig: Rig) -> None:
    await rig.mid_run()
    rig.model.hold("finish_run")
    await rig.update("delete")
    await rig.until(lambda: rig.model.in_flight["finish_run"] == 1)
    assert (await rig.update("trigger")).outcome == "unchanged"
    rig.model.release("finish_run")
    assert await rig.handle.result() == "deleted"
    assert not rig.model.books.open_jobs()
    await rig.check()


async def test_a_trigger_while_an_initial_only_sync_is_finishing_is_not_lost(rig: Rig) -> None:
    rig.model.books.continuous, rig.model.books.source = False, set(range(10))
    rig.model.hold("finish_run")
    await rig.start()
    await rig.until(lambda: rig.model.in_flight["finish_run"] == 1)
    triggering = asyncio.create_task(rig.update("trigger", TriggerArgs(full_sync=True)))
    await asyncio.sleep(0.1)
    rig.model.release("finish_run")
    try:
        answer = await triggering
    except (WorkflowUpdateFailedError, RPCError):
        pytest.fail("the trigger was neither carried out nor refused in words")
    assert answer.outcome in {"started", "pending_full_sync"}
    assert await rig.handle.result() == "completed"
    assert any(job.full_sync and job.status == "completed" for job in rig.model.books.jobs.values())
    await rig.check()


async def test_continue_as_new_mid_run_keeps_the_place(short_rig: Rig) -> None:
    rig, books = short_rig, short_rig.model.books
    books.source = set(range(60_000))
    await rig.start()
    state = await rig.until_state(lambda s: s["last_status"] == "completed")
    assert state["executions"] >= 3
    assert books.stored == books.source
    assert state["last_counts"]["stored"] == 60_000
    assert len(books.jobs) == 1
    assert books.calls["begin_run"] == 1
    assert books.calls["ingest_chunk"] == 60
    for history in await rig.check():
        assert len(history.events) < 100


async def test_a_paused_sync_under_a_hail_of_commands_continues_as_new_and_stays_paused(short_rig: Rig) -> None:
    rig = short_rig
    rig.model.books.paused = True
    await rig.start()
    for _ in range(60):
        await rig.handle.signal("reload")
    state = await rig.until_state(lambda s: s["executions"] >= 1)
    assert state["name"] == "paused"
    assert rig.model.books.calls["begin_run"] == 0
    await rig.check()


async def test_unlock_while_it_is_about_to_continue_as_new(short_rig: Rig) -> None:
    rig, books = short_rig, short_rig.model.books
    books.source = set(range(30_000))
    await rig.start()
    for _ in range(5):
        await rig.update("unlock")
        await rig.update("trigger")
    await rig.until_state(lambda s: s["last_status"] == "completed" and s["run"] is None)
    assert books.stored == books.source
    await rig.check()


async def test_a_store_that_stays_away_while_a_run_begins_does_not_fill_the_history(short_skip_rig: Rig) -> None:
    rig, model = short_skip_rig, short_skip_rig.model
    model.choose = lambda name: "store" if name == "begin_run" else ""
    await rig.start()
    await rig.skip(900)
    assert (await rig.state())["executions"] >= 2
    model.choose = lambda _name: ""
    await rig.skip(60)
    await rig.until_state(lambda s: s["last_status"] == "completed")
    for history in await rig.check():
        assert len(history.events) < 80
