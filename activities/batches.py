"""Batches: made from what a run accepted, submitted as workflows, processed by whom the settings name."""

from __future__ import annotations

import hashlib
import hmac
import time
from typing import Any

import aiohttp
import orjson
from temporalio import activity
from temporalio.client import Client
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import ApplicationError, WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from activities.contracts import BatchInput
from activities.engine import Engine
from activities.hand_back import Stop, run_until_handed_back
from activities.run_contracts import BatchesArgs, BatchesResult, BatchOutcome, BatchPlan
from stores.batches import BatchStore, batch_id_of
from stores.database import Document

__all__ = ["BatchActivities"]

_FINAL = ("COMPLETED", "COMPLETED_WITH_ERRORS", "FAILED", "CANCELED")
_WEBHOOK_SECONDS = 30.0


class BatchActivities:
    """Making, submitting and settling batches."""

    def __init__(self, engine: Engine, client: Client) -> None:
        self._engine = engine
        self._client = client
        self._batches = BatchStore(engine.database)

    @activity.defn(name="make_batches")
    async def make_batches(self, args: BatchesArgs) -> BatchesResult:
        """Group what the run accepted and submit each group. Idempotent by batch and workflow id."""
        return await run_until_handed_back(self.make(args), Stop())

    async def make(self, args: BatchesArgs) -> BatchesResult:
        """The same without heartbeats, for whoever closes a run that did not get as far. Also of a deleted sync."""
        sync = await self._engine.configs.sync(args.sync_config_id, deleted=True)
        bucket = await self._engine.configs.bucket(sync["bucket_id"]) if sync else None
        if sync is None or bucket is None:
            return BatchesResult()
        size = min(int(sync.get("batch_chunk_size") or 100), int(sync.get("max_batch_chunk_size") or 1000))
        pending: list[str] = []
        made = objects = 0
        async for accepted in self._engine.runs.accepted(args.run_id):
            pending += accepted
            whole = len(pending) // size * size
            groups, pending = [pending[i : i + size] for i in range(0, whole, size)], pending[whole:]
            made, objects = await self._submit(sync, bucket, args.run_id, groups, made), objects + whole
        if pending:
            made, objects = await self._submit(sync, bucket, args.run_id, [pending], made), objects + len(pending)
        return BatchesResult(batches=made, objects=objects)

    async def _submit(self, sync: Document, bucket: Document, run_id: str, groups: list[list[str]], first: int) -> int:
        if not groups:
            return first
        documents = [
            {
                "_id": batch_id_of(run_id, first + n),
                "bucket_id": bucket["_id"],
                "internal_id": sync["internal_id"],
                "namespace_id": sync["namespace_id"],
                "sync_config_id": sync["_id"],
                "run_id": run_id,
                "index": first + n,
                "object_ids": group,
                "status": "PENDING",
                "task_id": f"batch/{batch_id_of(run_id, first + n)}",
                "collection_ids": sync.get("batch_collection_ids"),
            }
            for n, group in enumerate(groups)
        ]
        await self._batches.make(documents)
        for document in documents:
            await self._start(document)
        return first + len(groups)

    async def _start(self, batch: Document) -> None:
        try:
            await self._client.start_workflow(
                "BatchWorkflow",
                BatchInput(batch_id=batch["_id"]),
                id=batch["task_id"],
                task_queue=self._engine.settings.workflow_queue,
                id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                static_summary=f"{len(batch['object_ids'])} objects of {batch['bucket_id']}",
            )
        except WorkflowAlreadyStartedError:
            return  # an earlier attempt started it, and it has ended since
        except RPCError as error:
            if error.status is not RPCStatusCode.ALREADY_EXISTS:
                raise ApplicationError(
                    f"cannot start {batch['task_id']}: {error.status.name}", type="StoreUnavailable"
                ) from None

    @activity.defn(name="begin_batch")
    async def begin_batch(self, batch_id: str) -> BatchPlan:
        """What there is to process and by whom; only counts and names."""
        batch = await self._batches.get(batch_id)
        if batch is None or batch["status"] in _FINAL:
            return BatchPlan(gone=True)
        await self._batches.set_status(batch_id, {"status": "PROCESSING"}, unless=_FINAL)
        settings = self._engine.settings
        return BatchPlan(
            how=settings.processing,
            task_queue=settings.processing_task_queue or "",
            objects=len(batch["object_ids"]),
            bucket_id=batch["bucket_id"],
        )

    @activity.defn(name="post_batch")
    async def post_batch(self, batch_id: str) -> None:
        """Post the batch to the webhook, signed: `X-Tidemark-Signature: t=..., v1=HMAC-SHA256(t.body)`."""
        batch = await self._batches.get(batch_id)
        settings = self._engine.settings
        if batch is None or not settings.processing_webhook_url:
            raise ApplicationError(
                "TIDEMARK_PROCESSING_WEBHOOK_URL is not set", type="Misconfigured", non_retryable=True
            )
        body = orjson.dumps(_payload(batch))
        stamp = str(int(time.time()))
        headers = {"Content-Type": "application/json", "Idempotency-Key": batch_id}
        if settings.processing_webhook_secret is not None:
            key = settings.processing_webhook_secret.get_secret_value().encode()
            digest = hmac.new(key, f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
            headers["X-Tidemark-Signature"] = f"t={stamp}, v1={digest}"
        timeout = aiohttp.ClientTimeout(total=_WEBHOOK_SECONDS)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout, trust_env=True) as session,
                session.post(
                    settings.processing_webhook_url, data=body, headers=headers, allow_redirects=False
                ) as reply,
            ):
                status = reply.status
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ApplicationError(f"webhook: {type(error).__name__}", type="Transient") from None
        if status >= 300:
            retryable = status >= 500 or status in {408, 429}
            raise ApplicationError(f"webhook answered {status}", type="WebhookRefused", non_retryable=not retryable)

    @activity.defn(name="finish_batch")
    async def finish_batch(self, batch_id: str, outcome: BatchOutcome) -> None:
        """Settle the batch and its objects."""
        batch = await self._batches.get(batch_id)
        if batch is None:
            return
        failed = [i for i in batch["object_ids"] if i in set(outcome.failed_object_ids)]
        done = [i for i in batch["object_ids"] if i not in set(failed)]
        if outcome.status != "COMPLETED":
            failed, done = list(batch["object_ids"]), []
        status = outcome.status if not failed or not done else "COMPLETED_WITH_ERRORS"
        if outcome.status == "CANCELED":
            await self._batches.set_status(
                batch_id, {"status": "CANCELED", "error": outcome.error[:1000] or None}, unless=_FINAL
            )
            return
        await self._batches.settle_objects(batch_id, done, "COMPLETED")
        await self._batches.settle_objects(batch_id, failed, "FAILED")
        fields: dict[str, Any] = {
            "status": status,
            "error": outcome.error[:1000] or None,
            "failed_object_count": len(failed),
        }
        await self._batches.set_status(batch_id, fields, unless=_FINAL)


def _payload(batch: Document) -> dict[str, Any]:
    return {
        "batch_id": batch["_id"],
        "bucket_id": batch["bucket_id"],
        "namespace_id": batch["namespace_id"],
        "sync_config_id": batch.get("sync_config_id"),
        "object_ids": batch["object_ids"],
        "collection_ids": batch.get("collection_ids"),
    }
