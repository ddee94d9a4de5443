"""The sync workflow: one long-lived execution per sync config, id `sync/{sync_config_id}`.

It is the only scheduler, lock and checkpoint of its sync: a timer polls, a sliding window of
activities lists and ingests, commands arrive as Updates or signals, and everything it knows fits
into one small dataclass that is carried over continue-as-new.
"""

from __future__ import annotations

import contextlib
from dataclasses import asdict, replace
from datetime import timedelta
from typing import Any, TypeVar

from temporalio import workflow
from temporalio.exceptions import ActivityError, CancelledError

with workflow.unsafe.imports_passed_through():
    from activities.run_contracts import (
        BatchesArgs,
        BatchesResult,
        BeginResult,
        FinishArgs,
        FinishResult,
        LoadedState,
        ProjectArgs,
        ReconcileArgs,
        ReconcileResult,
    )
    from workflows import details, policies
    from workflows.handlers import SyncHandlers
    from workflows.pump import Pump
    from workflows.state import Request, Run, State, SyncArgs

__all__ = ["SyncWorkflow"]

T = TypeVar("T")

# Well under the server's 4,096 that the project allows itself per execution, and its own 51,200.
_HISTORY_EVENTS = 3_000
# A failing run is tried again no sooner than this, however short the polling interval.
_FAILURE_PAUSE_SECONDS = 30.0


