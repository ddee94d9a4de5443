"""Deleting a bucket: stop what works on it, remove its objects, then everything else. And reaping drafts."""

from __future__ import annotations

import time

from temporalio import activity
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowHandle
from temporalio.service import RPCError, RPCStatusCode

from activities.contracts import CommandArgs
from activities.engine import Engine
from stores.bucket_deletion import BucketRemover

__all__ = ["BucketDeletionActivities"]

_STEP = 1000
# One activity goes on this long, so that a long removal shows its progress in history.
_LONGEST_SECONDS = 60.0
# From this round on a sync that does not end by itself is cancelled (workflows/bucket_deletion.py).
_PATIENT_ROUNDS = 20


class BucketDeletionActivities:
    """The steps of BucketDeletionWorkflow; every one may be repeated."""

    def __init__(self, engine: Engine, client: Client) -> None:
        self._client = client
        self._remover = BucketRemover(engine.database)

    @activity.defn(name="stop_bucket_work")
    async def stop_work(self, bucket_id: str, round_no: int) -> int:
        """Ask every sync and batch of the bucket to end; how many still run."""
        if not await self._remover.exists(bucket_id):
            return 0
        await self._remover.show(bucket_id, "PROCESSING")
        running = 0
        for sync_config_id in await self._remover.retire_syncs(bucket_id):
            handle = self._client.get_workflow_handle(f"sync/{sync_config_id}")
            running += await self._end(handle, by_signal=round_no < _PATIENT_ROUNDS, ask=round_no % 10 == 0)
        for batch_id in await self._remover.open_batches(bucket_id):
            handle = self._client.get_workflow_handle(f"batch/{batch_id}")
            running += await self._end(handle, by_signal=False, ask=round_no % 10 == 0)
        return running

    async def _end(self, handle: WorkflowHandle[object, object], *, by_signal: bool, ask: bool) -> int:
        try:
            if (await handle.describe()).status is not WorkflowExecutionStatus.RUNNING:
                return 0
            if ask and by_signal:
                await handle.signal("delete", CommandArgs(by="bucket deletion"))
            elif ask:
                await handle.cancel()
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return 0
            raise
        return 1

    @activity.defn(name="purge_bucket_objects")
    async def purge_objects(self, bucket_id: str) -> int:
        """Remove objects for up to a minute; 0 when none are left."""
        began, removed = time.monotonic(), 0
        while time.monotonic() - began < _LONGEST_SECONDS:
            step = await self._remover.purge(bucket_id, step=_STEP)
            if not step:
                break
            removed += step
            await self._remover.removed(bucket_id, step)
            activity.heartbeat(removed)
        return removed

    @activity.defn(name="finish_bucket_deletion")
    async def finish(self, bucket_id: str) -> None:
        """Remove the rest and the bucket, and end the task."""
        await self._remover.finish(bucket_id)
        await self._remover.show(bucket_id, "COMPLETED", error=None)

    @activity.defn(name="reap_draft")
    async def reap_draft(self, batch_id: str) -> bool:
        """Remove a batch that nobody has submitted."""
        return await self._remover.reap_draft(batch_id)
