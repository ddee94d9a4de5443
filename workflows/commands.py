"""What each command does to a sync; how they arrive is in `workflows/handlers.py`."""

from __future__ import annotations

import contextlib
from datetime import timedelta

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.contracts import (
        CommandArgs,
        CommandResult,
        DecisionArgs,
        PauseArgs,
        RequeueArgs,
        TriggerArgs,
    )
    from activities.run_contracts import ProjectArgs, RequeueResult
    from workflows import policies
    from workflows.state import Request, State, SyncArgs

__all__ = ["SyncCommands"]

_ENDING = timedelta(milliseconds=300)
_ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"


class SyncCommands:
    """Mixed into SyncWorkflow, which owns the state."""

    state: State
    ids: SyncArgs

    def new_job_id(self) -> str:
        """A job id from the workflow's own randomness, so that a replay makes the same one."""
        random = workflow.random()
        return "job_" + "".join(random.choice(_ALPHABET) for _ in range(18))

    def publish(self) -> None:
        """Show the state (details, search attributes)."""
        raise NotImplementedError

    @property
    def control_queue(self) -> str:
        """Task queue of control activities, beside the workflow's own."""
        return workflow.info().task_queue.removesuffix("-workflows") + "-control"

    async def project(self, args: ProjectArgs) -> None:
        """Show state in the documents that the API reads."""
        args.sync_config_id = self.ids.sync_config_id
        await workflow.execute_activity(
            "project", args, summary="show state", **policies.bookkeeping(self.control_queue)
        )

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
        await self.project(ProjectArgs(paused=True, by=args.by, reason=args.reason[:500], status="SUSPENDED"))
        return self._result("paused")

    async def do_resume(self, args: CommandArgs) -> CommandResult:
        """Go on where it stopped; also lifts a suspension."""
        await self._ready()
        state = self.state
        if not (state.paused or state.suspended or state.blocked):
            return self._result("unchanged", message="not paused")
        state.paused, state.pause_reason, state.suspended, state.blocked = False, "", "", ""
        state.consecutive_failures, state.next_poll_at = 0, 0.0
        await self.project(ProjectArgs(paused=False, by=args.by, status="ACTIVE"))
        return self._result("resumed", job_id=state.run.id if state.run else "")

    async def do_trigger(self, args: TriggerArgs) -> CommandResult:
        """Run now; under a running run a full sync is kept for right after it."""
        await self._ready()
        state = self.state
        if (ending := state.run) is not None:
            # A job reads completed a moment before the workflow hears of it; a trigger in that moment must count.
            with contextlib.suppress(TimeoutError):
                await workflow.wait_condition(lambda: self.state.run is not ending, timeout=_ENDING)
        active = state.run or state.requested
        if active is not None:
            job_id = state.run.id if state.run else state.requested.job_id if state.requested else ""
            if args.full_sync and not (state.run is None and state.requested and state.requested.full_sync):
                state.pending_full_sync, state.pending_by = True, args.by
                await self.project(ProjectArgs(pending_full_sync=True))
                return self._result("pending_full_sync", job_id=job_id, message="a full sync runs right after this run")
            return self._result("skipped_already_running", job_id=job_id, message="a run is active")
        request = Request(job_id=self.new_job_id(), by=args.by, full_sync=args.full_sync)
        state.requested = request
        if not state.paused:
            state.suspended = ""
        await self.project(ProjectArgs(job_id=request.job_id, job_trigger="manual", by=args.by))
        waits = "runs when the sync is resumed" if state.paused else ""
        return self._result("started", job_id=request.job_id, message=waits)

    async def do_unlock(self, args: CommandArgs) -> CommandResult:
        """Give up the current run: cancel its activities, mark its job interrupted, free the sync. Idempotent."""
        await self._ready()
        state = self.state
        if state.run is None:
            await self.project(ProjectArgs(by=args.by, job_id="", pending_full_sync=state.pending_full_sync))
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
        state.suspended, state.blocked, state.attention = "", "", ""
        if not state.paused:
            state.next_poll_at = 0.0
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
        await self.project(ProjectArgs(deleted=True, by=args.by, status="ARCHIVED"))
        self.state.deleted = True
        return self._result("deleted")

    async def do_approve_deletes(self, args: DecisionArgs) -> CommandResult:
        """Let the proposed removals happen: a fresh pass removes what is still absent."""
        await self._ready()
        state = self.state
        if not state.proposal_id or args.proposal_id not in {"", state.proposal_id}:
            return self._result("no_open_proposal", message="there is no such proposal")
        state.approved, state.next_poll_at = state.proposal_id, 0.0
        return self._result("approved", count=state.proposed)

    async def do_reject_deletes(self, args: DecisionArgs) -> CommandResult:
        """Keep the objects; the same loss is not proposed again until clearly more is missing."""
        await self._ready()
        state = self.state
        if not state.proposal_id or args.proposal_id not in {"", state.proposal_id}:
            return self._result("no_open_proposal", message="there is no such proposal")
        count = state.proposed
        await self.project(ProjectArgs(decision="reject", by=args.by, proposal_id=state.proposal_id))
        state.proposal_id, state.proposed, state.approved = "", 0, ""
        return self._result("rejected", count=count)

    async def do_requeue(self, args: RequeueArgs) -> CommandResult:
        """Give exhausted dead letters three new tries in a run that comes at once."""
        await self._ready()
        result = await workflow.execute_activity(
            "requeue_dead_letters",
            args=[self.ids.sync_config_id, args],
            result_type=RequeueResult,
            summary="requeue dead letters",
            **policies.bookkeeping(self.control_queue),
        )
        if result.requeued and not self.state.paused:
            self.state.next_poll_at = 0.0
        return self._result("requeued", count=result.requeued)
