"""How a person steers a sync: every command as an Update (answered with the new state) and as a signal of the same name.

Signals take one optional argument of any shape and never raise: a malformed one that raised would
wedge the workflow for ever.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, TypeVar

from temporalio import workflow
from temporalio.common import RawValue

with workflow.unsafe.imports_passed_through():
    from activities.contracts import (
        CommandArgs,
        CommandResult,
        DecisionArgs,
        PauseArgs,
        RequeueArgs,
        SyncInput,
        TriggerArgs,
    )
    from activities.run_contracts import ProjectArgs, RequeueResult
    from workflows import policies
    from workflows.state import Request, State

__all__ = ["SyncCommands"]

A = TypeVar("A")
_ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"


def _tolerant(cls: type[A], value: Any) -> A:
    """Whatever came with a signal, as arguments: known keys of the right kind are taken, the rest is left."""
    if not isinstance(value, Mapping):
        return cls()
    defaults = cls()
    known = {
        f.name: value[f.name]
        for f in fields(cls)  # type: ignore[arg-type]  # only ever called with dataclasses
        if f.name in value and isinstance(value[f.name], type(getattr(defaults, f.name)))
    }
    return cls(**known)


class SyncCommands:
    """Mixed into SyncWorkflow, which owns `state`."""

    state: State
    ids: SyncInput

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

    # --- updates

    @workflow.update
    async def pause(self, args: PauseArgs | None = None) -> CommandResult:
        """Stop within seconds, keep the place, park until resumed."""
        args = args or PauseArgs()
        await self._ready()
        state = self.state
        if state.paused:
            return self._result("unchanged", message="already paused")
        state.paused, state.pause_reason = True, args.reason[:500]
        # The run, if there is one, hands back and records itself as interrupted; see SyncWorkflow.
        await self.project(ProjectArgs(paused=True, by=args.by, reason=args.reason[:500], status="SUSPENDED"))
        return self._result("paused")

    @workflow.update
    async def resume(self, args: CommandArgs | None = None) -> CommandResult:
        """Go on where it stopped; also lifts a suspension."""
        args = args or CommandArgs()
        await self._ready()
        state = self.state
        if not (state.paused or state.suspended or state.blocked):
            return self._result("unchanged", message="not paused")
        state.paused, state.pause_reason, state.suspended, state.blocked = False, "", "", ""
        state.consecutive_failures, state.next_poll_at = 0, 0.0
        await self.project(ProjectArgs(paused=False, by=args.by, status="ACTIVE"))
        return self._result("resumed", job_id=state.run.id if state.run else "")

    @workflow.update
    async def trigger(self, args: TriggerArgs | None = None) -> CommandResult:
        """Run now; under a running run a full sync is kept for right after it."""
        args = args or TriggerArgs()
        await self._ready()
        state = self.state
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

    @workflow.update
    async def unlock(self, args: CommandArgs | None = None) -> CommandResult:
        """Give up the current run: cancel its activities, mark its job interrupted, free the sync. Idempotent."""
        args = args or CommandArgs()
        await self._ready()
        state = self.state
        if state.run is None:
            await self.project(ProjectArgs(by=args.by, job_id="", pending_full_sync=state.pending_full_sync))
            return self._result("nothing_to_unlock")
        job_id = state.run.id
        state.unlock = True
        await workflow.wait_condition(lambda: self.state.run is None or self.state.run.id != job_id)
        return self._result("unlocked", job_id=job_id)

    @workflow.update
    async def reload(self, args: CommandArgs | None = None) -> CommandResult:
        """The configuration was changed: re-read it with the next run, which comes at once. Lifts a suspension."""
        del args
        await self._ready()
        state = self.state
        state.suspended, state.blocked, state.attention = "", "", ""
        if not state.paused:
            state.next_poll_at = 0.0
        return self._result("reloaded")

    @workflow.update
    async def stop(self, args: CommandArgs | None = None) -> CommandResult:
        """End the workflow after handing back what runs; a later trigger starts it again."""
        del args
        await self._ready()
        self.state.stopped = True
        return self._result("stopped")

    @workflow.update
    async def delete(self, args: CommandArgs | None = None) -> CommandResult:
        """Delete the sync config: what runs is handed back, the objects stay."""
        args = args or CommandArgs()
        await self._ready()
        await self.project(ProjectArgs(deleted=True, by=args.by, status="ARCHIVED"))
        self.state.deleted = True
        return self._result("deleted")

    @workflow.update
    async def approve_deletes(self, args: DecisionArgs | None = None) -> CommandResult:
        """Let the proposed removals happen: a fresh pass removes what is still absent."""
        args = args or DecisionArgs()
        await self._ready()
        state = self.state
        if not state.proposal_id or args.proposal_id not in {"", state.proposal_id}:
            return self._result("no_open_proposal", message="there is no such proposal")
        state.approved, state.next_poll_at = state.proposal_id, 0.0
        return self._result("approved", count=state.proposed)

    @workflow.update
    async def reject_deletes(self, args: DecisionArgs | None = None) -> CommandResult:
        """Keep the objects; the same loss is not proposed again until clearly more is missing."""
        args = args or DecisionArgs()
        await self._ready()
        state = self.state
        if not state.proposal_id or args.proposal_id not in {"", state.proposal_id}:
            return self._result("no_open_proposal", message="there is no such proposal")
        count = state.proposed
        await self.project(ProjectArgs(decision="reject", by=args.by, proposal_id=state.proposal_id))
        state.proposal_id, state.proposed, state.approved = "", 0, ""
        return self._result("rejected", count=count)

    @workflow.update
    async def requeue(self, args: RequeueArgs | None = None) -> CommandResult:
        """Give exhausted dead letters three new tries in a run that comes at once."""
        args = args or RequeueArgs()
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

    # --- signals of the same names

    @workflow.signal(name="pause")
    async def pause_signal(self, args: Any = None) -> None:
        """As the update."""
        await self.pause(_tolerant(PauseArgs, args))

    @workflow.signal(name="resume")
    async def resume_signal(self, args: Any = None) -> None:
        """As the update."""
        await self.resume(_tolerant(CommandArgs, args))

    @workflow.signal(name="trigger")
    async def trigger_signal(self, args: Any = None) -> None:
        """As the update."""
        await self.trigger(_tolerant(TriggerArgs, args))

    @workflow.signal(name="unlock")
    async def unlock_signal(self, args: Any = None) -> None:
        """As the update."""
        await self.unlock(_tolerant(CommandArgs, args))

    @workflow.signal(name="reload")
    async def reload_signal(self, args: Any = None) -> None:
        """As the update."""
        await self.reload(_tolerant(CommandArgs, args))

    @workflow.signal(name="stop")
    async def stop_signal(self, args: Any = None) -> None:
        """As the update."""
        await self.stop(_tolerant(CommandArgs, args))

    @workflow.signal(name="delete")
    async def delete_signal(self, args: Any = None) -> None:
        """As the update."""
        await self.delete(_tolerant(CommandArgs, args))

    @workflow.signal(name="approve_deletes")
    async def approve_deletes_signal(self, args: Any = None) -> None:
        """As the update."""
        await self.approve_deletes(_tolerant(DecisionArgs, args))

    @workflow.signal(name="reject_deletes")
    async def reject_deletes_signal(self, args: Any = None) -> None:
        """As the update."""
        await self.reject_deletes(_tolerant(DecisionArgs, args))

    @workflow.signal(name="requeue")
    async def requeue_signal(self, args: Any = None) -> None:
        """As the update."""
        await self.requeue(_tolerant(RequeueArgs, args))

    @workflow.signal(dynamic=True)
    async def unknown_signal(self, name: str, args: Sequence[RawValue]) -> None:
        """A signal nobody knows is counted and shown, not fatal."""
        del args
        self.state.ignored_signals += 1
        workflow.logger.warning("unknown signal ignored", extra={"signal": name[:100]})
