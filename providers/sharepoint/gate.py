"""How fast we may call: what Graph says of its limits, shared by everything that uses one application in one tenant.

Graph counts by application and tenant, whatever the connection, so the gate is shared by key within a
process; across processes the engine's own wait of the connection does the same.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from weakref import WeakValueDictionary

from providers.errors import Throttled

__all__ = ["Gate", "retry_after_seconds", "shared_gate"]

# Below this share of the budget of a window we stop until it is refilled, rather than run into a 429.
_LOW_SHARE = 0.1
# What Graph means by 503 without a time: soon, but not at once.
_DEFAULT_WAIT = 10.0
# After so many refusals in a row without one success this is no burst: a budget is used up or the app is blocked.
_STEADY = 8
_STEADY_WAIT = 3600.0
# A budget of a day is refilled within it; a longer wait than that is a mistake of the header.
_LONGEST_WAIT = 86_400.0


def retry_after_seconds(headers: Mapping[str, str]) -> float | None:
    """`Retry-After` in seconds, from a number or an HTTP date; None where there is none that can be read."""
    text = headers.get("Retry-After", "").strip()
    if not text:
        return None
    try:
        return min(max(0.0, float(text)), _LONGEST_WAIT)
    except ValueError:
        pass
    try:
        when = parsedate_to_datetime(text)
    except ValueError:
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    return min(max(0.0, (when - datetime.now(UTC)).total_seconds()), _LONGEST_WAIT)


class Gate:
    """Open, or closed until a moment. All times are monotonic seconds of this process."""

    def __init__(self) -> None:
        self._closed_until = 0.0
        self._why = ""
        self._refusals = 0
        self.successes = 0

    def enter(self, *, path: str = "") -> None:
        """Raise Throttled while Graph wants nothing from us: no request is made."""
        wait = self._closed_until - time.monotonic()
        if wait > 0:
            raise Throttled(self._why, provider="sharepoint", path=path, retry_after=wait)

    def note_success(self, headers: Mapping[str, str]) -> None:
        """Read what an accepted call says of the budget."""
        self._refusals = 0
        self.successes += 1
        try:
            remaining = float(headers["RateLimit-Remaining"])
            reset = float(headers["RateLimit-Reset"])
            limit = float(headers.get("RateLimit-Limit", "0"))
        except (KeyError, ValueError):
            return
        if remaining <= max(1.0, limit * _LOW_SHARE) and reset > 0:
            self._close(max(reset, retry_after_seconds(headers) or 0.0), "the request budget of this window is used up")

    def refused(self, status: int, code: str, headers: Mapping[str, str], *, path: str) -> Throttled:
        """Close after a 429 or 503; gives what to raise."""
        self._refusals += 1
        try:
            reset = float(headers.get("RateLimit-Reset", "0"))
        except ValueError:
            reset = 0.0
        told = retry_after_seconds(headers)
        wait = max(told or 0.0, min(reset, _LONGEST_WAIT)) or _DEFAULT_WAIT
        why = f"Microsoft Graph asks to wait {wait:.0f} s"
        if self._refusals >= _STEADY:
            wait = max(wait, _STEADY_WAIT)
            why = (
                f"Microsoft Graph has refused {self._refusals} calls in a row: the application's resource units of "
                f"this window are used up, or the application is blocked; trying again in {wait / 60:.0f} minutes"
            )
        elif wait >= _STEADY_WAIT:
            why = (
                "the application's resource units are used up until the next window: Microsoft Graph asks to wait "
                f"{wait / 60:.0f} minutes"
            )
        self._close(wait, why)
        return Throttled(why, provider="sharepoint", path=path, retry_after=wait, code=code or None, status=status)

    def _close(self, seconds: float, why: str) -> None:
        until = time.monotonic() + min(seconds, _LONGEST_WAIT)
        if until > self._closed_until:
            self._closed_until, self._why = until, why


_GATES: WeakValueDictionary[tuple[str, str, str], Gate] = WeakValueDictionary()


def shared_gate(endpoint: str, tenant: str, client_id: str) -> Gate:
    """The gate of an application in a tenant."""
    key = (endpoint, tenant, client_id)
    gate = _GATES.get(key)
    if gate is None:
        gate = _GATES[key] = Gate()
    return gate
