"""What each command does, mid-run, idle and while something else is going on."""

from __future__ import annotations

import asyncio

from activities.contracts import CommandArgs, DecisionArgs, RequeueArgs, TriggerArgs
from tests.workflow_model.rig import Rig


async def idle(rig: Rig) -> None:
    await rig.start()
    await rig.until_state(lambda s: s["last_status"] == "completed")


async def test_trigger_runs_at_once(rig: Rig) -> None:
    await idle(rig)
    answer = await rig.update("trigger", TriggerArgs(by="usr_1"))
    assert answer.outcome == "started"
    await rig.until(lambda: rig.model.books.jobs[answer.sync_job_id].closed)
    job = rig.model.books.jobs[answer.sync_job_id]
    assert (job.trigger, job.by, job.status, job.full_sync) == ("manual", "usr_1", "completed", False)
    await rig.check()


async def test_trigger_while_active_is_skipped_and_full_sync_is_kept(rig: Rig) -> None:
    job_id = await rig.mid_run()
    skipped = await rig.update("trigger")
    assert (skipped.outcome, skipped.sync_job_id) == ("skipped_already_running", job_id)
    kept = await rig.update("trigger", TriggerArgs(full_sync=True))
    assert (kept.outcome, kept.sync_job_id) == ("pending_full_sync", job_id)
    assert rig.model.books.pending_full_sync == 1
    rig.model.release("ingest_chunk")
    await rig.until(lambda: sum(job.closed for job in rig.model.books.jobs.values()) == 2)
    full = [job for job in rig.model.books.jobs.values() if job.full_sync]
    assert [(job.by, job.status) for job in full] == [("queued_full_sync", "completed")]
    assert not rig.model.books.pending_full_sync
    await rig.check()


async def test_a_full_sync_asked_for_while_a_run_begins_stays_on_record(rig: Rig) -> None:
    rig.model.books.source = set(range(10))
    rig.model.hold("begin_run")
    rig.model.hold("ingest_chunk")
    await rig.start()
    await rig.until(lambda: rig.model.in_flight["begin_run"] == 1)
    await rig.update("trigger", TriggerArgs(full_sync=True))
    rig.model.release("begin_run")
    await rig.until(lambda: rig.model.in_flight["ingest_chunk"] == 1)
    assert rig.model.books.pending_full_sync
    rig.model.release("ingest_chunk")
    await rig.until(lambda: any(job.full_sync and job.closed for job in rig.model.books.jobs.values()))
    await rig.check()


async def test_many_triggers_at_once_start_one_run(rig: Rig) -> None:
    await idle(rig)
    rig.model.hold("begin_run")
    answers = await asyncio.gather(*(rig.update("trigger") for _ in range(5)))
    rig.model.release("begin_run")
    assert sorted(answer.outcome for answer in answers) == ["skipped_already_running"] * 4 + ["started"]
    assert len({answer.sync_job_id for answer in answers}) == 1
    await rig.until(lambda: len(rig.model.books.jobs) == 2 and not rig.model.books.open_jobs())
    await rig.check()


async def test_a_trigger_in_the_moment_a_run_ends_counts(rig: Rig) -> None:
    rig.model.books.source = set(range(10))
    rig.model.hold("finish_run")
    await rig.start()
    await rig.until(lambda: rig.model.in_flight["finish_run"] == 1)
    asked = asyncio.create_task(rig.update("trigger"))
    await asyncio.sleep(0.1)
    rig.model.release("finish_run")
    answer = await asked
    assert answer.outcome == "started"
    await rig.until(lambda: rig.model.books.jobs[answer.sync_job_id].closed)
    await rig.check()


