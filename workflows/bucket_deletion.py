"""The deletion of a bucket. Id `bucket-deletion/{bucket_id}`, which is also the id of its task."""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.contracts import BucketDeletionInput
    from workflows import policies

__all__ = ["BucketDeletionWorkflow"]

_LOOK_AGAIN = timedelta(seconds=1)
# From this round on a sync that does not end by itself is cancelled (activities/bucket_deletion.py).
_CANCELLING_ROUND = 20


@workflow.defn(name="BucketDeletionWorkflow")
class BucketDeletionWorkflow:
    """Stop the syncs and batches, wait until they have ended, remove the objects, then the bucket."""

    @workflow.init
    def __init__(self, args: BucketDeletionInput) -> None:
        self._bucket_id = args.bucket_id
        self._first_round = _CANCELLING_ROUND if args.at_once else 0

    @workflow.run
    async def run(self, args: BucketDeletionInput) -> int:
        """How many objects were removed."""
        del args
        queue = workflow.info().task_queue.removesuffix("-workflows") + "-control"
        round_no = self._first_round
        while await workflow.execute_activity(
            "stop_bucket_work",
            args=[self._bucket_id, round_no],
            result_type=int,
            summary="stop syncs and batches",
            **policies.bookkeeping(queue),
        ):
            workflow.set_current_details("waiting for syncs and batches to end")
            await workflow.sleep(_LOOK_AGAIN, summary="look again")
            round_no += 1
        removed = 0
        while step := await workflow.execute_activity(
            "purge_bucket_objects", self._bucket_id, result_type=int, summary="objects", **policies.patient(queue)
        ):
            removed += step
            workflow.set_current_details(f"{removed} objects removed")
        await workflow.execute_activity(
            "finish_bucket_deletion", self._bucket_id, summary="the rest", **policies.closing(queue)
        )
        return removed
