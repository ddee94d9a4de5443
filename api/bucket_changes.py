"""Buckets: change and delete. Deletion is BucketDeletionWorkflow's; its task says how far it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from api.buckets import UNSERVED, bucket_of, open_bucket_of, operations, shown
from api.errors import ApiError, conflict, invalid, not_found
from api.operations import Call, NoBody
from models.buckets import (
    BucketChangeQuery,
    BucketDeleteQuery,
    BucketDeleteResponse,
    BucketPatchRequest,
    BucketResponse,
    BucketUpdateRequest,
)
from models.scope import Role
from stores.bucket_deletion import deletion_task_id
from stores.database import Document
from stores.failures import DuplicateError

__all__ = ["breaks"]

_NEVER_NULL = ("bucket_name", "bucket_schema")


@operations.add(
    "PATCH", "/{bucket_identifier}", "patch_bucket",
    role=Role.WRITE, body=BucketPatchRequest, query=BucketChangeQuery, answers=BucketResponse,
)  # fmt: skip
async def patch(call: Call[BucketPatchRequest, BucketChangeQuery]) -> BucketResponse:
    """Change a bucket: absent keeps, null clears."""
    return await _change(call)


@operations.add(
    "PUT", "/{bucket_identifier}", "update_bucket",
    role=Role.WRITE, body=BucketUpdateRequest, query=BucketChangeQuery, answers=BucketResponse,
)  # fmt: skip
async def put(call: Call[BucketUpdateRequest, BucketChangeQuery]) -> BucketResponse:
    """Change a bucket, as PATCH does."""
    return await _change(call)


@operations.add(
    "DELETE", "/{bucket_identifier}", "delete_bucket",
    role=Role.WRITE, query=BucketDeleteQuery, answers=BucketDeleteResponse,
)  # fmt: skip
async def delete(call: Call[NoBody, BucketDeleteQuery]) -> BucketDeleteResponse:
    """Begin to delete a bucket with all that is in it; the task named in the reply says when it is gone."""
    bucket = await bucket_of(call)
    services, bucket_id, status = call.services, bucket["_id"], bucket["status"]
    task_id = deletion_task_id(bucket_id)
    facts = {"bucket_id": bucket_id, "bucket_name": bucket["bucket_name"], "object_count": bucket["object_count"]}
    task = {"_id": task_id, **call.scope.fields, "task_type": "api_buckets_delete", "removed_objects": 0, **facts}
    await services.tasks.begin(task)
    await services.buckets.change(call.scope, bucket_id, {"status": "DEACTIVATED"})
    try:
        await services.commands.start_bucket_deletion(bucket_id, at_once=bool(call.query.force_foreclose))
    except ApiError:
        await services.buckets.change(call.scope, bucket_id, {"status": status})
        await services.tasks.forget(task_id)
        raise
    await call.audit("delete", "bucket", bucket_id)
    return BucketDeleteResponse(task_id=task_id, status="PENDING", **facts)


async def _change(call: Call[Any, BucketChangeQuery]) -> BucketResponse:
    bucket = await open_bucket_of(call)
    body = call.body
    changes = {name: value for name, value in body.model_dump().items() if name in body.model_fields_set}
    for name, reason in UNSERVED.items():
        if changes.pop(name, None) is not None:
            raise invalid(f"{name} is not supported: {reason}", code="not_supported", field=name)
    for name in _NEVER_NULL:
        if name in changes and changes[name] is None:
            raise invalid(f"{name} cannot be cleared: every bucket has one", field=name)
    if not changes:
        return shown(bucket)
    if bucket["object_count"]:
        _refuse_breaks(bucket, changes, forced=bool(call.query.force_schema_break))
    try:
        changed = await call.services.buckets.change(call.scope, bucket["_id"], changes)
    except DuplicateError as error:
        raise conflict(str(error), code="name_in_use", details={"bucket_name": changes["bucket_name"]}) from error
    if changed is None:
        raise not_found("bucket", call.path["bucket_identifier"])
    await call.audit("update", "bucket", bucket["_id"], fields=sorted(changes))
    return shown(changed)


def _refuse_breaks(bucket: Document, changes: Mapping[str, Any], *, forced: bool) -> None:
    """What must not change under objects that are there."""
    if "unique_key" in changes and changes["unique_key"] != bucket.get("unique_key"):
        raise conflict("the unique key names the objects that are there: it is fixed", code="unique_key_fixed")
    if "bucket_schema" not in changes or forced:
        return
    broken = list(breaks(bucket["bucket_schema"], changes["bucket_schema"]))
    if broken:
        raise conflict(
            f"objects that are there may not fit the new schema ({'; '.join(broken)}); "
            "force_schema_break=true changes it all the same",
            code="schema_break",
            details={"breaks": broken},
        )


def breaks(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """What of a new schema an object that fits the old one may not fit."""
    before, after = old.get("properties") or {}, new.get("properties") or {}
    for name in before.keys() - after.keys():
        yield f"{prefix}{name} is gone"
    for name, rule in after.items():
        was = before.get(name)
        full = f"{prefix}{name}"
        if rule.get("required") and not (was or {}).get("required") and rule.get("default") is None:
            yield f"{full} becomes required"
        if was is None:
            continue
        if was.get("type") != rule.get("type"):
            yield f"{full} turns from {was.get('type')} into {rule.get('type')}"
        if rule.get("enum") and (not was.get("enum") or any(one not in rule["enum"] for one in was["enum"])):
            yield f"{full} allows fewer values"
        yield from breaks(was, rule, f"{full}.")
