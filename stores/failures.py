"""What the stores let the layers above know about MongoDB's failures, without their importing pymongo."""

from __future__ import annotations

from pymongo.errors import (
    ConnectionFailure,
    ExecutionTimeout,
    NetworkTimeout,
    NotPrimaryError,
    ServerSelectionTimeoutError,
    WaitQueueTimeoutError,
)

__all__ = ["UNAVAILABLE", "BadCursorError", "DuplicateError"]

# The database did not answer; the same request may work in a moment.
UNAVAILABLE: tuple[type[Exception], ...] = (
    ConnectionFailure,
    ExecutionTimeout,
    NetworkTimeout,
    NotPrimaryError,
    ServerSelectionTimeoutError,
    WaitQueueTimeoutError,
)


class DuplicateError(Exception):
    """Something of that name exists already."""


class BadCursorError(Exception):
    """A page cursor that this list did not hand out."""
