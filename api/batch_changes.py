"""Batches by hand: draft, add, submit, cancel, delete. The work itself is BatchWorkflow's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from api.batches import shown, task_shown
from api.buckets import bucket_of, open_bucket_of
from api.errors import ApiError, conflict, invalid, not_found
from api.operations import Call, NoBody, NoQuery, Operations
from models.batches import (
    LARGEST_BATCH,
    AddObjectsToBatchRequest,
    BatchModel,
    CancelQuery,
    CreateBatchQuery,
    CreateBatchRequest,
    GenericDeleteResponse,
    SkipValidationQuery,
    SubmitBatchRequest,
    SubmitQuery,
    TaskResponse,
)
from models.scope import Role
from stores.database import Document

__all__ = ["operations", "submit_objects"]

operations = Operations("BucketBatchesApi", "/v1/buckets/{bucket_identifier}/batches", namespaced=True)

_OPEN = ("PENDING", "QUEUED", "PROCESSING", "IN_PROGRESS")
_AGAIN = ("FAILED", "CANCELED", "COMPLETED_WITH_ERRORS")
_ENDED = ("COMPLETED", *_AGAIN)
_DEFAULT_SELECTION = 1000


@operations.add(
    "POST", "", "create_batch_buckets_batches",
    role=Role.WRITE, body=CreateBatchRequest, query=CreateBatchQuery, answers=BatchModel,
)  # fmt: skip
async def create(call: Call[CreateBatchRequest, CreateBatchQuery]) -> BatchModel:
    """Make a draft of objects, named or selected; with `auto_submit` it is processed at once."""
    bucket = await open_bucket_of(call)
    body, query = call.body, call.query
    if body.object_ids is not None and body.filters is not None:
        raise invalid("name objects by object_ids or select them by filters, not both", field="filters")
    at_once = any((body.auto_submit, body.trigger_processing, query.auto_submit, query.trigger_processing))
    writer = call.services.batch_writer
    if body.filters is not None:
        ids = await writer.select(call.scope, bucket["_id"], body.filters, body.limit or _DEFAULT_SELECTION)
    else:
        ids = await _checked(call, bucket["_id"], body.object_ids or [], skip=bool(query.skip_validation))
        ids = ids[: body.limit] if body.limit else ids
    if body.dedup_strategy in {None, "skip"}:
        taken = await writer.taken(bucket["_id"], ids)
        ids = [one for one in ids if one not in taken]
    elif body.dedup_strategy == "replace":
        await writer.take_from_drafts(bucket["_id"], ids)
    if at_once and not ids:
        raise conflict("there is no object to process that is not in an unfinished batch already", code="empty_batch")
    fields = {
        "object_ids": ids,
        "collection_ids": body.collection_ids,
        "metadata": body.metadata.model_dump(exclude_none=True) if body.metadata else None,
        "batch_name": body.batch_name,
        "dedup_strategy": body.dedup_strategy or "skip",
    }
    batch = await writer.draft(call.scope, bucket["_id"], fields)
    if at_once:
        batch = await _submit(call, batch, {})
    else:
        await call.services.commands.start_draft_soon(batch["_id"])
    await call.audit("create", "batch", batch["_id"], objects=len(ids))
    return shown(batch)


@operations.add(
    "POST", "/{batch_id}/objects", "add_objects_to_batch_buckets_batches",
    role=Role.WRITE, body=AddObjectsToBatchRequest, query=SkipValidationQuery, answers=BatchModel,
)  # fmt: skip
async def add(call: Call[AddObjectsToBatchRequest, SkipValidationQuery]) -> BatchModel:
    """Add objects to a draft; those it holds already are not added twice."""
    batch = await _batch(call)
    ids = await _checked(call, batch["bucket_id"], call.body.object_ids, skip=bool(call.query.skip_validation))
    if len({*ids, *(batch.get("object_ids") or [])}) > LARGEST_BATCH:
        raise invalid(f"a batch holds at most {LARGEST_BATCH} objects", field="object_ids")
    changed = await call.services.batch_writer.add(batch["_id"], ids)
    if changed is None:
        raise _not_a_draft(batch, "objects are added to drafts only")
    return shown(changed)


@operations.add(
    "POST", "/{batch_id}/submit", "submit_batch_buckets_batches",
    role=Role.WRITE, body=SubmitBatchRequest, query=SubmitQuery, answers=TaskResponse,
)  # fmt: skip
async def submit(call: Call[SubmitBatchRequest, SubmitQuery]) -> TaskResponse:
    """Have a draft processed; with `force` also a batch that ended without success. Repeating changes nothing."""
    batch = await _batch(call)
    if call.body.webhook_url is not None:
        raise invalid(
            "webhook_url is not supported: the operator sets where batches are posted",
            code="not_supported",
            field="webhook_url",
        )
    if batch["status"] in _OPEN:
        return task_shown(batch)
    if batch["status"] != "DRAFT" and not (call.query.force and batch["status"] in _AGAIN):
        raise _not_a_draft(batch, "a draft can be submitted; force=true repeats a batch that ended without success")
    if not batch.get("object_ids"):
        raise conflict("the batch holds no object", code="empty_batch")
    changes = {} if call.body.collection_ids is None else {"collection_ids": call.body.collection_ids}
    batch = await _submit(call, batch, changes)
    await call.audit("submit", "batch", batch["_id"])
    return task_shown(batch)


@operations.add(
    "POST", "/{batch_id}/cancel", "cancel_batch_buckets_batches",
    role=Role.WRITE, query=CancelQuery, answers=TaskResponse,
)  # fmt: skip
async def cancel(call: Call[NoBody, CancelQuery]) -> TaskResponse:
    """Stop a batch. Its workflow settles it as CANCELED; a cancelled one stays as it is."""
    batch = await _batch(call)
    writer = call.services.batch_writer
    reason = {"cancel_reason": (call.query.reason or "")[:1000] or None}
    if batch["status"] == "DRAFT":
        batch = await writer.move(batch["_id"], ["DRAFT"], {**reason, "status": "CANCELED"}) or await _batch(call)
        return task_shown(batch, asked=0)
    if batch["status"] == "CANCELED":
        return task_shown(batch, asked=0)
    if batch["status"] not in _OPEN:
        raise conflict(f"the batch has ended as {batch['status']}", code="batch_ended")
    await writer.move(batch["_id"], _OPEN, reason)
    await call.services.commands.cancel_batch(batch["_id"])
    await call.audit("cancel", "batch", batch["_id"])
    return task_shown(await _batch(call), asked=1)


@operations.add(
    "DELETE", "/{batch_id}", "delete_batch_buckets_batches", role=Role.WRITE, answers=GenericDeleteResponse
)  # fmt: skip
async def delete(call: Call[NoBody, NoQuery]) -> GenericDeleteResponse:
    """Delete a draft or an ended batch. Its objects stay."""
    batch = await _batch(call)
    if not await call.services.batch_writer.delete(batch["_id"], ("DRAFT", *_ENDED)):
        raise conflict("the batch is being processed: cancel it first", code="batch_running")
    await call.audit("delete", "batch", batch["_id"])
    return GenericDeleteResponse(message=f"batch {batch['_id']} is deleted")


async def submit_objects(call: Call[Any, Any], bucket_id: str, object_ids: Sequence[str]) -> Document:
    """A batch of these objects, submitted."""
    batch = await call.services.batch_writer.draft(call.scope, bucket_id, {"object_ids": list(object_ids)})
    return await _submit(call, batch, {})


async def _submit(call: Call[Any, Any], batch: Document, changes: Mapping[str, Any]) -> Document:
    """From a draft to a running workflow; when it cannot be started, the batch is what it was."""
    writer, before = call.services.batch_writer, batch["status"]
    fields = {
        **changes,
        "status": "PENDING",
        "task_id": f"batch/{batch['_id']}",
        "error": None,
        "cancel_reason": None,
        "submitted_by_key_id": call.caller.key_id,
    }
    moved = await writer.move(batch["_id"], [before], fields)
    if moved is None:
        return await _again(call, batch)
    await writer.tie(call.scope, moved)
    try:
        await call.services.commands.start_batch(moved["_id"], len(moved["object_ids"]), moved["bucket_id"])
    except ApiError:
        await writer.move(batch["_id"], ["PENDING"], {"status": before, "task_id": batch["task_id"]})
        raise
    return moved


async def _again(call: Call[Any, Any], batch: Document) -> Document:
    """The batch as somebody else has just left it."""
    found = await call.services.batches.get(call.scope, batch["_id"])
    if found is None:
        raise not_found("batch", batch["_id"])
    return found


async def _batch(call: Call[Any, Any]) -> Document:
    bucket = await bucket_of(call)
    document = await call.services.batches.get(call.scope, call.path["batch_id"], bucket_id=bucket["_id"])
    if document is None:
        raise not_found("batch", call.path["batch_id"])
    return document


async def _checked(call: Call[Any, Any], bucket_id: str, object_ids: Sequence[str], *, skip: bool) -> list[str]:
    """Each id once. Raises 422 naming those that are no objects of the bucket."""
    ids = list(dict.fromkeys(object_ids))
    if len(ids) > LARGEST_BATCH:
        raise invalid(f"a batch holds at most {LARGEST_BATCH} objects", field="object_ids")
    if not skip and ids:
        unknown = sorted(set(ids) - await call.services.batch_writer.existing(call.scope, bucket_id, ids))
        if unknown:
            raise invalid(
                f"these are no objects of the bucket: {', '.join(unknown[:20])}",
                code="unknown_objects",
                field="object_ids",
                count=len(unknown),
            )
    return ids


def _not_a_draft(batch: Document, rule: str) -> ApiError:
    return conflict(f"the batch is {batch['status']}: {rule}", code="not_a_draft", details={"status": batch["status"]})
