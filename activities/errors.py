"""The one place where provider, store and context errors become Temporal's.

A message that reaches a history is written by us or by a provider (which names no secrets); anything
unexpected is a bug and is named by its type and place only, its text stays in the worker's log.
"""

from __future__ import annotations

import traceback
from datetime import timedelta
from typing import Any

import structlog
from temporalio import activity
from temporalio.exceptions import ApplicationError
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from activities.engine import ConnectionWaits, SyncGone
from providers.errors import ProviderError, Throttled
from stores.blobs.base import BlobStoreError
from stores.failures import UNAVAILABLE
from stores.vault import VaultError

__all__ = ["ErrorInterceptor", "translate"]

_LOG = structlog.get_logger(__name__)


def translate(error: BaseException) -> ApplicationError | None:
    """The failure to record, or None when `error` may pass as it is (cancellation, our own failures)."""
    if isinstance(error, BaseExceptionGroup):
        return translate(_first(error))
    if isinstance(error, ApplicationError) or not isinstance(error, Exception):
        return None
    kind = type(error).__name__
    if isinstance(error, ProviderError):
        delay = timedelta(seconds=error.retry_after) if isinstance(error, Throttled) and error.retry_after else None
        return ApplicationError(str(error)[:1000], type=kind, non_retryable=not error.retryable, next_retry_delay=delay)
    if isinstance(error, ConnectionWaits):
        return ApplicationError(error.reason[:1000], type=kind, non_retryable=True)
    if isinstance(error, SyncGone):
        return ApplicationError("the sync config no longer exists", type=kind, non_retryable=True)
    if isinstance(error, UNAVAILABLE):
        return ApplicationError(f"MongoDB: {kind}", type="StoreUnavailable")
    if isinstance(error, VaultError):
        return ApplicationError(f"vault: {error}"[:1000], type="Misconfigured", non_retryable=True)
    if isinstance(error, BlobStoreError):
        return ApplicationError(f"blob store: {error}"[:1000], type="StoreUnavailable")
    if isinstance(error, OSError):
        # Disk full, blob directory gone: the operator's turn, not the object's.
        return ApplicationError(f"blob store or network: {kind}: {error.strerror or ''}", type="StoreUnavailable")
    frame = traceback.extract_tb(error.__traceback__)[-1] if error.__traceback__ else None
    where = f" in {frame.name} ({frame.filename.rpartition('/')[2]}:{frame.lineno})" if frame else ""
    return ApplicationError(f"{kind}{where}; the worker's log has the rest", type="Bug")


def _first(group: BaseExceptionGroup[Any]) -> BaseException:
    """The exception of a group that says most: one that stops the run before any other."""
    flat = [_first(error) if isinstance(error, BaseExceptionGroup) else error for error in group.exceptions]
    stops = [e for e in flat if isinstance(e, ProviderError) and e.stops_run]
    return (stops or flat)[0]


class ErrorInterceptor(Interceptor):
    """Translates what activities raise, and logs it with the ids of the activity."""

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002 - SDK's name
        """Wrap."""
        return _Translating(next)


class _Translating(ActivityInboundInterceptor):
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002 - SDK's name
        info = activity.info()
        log = _LOG.bind(activity=info.activity_type, workflow_id=info.workflow_id, attempt=info.attempt)
        try:
            return await self.next.execute_activity(input)
        except BaseException as error:
            failure = translate(error)
            if failure is None:
                raise
            if failure.type == "Bug":
                log.exception("activity failed unexpectedly", error_type=type(error).__name__)
            else:
                log.warning("activity failed", error_type=failure.type, error=failure.message)
            raise failure from None
