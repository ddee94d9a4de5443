"""Objects made by hand: insert, update, upsert, by unique key and idempotency key."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson

from activities.bucket_schema import BLOB_TYPES, unstorable, validate_fields
from api.batch_changes import submit_objects
from api.buckets import open_bucket_of
from api.errors import ApiError, bad_request, conflict, invalid, not_found
from api.object_content import not_mirrored, stored_blob
from api.objects import operations, shown
from api.operations import Call
from models.common import DegradedEntry
from models.ids import new_id, unique_object_id
from models.mapping import RESERVED_FIELDS
from models.objects import CreateBlobRequest, CreateObjectQuery, CreateObjectRequest, ObjectResponse
from models.scope import Role
from providers.errors import Permanent
from stores.database import Document
from stores.failures import DuplicateError
from stores.objects_create import BucketClosedError

__all__: list[str] = []

_RESERVED = RESERVED_FIELDS - CreateObjectRequest.model_fields.keys()
_ATTEMPTS = 5


@operations.add(
    "POST", "", "create_object_buckets",
    role=Role.WRITE, body=CreateObjectRequest, query=CreateObjectQuery, answers=ObjectResponse,
)  # fmt: skip
async def create(call: Call[CreateObjectRequest, CreateObjectQuery]) -> ObjectResponse:
    """Make an object, or change the one that has its unique key."""
    bucket = await open_bucket_of(call)
    body = call.body
    if body.canonicalize_source is False:
        raise not_mirrored("canonicalize_source")
    known = await _made_before(call, bucket)
    warnings: list[dict[str, Any]] = []
    if known is None:
        fields = _fields(body, bucket)
        unique = _unique(call, bucket, fields)
        blobs, warnings = await _blobs(call, bucket)
        try:
            document = await _settle(call, bucket, unique, fields, blobs)
        except BucketClosedError:
            raise conflict("the bucket is being deleted", code="bucket_deleting") from None
    else:
        document = known
    if call.query.auto_process and document.get("batch_id") is None and document["status"] == "PENDING":
        batch = await submit_objects(call, bucket["_id"], [document["_id"]])
        document = {**document, "batch_id": batch["_id"]}
    answer = shown(call, document, presigned=False)
    return answer.model_copy(update={"warnings": warnings}) if warnings else answer


async def _made_before(call: Call[CreateObjectRequest, Any], bucket: Document) -> Document | None:
    key = call.body.idempotency_key
    return None if key is None else await call.services.object_creator.by_idempotency_key(bucket["_id"], key)


def _fields(body: CreateObjectRequest, bucket: Document) -> dict[str, Any]:
    """The custom fields: undeclared keys of the body, then metadata of blobs where nothing stands yet."""
    declared = (bucket.get("bucket_schema") or {}).get("properties") or {}
    fields: dict[str, Any] = dict(body.model_extra or {})
    if "auto_process" in fields and "auto_process" not in declared:
        raise invalid("auto_process is a query parameter", code="extra_forbidden", field="auto_process")
    for name in sorted(fields.keys() & _RESERVED):
        raise invalid(f"{name} is a property of every object; a field cannot be called that", field=name)
    for blob in body.blobs or []:
        promoted = {name: value for name, value in (blob.metadata or {}).items() if name not in _RESERVED}
        fields = {**promoted, **fields}
    for name, value in fields.items():
        if not name or name.startswith("$") or "." in name:
            raise invalid(f"{name!r} is no name of a field: no dot, no $ in front", field=name)
        if problem := unstorable(value):
            raise invalid(f"{name} holds {problem}", field=name)
    return fields


def _unique(call: Call[Any, CreateObjectQuery], bucket: Document, fields: Mapping[str, Any]) -> str | None:
    """The id that the unique key gives; None where the bucket has none. Raises ApiError 400, 422."""
    rule = bucket.get("unique_key")
    if not rule:
        return None
    if (call.query.policy or rule.get("default_policy")) is None:
        raise bad_request("the bucket has a unique key: say ?policy=insert, update or upsert", code="policy_missing")
    properties = bucket["bucket_schema"]["properties"]
    filled = _validated(fields, {name: properties[name] for name in rule["fields"] if name in properties})
    values = [_at(filled, name) for name in rule["fields"]]
    for name, value in zip(rule["fields"], values, strict=True):
        if not isinstance(value, str | int | float | bool):
            raise invalid(f"{name} is part of the unique key: a text, number or truth value", field=name)
    return unique_object_id(bucket["_id"], values)


def _at(fields: Mapping[str, Any], path: str) -> Any:
    value: Any = fields
    for part in path.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


async def _blobs(call: Call[CreateObjectRequest, Any], bucket: Document) -> tuple[list[Document], list[dict[str, Any]]]:
    """The blobs with their bytes stored and durable, and warnings about those that were left out."""
    services, asked = call.services, call.body.blobs or []
    properties = bucket["bucket_schema"]["properties"]
    for index, blob in enumerate(asked):
        _refuse_unfit(blob, properties, f"blobs.{index}")
    blobs: list[Document] = []
    seconds = services.settings.api_request_timeout_seconds
    try:
        async with asyncio.timeout(seconds):
            for index, blob in enumerate(asked):
                blobs.append(await stored_blob(services, blob, properties[blob.property], f"blobs.{index}"))
    except TimeoutError:
        why = f"the contents are not here within {seconds:g} seconds"
        raise invalid(why, code="fetch_failed", field="blobs", reason="timeout") from None
    if blobs:
        await services.blobs.sync()
    if not call.body.skip_duplicates or not blobs:
        return blobs, []
    held = await services.object_creator.held(bucket["_id"], [blob["sha256"] for blob in blobs])
    warnings = [
        DegradedEntry(
            resource="blob",
            id=blob["blob_id"],
            reason=f"an object of the bucket holds this content already; {blob['property']} was left out",
            next_step="leave skip_duplicates out to keep it",
        ).model_dump()
        for blob in blobs
        if blob["sha256"] in held
    ]
    return [blob for blob in blobs if blob["sha256"] not in held], warnings


def _refuse_unfit(blob: CreateBlobRequest, properties: Mapping[str, Any], field: str) -> None:
    rule = properties.get(blob.property)
    if rule is None:
        known = ", ".join(sorted(properties)) or "none"
        raise invalid(
            f"{field}.property: the bucket's schema has no {blob.property!r}; it has {known}",
            code="schema_mismatch",
            field=f"{field}.property",
        )
    if rule["type"] != blob.type:
        raise invalid(
            f"{field}.type: {blob.property} is {rule['type']} in the bucket's schema, not {blob.type}",
            code="schema_mismatch",
            field=f"{field}.type",
        )


async def _settle(
    call: Call[CreateObjectRequest, CreateObjectQuery],
    bucket: Document,
    unique: str | None,
    fields: Mapping[str, Any],
    blobs: Sequence[Document],
) -> Document:
    """Write the object as the policy says; a race is settled by whoever comes first."""
    creator = call.services.object_creator
    policy = "insert" if unique is None else call.query.policy or bucket["unique_key"]["default_policy"]
    object_id = unique or new_id("obj")
    for _ in range(_ATTEMPTS):
        standing = await creator.get(bucket["_id"], object_id) if unique else None
        if standing is not None and policy == "insert":
            raise _taken(object_id, bucket)
        if standing is None and policy == "update":
            raise not_found("object", f"with this unique key ({', '.join(bucket['unique_key']['fields'])})")
        try:
            if standing is None:
                document = _document(call, bucket, object_id, fields, blobs)
                await creator.put(document)
                await call.audit("create", "object", object_id, bucket_id=bucket["_id"])
                return document
            changes = _changes(call, bucket, standing, fields, blobs)
            changed = await creator.change(standing, changes) if changes else standing
        except DuplicateError:
            known = await _made_before(call, bucket)
            if known is not None:
                return known
            continue
        if changed is not None:
            if changes:
                await call.audit("update", "object", object_id, bucket_id=bucket["_id"])
            return changed
    raise conflict("others change the same object all the time; try again", code="contended")


def _taken(object_id: str, bucket: Document) -> ApiError:
    names = bucket["unique_key"]["fields"]
    return conflict(
        f"an object with the same {', '.join(names)} exists already: {object_id}",
        code="unique_key_in_use",
        details={"object_id": object_id, "fields": names},
    )


def _document(
    call: Call[CreateObjectRequest, Any],
    bucket: Document,
    object_id: str,
    fields: Mapping[str, Any],
    blobs: Sequence[Document],
) -> Document:
    now = datetime.now(UTC)
    now = now.replace(microsecond=now.microsecond // 1000 * 1000)  # as the database gives it back
    body = call.body
    key = {} if body.idempotency_key is None else {"idempotency_key": body.idempotency_key}
    return {
        "_id": object_id,
        **call.scope.fields,
        **key,
        "bucket_id": bucket["_id"],
        "key_prefix": body.key_prefix,
        "edges": [edge.model_dump(exclude_none=True) for edge in body.edges] if body.edges is not None else None,
        **_contents(bucket, {name: value for name, value in fields.items() if value is not None}, blobs),
        "status": "PENDING",
        "batch_id": None,
        "fence": 0,
        "created_at": now,
        "updated_at": now,
    }


def _changes(
    call: Call[CreateObjectRequest, Any],
    bucket: Document,
    standing: Document,
    fields: Mapping[str, Any],
    blobs: Sequence[Document],
) -> dict[str, Any]:
    """What an update sets: given fields and blobs take the place of their namesakes, null clears a field."""
    body = call.body
    merged = {**(standing.get("fields") or {}), **fields}
    given = {blob["property"] for blob in blobs}
    kept = [blob for blob in standing.get("blobs") or [] if blob["property"] not in given]
    new = _contents(bucket, {name: value for name, value in merged.items() if value is not None}, [*kept, *blobs])
    if "key_prefix" in body.model_fields_set:
        new["key_prefix"] = body.key_prefix
    if "edges" in body.model_fields_set:
        new["edges"] = [edge.model_dump(exclude_none=True) for edge in body.edges or []] or None
    changes = {name: value for name, value in new.items() if value != standing.get(name)}
    if not changes:
        return {}
    key = {} if body.idempotency_key is None else {"idempotency_key": body.idempotency_key}
    # What has changed waits to be processed again.
    return {**changes, **key, "size_bytes": new["size_bytes"], "status": "PENDING", "batch_id": None, "error": None}


def _contents(bucket: Document, fields: Mapping[str, Any], blobs: Sequence[Document]) -> dict[str, Any]:
    """Fields as the schema wants them, blobs, hash and size. Raises ApiError 422."""
    properties = bucket["bucket_schema"]["properties"]
    of_blobs = {blob["property"] for blob in blobs}
    for name in sorted(of_blobs & fields.keys()):
        raise invalid(f"{name} is given as a field and as a blob", field=name)
    checked = _validated(fields, {name: rule for name, rule in properties.items() if name not in of_blobs})
    for name in _missing(properties, of_blobs | checked.keys()):
        raise invalid(f"{name} is required: send a blob of this property", code="schema_mismatch", field=name)
    return {
        "fields": checked,
        "blobs": list(blobs),
        "hash": _hash(blobs),
        "size_bytes": sum(blob["details"]["size_bytes"] or 0 for blob in blobs),
    }


def _missing(properties: Mapping[str, Any], given: set[str]) -> Iterator[str]:
    for name, rule in properties.items():
        if rule.get("required") and rule["type"] in BLOB_TYPES and name not in given:
            yield name


def _validated(fields: Mapping[str, Any], properties: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return validate_fields(dict(fields), {"properties": properties})
    except Permanent as error:
        raise invalid(error.message, code="schema_mismatch") from None


def _hash(blobs: Sequence[Document]) -> str | None:
    """Of one blob its own; of several that of their names and hashes in order."""
    if len(blobs) <= 1:
        return f"sha256:{blobs[0]['sha256']}" if blobs else None
    named = orjson.dumps(sorted([blob["property"], blob["sha256"]] for blob in blobs))
    return f"sha256:{hashlib.sha256(named).hexdigest()}"
