"""Housekeeping: workflows that should run and do not, and blobs that nothing refers to any more."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from temporalio import activity
from temporalio.client import Client
from temporalio.common import WorkflowIDConflictPolicy

from activities.contracts import ConnectionInput, DraftInput, SyncInput
from activities.engine import Engine
from activities.hand_back import Stop, run_until_handed_back
from activities.run_contracts import MaintenanceResult
from stores.blobs import purge_unreferenced
from stores.bucket_deletion import BucketRemover
from stores.database import Document

__all__ = ["MaintenanceActivities"]

# Longer than any attempt may run on after its successor.
_ZOMBIES_LIVE = timedelta(days=3)


class MaintenanceActivities:
    """Desired state is never changed here: what is paused, completed or deleted stays so."""

    def __init__(self, engine: Engine, client: Client) -> None:
        self._engine = engine
        self._client = client
        self._remover = BucketRemover(engine.database)

    @activity.defn(name="start_missing")
    async def start_missing(self) -> MaintenanceResult:
        """Have one workflow per active sync, live connection and draft; running ones are left alone."""
        return await run_until_handed_back(self._start_missing(), Stop())

    async def _start_missing(self) -> MaintenanceResult:
        result = MaintenanceResult()
        async for sync in self._engine.configs.due_syncs():
            await self._start(f"sync/{sync['_id']}", "SyncWorkflow", _sync_input(sync))
            result.syncs += 1
        async for connection_id in self._engine.configs.live_connections():
            await self._start(f"connection/{connection_id}", "ConnectionWorkflow", ConnectionInput(connection_id))
            result.connections += 1
        now = datetime.now(UTC)
        for draft in await self._remover.drafts():
            age = (now - draft["created_at"]).total_seconds()
            left = max(0, int(self._engine.settings.draft_keep_seconds - age))
            args = DraftInput(batch_id=draft["_id"], keep_seconds=left)
            await self._start(f"draft/{draft['_id']}", "DraftWorkflow", args)
            result.drafts += 1
        return result

    async def _start(self, workflow_id: str, name: str, args: SyncInput | ConnectionInput | DraftInput) -> None:
        await self._client.start_workflow(
            name,
            args,
            id=workflow_id,
            task_queue=self._engine.settings.workflow_queue,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        )

    @activity.defn(name="purge_blobs")
    async def purge_blobs(self) -> MaintenanceResult:
        """Remove what late attempts left of deleted buckets, then erase blobs without a reference.

        A blob goes after the grace period; see `stores.blobs.purge`.
        """
        swept = await self._remover.sweep(datetime.now(UTC) - _ZOMBIES_LIVE)
        grace = self._engine.settings.blob_purge_grace_seconds
        work = purge_unreferenced(self._engine.blobs, self._engine.database, grace)
        report = await run_until_handed_back(work, Stop())
        return MaintenanceResult(swept=swept, purged=report.erased, purged_bytes=report.bytes)


def _sync_input(sync: Document) -> SyncInput:
    return SyncInput(
        sync_config_id=sync["_id"],
        organization_id=sync["internal_id"],
        bucket_id=sync["bucket_id"],
        connection_id=sync["connection_id"],
        provider=sync.get("source_type") or "",
    )
