"""The figures of a sync's metrics."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from api.runs import metrics_of

NOW = datetime(2026, 1, 2, tzinfo=UTC)
HEALTHY: dict[str, Any] = {
    "_id": "sync_1", "status": "ACTIVE", "is_active": True, "paused": False, "sync_mode": "continuous",
    "polling_interval_seconds": 100, "consecutive_failures": 0, "last_sync_at": NOW - timedelta(seconds=150),
    "created_at": NOW - timedelta(days=9), "total_files_discovered": 10, "total_files_failed": 1,
}  # fmt: skip


def of(jobs: list[dict[str, Any]] | None = None, letters: dict[str, int] | None = None, **changes: Any) -> Any:
    return metrics_of({**HEALTHY, **changes}, jobs or [], letters or {}, NOW)


def test_a_healthy_sync() -> None:
    found = of(letters={"transient": 2, "too_large": 1})
    assert found.healthy is True and found.is_stale is False and found.stale_after_seconds == 200
    assert found.seconds_since_last_sync == 150 and found.intervals_since_last_sync == 1.5
    assert found.failure_rate == pytest.approx(0.1) and found.dlq_total == 3


@pytest.mark.parametrize(
    "changes", [{"is_active": False}, {"paused": True}, {"consecutive_failures": 1},
                {"last_sync_at": NOW - timedelta(seconds=201)}, {"last_sync_at": None}],
)  # fmt: skip
def test_what_makes_it_unhealthy(changes: dict[str, Any]) -> None:
    assert of(**changes).healthy is False


def test_only_continuous_syncs_grow_stale() -> None:
    assert of(sync_mode="initial_only", last_sync_at=NOW - timedelta(days=3)).is_stale is False
    assert of(last_sync_at=NOW - timedelta(days=3)).is_stale is True
    assert of(polling_interval_seconds=30).stale_after_seconds == 120


def test_a_running_job_without_progress_is_stalled() -> None:
    job = {"_id": "job_1", "status": "running", "updated_at": NOW - timedelta(seconds=299)}
    assert of([job]).stalled is False and of([job]).running_job is True
    job["updated_at"] = NOW - timedelta(seconds=301)
    found = of([job])
    assert found.stalled is True and "job_1" in found.stalled_reason and found.healthy is False


def test_the_last_finished_job_tells_the_whole_truth() -> None:
    done = {
        "_id": "job_1", "status": "completed", "files_synced": 3, "files_failed": 0,
        "throughput_files_per_min": 9.0, "started_at": NOW - timedelta(seconds=20), "completed_at": NOW,
        "metadata": {"counts": {"seen": 3}, "partial": True, "partial_reason": "max_objects_per_run"},
    }  # fmt: skip
    found = of([{"_id": "job_2", "status": "running", "updated_at": NOW}, done])
    assert found.last_job["duration_seconds"] == 20 and found.last_job["status"] == "completed"
    assert found.last_run_counts == {"seen": 3} and found.partial is True


def test_a_long_error_is_cut() -> None:
    assert len(of(last_error="x" * 5000).last_error) == 1000
