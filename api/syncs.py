"""Syncs: create, read, list, change, delete. Commands to them are in `sync_commands.py`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from activities.contracts import CommandArgs, PauseArgs
from api.buckets import bucket_of, open_bucket_of, within_bucket
from api.errors import ApiError, conflict, invalid, not_found
from api.operations import Call, NoBody, NoQuery, Operations
from api.pagination import pagination
from models.common import OpenRequest
from models.mapping import SchemaMapping, unfit_source
from models.paging import PageQuery
from models.scope import Role
from models.syncs import (
    IMMUTABLE_FIELDS,
    ListSyncConfigurationsRequest,
    SyncCommandResponse,
    SyncConfigurationModel,
    SyncCreateRequest,
    SyncListResponse,
    SyncUpdateRequest,
)
from stores.database import Document

__all__ = ["operations", "shown", "sync_of"]

operations = Operations("BucketSyncsApi", "/v1/buckets/{bucket_id}/syncs", namespaced=True)

_S3_LIKE = ("s3", "tigris")
# What null in a PATCH returns to; fields not named here become null.
_DEFAULTS: Mapping[str, Any] = {
    "polling_interval_seconds": 300,
    "batch_size": 50,
    "skip_batch_submission": False,
    "max_objects_per_run": 100_000,
    "batch_chunk_size": 100,
    "max_batch_chunk_size": 1000,
}
_NO_CONFIG = {"status", "is_active", "ingest_filter"}


@operations.add(
    "POST", "", "create_sync_configuration_buckets",
    role=Role.WRITE, body=SyncCreateRequest, answers=SyncConfigurationModel,
)  # fmt: skip
async def create(call: Call[SyncCreateRequest, NoQuery]) -> SyncConfigurationModel:
    """Create a sync and start it."""
    bucket = await open_bucket_of(call)
    body = call.body
    connection = await call.services.connections.get(call.organization, body.connection_id)
    if connection is None:
        raise not_found("connection", body.connection_id)
    if connection["status"] == "ARCHIVED":
        raise conflict("the connection is archived: it cannot be used any more", code="archived")
    provider = connection["provider_type"]
    if not body.source_path:
        raise invalid("source_path is needed: where in the source to look", code="missing", field="source_path")
    _check_path(provider, body.source_path)
    _check(body.schema_mapping, body.ingest_filter, provider)
    document = await call.services.syncs.create(
        call.scope,
        bucket["_id"],
        {**_plain(body, body.settled()), "connection_id": connection["_id"], "source_type": provider},
        user_id=call.caller.user_id,
    )
    try:
        await call.services.commands.start_sync(document, bucket_name=bucket["bucket_name"])
    except ApiError:
        await call.services.syncs.forget(call.scope, document["_id"])
        raise
    await call.audit("create", "sync", document["_id"], connection_id=connection["_id"])
    return shown(document)


@operations.add(
    "POST", "/list", "list_sync_configurations_buckets",
    role=Role.READ, body=ListSyncConfigurationsRequest, query=PageQuery, answers=SyncListResponse,
)  # fmt: skip
async def find(call: Call[ListSyncConfigurationsRequest, PageQuery]) -> SyncListResponse:
    """List the syncs of a bucket, newest first."""
    bucket = await bucket_of(call)
    page = call.query.resolve()
    conditions = call.body.model_dump(exclude_none=True)
    found = await call.services.syncs.page(call.scope, bucket["_id"], conditions, page)
    return SyncListResponse(
        results=[shown(document) for document in found.documents],
        pagination=pagination(call.request, page, found),
        total=found.total or 0,
    )


@operations.add(
    "GET", "/{sync_config_id}", "get_sync_configuration_buckets_id_config",
    role=Role.READ, answers=SyncConfigurationModel,
)  # fmt: skip
async def get(call: Call[NoBody, NoQuery]) -> SyncConfigurationModel:
    """Read a sync with its state."""
    return shown(await sync_of(call))


@operations.add(
    "PATCH", "/{sync_config_id}", "update_sync_configuration_buckets_id_config",
    role=Role.WRITE, body=SyncUpdateRequest, answers=SyncConfigurationModel,
)  # fmt: skip
async def update(call: Call[SyncUpdateRequest, NoQuery]) -> SyncConfigurationModel:
    """Change a sync: absent keeps, null clears. The change holds from the next run, or from a resume."""
    sync = await sync_of(call)
    body = call.body
    _refuse_immutable(body, sync)
    _check(body.schema_mapping, body.ingest_filter, sync.get("source_type") or "")
    # Undeclared keys count as set too, and must never be stored.
    given = (body.model_fields_set & set(type(body).model_fields)) - _NO_CONFIG
    values = _plain(body, {name: getattr(body, name) for name in given})
    changes = {name: _DEFAULTS.get(name) if value is None else value for name, value in values.items()}
    active = _wanted_activity(body)
    if changes:
        await call.services.syncs.configure(call.scope, sync["_id"], changes)
        await call.audit("update", "sync", sync["_id"], fields=sorted(changes))
    if active is False and sync["is_active"]:
        await call.services.commands.sync(sync, "pause", PauseArgs(by=call.caller.user_id, reason="set inactive"))
    elif active is True and not sync["is_active"]:
        await call.services.commands.sync(sync, "resume", CommandArgs(by=call.caller.user_id))
    elif changes and sync["status"] != "COMPLETED":
        await call.services.commands.sync(sync, "reload", CommandArgs(by=call.caller.user_id))
    return shown(await sync_of(call))


@operations.add(
    "DELETE", "/{sync_config_id}", "delete_sync_configuration_buckets_id_config",
    role=Role.WRITE, answers=SyncCommandResponse,
)  # fmt: skip
async def delete(call: Call[NoBody, NoQuery]) -> SyncCommandResponse:
    """Stop a sync for good. Its objects stay in the bucket."""
    sync = await sync_of(call)
    result = await call.services.commands.sync(sync, "delete", CommandArgs(by=call.caller.user_id))
    await call.services.syncs.delete(call.scope, sync["_id"])
    await call.audit("delete", "sync", sync["_id"])
    return SyncCommandResponse(
        sync_config_id=sync["_id"],
        status="deleted",
        outcome=result.outcome or "deleted",
        state=result.state,
        message="the sync is deleted; its objects stay in the bucket",
    )


async def sync_of(call: Call[Any, Any]) -> Document:
    """The sync that the address names, as it is now. Raises 404."""
    identifier = call.path["sync_config_id"]
    document = await within_bucket(call, lambda bucket_id: call.services.syncs.get(call.scope, bucket_id, identifier))
    if document is None:
        raise not_found("sync", identifier)
    return document


def shown(document: Document) -> SyncConfigurationModel:
    """A sync as answered."""
    return SyncConfigurationModel.model_validate(
        {**document, "sync_config_id": document["_id"], "locked": bool(document.get("locked"))}, strict=False
    )


def _plain(body: OpenRequest, values: Mapping[str, Any]) -> dict[str, Any]:
    """Field values as they are stored: nested models as plain documents, every default written out."""
    plain: dict[str, Any] = {}
    for name, value in values.items():
        if name == "ingest_filter":
            continue
        model = getattr(body, name)
        if name == "file_filters" and model is not None:
            plain[name] = model.model_dump(exclude_none=True)
        elif name == "reconcile" and model is not None:
            plain[name] = model.settled()
        else:
            plain[name] = model.model_dump() if isinstance(model, BaseModel) else value
    return plain


def _check(mapping: SchemaMapping | None, ingest_filter: Mapping[str, Any] | None, provider: str) -> None:
    if ingest_filter is not None:
        raise invalid(
            "ingest_filter is not supported: it needs retrievers, which are not part of this system",
            code="not_supported",
            field="ingest_filter",
        )
    unfit = unfit_source(mapping, provider) if mapping else None
    if unfit:
        raise invalid(unfit, code="source_unfit", field="schema_mapping")


def _check_path(provider: str, path: str) -> None:
    if "\0" in path:
        raise invalid("source_path holds a NUL character", field="source_path")
    if provider in _S3_LIKE and not path.partition("/")[0]:
        raise invalid("source_path is bucket[/prefix]: it begins with the bucket's name", field="source_path")


def _refuse_immutable(body: SyncUpdateRequest, sync: Document) -> None:
    """A read-modify-write client may send these back unchanged; a change of them is another sync."""
    shown_now = shown(sync).model_dump(mode="json")
    for name, value in (body.model_extra or {}).items():
        if name in IMMUTABLE_FIELDS and value is not None and not _same(value, shown_now.get(name)):
            raise invalid(f"{name} cannot be changed: create another sync instead", code="immutable", field=name)


def _same(given: Any, current: Any) -> bool:
    """Equality that lets a client leave out what is null."""
    if isinstance(given, dict) and isinstance(current, dict):
        return all(_same(given.get(name), current.get(name)) for name in given.keys() | current.keys())
    return bool(given == current)


def _wanted_activity(body: SyncUpdateRequest) -> bool | None:
    """Whether the sync shall be active, from `status` or `is_active`; None: not said."""
    if body.status is None:
        return body.is_active
    if body.status not in {"ACTIVE", "SUSPENDED"}:
        raise invalid(f"a sync can be set ACTIVE or SUSPENDED, not {body.status}", field="status")
    active = body.status == "ACTIVE"
    if body.is_active is not None and body.is_active is not active:
        raise invalid(f"status {body.status} and is_active {body.is_active} contradict each other", field="is_active")
    return active
