"""Bodies and replies of batches and tasks."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from models.common import Count, OpenRequest, Reply, Request, TaskStatus, UtcDatetime
from models.objects import LogicalOperator
from models.paging import Query, QueryBool

__all__ = [
    "LARGEST_BATCH",
    "AddObjectsToBatchRequest",
    "BatchModel",
    "CancelQuery",
    "CancellationOutcome",
    "CreateBatchQuery",
    "CreateBatchRequest",
    "GenericDeleteResponse",
    "ListBatchesRequest",
    "ListBatchesResponse",
    "SkipValidationQuery",
    "SubmitBatchRequest",
    "SubmitQuery",
    "TaskResponse",
]

LARGEST_BATCH = 50_000
ObjectIds = Annotated[list[str], Field(min_length=1)]
Dedup = Literal["skip", "replace", "force"]
Failure = Literal[
    "timeout", "infrastructure", "orphaned", "pipeline", "mvs_durability", "validation", "unknown"
]  # fmt: skip


class BatchMetadata(OpenRequest):
    """Notes about a batch; other keys are kept too."""

    keeps_extra: ClassVar[bool] = True

    campaign_id: str | None = None
    source: str | None = None
    tags: list[str] | None = None
    notes: str | None = None


class CreateBatchRequest(Request):
    """A new draft of objects named, or selected by `filters`; with `auto_submit` it is submitted at once."""

    object_ids: ObjectIds | None = None
    filters: LogicalOperator | None = None
    collection_ids: list[str] | None = None
    limit: Annotated[int, Field(ge=1, le=LARGEST_BATCH)] | None = None
    dedup_strategy: Dedup | None = "skip"
    metadata: BatchMetadata | None = None
    batch_name: Annotated[str, Field(max_length=256)] | None = None
    auto_submit: bool | None = False
    trigger_processing: bool | None = None


class AddObjectsToBatchRequest(Request):
    """More objects for a draft."""

    object_ids: ObjectIds


class SubmitBatchRequest(Request):
    """How a draft is processed."""

    may_be_absent: ClassVar[bool] = True

    include_processing_history: bool | None = True
    collection_ids: list[str] | None = None
    webhook_url: str | None = None


class SkipValidationQuery(Query):
    """Whether objects that do not exist are taken too."""

    skip_validation: QueryBool | None = None


class CreateBatchQuery(SkipValidationQuery):
    """The same, and whether to submit at once (`trigger_processing` is the old name)."""

    auto_submit: QueryBool | None = False
    trigger_processing: QueryBool | None = None


class SubmitQuery(Query):
    """Whether a batch that ended without success is processed again."""

    force: QueryBool | None = None


class CancelQuery(Query):
    """Why a batch is cancelled."""

    reason: str | None = None


class GenericDeleteResponse(Reply):
    """What was deleted."""

    message: str | None = "Successfully deleted"
    success: bool | None = True


class ListBatchesRequest(OpenRequest):
    """Conditions and page of the batch list: it pages in the body only."""

    may_be_absent: ClassVar[bool] = True

    status: TaskStatus | None = None
    collection_id: str | None = None
    bucket_id: str | None = None
    namespace_id: str | None = None
    offset: Count | None = 0
    limit: Annotated[int, Field(ge=1, le=1000)] | None = 100
    cursor: str | None = None


class FailedObjectRecord(Reply):
    """An object whose processing failed."""

    object_id: str
    error: str
    error_type: Literal["transient", "permanent", "resource"]
    timestamp: str


class BatchModel(Reply):
    """Objects handed to processing together. `task_id` is its workflow's id."""

    batch_id: str | None = None
    bucket_id: str
    namespace_id: str | None = None
    batch_name: Annotated[str, Field(max_length=256)] | None = None
    status: TaskStatus | None = None
    object_ids: Annotated[list[str], Field(min_length=0)] | None = None
    dedup_strategy: Dedup | None = None
    effective_dedup_strategy: Dedup | None = None
    submitted_by_key_id: str | None = None
    collection_ids: list[str] | None = None
    error: str | None = None
    failure_reason: str | None = None
    failure_category: Failure | None = None
    failed_objects: list[FailedObjectRecord] | None = None
    failed_object_count: Count | None = 0
    type: Literal["BUCKET", "COLLECTION"] | None = "BUCKET"
    task_id: str | None = None
    metadata: dict[str, Any] | None = None
    current_tier: Count | None = None
    total_tiers: Annotated[int, Field(ge=1)] | None = 1
    created_at: UtcDatetime | None = None
    updated_at: UtcDatetime | None = None
    retry_count: Count | None = 0
    max_retries: Count | None = 3
    last_activity_at: UtcDatetime | None = None
    node_death_resubmit_count: Count | None = 0
    deploy_resubmit_count: Count | None = 0
    max_node_death_resubmits: int
    max_deploy_resubmits: int
    lifecycle: str | None
    lifecycle_reason: str | None
    status_message: str | None = None
    sync_config_id: str | None = None
    # Of processing that is the user's own, this server knows nothing: always null.
    queue_context: dict[str, Any] | None = None
    submitted_by_key_prefix: str | None = None
    submitted_by_is_internal: bool | None = None
    dedup_audit: dict[str, Any] | None = None
    error_summary: dict[str, int] | None = None
    partial_objects: list[dict[str, Any]] | None = None
    partial_object_count: Count | None = None
    unaccounted_object_count: Count | None = None
    manifest_key: str | None = None
    loaded_object_ids: list[str] | None = None
    internal_metadata: dict[str, Any] | None = None
    tier_tasks: list[dict[str, Any]] | None = None
    dag_tiers: list[list[str]] | None = None
    progress: dict[str, Any] | None = None
    documents_written: int | None = None
    documents_replaced: int | None = None
    documents_deleted: int | None = None
    pages_dropped: int | None = None
    pages_dropped_reasons: dict[str, int] | None = None
    segments_dropped: int | None = None
    segments_dropped_reasons: dict[str, int] | None = None
    status_diagnostics: dict[str, Any] | None = None
    documents_resolvable: bool | None = False
    documents_resolvable_error: str | None = None
    health: str | None = None
    cost: dict[str, Any] | None = None
    last_retry_at: UtcDatetime | None = None
    retry_reason: str | None = None
    quota_block_first_seen_at: UtcDatetime | None = None
    webhook_url: str | None = None
    estimated_completion: UtcDatetime | None = None


class ListBatchesResponse(Reply):
    """One page of batches, newest first."""

    results: list[BatchModel]
    total_count: Count
    pagination: dict[str, Any] | None = None


class CancellationOutcome(Reply):
    """How many pieces of work were asked to stop, and how many did."""

    ray_jobs_requested: int | None = 0
    ray_jobs_accepted: int | None = 0
    ray_jobs_refused: int | None = 0


class TaskResponse(Reply):
    """A piece of work in the background."""

    task_id: str
    task_type: Literal["api_buckets_batches_process", "api_buckets_delete"]
    status: TaskStatus
    inputs: list[str | dict[str, Any]] | None = None
    outputs: list[str | dict[str, Any]] | None = None
    additional_data: dict[str, Any] | None = None
    error: str | None = None
    cancellation: CancellationOutcome | None = None
    queue_position: int | None = None
    estimated_wait_minutes: float | None = None
