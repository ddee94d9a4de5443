"""Housekeeping: workflows that should run and do not, and blobs that nothing refers to any more."""

from __future__ import annotations

from temporalio import activity
from temporalio.client import Client
from temporalio.common import WorkflowIDConflictPolicy

from activities.contracts import ConnectionInput, SyncInput
from activities.engine import Engine
from activities.hand_back import Stop, run_until_handed_back
from activities.run_contracts import MaintenanceResult
from stores.blobs import purge_unreferenced
from stores.database import Document

__all__ = ["MaintenanceActivities"]


class MaintenanceActivities:
    """Desired state is never changed here: what is paused, completed or deleted stays so."""

    def __init__(self, engine: Engine, client: Client) -> None:
        self._engine = engine
        self._client = client

    @activity.defn(name="start_missing")
    async def start_missing(self) -> MaintenanceResult:
        """Have one workflow per active sync and live connection; running ones are left alone."""
        return await run_until_handed_back(self._start_missing(), Stop())

    async def _start_missing(self) -> MaintenanceResult:
        result = MaintenanceResult()
        async for sync in self._engine.configs.due_syncs():
            await self._start(f"sync/{sync['_id']}", "SyncWorkflow", _sync_input(sync))
            result.syncs += 1
        async for connection_id in self._engine.configs.live_connections():
            await self._start(f"connection/{connection_id}", "ConnectionWorkflow", ConnectionInput(connection_id))
            result.connections += 1
        return result

    async def _start(self, workflow_id: str, name: str, args: SyncInput | ConnectionInput) -> None:
        await self._client.start_workflow(
            name,
            args,
            id=workflow_id,
            task_queue=self._engine.settings.workflow_queue,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        )

    @activity.defn(name="purge_blobs")
    async def purge_blobs(self) -> MaintenanceResult:
        """Erase blobs without a reference, after the grace period; see `stores.blobs.purge`."""
        grace = self._engine.settings.blob_purge_grace_seconds
        work = purge_unreferenced(self._engine.blobs, self._engine.database, grace)
        report = await run_until_handed_back(work, Stop())
        return MaintenanceResult(purged=report.erased, purged_bytes=report.bytes)


def _sync_input(sync: Document) -> SyncInput:
    return SyncInput(
        sync_config_id=sync["_id"],
        organization_id=sync["internal_id"],
        bucket_id=sync["bucket_id"],
        connection_id=sync["connection_id"],
        provider=sync.get("source_type") or "",
    )
