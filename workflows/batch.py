"""A batch: handed to processing, watched, and settled. Id `batch/{batch_id}`, which is also its task id."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import (
    ActivityError,
    ApplicationError,
    CancelledError,
    ChildWorkflowError,
    WorkflowAlreadyStartedError,
)

with workflow.unsafe.imports_passed_through():
    from activities.contracts import BatchInput
    from activities.run_contracts import BatchOutcome, BatchPlan
    from workflows import policies

__all__ = ["BatchWorkflow"]

# Three attempts of the user's workflow within a week; then the batch fails and its objects with it.
_PROCESSING = RetryPolicy(
    initial_interval=timedelta(seconds=5), maximum_interval=timedelta(minutes=10), maximum_attempts=3
)
_PROCESSING_LIMIT = timedelta(days=7)


@workflow.defn(name="BatchWorkflow")
class BatchWorkflow:
    """Begin, process, settle. Cancellation ends the processing; the batch is settled as CANCELED all the same."""

    @workflow.init
    def __init__(self, args: BatchInput) -> None:
        self._batch_id = args.batch_id
        self._canceled = False
        self._processing: asyncio.Task[Any] | None = None

    @workflow.run
    async def run(self, args: BatchInput) -> str:
        """Returns the batch's final status; fails with it, so that a failed batch does not show as completed."""
        del args
        work = asyncio.create_task(self._work())
        try:
            await workflow.wait_condition(work.done)
        except asyncio.CancelledError:
            self._canceled = True
            if self._processing is not None:
                self._processing.cancel()
            await workflow.wait_condition(work.done)
        outcome = work.result()
        if outcome.status == "CANCELED" and self._canceled:
            raise asyncio.CancelledError
        if outcome.status in {"FAILED", "CANCELED"}:
            raise ApplicationError(outcome.error or outcome.status, type=outcome.status, non_retryable=True)
        return outcome.status

    async def _work(self) -> BatchOutcome:
        queue = workflow.info().task_queue.removesuffix("-workflows") + "-control"
        plan = await workflow.execute_activity(
            "begin_batch", self._batch_id, result_type=BatchPlan, summary="begin", **policies.bookkeeping(queue)
        )
        if plan.gone:
            return BatchOutcome(status="GONE")
        workflow.set_current_details(f"{plan.objects} objects of {plan.bucket_id}, processed by {plan.how}")
        outcome = BatchOutcome(status="CANCELED", error="canceled")
        if not self._canceled:
            outcome = await self._process(plan, queue)
        await workflow.execute_activity(
            "finish_batch", args=[self._batch_id, outcome], summary=outcome.status, **policies.bookkeeping(queue)
        )
        return outcome

    async def _process(self, plan: BatchPlan, queue: str) -> BatchOutcome:
        try:
            if plan.how == "webhook":
                self._processing = workflow.start_activity(
                    "post_batch", self._batch_id, summary="post to the webhook", **policies.webhook(queue)
                )
                await self._processing
            elif plan.how == "workflow":
                if not plan.task_queue:
                    return BatchOutcome(status="FAILED", error="TIDEMARK_PROCESSING_TASK_QUEUE is not set")
                # The user's workflow: its id is derived from ours, so that a batch is never processed twice at a time.
                self._processing = asyncio.create_task(
                    workflow.execute_child_workflow(
                        "ProcessBatch",
                        {"batch_id": self._batch_id, "bucket_id": plan.bucket_id},
                        id=f"process/{self._batch_id}",
                        task_queue=plan.task_queue,
                        retry_policy=_PROCESSING,
                        execution_timeout=_PROCESSING_LIMIT,
                    )
                )
                answer = await self._processing
                failed = answer.get("failed_object_ids") if isinstance(answer, dict) else None
                return BatchOutcome(status="COMPLETED", failed_object_ids=[str(i) for i in failed or []])
        except (ActivityError, ChildWorkflowError) as error:
            cause = error.cause
            if isinstance(cause, CancelledError):
                return BatchOutcome(status="CANCELED", error="canceled")
            message = cause.message if isinstance(cause, ApplicationError) else str(cause or error)
            return BatchOutcome(status="FAILED", error=message[:1000])
        except WorkflowAlreadyStartedError:
            return BatchOutcome(status="FAILED", error=f"a workflow process/{self._batch_id} is running already")
        return BatchOutcome(status="COMPLETED")
