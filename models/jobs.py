"""Bodies and replies of jobs (runs) and dead letters."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from models.common import Count, Percent, Reply, Request, Text1000, UtcDatetime
from models.paging import PaginationResponse

__all__ = [
    "BulkMarkDLQRequest",
    "BulkMarkDLQResponse",
    "BulkRequeueDLQRequest",
    "BulkRequeueDLQResponse",
    "DLQListResponse",
    "ListDLQRequest",
    "ListSyncJobsRequest",
    "SyncDeadLetterObjectModel",
    "SyncJobListResponse",
    "SyncJobModel",
]

SyncJobStatus = Literal["running", "completed", "failed", "interrupted", "skipped"]


class ListSyncJobsRequest(Request):
    """Conditions of the job list."""

    may_be_absent: ClassVar[bool] = True

    status: SyncJobStatus | None = None


class SyncJobModel(Reply):
    """One run of a sync. `metadata.counts` says what became of every source object it saw."""

    sync_job_id: str | None = None
    sync_config_id: str
    internal_id: str
    namespace_id: str
    status: SyncJobStatus | None = None
    trigger: Literal["scheduled", "manual", "resume"] | None = None
    phase: str | None = None
    total_files: Count | None = None
    files_synced: Count | None = 0
    files_failed: Count | None = 0
    files_verified: Count | None = None
    started_at: UtcDatetime | None = None
    completed_at: UtcDatetime | None = None
    updated_at: UtcDatetime | None = None
    error: Text1000 | None = None
    resumed_via: str | None = None
    metadata: dict[str, Any] | None = None
    progress_percent: Percent | None = None
    throughput_files_per_min: Annotated[float, Field(ge=0)] | None = None
    lag_seconds: Count | None = None
    current_cursor: str | None = None
    progress: dict[str, Any] | None = None


class SyncJobListResponse(Reply):
    """One page of jobs, newest first."""

    results: list[SyncJobModel]
    pagination: PaginationResponse
    total: Count


class ListDLQRequest(Request):
    """Conditions of the dead letter list."""

    may_be_absent: ClassVar[bool] = True

    only_max_retries: bool | None = False
    error_types: list[str] | None = None


class BulkRequeueDLQRequest(Request):
    """Which exhausted dead letters to try again; none named: all."""

    may_be_absent: ClassVar[bool] = True

    error_types: list[str] | None = None


class BulkRequeueDLQResponse(Reply):
    """How many were given another chance."""

    requeued: Count


class BulkMarkDLQRequest(Request):
    """Which dead letters are given up, by their error types."""

    error_types: Annotated[list[str], Field(min_length=1)]


class BulkMarkDLQResponse(Reply):
    """How many were given up by this call."""

    updated: Count


class SyncDeadLetterObjectModel(Reply):
    """A source object that failed, and why."""

    dlq_id: str | None = None
    sync_config_id: str
    sync_job_id: str | None = None
    source_object_id: str
    source_path: str | None = None
    error_type: str
    error_message: Text1000
    error_stack_trace: str | None = None
    first_seen_at: UtcDatetime | None = None
    last_seen_at: UtcDatetime | None = None
    last_reattempt_at: UtcDatetime | None = None
    retry_count: Count | None = 0
    max_retries_reached: bool | None = False
    requeued_at: UtcDatetime | None = None
    resolved_at: UtcDatetime | None = None
    disposal_reason: str | None = None
    internal_id: str
    namespace_id: str
    bucket_id: str


class DLQListResponse(Reply):
    """Dead letters, newest first; `total` counts them all, `results` holds at most 1,000."""

    results: list[SyncDeadLetterObjectModel]
    total: Count