async def test_unlock_gives_up_the_run_and_is_idempotent(rig: Rig) -> None:
    job_id = await rig.mid_run()
    first, second = await asyncio.gather(rig.update("unlock"), rig.update("unlock"))
    assert (first.outcome, first.sync_job_id) == ("unlocked", job_id)
    assert second.outcome in {"unlocked", "nothing_to_unlock"}
    assert (await rig.update("unlock")).outcome == "nothing_to_unlock"
    assert rig.model.books.jobs[job_id].status == "interrupted"
    assert sum(rig.model.in_flight.values()) == 0
    rig.model.release("ingest_chunk")
    await rig.update("trigger")
    await rig.until_state(lambda s: s["last_status"] == "completed")
    assert rig.model.books.stored == rig.model.books.source
    await rig.check()


async def test_unlock_while_paused_mid_run_frees_the_run_and_stays_paused(rig: Rig) -> None:
    job_id = await rig.mid_run()
    await rig.update("pause")
    await rig.until_state(lambda s: s["run"]["parked"])
    answer = await rig.update("unlock")
    assert (answer.outcome, answer.state) == ("unlocked", "paused")
    assert rig.model.books.jobs[job_id].closed
    assert (await rig.state())["run"] is None
    await rig.check()


async def test_unlock_while_a_pause_is_being_recorded_is_not_lost(rig: Rig) -> None:
    await rig.mid_run()
    rig.model.hold("project")
    pausing = asyncio.create_task(rig.update("pause"))
    await rig.until(lambda: sum(rig.model.in_flight.values()) == 1)  # only the projection
    unlocking = asyncio.create_task(rig.update("unlock"))
    await asyncio.sleep(0.2)
    rig.model.release("project")
    assert (await pausing).outcome == "paused"
    assert (await unlocking).outcome == "unlocked"
    await rig.check()


async def test_a_trigger_during_an_unlock_starts_the_next_run(rig: Rig) -> None:
    await rig.mid_run()
    rig.model.hold("finish_run")
    unlocking = asyncio.create_task(rig.update("unlock"))
    await rig.until(lambda: rig.model.in_flight["finish_run"] == 1)
    triggering = asyncio.create_task(rig.update("trigger"))
    await asyncio.sleep(0.5)
    rig.model.release("finish_run")
    rig.model.release("ingest_chunk")
    assert (await unlocking).outcome == "unlocked"
    answer = await triggering
    assert answer.outcome == "started"
    await rig.until(lambda: rig.model.books.jobs[answer.sync_job_id].status == "completed")
    await rig.check()


async def test_reload_runs_at_once_and_again_after_a_run_in_progress(rig: Rig) -> None:
    await rig.mid_run()
    assert (await rig.update("reload")).outcome == "reloaded"
    rig.model.release("ingest_chunk")
    await rig.until(lambda: rig.model.books.calls["begin_run"] == 2)
    await rig.until_state(lambda s: s["run"] is None)
    await rig.update("reload")
    await rig.until(lambda: rig.model.books.calls["begin_run"] == 3)
    await rig.until_state(lambda s: s["run"] is None)
    await rig.check()


async def test_reload_while_paused_stays_paused(rig: Rig) -> None:
    rig.model.books.paused = True
    await rig.start()
    answer = await rig.update("reload")
    assert (answer.outcome, answer.state) == ("reloaded", "paused")
    assert rig.model.books.calls["begin_run"] == 0
    await rig.check()


async def proposed(rig: Rig) -> str:
    """A sync whose source lost most of what is stored."""
    rig.model.books.stored, rig.model.books.source = set(range(100)), set(range(20))
    await rig.start()
    state = await rig.until_state(lambda s: s["proposal_id"] and s["run"] is None)
    assert state["proposed"] == 80
    return str(state["proposal_id"])


async def test_approved_removals_happen(rig: Rig) -> None:
    proposal_id = await proposed(rig)
    assert (await rig.update("approve_deletes", DecisionArgs(proposal_id="del_other"))).outcome == "no_open_proposal"
    answer = await rig.update("approve_deletes", DecisionArgs(proposal_id=proposal_id))
    assert (answer.outcome, answer.count) == ("approved", 80)
    await rig.until(lambda: rig.model.books.stored == rig.model.books.source)
    await rig.until_state(lambda s: not s["proposal_id"] and s["run"] is None)
    assert (await rig.update("approve_deletes")).outcome == "no_open_proposal"
    await rig.check()


