"""Every timeout and retry of Tidemark, with its reason.

Temporal's three attempts stand in for a dead-letter queue: an activity that still fails after them
is not failed for good by the workflow, which decides by the failure class (design.md).
"""

from __future__ import annotations

from datetime import timedelta
from typing import TypedDict

from temporalio.common import RetryPolicy
from temporalio.workflow import ActivityCancellationType

__all__ = [
    "AGAIN",
    "Policy",
    "bookkeeping",
    "closing",
    "health",
    "housekeeping",
    "ingestion",
    "listing",
    "patient",
    "webhook",
]


class Policy(TypedDict, total=False):
    """The options of one activity."""

    task_queue: str
    start_to_close_timeout: timedelta
    heartbeat_timeout: timedelta
    retry_policy: RetryPolicy
    cancellation_type: ActivityCancellationType


# What failed for a reason that is not the work's own is tried again after this long.
AGAIN = timedelta(seconds=30)
# Three attempts, two and eight seconds apart: long enough for a restarted worker or a failing-over database.
_THREE = RetryPolicy(initial_interval=timedelta(seconds=2), backoff_coefficient=4.0, maximum_attempts=3)
# Bookkeeping must not be given up: nothing else would close the job or show the state. Slow at the end.
_ENDLESS = RetryPolicy(
    initial_interval=timedelta(seconds=1), backoff_coefficient=2.0, maximum_interval=timedelta(minutes=1)
)
# Beats come once a second; a killed worker is noticed after this long.
_HEARTBEAT = timedelta(seconds=10)
# A chunk may hold a thousand large files; only a lost heartbeat says that it is stuck.
_CHUNK = timedelta(hours=24)
# One listing activity hands over after two minutes at most, but a slow source may need longer for a page.
_LISTING = timedelta(minutes=30)
# Shorter than the API waits for an answer (20 s): what a killed worker was writing is written by another before that.
_RECORD = timedelta(seconds=10)
_CLOSING = timedelta(minutes=10)
_WEBHOOK = timedelta(seconds=60)
_CHECK = timedelta(minutes=2)
_TEN = RetryPolicy(initial_interval=timedelta(seconds=5), maximum_interval=timedelta(minutes=15), maximum_attempts=10)


def listing(queue: str) -> Policy:
    """Listing: three attempts, then the run fails with the reason."""
    return Policy(
        task_queue=queue,
        start_to_close_timeout=_LISTING,
        heartbeat_timeout=_HEARTBEAT,
        retry_policy=_THREE,
        cancellation_type=ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
    )


def ingestion(queue: str) -> Policy:
    """Ingestion: three attempts for the objects still failing, then dead letters, which are a result."""
    return Policy(
        task_queue=queue,
        start_to_close_timeout=_CHUNK,
        heartbeat_timeout=_HEARTBEAT,
        retry_policy=_THREE,
        cancellation_type=ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
    )


def bookkeeping(queue: str) -> Policy:
    """Short database work that has to be done, however long the database is away."""
    return Policy(task_queue=queue, start_to_close_timeout=_RECORD, retry_policy=_ENDLESS)


def closing(queue: str) -> Policy:
    """Closing a run recounts its chunks: longer than other bookkeeping for a run of millions."""
    return Policy(task_queue=queue, start_to_close_timeout=_CLOSING, retry_policy=_ENDLESS)


def webhook(queue: str) -> Policy:
    """A person's processor may be down for a while: ten attempts over about an hour, then the batch fails."""
    return Policy(task_queue=queue, start_to_close_timeout=_WEBHOOK, retry_policy=_TEN)


def health(queue: str) -> Policy:
    """A check is repeated by the workflow anyway, so it is not retried for long."""
    return Policy(task_queue=queue, start_to_close_timeout=_CHECK, retry_policy=_THREE)


def housekeeping(queue: str) -> Policy:
    """A purge walks every blob; it is stopped by a lost heartbeat, not by the clock, and tried again the next round."""
    return Policy(task_queue=queue, start_to_close_timeout=_CHUNK, heartbeat_timeout=_HEARTBEAT, retry_policy=_THREE)


def patient(queue: str) -> Policy:
    """Longer work that has to be done and reports that it lives: removals, batches, an ending run."""
    return Policy(
        task_queue=queue,
        start_to_close_timeout=_LISTING,
        heartbeat_timeout=_HEARTBEAT,
        retry_policy=_ENDLESS,
        cancellation_type=ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
    )
