"""Keeps a malformed signal or update from wedging a workflow.

An exception that escapes a signal handler fails the workflow task, which is retried for ever: right
for a bug, fatal for a typing mistake at the CLI. The guard sees what arrives before any handler.
"""

from __future__ import annotations

from typing import Any

from temporalio import workflow
from temporalio.exceptions import ApplicationError
from temporalio.worker import (
    HandleSignalInput,
    HandleUpdateInput,
    Interceptor,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
)

__all__ = ["GuardInterceptor"]


class GuardInterceptor(Interceptor):
    """Installs the guard on every workflow of a worker."""

    def workflow_interceptor_class(
        self,
        input: WorkflowInterceptorClassInput,  # noqa: A002 - SDK's name
    ) -> type[WorkflowInboundInterceptor] | None:
        """The guard's class."""
        del input
        return _Guard


class _Guard(WorkflowInboundInterceptor):
    async def handle_signal(self, input: HandleSignalInput) -> None:  # noqa: A002 - SDK's name
        if workflow.get_signal_handler(input.signal) is not None and len(input.args) > 1:
            workflow.logger.warning(
                "signal with too many arguments, using the first", extra={"signal": input.signal[:100]}
            )
            input.args = input.args[:1]
        await super().handle_signal(input)

    def handle_update_validator(self, input: HandleUpdateInput) -> None:  # noqa: A002 - SDK's name
        self._check(input.update, input.args)
        super().handle_update_validator(input)

    def _check(self, name: str, args: Any) -> None:
        if len(args) > 1:
            message = f"update {name!r} takes one JSON object, {len(args)} arguments were given"
            raise ApplicationError(message, type="BadArguments", non_retryable=True)
