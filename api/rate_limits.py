"""How often a key may ask: a bucket of tokens per key and class of operation, refilled all the time.

Counted in this process: behind a balancer of N API processes a key may ask up to N times as often.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from api.errors import ApiError

__all__ = ["RateLimiter", "rate_class"]

_MINUTE = 60.0
# Keys that are counted at a time; beyond that, those that have not asked for a minute are forgotten.
_MOST_COUNTED = 10_000

_COMPUTE = ("trigger_", "submit_", "create_batch_", "test_", "requeue_")


def rate_class(operation_id: str, tag: str) -> str:
    """The contract's class of an operation: metadata, data, search, upload or compute."""
    if operation_id.startswith(_COMPUTE):
        return "compute"
    if operation_id == "create_object_buckets":
        return "upload"
    if operation_id.startswith("list_"):
        return "search"
    return "data" if tag == "BucketObjectsApi" else "metadata"


@dataclass(slots=True)
class _Tokens:
    left: float
    at: float


class RateLimiter:
    """`per_minute` by class; a class that is not named is not limited. A full minute may be asked at once."""

    def __init__(self, per_minute: Mapping[str, int], clock: Callable[[], float] = time.monotonic) -> None:
        self._per_minute = per_minute
        self._clock = clock
        self._counted: dict[tuple[str, str], _Tokens] = {}

    def take(self, key_id: str, kind: str) -> None:
        """Count one request. Raises ApiError 429 saying when to come back."""
        limit = self._per_minute.get(kind)
        if limit is None:
            return
        now = self._clock()
        tokens = self._counted.get((key_id, kind))
        if tokens is None:
            self._forget_idle(now)
            tokens = self._counted[key_id, kind] = _Tokens(float(limit), now)
        tokens.left = min(float(limit), tokens.left + (now - tokens.at) * limit / _MINUTE)
        tokens.at = now
        if tokens.left < 1:
            raise _too_many(kind, limit, math.ceil((1 - tokens.left) * _MINUTE / limit))
        tokens.left -= 1

    def _forget_idle(self, now: float) -> None:
        if len(self._counted) >= _MOST_COUNTED:
            self._counted = {key: tokens for key, tokens in self._counted.items() if now - tokens.at < _MINUTE}


def _too_many(kind: str, limit: int, seconds: int) -> ApiError:
    return ApiError(
        429,
        "rate_limited",
        f"this key may make {limit} requests of the class {kind} a minute; come back in {seconds} s",
        code="rate_limited",
        details={"retry_after_seconds": seconds, "retryable": True, "class": kind, "limit_per_minute": limit},
        headers={"Retry-After": str(seconds)},
    )
