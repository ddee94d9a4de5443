"""Housekeeping of a whole installation: one workflow, id `tidemark-maintenance`, started by every worker."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from activities.run_contracts import MaintenanceResult
    from workflows import policies

__all__ = ["MaintenanceArgs", "MaintenanceWorkflow"]

_HOUR = timedelta(hours=1)
_ROUNDS_PER_PURGE = 24
_ROUNDS_PER_EXECUTION = 500


@dataclass
class MaintenanceArgs:
    """Carried over continue-as-new: rounds made so far."""

    rounds: int = 0


@workflow.defn(name="MaintenanceWorkflow")
class MaintenanceWorkflow:
    """Every hour missing workflows are started, every day unreferenced blobs are purged."""

    @workflow.run
    async def run(self, args: MaintenanceArgs) -> None:
        """Never ends by itself."""
        queue = workflow.info().task_queue.removesuffix("-workflows") + "-control"
        rounds = args.rounds
        while True:
            # Workers start together with their syncs: the first round has time.
            await workflow.sleep(_HOUR, summary="next round")
            rounds += 1
            lines = [f"round {rounds}"]
            for name in ("start_missing", *(["purge_blobs"] if rounds % _ROUNDS_PER_PURGE == 0 else [])):
                try:
                    result = await workflow.execute_activity(
                        name, result_type=MaintenanceResult, summary=name, **policies.housekeeping(queue)
                    )
                except ActivityError as error:
                    # Shown, and tried again in an hour; nothing depends on this round.
                    lines.append(f"**{name} failed**: {str(error.cause)[:300]}")
                else:
                    lines.append(f"{name}: {result}")
            workflow.set_current_details("\n\n".join(lines))
            if rounds - args.rounds >= _ROUNDS_PER_EXECUTION:
                workflow.continue_as_new(MaintenanceArgs(rounds))
