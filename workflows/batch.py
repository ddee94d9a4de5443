"""A batch: handed to processing, watched, and settled. Id `batch/{batch_id}`, which is also its task id."""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError, CancelledError, ChildWorkflowError

with workflow.unsafe.imports_passed_through():
    from activities.contracts import BatchInput
    from activities.run_contracts import BatchOutcome, BatchPlan
    from workflows import policies

__all__ = ["BatchWorkflow"]

# A day of attempts for a processor that is down; then the batch fails and its objects with it.
_PROCESSING = RetryPolicy(
    initial_interval=timedelta(seconds=5), maximum_interval=timedelta(minutes=10), maximum_attempts=3
)
_PROCESSING_LIMIT = timedelta(days=7)


@workflow.defn(name="BatchWorkflow")
class BatchWorkflow:
    """Begin, process, settle."""

    @workflow.run
    async def run(self, args: BatchInput) -> str:
        """Returns the batch's final status."""
        queue = workflow.info().task_queue.removesuffix("-workflows") + "-control"
        plan = await workflow.execute_activity(
            "begin_batch", args.batch_id, result_type=BatchPlan, summary="begin", **policies.bookkeeping(queue)
        )
        if plan.gone:
            return "GONE"
        workflow.set_current_details(f"{plan.objects} objects of {plan.bucket_id}, processed by {plan.how}")
        outcome = await self._process(args.batch_id, plan, queue)
        await workflow.execute_activity(
            "finish_batch", args=[args.batch_id, outcome], summary=outcome.status, **policies.bookkeeping(queue)
        )
        return outcome.status

    async def _process(self, batch_id: str, plan: BatchPlan, queue: str) -> BatchOutcome:
        try:
            if plan.how == "webhook":
                await workflow.execute_activity(
                    "post_batch", batch_id, summary="post to the webhook", **policies.webhook(queue)
                )
            elif plan.how == "workflow":
                if not plan.task_queue:
                    return BatchOutcome(status="FAILED", error="TIDEMARK_PROCESSING_TASK_QUEUE is not set")
                # The user's workflow: its id is derived from ours, so a repeated start finds the first.
                answer = await workflow.execute_child_workflow(
                    "ProcessBatch",
                    {"batch_id": batch_id, "bucket_id": plan.bucket_id},
                    id=f"process/{batch_id}",
                    task_queue=plan.task_queue,
                    retry_policy=_PROCESSING,
                    execution_timeout=_PROCESSING_LIMIT,
                )
                failed = answer.get("failed_object_ids") if isinstance(answer, dict) else None
                return BatchOutcome(status="COMPLETED", failed_object_ids=list(failed or []))
        except (ActivityError, ChildWorkflowError) as error:
            if isinstance(error.cause, CancelledError):
                return BatchOutcome(status="CANCELED", error="canceled")
            cause = error.cause
            message = cause.message if isinstance(cause, ApplicationError) else str(cause or error)
            return BatchOutcome(status="FAILED", error=message[:1000])
        return BatchOutcome(status="COMPLETED")
