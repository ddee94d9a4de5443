"""The sync workflow with a short breath: it continues as new after a few events."""

from __future__ import annotations

from typing import ClassVar

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    # Not used here, but the sandbox looks for the types of what it decodes among the modules it has imported.
    import activities.contracts
    import activities.run_contracts  # noqa: F401 - see above
    from workflows.state import SyncArgs
    from workflows.sync import SyncWorkflow

__all__ = ["ShortSyncWorkflow", "WatchedSyncWorkflow"]


@workflow.defn(name="SyncWorkflow")
class ShortSyncWorkflow(SyncWorkflow):
    history_limit = 40

    @workflow.init
    def __init__(self, args: SyncArgs) -> None:
        super().__init__(args)

    @workflow.run
    async def run(self, args: SyncArgs) -> str:
        return await super().run(args)


@workflow.defn(name="SyncWorkflow")
class WatchedSyncWorkflow(ShortSyncWorkflow):
    """Seen from within the test's process (outside the sandbox), for a server that cannot be asked."""

    latest: ClassVar[dict[str, WatchedSyncWorkflow]] = {}

    @workflow.init
    def __init__(self, args: SyncArgs) -> None:
        super().__init__(args)
        self.latest[workflow.info().workflow_id] = self

    @workflow.run
    async def run(self, args: SyncArgs) -> str:
        return await super().run(args)
