"""A connection's health: one workflow per connection, id `connection/{connection_id}`, one check every 15 minutes."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.exceptions import ActivityError, CancelledError

with workflow.unsafe.imports_passed_through():
    from activities.contracts import ConnectionInput
    from activities.run_contracts import HealthResult
    from workflows import policies

__all__ = ["ConnectionWorkflow"]


@dataclass
class ConnectionArgs(ConnectionInput):
    """What it is started with, and what it carries over continue-as-new."""

    checks: int = 0
    status: str = ""
    last_error: str = ""
    interval_seconds: int = 900


@workflow.defn(name="ConnectionWorkflow")
class ConnectionWorkflow:
    """Checks, sleeps, checks; a `check` signal (new credentials, a person) comes before the timer."""

    @workflow.init
    def __init__(self, args: ConnectionArgs) -> None:
        self._state = args
        self._asked = False

    @workflow.run
    async def run(self, args: ConnectionArgs) -> str:
        """Until the connection is archived."""
        del args
        queue = workflow.info().task_queue.removesuffix("-workflows") + "-control"
        while True:
            # The connection was tested when it was made; the first check comes an interval later.
            with contextlib.suppress(TimeoutError):
                await workflow.wait_condition(
                    lambda: self._asked,
                    timeout=timedelta(seconds=self._state.interval_seconds),
                    timeout_summary="next check",
                )
            self._asked = False
            try:
                result = await workflow.execute_activity(
                    "check_connection",
                    self._state.connection_id,
                    result_type=HealthResult,
                    summary="check",
                    **policies.health(queue),
                )
            except ActivityError as error:
                if isinstance(error.cause, CancelledError):
                    raise
                # Not the connection's fault (that is a result): the database or a bug. Shown, and tried again.
                self._state.last_error = f"check could not be made: {str(error.cause)[:200]}"
                workflow.set_current_details(self._state.last_error)
            else:
                if result.gone:
                    return "archived"
                self._book(result)
            if workflow.info().is_continue_as_new_suggested() and not self._asked:
                workflow.continue_as_new(self._state)

    def _book(self, result: HealthResult) -> None:
        state = self._state
        state.checks += 1
        state.interval_seconds = result.interval_seconds
        state.status, state.last_error = result.status, result.error
        workflow.set_current_details(f"**{state.status}** after {state.checks} checks\n\n{state.last_error[:500]}")

    @workflow.signal
    async def check(self, args: Any = None) -> None:
        """Check now."""
        del args
        self._asked = True
