"""What each command does to a sync; how they arrive is in `workflows/handlers.py`."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import timedelta
from typing import Any, TypeVar

from temporalio import workflow
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from activities.contracts import (
        CommandArgs,
        CommandResult,
        DecisionArgs,
        PauseArgs,
        RequeueArgs,
        TriggerArgs,
    )
    from activities.run_contracts import BeginArgs, ProjectArgs, RequeueResult
    from workflows import policies
    from workflows.failures import Failure, classify
    from workflows.state import Request, Run, State, SyncArgs

__all__ = ["SyncCommands"]

T = TypeVar("T")

# How long a trigger waits for a run that may be ending.
_ENDING = timedelta(milliseconds=300)
# Longest user id that is kept; it comes from outside, and the state is bounded.
_BY = 100
_ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"


class SyncCommands:
    """Mixed into SyncWorkflow, which owns the state."""

    state: State
    ids: SyncArgs

    def __init__(self) -> None:
        self._projecting = asyncio.Lock()
        self.ending = False
        self.reconciling = False

    def new_job_id(self) -> str:
        """A job id from the workflow's own randomness, so that a replay makes the same one."""
        random = workflow.random()
        return "job_" + "".join(random.choice(_ALPHABET) for _ in range(18))

    def publish(self) -> None:
        """Show the state (details, search attributes)."""
        raise NotImplementedError

    def halting(self) -> str:
        """Why a running run should hand back now; empty when it should not."""
        raise NotImplementedError

    @property
    def control_queue(self) -> str:
        """Task queue of control activities, beside the workflow's own."""
        return workflow.info().task_queue.removesuffix("-workflows") + "-control"

    @property
    def ingest_queue(self) -> str:
        """Task queue of ingestion."""
        return workflow.info().task_queue.removesuffix("-workflows") + "-ingest"

    def failed(self, run: Run, failure: Failure) -> None:
        """Book what the failure of a run's activity means."""
        if failure.error:
            run.error = run.error or failure.error
            run.connection_fault = run.connection_fault or failure.connection_fault
        elif failure.again:
            run.wait_until = max(run.wait_until, workflow.time() + failure.again)
        if failure.alarm and not self.halting():
            self.state.attention = failure.alarm[:500]

    async def insist(
        self, name: str, *args: Any, result_type: type[T] | None, summary: str, policy: policies.Policy
    ) -> T:
        """Bookkeeping that is never given up. A failure that Temporal does not retry alarms and is tried again.

        It must not escape: from a signal handler it would fail the workflow for good.
        """
        while True:
            try:
                result: T = await workflow.execute_activity(
                    name, args=args, result_type=result_type, summary=summary, **policy
                )
            except ActivityError as error:
                failure = classify(error, listing=False)
                self.state.attention = (failure.error or failure.alarm or f"{name} did not end")[:500]
                self.publish()
                await workflow.sleep(policies.AGAIN, summary="trying again later")
            else:
                return result

    async def project(self, args: ProjectArgs) -> None:
        """Show state in the documents that the API reads; one after the other, so that the last word stays."""
        args.sync_config_id = self.ids.sync_config_id
        async with self._projecting:
            await self.insist(
                "project",
                args,
                result_type=None,
                summary="show state",
                policy=policies.bookkeeping(self.control_queue),
            )

    async def shown(self) -> None:
        """Wait until nothing is being written by `project`: what is started now has the last word."""
        async with self._projecting:
            pass

    async def correct(self, begun: BeginArgs) -> None:
        """Beginning a run wrote what was wanted when it was scheduled; what was commanded since is written again."""
        state = self.state
        if state.paused or state.pending_full_sync != begun.pending_full_sync:
            status = "SUSPENDED" if state.paused else ""
            await self.project(ProjectArgs(pending_full_sync=state.pending_full_sync, status=status))

    def poll_soon(self) -> None:
        """The next run comes at once, or right after the one in progress, which may be past what was changed."""
        self.state.next_poll_at = 0.0
        self.state.soon = self.state.run is not None

    def _result(self, outcome: str, *, job_id: str = "", message: str = "", count: int = 0) -> CommandResult:
        self.publish()
        return CommandResult(outcome=outcome, state=self.state.name, sync_job_id=job_id, message=message, count=count)

    async def _ready(self) -> None:
        await workflow.wait_condition(lambda: self.state.loaded)

    async def do_pause(self, args: PauseArgs) -> CommandResult:
        """Stop within seconds, keep the place, park until resumed."""
        await self._ready()
        state = self.state
        if state.paused:
            return self._result("unchanged", message="already paused")
        state.paused, state.pause_reason = True, args.reason[:500]
        # The run, if there is one, hands back and records itself as interrupted; see SyncWorkflow.
        await self.project(ProjectArgs(paused=True, by=args.by[:_BY], reason=state.pause_reason, status="SUSPENDED"))
        return self._result("paused")

    async def do_resume(self, args: CommandArgs) -> CommandResult:
        """Go on where it stopped; also lifts a suspension."""
        await self._ready()
        state = self.state
        state.stopped = False
        if not (state.paused or state.suspended or state.blocked):
            return self._result("unchanged", message="not paused")
        state.paused, state.pause_reason, state.suspended, state.blocked = False, "", "", ""
        state.consecutive_failures, state.next_poll_at = 0, 0.0
        await self.project(ProjectArgs(paused=False, by=args.by[:_BY], status="ACTIVE"))
        return self._result("resumed", job_id=state.run.id if state.run else "")

    async def do_trigger(self, args: TriggerArgs) -> CommandResult:
        """Run now; under a running run a full sync is kept for right after it. Starts a stopping sync again."""
        await self._ready()
        state, by = self.state, args.by[:_BY]
        if state.deleted:
            return self._result("unchanged", message="the sync is deleted")
        state.stopped = False
        await self._until_run_is_certain()
        active = state.run or state.requested
        if active is not None:
            job_id = state.run.id if state.run else state.requested.job_id if state.requested else ""
            if args.full_sync and not (state.run is None and state.requested and state.requested.full_sync):
                state.pending_full_sync = True
                await self.project(ProjectArgs(pending_full_sync=True))
                return self._result("pending_full_sync", job_id=job_id, message="a full sync runs right after this run")
            return self._result("skipped_already_running", job_id=job_id, message="a run is active")
        request = Request(job_id=self.new_job_id(), by=by, full_sync=args.full_sync)
        state.requested = request
        waits = ""
        if state.paused:
            waits = "runs when the sync is resumed"
        else:
            state.suspended = ""
        if state.blocked:
            waits = "runs when the connection works"
            self.poll_soon()
        await self.project(ProjectArgs(job_id=request.job_id, job_trigger="manual", by=by))
        return self._result("started", job_id=request.job_id, message=waits)

    async def _until_run_is_certain(self) -> None:
        """A job reads completed a moment before the workflow hears of it; a trigger in that moment must count."""
        if self.ending or self.state.unlock:
            await workflow.wait_condition(lambda: not (self.ending or self.state.unlock))
        elif (run := self.state.run) is not None and not run.parked:
            with contextlib.suppress(TimeoutError):
                await workflow.wait_condition(lambda: self.state.run is not run, timeout=_ENDING)

    async def do_unlock(self, args: CommandArgs) -> CommandResult:
        """Give up the current run: cancel its activities, mark its job interrupted, free the sync. Idempotent."""
        await self._ready()
        state = self.state
        if state.run is None:
            await self.project(ProjectArgs(by=args.by[:_BY], pending_full_sync=state.pending_full_sync))
            return self._result("nothing_to_unlock")
        job_id = state.run.id
        state.unlock = True
        await workflow.wait_condition(lambda: self.state.run is None or self.state.run.id != job_id)
        return self._result("unlocked", job_id=job_id)

    async def do_reload(self, args: CommandArgs) -> CommandResult:
        """The configuration was changed: re-read it with the next run, which comes at once. Lifts a suspension."""
        del args
        await self._ready()
        state = self.state
        state.suspended, state.blocked, state.attention, state.stopped = "", "", "", False
        self.poll_soon()
        return self._result("reloaded")

    async def do_stop(self, args: CommandArgs) -> CommandResult:
        """End the workflow after handing back what runs; a later trigger starts it again."""
        del args
        await self._ready()
        self.state.stopped = True
        return self._result("stopped")

    async def do_delete(self, args: CommandArgs) -> CommandResult:
        """Delete the sync config: what runs is handed back, the objects stay."""
        await self._ready()
        await self.project(ProjectArgs(deleted=True, by=args.by[:_BY], status="ARCHIVED"))
        self.state.deleted = True
        return self._result("deleted")

    async def do_approve_deletes(self, args: DecisionArgs) -> CommandResult:
        """Let the proposed removals happen: a fresh pass removes what is still absent."""
        await self._ready()
        state = self.state
        if not state.proposal_id or args.proposal_id not in {"", state.proposal_id}:
            return self._result("no_open_proposal", message="there is no such proposal")
        state.approved = state.proposal_id
        self.poll_soon()
        return self._result("approved", count=state.proposed)

    async def do_reject_deletes(self, args: DecisionArgs) -> CommandResult:
        """Keep the objects; the same loss is not proposed again until clearly more is missing."""
        await self._ready()
        state = self.state
        # Its outcome would put the proposal back that is being rejected.
        await workflow.wait_condition(lambda: not self.reconciling)
        if not state.proposal_id or args.proposal_id not in {"", state.proposal_id}:
            return self._result("no_open_proposal", message="there is no such proposal")
        count, proposal_id = state.proposed, state.proposal_id
        state.proposal_id, state.proposed, state.approved = "", 0, ""
        await self.project(ProjectArgs(decision="reject", by=args.by[:_BY], proposal_id=proposal_id))
        return self._result("rejected", count=count)

    async def do_requeue(self, args: RequeueArgs) -> CommandResult:
        """Give exhausted dead letters three new tries in a run that comes at once."""
        await self._ready()
        result = await self.insist(
            "requeue_dead_letters",
            self.ids.sync_config_id,
            args,
            result_type=RequeueResult,
            summary="requeue dead letters",
            policy=policies.bookkeeping(self.control_queue),
        )
        if result.requeued:
            self.poll_soon()
        return self._result("requeued", count=result.requeued)
