"""The faults that each call of each provider is put to; `tests/unit/test_fault_matrix.py` sees that none is left out.

Whatever the fault: nothing is lost, doubled or removed unproven, no place moves, throttling is told from failure
with the time to wait, the error names the provider, and once the fault is over the same place goes on.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

__all__ = ["ANSWERS", "COURSES", "in_an_hour"]

ANSWERS = (
    "timeout",
    "reset",
    "401",
    "403",
    "404",
    "410",
    "429 seconds",
    "429 date",
    "500",
    "503",
    "truncated",
    "malformed",
)
"""Keys of the dict `FAULTS` of a provider's fault tests."""
COURSES = ("slow_body", "repeated_page", "missing_page")
"""What takes more than one answer: a test `test_NAME…` of its own."""


def in_an_hour() -> str:
    """A Retry-After that is a date. To be asked for when the test runs, not when it is read."""
    return format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
