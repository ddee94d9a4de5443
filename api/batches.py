"""Batches and the tasks that process them: read."""

from __future__ import annotations

from typing import Any

from api.buckets import bucket_of, within_bucket
from api.errors import not_found
from api.operations import Call, NoBody, NoQuery, Operations
from api.pagination import pagination
from models.batches import BatchModel, CancellationOutcome, ListBatchesRequest, ListBatchesResponse, TaskResponse
from models.paging import PageRequest
from models.scope import Role
from stores.database import Document

__all__ = ["batches", "shown", "task_shown", "tasks"]

batches = Operations("BucketBatchesApi", "/v1/buckets/{bucket_identifier}/batches", namespaced=True)
tasks = Operations("TasksApi", "/v1/tasks", namespaced=False)

_TASK_PREFIX = "batch/"
_LIFECYCLES = {
    "DRAFT": "accepted",
    "PENDING": "queued",
    "QUEUED": "queued",
    "PROCESSING": "extracting",
    "IN_PROGRESS": "extracting",
    "COMPLETED": "indexed",
    "COMPLETED_WITH_ERRORS": "indexed",
    "FAILED": "failed",
    "CANCELED": "canceled",
}


@batches.add(
    "POST", "/list", "list_batches_buckets", role=Role.READ, body=ListBatchesRequest, answers=ListBatchesResponse
)
async def find(call: Call[ListBatchesRequest, NoQuery]) -> ListBatchesResponse:
    """List the batches of a bucket, newest first. The page is in the body."""
    bucket = await bucket_of(call)
    body = call.body.settled()
    page = PageRequest(body["limit"], 0 if body["cursor"] else body["offset"], body["cursor"], include_total=True)
    conditions: dict[str, Any] = {}
    if body["status"]:
        conditions["status"] = body["status"]
    if body["collection_id"]:
        conditions["collection_ids"] = body["collection_id"]
    for name in ("bucket_id", "namespace_id"):
        own = bucket["_id"] if name == "bucket_id" else call.namespace_id
        if body[name] and body[name] != own:
            conditions["_id"] = ""  # of another bucket or namespace: none of this one's
    found = await call.services.batches.page(call.scope, bucket["_id"], conditions, page)
    return ListBatchesResponse(
        results=[shown(document) for document in found.documents],
        total_count=found.total or 0,
        pagination=pagination(call.request, page, found).model_dump(),
    )


@batches.add("GET", "/{batch_id}", "get_batch_buckets_batches", role=Role.READ, answers=BatchModel)
async def get(call: Call[NoBody, NoQuery]) -> BatchModel:
    """Read a batch."""
    identifier = call.path["batch_id"]
    document = await within_bucket(
        call, lambda bucket_id: call.services.batches.get(call.scope, identifier, bucket_id=bucket_id)
    )
    if document is None:
        raise not_found("batch", identifier)
    return shown(document)


@tasks.add("GET", "/{task_id}", "get_task", role=Role.READ, answers=TaskResponse)
async def get_task(call: Call[NoBody, NoQuery]) -> TaskResponse:
    """Read a task by id; a batch's task is `batch/` and the batch's id."""
    task_id = call.path["task_id"]
    if task_id.startswith(_TASK_PREFIX):
        batch = await call.services.batches.get(call.organization, task_id.removeprefix(_TASK_PREFIX))
        # A draft has not been submitted, so nothing works on it yet.
        if batch is not None and batch["status"] != "DRAFT":
            return task_shown(batch)
    else:
        task = await call.services.tasks.get(call.caller.internal_id, task_id)
        if task is not None:
            return _deletion_shown(task)
    raise not_found("task", task_id)


def task_shown(batch: Document, *, asked: int | None = None) -> TaskResponse:
    """A batch's processing as a task; `asked`: how many pieces of work were told to stop."""
    error = batch.get("error")
    return TaskResponse(
        task_id=f"{_TASK_PREFIX}{batch['_id']}",
        task_type="api_buckets_batches_process",
        status=batch["status"],
        inputs=[batch["_id"]],
        outputs=[],
        additional_data={
            "batch_id": batch["_id"],
            "bucket_id": batch["bucket_id"],
            "namespace_id": batch["namespace_id"],
            "object_count": len(batch.get("object_ids") or []),
            **({"error": error} if error else {}),
        },
        error=error if batch["status"] == "FAILED" else None,
        cancellation=None
        if asked is None
        else CancellationOutcome(ray_jobs_requested=asked, ray_jobs_accepted=asked, ray_jobs_refused=0),
    )


def _deletion_shown(task: Document) -> TaskResponse:
    names = ("bucket_id", "bucket_name", "object_count", "removed_objects")
    return TaskResponse(
        task_id=task["_id"],
        task_type=task["task_type"],
        status=task["status"],
        inputs=[task["bucket_id"]],
        outputs=[],
        additional_data={name: task.get(name) for name in names},
        error=task.get("error"),
    )


def shown(document: Document) -> BatchModel:
    """A batch as answered."""
    status = document["status"]
    return BatchModel.model_validate(
        {
            **document,
            "batch_id": document["_id"],
            "failed_object_count": len(document.get("failed_objects") or []),
            "effective_dedup_strategy": document.get("dedup_strategy"),
            "failure_reason": document.get("error") if status == "FAILED" else None,
            "failure_category": "pipeline" if status == "FAILED" else None,
            "last_activity_at": document.get("updated_at"),
            # A batch's workflow survives deploys and lost machines by itself; nothing is submitted again.
            "max_node_death_resubmits": 0,
            "max_deploy_resubmits": 0,
            "lifecycle": _LIFECYCLES.get(status),
            "lifecycle_reason": (document.get("cancel_reason") or document.get("error"))
            if status in {"FAILED", "CANCELED"}
            else None,
        }
    )