async def test_an_approval_during_the_reconciliation_is_for_the_next_run(rig: Rig) -> None:
    await proposed(rig)
    rig.model.hold("reconcile")
    await rig.update("trigger")
    await rig.until(lambda: rig.model.in_flight["reconcile"] == 1)
    await rig.update("approve_deletes")
    rig.model.release("reconcile")
    await rig.until(lambda: rig.model.books.stored == rig.model.books.source)
    await rig.until_state(lambda s: not s["proposal_id"] and not s["approved"] and s["run"] is None)
    await rig.check()


async def test_rejected_removals_are_kept(rig: Rig) -> None:
    await proposed(rig)
    answer = await rig.update("reject_deletes", DecisionArgs(by="usr_1"))
    assert (answer.outcome, answer.count) == ("rejected", 80)
    assert (await rig.update("reject_deletes")).outcome == "no_open_proposal"
    await rig.update("trigger")
    await rig.until(lambda: rig.model.books.calls["reconcile"] == 2)
    await rig.until_state(lambda s: s["run"] is None)
    assert len(rig.model.books.stored) == 100
    assert (await rig.state())["proposal_id"] == ""
    await rig.check()


async def test_a_rejection_during_the_reconciliation_is_the_last_word(rig: Rig) -> None:
    await proposed(rig)
    rig.model.hold("reconcile")
    await rig.update("trigger")
    await rig.until(lambda: rig.model.in_flight["reconcile"] == 1)
    rejecting = asyncio.create_task(rig.update("reject_deletes"))
    await asyncio.sleep(0.2)
    rig.model.release("reconcile")
    assert (await rejecting).outcome == "rejected"
    state = await rig.until_state(lambda s: s["run"] is None)
    assert not state["proposal_id"]
    assert not rig.model.books.proposal_id
    await rig.check()


async def test_requeue_runs_at_once_when_there_was_something(rig: Rig) -> None:
    await idle(rig)
    assert (await rig.update("requeue", RequeueArgs())).count == 0
    assert rig.model.books.calls["begin_run"] == 1
    rig.model.books.dead_letters = 3
    answer = await rig.update("requeue", RequeueArgs(by="usr_1", error_types=["corrupt"]))
    assert (answer.outcome, answer.count) == ("requeued", 3)
    await rig.until(lambda: rig.model.books.calls["begin_run"] == 2)
    await rig.check()


async def test_a_connection_that_waits_blocks_without_a_hot_loop_and_reload_goes_on(skip_rig: Rig) -> None:
    rig, books = skip_rig, skip_rig.model.books
    books.blocked = "connection 'x' is FAILED"
    await rig.start()
    state = await rig.until_state(lambda s: s["blocked"])
    assert state["name"] == "waiting_for_connection"
    answer = await rig.update("trigger", TriggerArgs(full_sync=True))
    assert answer.outcome == "started"
    await rig.until(lambda: books.calls["begin_run"] == 2)
    await rig.skip(290)
    assert books.calls["begin_run"] == 2
    await rig.skip(300 * 5)
    assert books.calls["begin_run"] == 7
    books.blocked = ""
    await rig.update("reload", CommandArgs(by="connection"))
    await rig.until(lambda: books.jobs[answer.sync_job_id].closed)
    assert books.jobs[answer.sync_job_id].full_sync
    assert (await rig.state())["blocked"] == ""
    await rig.check()


async def test_a_blocked_sync_that_a_person_paused_stays_paused(skip_rig: Rig) -> None:
    rig, books = skip_rig, skip_rig.model.books
    books.blocked = "connection 'x' is FAILED"
    await rig.start()
    await rig.until_state(lambda s: s["blocked"])
    await rig.update("pause")
    books.blocked = ""
    await rig.update("reload", CommandArgs(by="connection"))
    await rig.skip(86_400)
    assert books.calls["begin_run"] == 1
    await rig.check()
