"""The sync workflow with a short breath: it continues as new after a few events."""

from __future__ import annotations

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from workflows.state import SyncArgs
    from workflows.sync import SyncWorkflow

__all__ = ["ShortSyncWorkflow"]


@workflow.defn(name="SyncWorkflow")
class ShortSyncWorkflow(SyncWorkflow):
    history_limit = 40

    @workflow.init
    def __init__(self, args: SyncArgs) -> None:
        super().__init__(args)

    @workflow.run
    async def run(self, args: SyncArgs) -> str:
        return await super().run(args)
