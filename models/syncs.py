"""Bodies and replies of the sync operations."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field

from models.common import Amount, Count, OpenRequest, Reply, Request, TaskStatus, Text1000, UtcDatetime
from models.filters import FileFilters, ReconcileSettings
from models.mapping import SchemaMapping
from models.paging import PaginationResponse, Query, QueryBool

__all__ = [
    "IMMUTABLE_FIELDS",
    "DecisionQuery",
    "ListSyncConfigurationsRequest",
    "SyncCommandResponse",
    "SyncConfigurationModel",
    "SyncCreateRequest",
    "SyncListResponse",
    "SyncMetricsResponse",
    "SyncStatsModel",
    "SyncUpdateRequest",
    "TriggerQuery",
]

_MODE_NAMES = {"one_time": "initial_only", "scheduled": "continuous"}


def _mode(value: Any) -> Any:
    return _MODE_NAMES.get(value, value) if isinstance(value, str) else value


SyncMode = Annotated[Literal["initial_only", "continuous"], BeforeValidator(_mode)]
Polling = Annotated[int, Field(ge=30, le=86_400)]
BatchSize = Annotated[int, Field(ge=1, le=100)]
Concurrency = Annotated[int, Field(ge=1, le=100)]
Positive = Annotated[int, Field(ge=1)]
ChunkSize = Annotated[int, Field(ge=1, le=1000)]
SourcePath = Annotated[str, Field(min_length=1, max_length=2048)]
Metadata = Annotated[dict[str, Any], Field(max_length=50)]
Description = Annotated[str, Field(max_length=500)]

# Accepted in a PATCH as undeclared keys, because read-modify-write clients send them, but never changed.
IMMUTABLE_FIELDS = (
    "connection_id", "source_path", "sync_mode", "file_filters", "skip_duplicates", "sync_from", "bucket_id",
)  # fmt: skip


class SyncCreateRequest(OpenRequest):
    """A new sync: where to look, what to take, what to make of it."""

    connection_id: str
    source_path: SourcePath | None = None
    sync_mode: SyncMode | None = "continuous"
    file_filters: FileFilters | None = None
    schema_mapping: SchemaMapping | None = None
    polling_interval_seconds: Polling | None = 300
    batch_size: BatchSize | None = 50
    skip_batch_submission: bool | None = False
    batch_collection_ids: list[str] | None = None
    ingest_filter: dict[str, Any] | None = None
    skip_duplicates: bool | None = True
    reconcile: ReconcileSettings | None = None
    sync_from: UtcDatetime | None = None
    provider_filters: dict[str, Any] | None = None
    description: Description | None = None
    max_objects_per_run: Positive | None = 100_000
    sync_concurrency: Concurrency | None = None
    metadata: Metadata | None = None
    # Not declared by the contract's class, but read back from it; accepted as undeclared keys.
    batch_chunk_size: ChunkSize | None = 100
    max_batch_chunk_size: ChunkSize | None = 1000


class SyncUpdateRequest(OpenRequest):
    """What to change: absent keeps, null clears (or returns to the default)."""

    description: Description | None = None
    metadata: Metadata | None = None
    status: TaskStatus | None = None
    is_active: bool | None = None
    polling_interval_seconds: Polling | None = None
    batch_size: BatchSize | None = None
    schema_mapping: SchemaMapping | None = None
    skip_batch_submission: bool | None = None
    batch_collection_ids: list[str] | None = None
    ingest_filter: dict[str, Any] | None = None
    max_objects_per_run: Positive | None = None
    sync_concurrency: Concurrency | None = None
    reconcile: ReconcileSettings | None = None
    provider_filters: dict[str, Any] | None = None
    batch_chunk_size: ChunkSize | None = None
    max_batch_chunk_size: ChunkSize | None = None


class ListSyncConfigurationsRequest(Request):
    """Conditions of the list."""

    may_be_absent: ClassVar[bool] = True

    connection_id: str | None = None
    status: TaskStatus | None = None
    is_active: bool | None = None


class TriggerQuery(Query):
    """`full_sync` walks everything again instead of only what changed."""

    full_sync: QueryBool | None = None


class DecisionQuery(Query):
    """Which removal proposal is meant; none named: the one that is open."""

    proposal_id: str | None = None


class SyncStatsModel(Reply):
    """Totals over all runs and figures of the last one."""

    total_objects_synced: Count | None = 0
    total_objects_verified: Count | None = 0
    total_objects_failed: Count | None = 0
    total_objects_discovered: Count | None = 0
    total_objects_skipped: Count | None = 0
    total_bytes_synced: Count | None = 0
    total_duration_seconds: Amount | None = 0.0
    total_runs_completed: Count | None = 0
    total_runs_failed: Count | None = 0
    peak_objects_per_min: Amount | None = 0.0
    last_run_objects_synced: Count | None = 0
    last_run_objects_verified: Count | None = 0
    last_run_objects_failed: Count | None = 0
    last_run_objects_discovered: Count | None = 0
    last_run_objects_skipped: Count | None = 0
    last_run_bytes_synced: Count | None = 0
    last_run_duration_seconds: Amount | None = 0.0
    last_run_throughput_objects_per_min: Amount | None = 0.0
    last_run_throughput_mbps: Amount | None = 0.0
    last_run_avg_object_size_bytes: Count | None = 0
    last_run_at: UtcDatetime | None = None
    updated_at: UtcDatetime | None = None


class SyncConfigurationModel(Reply):
    """A sync: its settings and, projected from its workflow, its state."""

    sync_config_id: str | None = None
    bucket_id: str
    connection_id: str
    internal_id: str
    namespace_id: str
    source_path: str
    file_filters: FileFilters | None = None
    schema_mapping: SchemaMapping | None = None
    sync_mode: Literal["initial_only", "continuous"] | None = None
    polling_interval_seconds: Polling | None = 300
    batch_size: BatchSize | None = 50
    create_object_on_confirm: bool | None = True
    skip_duplicates: bool | None = True
    skip_batch_submission: bool | None = False
    batch_collection_ids: list[str] | None = None
    ingest_filter: dict[str, Any] | None = None
    reconcile: ReconcileSettings | None = None
    sync_from: UtcDatetime | None = None
    status: TaskStatus | None = None
    is_active: bool | None = True
    total_files_discovered: Count | None = 0
    total_files_synced: Count | None = 0
    total_files_failed: Count | None = 0
    total_bytes_synced: Count | None = 0
    stats: SyncStatsModel | None = None
    created_at: UtcDatetime | None = None
    updated_at: UtcDatetime | None = None
    last_sync_at: UtcDatetime | None = None
    per_shard_last_sync_at: dict[str, UtcDatetime] | None = None
    next_sync_at: UtcDatetime | None = None
    created_by_user_id: str
    last_error: Text1000 | None = None
    consecutive_failures: Count | None = 0
    provider_filters: dict[str, Any] | None = None
    source_type: str | None = None
    metadata: dict[str, Any] | None = None
    locked_by_worker_id: str | None = None
    locked_at: UtcDatetime | None = None
    lock_expires_at: UtcDatetime | None = None
    pending_full_sync: bool | None = False
    paused: bool | None = False
    pause_reason: str | None = None
    paused_at: UtcDatetime | None = None
    paused_by_user_id: str | None = None
    description: str | None = None
    max_objects_per_run: Positive | None = 100_000
    max_batch_chunk_size: ChunkSize | None = 1000
    batch_chunk_size: ChunkSize | None = 100
    sync_concurrency: Concurrency | None = None
    current_sync_run_id: str | None = None
    sync_run_counter: Count | None = 0
    batch_ids: list[str] | None = None
    task_ids: list[str] | None = None
    batches_created: Count | None = 0
    resume_enabled: bool | None = True
    resume_cursor: str | None = None
    resume_last_primary_key: str | None = None
    resume_objects_processed: Count | None = 0
    resume_checkpoint_frequency: Annotated[int, Field(ge=100, le=10_000)] | None = 1000
    current_cursor: str | None = None
    sync_checkpoints: dict[str, dict[str, Any]] | None = None
    schedule: dict[str, Any] | None = None
    sync_progress: dict[str, Any] | None = None
    locked: bool
    delete_proposal: dict[str, Any] | None = None


class SyncListResponse(Reply):
    """One page of syncs."""

    results: list[SyncConfigurationModel]
    pagination: PaginationResponse
    total: Count


class SyncCommandResponse(Reply):
    """What a command to a sync did. `outcome` is the workflow's word for it."""

    success: bool = True
    sync_config_id: str
    sync_job_id: str | None = None
    status: str
    outcome: str
    message: str
    state: str | None = None
    count: int | None = None


class SyncMetricsResponse(Reply):
    """Whether a sync is well, in numbers."""

    sync_config_id: str
    status: str
    is_active: bool
    paused: bool | None = False
    total_files_discovered: int | None = 0
    total_files_synced: int | None = 0
    total_files_failed: int | None = 0
    batches_created: int | None = 0
    sync_run_counter: int | None = 0
    consecutive_failures: int | None = 0
    last_error: str | None = None
    last_sync_at: UtcDatetime | None = None
    next_sync_at: UtcDatetime | None = None
    seconds_since_last_sync: int | None = None
    is_stale: bool | None = False
    intervals_since_last_sync: float | None = None
    stale_after_seconds: int | None = None
    failure_rate: Amount | None = 0.0
    healthy: bool | None = True
    dlq_total: int | None = 0
    dlq_by_error: dict[str, int] | None = None
    running_job: bool | None = False
    stalled: bool | None = False
    stalled_reason: str | None = None
    last_job: dict[str, Any] | None = None
    total_objects_skipped: int | None = 0
    last_run_counts: dict[str, Any] | None = None
    partial: bool | None = None
    partial_reason: str | None = None
    delete_proposal: dict[str, Any] | None = None
