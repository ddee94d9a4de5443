"""The API's way in: an update that starts the workflow when it does not run. The time-skipping server has none."""

from __future__ import annotations

from typing import Any

from temporalio.client import WithStartWorkflowOperation
from temporalio.common import WorkflowIDConflictPolicy

from activities.contracts import CommandResult, PauseArgs, TriggerArgs
from tests.workflow_model.rig import Rig


async def ask(rig: Rig, name: str, args: Any = None) -> CommandResult:
    start: WithStartWorkflowOperation[Any, Any] = WithStartWorkflowOperation(
        "SyncWorkflow",
        rig.input,
        id=rig.handle.id,
        task_queue=f"{rig.queue}-workflows",
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
    )
    rig.started.append(rig.handle.id)
    answer: CommandResult = await rig.client.execute_update_with_start_workflow(
        name, args=[] if args is None else [args], start_workflow_operation=start, result_type=CommandResult
    )
    return answer


async def test_the_trigger_that_starts_it_is_its_runs_trigger(rig: Rig) -> None:
    rig.model.books.source = set(range(10))
    answer = await ask(rig, "trigger", TriggerArgs(by="usr_1", full_sync=True))
    assert answer.outcome == "started"
    await rig.until(lambda: rig.model.books.jobs[answer.sync_job_id].closed)
    job = rig.model.books.jobs[answer.sync_job_id]
    assert (job.trigger, job.by, job.full_sync) == ("manual", "usr_1", True)
    assert len(rig.model.books.jobs) == 1
    await rig.check()


async def test_the_pause_that_starts_it_lets_nothing_run(rig: Rig) -> None:
    rig.model.books.source = set(range(10))
    assert (await ask(rig, "pause", PauseArgs(reason="first"))).outcome == "paused"
    assert rig.model.books.calls["begin_run"] == 0
    assert (await ask(rig, "resume")).outcome == "resumed"
    await rig.until_state(lambda s: s["last_status"] == "completed")
    await rig.check()


async def test_an_initial_only_sync_is_started_again_by_a_trigger(rig: Rig) -> None:
    rig.model.books.continuous, rig.model.books.source = False, set(range(10))
    handle = await rig.start()
    assert await handle.result() == "completed"
    rig.model.books.source = set(range(20))
    answer = await ask(rig, "trigger")
    assert answer.outcome == "started"
    assert await rig.handle.result() == "completed"
    assert rig.model.books.stored == set(range(20))
    assert rig.model.books.jobs[answer.sync_job_id].status == "completed"
    await rig.check()


async def test_a_stopped_sync_is_started_again_by_a_trigger(rig: Rig) -> None:
    await rig.start()
    await rig.update("stop")
    assert await rig.handle.result() == "stopped"
    answer = await ask(rig, "trigger")
    assert answer.outcome == "started"
    await rig.until(lambda: rig.model.books.jobs[answer.sync_job_id].closed)
    await rig.check()
