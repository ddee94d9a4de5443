"""How a run ends once everything is ingested: removals, batches, the books.

An interruption goes on at the step it hit: what is done is on record in the run.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, TypeVar

from temporalio import workflow
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from activities.run_contracts import BatchesArgs, BatchesResult, ReconcileArgs, ReconcileResult
    from workflows import policies
    from workflows.failures import classify
    from workflows.state import Run

if TYPE_CHECKING:
    from workflows.sync import SyncWorkflow

__all__ = ["Conclusion"]

T = TypeVar("T")


class Conclusion:
    """Concludes one run of one workflow."""

    def __init__(self, owner: SyncWorkflow) -> None:
        self._owner = owner

    async def work(self, run: Run) -> None:
        """Everything is ingested: reconcile, make batches, finish; an interruption goes on at the step it hit."""
        owner = self._owner
        state = owner.state
        walked = not run.plan.incremental and (not run.plan.ordered or state.proposal_id != "")
        if run.complete and not run.reconciled and (run.absent or run.proven or walked):
            run.phase = "reconciling"
            if not await self._reconcile(run):
                return
        run.reconciled = True
        if run.plan.make_batches and not run.batched and run.counts.stored + run.counts.updated:
            run.phase = "batching"
            args = BatchesArgs(sync_config_id=owner.ids.sync_config_id, run_id=run.id)
            batches = await self._step(run, "make_batches", args, BatchesResult, f"run {run.number}: batches")
            if batches is None:
                return
            run.batches = batches.batches
        run.batched = True
        await owner.finish(run, status="completed", error="")

    async def _reconcile(self, run: Run) -> bool:
        """Remove what is absent, or propose it; False when that has to go on later."""
        owner = self._owner
        state = owner.state
        args = ReconcileArgs(
            sync_config_id=owner.ids.sync_config_id,
            run_id=run.id,
            run_no=run.number,
            ordered=run.plan.ordered,
            approved=state.approved,
            absent_chunks=run.absent_chunks,
            incremental=run.plan.incremental,
            proven=run.proven,
            unproven=run.unproven,
        )
        owner.reconciling = True
        try:
            result = await self._step(run, "reconcile", args, ReconcileResult, f"run {run.number}: {run.absent} absent")
        finally:
            owner.reconciling = False
        if result is None or result.handed_back:
            return False
        if result.still_there:
            # The walk left things out: what else it did not show is not known either.
            run.complete = False
            run.partial_reason = (
                f"listing_short: {result.still_there} objects were missing from the listing and are still there;"
                " they were kept"
            )
        run.removed, run.proposed, run.proposal_id = result.removed, result.proposed, result.proposal_id
        if result.proposal_id or not run.plan.incremental:
            state.proposal_id, state.proposed = result.proposal_id, result.proposed
        if state.approved == args.approved:  # else it was given meanwhile, and is for the next run
            state.approved = ""
        return True

    async def _step(self, run: Run, name: str, args: Any, result_type: type[T], summary: str) -> T | None:
        """An activity of the conclusion, asked to hand back when the run has to stop; None: to be taken again."""
        owner = self._owner
        owner.publish()
        if (wait := run.wait_until - workflow.time()) > 0:
            with contextlib.suppress(TimeoutError):
                await workflow.wait_condition(
                    lambda: bool(owner.halting()), timeout=wait, timeout_summary="trying again later"
                )
        if owner.halting():
            return None
        handle: workflow.ActivityHandle[T] = workflow.start_activity(
            name, args, result_type=result_type, summary=summary, **policies.patient(owner.control_queue)
        )
        await workflow.wait_condition(lambda: handle.done() or bool(owner.halting()))
        if not handle.done():
            handle.cancel()
        try:
            return await handle
        except ActivityError as error:
            owner.failed(run, classify(error, listing=False))
            return None
