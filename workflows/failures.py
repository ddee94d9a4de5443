"""What a failed activity means for the run: the failure classes of design.md, decided in one place."""

from __future__ import annotations

from dataclasses import dataclass

from temporalio.exceptions import ActivityError, ApplicationError, CancelledError
from temporalio.exceptions import TimeoutError as ActivityTimeout

from workflows import policies

__all__ = ["Failure", "classify"]

_CONNECTION = frozenset({"Denied", "Misconfigured", "Transient"})
_STOPS_RUN = frozenset({"Denied", "Misconfigured", "ConnectionWaits", "SyncGone", "ChunkLost"})
_AGAIN_SECONDS = policies.AGAIN.total_seconds()


@dataclass
class Failure:
    """`again` in seconds before another attempt, or an `error` that ends the run; `alarm` when a person should look."""

    error: str = ""
    again: float | None = None
    connection_fault: bool = False
    alarm: str = ""


def classify(error: ActivityError, *, listing: bool) -> Failure:
    """Lost work is done again, a broken store is waited for, a denied source ends the run, a bug alarms."""
    cause = error.cause
    if isinstance(cause, CancelledError):
        return Failure(again=0.0)
    if isinstance(cause, ActivityTimeout):
        # The worker was lost three times over this; the work itself is not at fault until proven.
        return Failure(again=1.0, alarm="the worker was lost three times over the same work: see its log and memory")
    if isinstance(cause, ApplicationError):
        kind = cause.type or "Bug"
        message = f"{kind}: {cause.message}"
        if kind in _STOPS_RUN or (listing and kind == "Transient"):
            return Failure(error=message, connection_fault=kind in _CONNECTION)
        if kind == "StoreUnavailable":
            return Failure(again=_AGAIN_SECONDS, alarm=message)
        if kind == "ObjectsStillFailing":
            return Failure(again=1.0)
        return Failure(again=_AGAIN_SECONDS, alarm=message)
    return Failure(again=_AGAIN_SECONDS, alarm=str(error)[:500])
