"""A draft's time: a batch that nobody submits is removed when it is over. Id `draft/{batch_id}`."""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.contracts import DraftInput
    from workflows import policies

__all__ = ["DraftWorkflow"]


@workflow.defn(name="DraftWorkflow")
class DraftWorkflow:
    """Sleep, then remove the batch if it is still a draft."""

    @workflow.run
    async def run(self, args: DraftInput) -> bool:
        """Whether a draft was removed."""
        queue = workflow.info().task_queue.removesuffix("-workflows") + "-control"
        await workflow.sleep(timedelta(seconds=args.keep_seconds), summary="the draft's time")
        reaped: bool = await workflow.execute_activity(
            "reap_draft", args.batch_id, result_type=bool, summary="reap", **policies.bookkeeping(queue)
        )
        return reaped
