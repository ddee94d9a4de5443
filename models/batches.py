"""Bodies and replies of batches and tasks."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from models.common import Count, OpenRequest, Reply, TaskStatus, UtcDatetime

__all__ = ["BatchModel", "ListBatchesRequest", "ListBatchesResponse", "TaskResponse"]


class ListBatchesRequest(OpenRequest):
    """Conditions and page of the batch list: it pages in the body only."""

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
    object_ids: list[str] | None = None
    collection_ids: list[str] | None = None
    error: str | None = None
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
    max_node_death_resubmits: int = 0
    max_deploy_resubmits: int = 0
    lifecycle: str | None = None
    lifecycle_reason: str | None = None
    sync_config_id: str | None = None


class ListBatchesResponse(Reply):
    """One page of batches, newest first."""

    results: list[BatchModel]
    total_count: Count
    pagination: dict[str, Any] | None = None


class TaskResponse(Reply):
    """A piece of work in the background."""

    task_id: str
    task_type: str
    status: TaskStatus
    inputs: list[str | dict[str, Any]] | None = None
    outputs: list[str | dict[str, Any]] | None = None
    additional_data: dict[str, Any] | None = None
    error: str | None = None