@workflow.defn(name="SyncWorkflow")
class SyncWorkflow(SyncHandlers):
    """See the module docstring; commands are in `SyncHandlers`, the sliding window in `Pump`."""

    @workflow.init
    def __init__(self, args: SyncArgs) -> None:
        self.ids = replace(args, state=None)
        self.state = args.state or State()
        self._published = ""

    @workflow.run
    async def run(self, args: SyncArgs) -> str:
        """Poll until stopped, deleted or (initial_only) done; returns the last state's name."""
        del args
        await self._load()
        while True:
            self.publish()
            await self._wait()
            if self.state.stopped or self.state.deleted:
                break
            await self._run()
            if self.state.completed and not self._work_waits():
                break
            if self._history_is_long():
                await self._continue_as_new()
        await self._end()
        await workflow.wait_condition(workflow.all_handlers_finished)
        self.publish()
        return self.state.name

    # --- waiting

    async def _load(self) -> None:
        """A fresh execution takes desired state from the documents: a lost workflow must not forget a pause."""
        state = self.state
        if state.loaded:
            return
        loaded = await workflow.execute_activity(
            "load_state",
            self.ids.sync_config_id,
            result_type=LoadedState,
            summary="load state",
            **policies.bookkeeping(self.control_queue),
        )
        state.paused, state.pause_reason = loaded.paused, loaded.pause_reason
        state.pending_full_sync = loaded.pending_full_sync
        state.deleted = loaded.deleted
        state.proposal_id, state.proposed = loaded.proposal_id, loaded.proposed
        state.consecutive_failures = loaded.consecutive_failures
        state.polling_interval_seconds = loaded.polling_interval_seconds
        state.continuous = loaded.continuous
        state.loaded = True

    def _work_waits(self) -> bool:
        state = self.state
        return bool(state.requested or state.pending_full_sync or (state.run is not None))

    def _due(self) -> bool:
        state = self.state
        if state.stopped or state.deleted or state.unlock:
            return True
        if state.paused or state.suspended:
            return False
        return self._work_waits() or workflow.time() >= state.next_poll_at

    async def _wait(self) -> None:
        while not self._due():
            self.publish()
            await self._sleep(self.state.next_poll_at)

    async def _sleep(self, planned: float) -> None:
        """Until the planned poll, or anything that changes whether work is due; parked syncs have no timer."""
        parked = bool(self.state.paused or self.state.suspended)

        def changed() -> bool:
            state = self.state
            return self._due() or state.next_poll_at != planned or bool(state.paused or state.suspended) != parked

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
        pump = Pump(self)
        if not run.begun and not state.unlock:
            await pump.begin(run)
        if run.begun and not state.unlock:
            await pump.pump(run)
        if state.unlock:
            await self._finish(run, status="interrupted", error="released by unlock")
        elif state.run is None or self._interrupted(run):
            await self._park(run)
        elif run.error or run.unusable:
            await self._finish(run, status="failed" if run.error else "interrupted", error=run.error or run.unusable)
        else:
            await self._conclude(run)
        state.unlock = False

    def _new_run(self) -> Run:
        state = self.state
        run = Run(started_at=workflow.time(), trigger="scheduled")
        if state.requested is not None:
            run.id, run.by, run.trigger = state.requested.job_id, state.requested.by, "manual"
            run.full_sync = state.requested.full_sync
            state.requested = None
        elif state.pending_full_sync:
            run.by, run.full_sync, run.trigger = "queued_full_sync", True, "manual"
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

    def _interrupted(self, run: Run) -> bool:
        if self.halting():
            return True
        return not run.error and not run.unusable and not (run.at_end and not run.chunks)

    async def _park(self, run: Run) -> None:
        """Handed back: keep the place; the main loop decides whether to wait, to end or to continue as new."""
        if self.state.run is not None and self.halting() == "paused" and not run.parked:
            run.parked = True
            await self.project(ProjectArgs(job_id=run.id, job_status="interrupted"))

    async def _conclude(self, run: Run) -> None:
        """Everything is ingested: reconcile, make batches, finish; an interruption goes on at the step it hit."""
        state = self.state
        walked = not run.plan.incremental and (not run.plan.ordered or state.proposal_id != "")
        if run.complete and not run.reconciled and (run.absent or run.proven or walked):
            run.phase = "reconciling"
            self.publish()
            result = await self._recallable(
                workflow.start_activity(
                    "reconcile",
                    ReconcileArgs(
                        sync_config_id=self.ids.sync_config_id,
                        run_id=run.id,
                        run_no=run.number,
                        ordered=run.plan.ordered,
                        approved=state.approved,
                        absent_chunks=run.absent_chunks,
                        incremental=run.plan.incremental,
                        proven=run.proven,
                    ),
                    result_type=ReconcileResult,
                    summary=f"run {run.number}: {run.absent} absent",
                    **policies.patient(self.control_queue),
                )
            )
            if result is None or result.handed_back:
                return await self._park(run)
            run.removed, run.proposed, run.proposal_id = result.removed, result.proposed, result.proposal_id
            if result.proposal_id or not run.plan.incremental:
                state.proposal_id, state.proposed = result.proposal_id, result.proposed
            state.approved = ""
        run.reconciled = True
        if run.plan.make_batches and not run.batched and run.counts.stored + run.counts.updated:
            run.phase = "batching"
            batches = await self._recallable(
                workflow.start_activity(
                    "make_batches",
                    BatchesArgs(sync_config_id=self.ids.sync_config_id, run_id=run.id),
                    result_type=BatchesResult,
                    summary=f"run {run.number}: batches",
                    **policies.patient(self.control_queue),
                )
            )
            if batches is None:
                return await self._park(run)
            run.batches = batches.batches
        run.batched = True
        return await self._finish(run, status="completed", error="")

    async def _recallable(self, handle: workflow.ActivityHandle[T]) -> T | None:
        """Await an activity, but ask it to hand back when the run has to stop; None when it never got anywhere."""
        await workflow.wait_condition(lambda: handle.done() or bool(self.halting()))
        if not handle.done():
            handle.cancel()
        try:
            return await handle
        except ActivityError as error:
            if isinstance(error.cause, CancelledError) and self.halting():
                return None
            raise

    async def _finish(self, run: Run, *, status: str, error: str) -> None:
        run.phase = "finishing"
        result = await workflow.execute_activity(
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
            **policies.closing(self.control_queue),
        )
        self.finished(run, result)

    def finished(self, run: Run, result: FinishResult) -> None:
        """Take over what the books say and decide when to poll next."""
        state, now = self.state, workflow.time()
        state.run = None
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
        state.next_poll_at = 0.0 if run.unusable else now + pause
        state.full_pass_next = bool(run.rescan) or (state.full_pass_next and run.plan.incremental)
        state.completed = not result.continuous and result.status == "completed"

    def blocked(self, run: Run, begun: BeginResult) -> None:
        """No run was begun: the connection is not active, or the sync is gone. A requested run is kept."""
        state = self.state
        state.run = None
        if begun.gone:
            state.deleted = True
            return
        state.blocked = begun.blocked
        state.next_poll_at = workflow.time() + state.polling_interval_seconds
        if run.trigger == "manual":
            state.requested = Request(run.id, run.by, run.full_sync)

    # --- ending

    def _history_is_long(self) -> bool:
        info = workflow.info()
        return info.is_continue_as_new_suggested() or info.get_current_history_length() >= _HISTORY_EVENTS

    async def _continue_as_new(self) -> None:
        await workflow.wait_condition(workflow.all_handlers_finished)
        self.state.executions += 1
        workflow.continue_as_new(replace(self.ids, state=self.state))

    async def _end(self) -> None:
        """Stopped or deleted: an interrupted run is closed, so that no job stays open for ever."""
        state = self.state
        if state.run is not None and state.run.begun:
            await self._finish(state.run, status="interrupted", error="the sync was stopped")
        state.run = None
        state.unlock = False

    # --- showing

    def publish(self) -> None:
        """Details on every change, search attributes only when they differ."""
        workflow.set_current_details(details.markdown(self.state, self.ids, workflow.time()))
        shown = f"{self.state.name}/{self.state.needs_attention}"
        if shown != self._published:
            self._published = shown
            workflow.upsert_search_attributes(details.search_attributes(self.state, self.ids))

    @workflow.query(name="state")
    def state_query(self) -> dict[str, Any]:
        """The whole state, for people and tests."""
        return {"name": self.state.name, **asdict(self.state)}
