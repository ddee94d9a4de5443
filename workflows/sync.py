"""The sync workflow: one long-lived execution per sync config, id `sync/{sync_config_id}`.

It is the only scheduler, lock and checkpoint of its sync: a timer polls, a sliding window of
activities lists and ingests, commands arrive as Updates or signals, and everything it knows fits
into one small dataclass that is carried over continue-as-new.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import asdict, replace
from datetime import timedelta
from typing import Any, NoReturn

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.run_contracts import (
        BeginResult,
        FinishArgs,
        FinishResult,
        LoadedState,
        ProjectArgs,
    )
    from workflows import details, policies
    from workflows.conclusion import Conclusion
    from workflows.handlers import SyncHandlers
    from workflows.pump import Pump
    from workflows.state import QUEUED, Request, Run, State, SyncArgs

__all__ = ["SyncWorkflow"]

# Well under the server's 4,096 that the project allows itself per execution, and its own 51,200.
_HISTORY_EVENTS = 3_000
# A failing run is tried again no sooner than this, however short the polling interval.
_FAILURE_PAUSE_SECONDS = 30.0


@workflow.defn(name="SyncWorkflow")
class SyncWorkflow(SyncHandlers):
    """See the module docstring; commands are in `SyncHandlers`, the sliding window in `Pump`."""

    history_limit = _HISTORY_EVENTS

    @workflow.init
    def __init__(self, args: SyncArgs) -> None:
        super().__init__()
        self.ids = replace(args, state=None)
        self.state = args.state or State()
        self._published = ""
        self._canceled = False

    @workflow.run
    async def run(self, args: SyncArgs) -> str:
        """Poll until stopped, canceled, deleted or (initial_only) done; returns the last state's name."""
        del args
        # Its life is a task of its own, out of reach of a cancellation, which so is one more way to stop it:
        # what runs is handed back, and the run is closed.
        life = asyncio.create_task(self._live())
        try:
            await workflow.wait_condition(life.done)
        except asyncio.CancelledError:
            self._canceled = self.state.stopped = True
            await workflow.wait_condition(life.done)
        last = life.result()
        if self._canceled:
            raise asyncio.CancelledError
        return last

    async def _live(self) -> str:
        await self._load()
        # Commands that came with the start go first: the trigger that starts a workflow is its run's trigger.
        await workflow.wait_condition(lambda: True)
        while True:
            await self._poll()
            await self._end()
            await workflow.wait_condition(workflow.all_handlers_finished)
            if self._over():
                break
            # Asked for while it was ending. An execution that was canceled cannot go on, the next one can.
            if self._canceled:
                self._continue_as_new()
        self.publish()
        return self.state.name

    async def _poll(self) -> None:
        """Wait, run, wait, until there is nothing more to do."""
        while not self._over():
            if self._history_is_long() and await self._handlers_end():
                self._continue_as_new()
            if self._due():
                await self._run()
            else:
                self.publish()
                await self._sleep(self.state.next_poll_at)

    # --- waiting

    async def _load(self) -> None:
        """A fresh execution takes desired state from the documents: a lost workflow must not forget a pause."""
        state = self.state
        if state.loaded:
            return
        loaded = await self.insist(
            "load_state",
            self.ids.sync_config_id,
            result_type=LoadedState,
            summary="load state",
            policy=policies.bookkeeping(self.control_queue),
        )
        state.paused, state.pause_reason = loaded.paused, loaded.pause_reason
        state.pending_full_sync = loaded.pending_full_sync
        state.deleted = loaded.deleted
        state.proposal_id, state.proposed = loaded.proposal_id, loaded.proposed
        state.consecutive_failures = loaded.consecutive_failures
        state.polling_interval_seconds = loaded.polling_interval_seconds
        state.continuous = loaded.continuous
        state.loaded = True

    def _over(self) -> bool:
        state = self.state
        return state.stopped or state.deleted or (state.completed and not self._work_waits())

    def _work_waits(self) -> bool:
        state = self.state
        return bool(state.requested or state.pending_full_sync or state.run)

    def _due(self) -> bool:
        state = self.state
        if state.stopped or state.deleted or state.unlock:
            return True
        if state.paused or state.suspended:
            return False
        # A request does not mend a connection: it waits for the next poll too.
        return (self._work_waits() and not state.blocked) or workflow.time() >= state.next_poll_at

    async def _sleep(self, planned: float) -> None:
        """Until the planned poll, or anything that changes whether work is due; parked syncs have no timer."""
        parked = bool(self.state.paused or self.state.suspended)

        def changed() -> bool:
            state = self.state
            replanned = state.next_poll_at != planned or bool(state.paused or state.suspended) != parked
            return self._due() or replanned or self._history_is_long()

        timeout = None if parked else timedelta(seconds=max(0.001, planned - workflow.time()))
        with contextlib.suppress(TimeoutError):
            await workflow.wait_condition(changed, timeout=timeout, timeout_summary=None if parked else "next poll")

    # --- one run

    async def _run(self) -> None:
        """Begin a run or take up the one that was interrupted, and carry it as far as it goes."""
        state = self.state
        run = state.run
        if run is None:
            run = state.run = self._new_run()
        elif run.parked and not state.unlock:
            run.parked = False
            await self.project(ProjectArgs(job_id=run.id, job_status="running", job_trigger="resume"))
        self.publish()
        await self.shown()
        await Pump(self).work(run)
        if state.run is not run:
            return  # ended with its beginning, or not begun: the connection waits
        if state.unlock:
            await self._give_up(run, "released by unlock")
        elif self.halting():
            await self._park(run)
        elif run.error or run.unusable:
            await self.finish(run, status="failed" if run.error else "interrupted", error=run.error or run.unusable)
        elif run.at_end and not run.chunks:
            await Conclusion(self).work(run)
            if state.run is run:
                await self._park(run)

    def _new_run(self) -> Run:
        state = self.state
        run = Run(started_at=workflow.time(), trigger="scheduled")
        if state.requested is not None:
            run.id, run.by, run.trigger = state.requested.job_id, state.requested.by, "manual"
            run.full_sync = state.requested.full_sync
            state.requested = None
        elif state.pending_full_sync:
            run.by, run.full_sync, run.trigger = QUEUED, True, "manual"
            state.pending_full_sync = False
        run.id = run.id or self.new_job_id()
        state.completed = False
        return run

    def halting(self) -> str:
        """Why a running run should hand back now; empty when it should not."""
        state = self.state
        if state.deleted or state.stopped:
            return "stopped"
        if state.unlock:
            return "unlock"
        if state.paused:
            return "paused"
        return ""

    def draining(self) -> bool:
        """Whether nothing new should start, because this execution's history is long enough."""
        return self._history_is_long()

    async def _park(self, run: Run) -> None:
        """Handed back: keep the place; the main loop decides whether to wait or to end."""
        if self.halting() == "paused" and not run.parked:
            run.parked = True
            # The status too: beginning a run may have written its own over that of the pause.
            await self.project(ProjectArgs(job_id=run.id, job_status="interrupted", status="SUSPENDED"))

    async def _give_up(self, run: Run, error: str) -> None:
        """Close a run before its end. A full sync that had waited for it stays asked for."""
        if run.by == QUEUED:
            self.state.pending_full_sync = True
        await self.finish(run, status="interrupted", error=error)
        if run.by == QUEUED:
            await self.project(ProjectArgs(pending_full_sync=self.state.pending_full_sync))

    async def finish(self, run: Run, *, status: str, error: str) -> None:
        """Close the run in the books, and take over what they say."""
        run.phase = "finishing"
        result = await self.insist(
            "finish_run",
            FinishArgs(
                sync_config_id=self.ids.sync_config_id,
                run_id=run.id,
                run_no=run.number,
                status=status,
                error=error[:1000],
                counts=run.counts,
                complete=run.complete and status == "completed",
                partial_reason=run.partial_reason,
                removed=run.removed,
                proposed=run.proposed,
                proposal_id=run.proposal_id,
                batches=run.batches,
                connection_fault=run.connection_fault,
                unordered=run.out_of_order,
                incremental=run.plan.incremental,
                position_chunks=run.position_chunks,
            ),
            result_type=FinishResult,
            summary=f"run {run.number}: {status}",
            policy=policies.closing(self.control_queue),
        )
        self.finished(run, result)

    def finished(self, run: Run, result: FinishResult) -> None:
        """Take over what the books say and decide when to poll next."""
        state, now = self.state, workflow.time()
        state.run, state.unlock = None, False
        state.last_run_at, state.last_status, state.last_counts = now, result.status, result.counts
        state.last_error = result.error
        state.dead_letters = result.dead_letters
        state.consecutive_failures = result.consecutive_failures
        state.polling_interval_seconds, state.continuous = result.polling_interval_seconds, result.continuous
        state.attention = ""
        pause = float(result.polling_interval_seconds)
        if result.status == "failed":
            pause = max(pause, _FAILURE_PAUSE_SECONDS)
        if result.suspended:
            state.suspended = f"{result.consecutive_failures} runs failed in a row, the last: {result.error[:300]}"
        state.next_poll_at = 0.0 if run.unusable or state.soon else now + pause
        state.soon = False
        if run.unusable and run.full_sync:
            state.pending_full_sync = True
        state.full_pass_next = bool(run.rescan) or (state.full_pass_next and run.plan.incremental)
        state.completed = not result.continuous and result.status == "completed"

    def blocked(self, run: Run, begun: BeginResult) -> None:
        """No run was begun: the connection is not active, or the sync is gone. A requested run is kept."""
        state = self.state
        state.run, state.unlock, state.soon = None, False, False
        if begun.gone:
            state.deleted = True
            return
        state.blocked = begun.blocked[:500] or "the connection is not active"
        state.next_poll_at = workflow.time() + state.polling_interval_seconds
        if run.trigger == "manual":
            state.requested = Request(run.id, run.by, run.full_sync)

    # --- ending

    def _history_is_long(self) -> bool:
        info = workflow.info()
        return info.is_continue_as_new_suggested() or info.get_current_history_length() >= self.history_limit

    async def _handlers_end(self) -> bool:
        """Wait for running handlers; False when one of them waits for a run to end first."""

        def urgent() -> bool:
            return self.state.unlock or self.state.stopped or self.state.deleted

        await workflow.wait_condition(lambda: workflow.all_handlers_finished() or urgent())
        return not urgent()

    def _continue_as_new(self) -> NoReturn:
        self.state.executions += 1
        workflow.continue_as_new(replace(self.ids, state=self.state))

    async def _end(self) -> None:
        """Stopped or deleted: what is open is closed, so that no job stays open for ever."""
        state = self.state
        self.ending = True
        if state.run is not None:
            await self._give_up(state.run, "the sync was stopped")
        if (request := state.requested) is not None and self._over():
            state.requested = None
            await self.shown()
            run = Run(id=request.job_id, by=request.by, trigger="manual")
            await self.finish(run, status="interrupted", error="the sync was stopped before this run began")
        state.unlock = False
        self.ending = False

    # --- showing

    def publish(self) -> None:
        """Details on every change, search attributes only when they differ."""
        state = self.state
        workflow.set_current_details(details.markdown(state, self.ids, workflow.time()))
        if state.name == "running" and state.run is not None and not state.run.begun:
            return  # most polls find nothing and end with their beginning: not worth two writes to visibility
        shown = f"{state.name}/{state.needs_attention}"
        if shown != self._published:
            self._published = shown
            workflow.upsert_search_attributes(details.search_attributes(state, self.ids))

    @workflow.query(name="state")
    def state_query(self) -> dict[str, Any]:
        """The whole state, for people and tests."""
        return {"name": self.state.name, **asdict(self.state)}
