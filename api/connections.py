"""Connections: create, read, change, archive, test."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from activities.contracts import CommandArgs, PauseArgs
from api.errors import conflict, invalid, not_found
from api.operations import Call, NoBody, NoQuery, Operations
from api.pagination import pagination
from api.validation import problem
from models.common import StorageProvider, cut
from models.connections import (
    ConnectionDeleteQuery,
    ConnectionDeleteResponse,
    ListStorageConnectionsRequest,
    StorageConnectionCreateRequest,
    StorageConnectionListResponse,
    StorageConnectionModel,
    StorageConnectionTestResponse,
    StorageConnectionUpdateRequest,
)
from models.paging import PageQuery
from models.providers import CONFIGS, ProviderConfig, shown_config, split_credentials
from models.scope import Role
from providers import provider_types
from providers.endpoints import check_endpoint
from providers.errors import Misconfigured, ProviderError
from stores.database import Document
from stores.failures import DuplicateError

__all__ = ["operations"]

# More than this one by one would not end within a request.
_MOST_SYNCS = 100

operations = Operations("OrganizationConnectionsApi", "/v1/organizations/connections", namespaced=False)


@operations.add(
    "POST", "", "create_storage_connection_organizations",
    role=Role.ADMIN, body=StorageConnectionCreateRequest, answers=StorageConnectionModel,
)  # fmt: skip
async def create(call: Call[StorageConnectionCreateRequest, NoQuery]) -> StorageConnectionModel:
    """Create a connection, by default only if it works."""
    body = call.body.settled()
    if body["provider_type"] not in provider_types():
        raise invalid(
            f"{body['provider_type']} connections are not served by this version; "
            f"these are: {', '.join(provider_types())}",
            code="provider_not_served",
            field="provider_type",
        )
    config, credentials = split_credentials(await _config(call, body["provider_type"], body["provider_config"]))
    if body["test_before_save"]:
        try:
            await call.services.check_connection(body["provider_type"], config, credentials, call.services.settings)
        except ProviderError as error:
            raise invalid(
                f"the connection does not work, so it was not saved: {error.message}",
                code="connection_test_failed",
                **_facts(error),
            ) from error
    fields = {name: body[name] for name in ("name", "description", "metadata", "provider_type", "write_enabled")}
    try:
        document = await call.services.connections.create(
            call.organization,
            {
                **fields,
                "provider_config": config,
                "credentials_type": credentials["type"],
                "credentials": await call.services.vault.encrypt(call.caller.internal_id, credentials),
            },
            user_id=call.caller.user_id,
        )
    except DuplicateError as error:
        raise conflict(str(error), code="name_in_use", details={"name": body["name"]}) from error
    await call.audit("create", "connection", document["_id"], provider_type=body["provider_type"])
    # Only health checks depend on it; when Temporal is away, the next start of the API starts it.
    await call.services.commands.start_connection_soon(document["_id"])
    return shown(document)


@operations.add(
    "POST", "/list", "list_storage_connections_organizations",
    role=Role.READ, body=ListStorageConnectionsRequest, query=PageQuery, answers=StorageConnectionListResponse,
)  # fmt: skip
async def find(call: Call[ListStorageConnectionsRequest, PageQuery]) -> StorageConnectionListResponse:
    """List connections, newest first; archived ones only when asked for by status."""
    page = call.query.resolve()
    found = await call.services.connections.page(call.organization, call.body.model_dump(exclude_none=True), page)
    return StorageConnectionListResponse(
        results=[shown(document) for document in found.documents],
        pagination=pagination(call.request, page, found),
        total=found.total or 0,
    )


@operations.add(
    "GET", "/{connection_identifier}", "get_storage_connection_organizations",
    role=Role.READ, answers=StorageConnectionModel,
)  # fmt: skip
async def get(call: Call[NoBody, NoQuery]) -> StorageConnectionModel:
    """Read a connection by id or name."""
    return shown(await _connection(call))


@operations.add(
    "PATCH", "/{connection_identifier}", "update_storage_connection_organizations",
    role=Role.ADMIN, body=StorageConnectionUpdateRequest, answers=StorageConnectionModel,
)  # fmt: skip
async def update(call: Call[StorageConnectionUpdateRequest, NoQuery]) -> StorageConnectionModel:
    """Change a connection: absent keeps, null clears; credential fields left out are kept."""
    document = await _connection(call, live=True, secrets=True)
    body, given = call.body, call.body.model_fields_set
    changes: dict[str, Any] = {}
    if body.name is not None:
        changes["name"] = body.name
    if "description" in given:
        changes["description"] = body.description or None
    if "metadata" in given:
        changes["metadata"] = body.metadata
    if body.write_enabled is not None:
        changes["write_enabled"] = body.write_enabled
    changes |= _status_change(body, document)
    if body.provider_config is not None:
        changes |= await _new_config(call, document, body.provider_config)
    if not changes:
        return shown(document)
    try:
        updated = await call.services.connections.update(call.organization, document["_id"], changes)
    except DuplicateError as error:
        raise conflict(str(error), code="name_in_use", details={"name": body.name}) from error
    if updated is None:
        raise not_found("connection", call.path["connection_identifier"])
    await call.audit("update", "connection", document["_id"], fields=sorted(changes.keys() - {"credentials"}))
    if updated["is_active"] and not document["is_active"]:
        await _wake_syncs(call, document["_id"])
    return shown(updated)


@operations.add(
    "DELETE", "/{connection_identifier}", "delete_storage_connection_organizations",
    role=Role.ADMIN, query=ConnectionDeleteQuery, answers=ConnectionDeleteResponse,
)  # fmt: skip
async def delete(call: Call[NoBody, ConnectionDeleteQuery]) -> Mapping[str, str]:
    """Archive a connection that no sync uses; with `force` its syncs are paused first. It cannot come back."""
    document = await _connection(call)
    reply = {"message": "the connection is archived", "connection_id": document["_id"], "status": "ARCHIVED"}
    if document["status"] == "ARCHIVED":
        return reply
    users = await call.services.connections.used_by(call.organization, document["_id"], limit=_MOST_SYNCS)
    names = [user["_id"] for user in users]
    if users and not call.query.force:
        raise conflict(
            f"these syncs use the connection: {', '.join(names[:20])}. Delete them first, or force=true pauses them",
            code="connection_in_use",
            details={"sync_config_ids": names},
        )
    args = PauseArgs(by=call.caller.user_id, reason="its connection was archived")
    for user in users:
        if not user.get("paused"):
            await call.services.commands.sync(user, "pause", args)
    await call.services.connections.archive(call.organization, document["_id"])
    await call.audit("delete", "connection", document["_id"], paused=len(users))
    return {**reply, "paused_sync_config_ids": ", ".join(names)} if names else reply


@operations.add(
    "POST", "/{connection_identifier}/test", "test_storage_connection_organizations",
    role=Role.WRITE, answers=StorageConnectionTestResponse,
)  # fmt: skip
async def test(call: Call[NoBody, NoQuery]) -> StorageConnectionTestResponse:
    """Test a connection now. Success makes a failed one active again; the fifth failure in a row makes it failed."""
    document = await _connection(call, live=True, secrets=True)
    services = call.services
    credentials = await services.vault.decrypt(document["credentials"])
    await call.audit("test", "connection", document["_id"])
    try:
        report = await services.check_connection(
            document["provider_type"], document["provider_config"], credentials, services.settings
        )
    except ProviderError as error:
        after = await services.engine.connection_used(document["_id"], fault=cut(error.message))
        if after is not None and after["consecutive_failures"] >= services.settings.suspend_after_failures:
            await services.engine.set_connection_status(document["_id"], expect=["ACTIVE"], status="FAILED")
        return StorageConnectionTestResponse(success=False, message=cut(error.message), details=_facts(error))
    await services.engine.connection_used(document["_id"], fault=None)
    if await services.engine.set_connection_status(document["_id"], expect=["FAILED"], status="ACTIVE"):
        await _wake_syncs(call, document["_id"])
    return StorageConnectionTestResponse(success=True, message=report.message, details=report.details)


def shown(document: Document) -> StorageConnectionModel:
    """A connection as answered."""
    return StorageConnectionModel.model_validate(
        {**document, "connection_id": document["_id"], "provider_config": shown_config(document)}
    )


async def _connection(call: Call[Any, Any], *, live: bool = False, secrets: bool = False) -> Document:
    identifier = call.path["connection_identifier"]
    document = await call.services.connections.get(call.organization, identifier, secrets=secrets)
    if document is None:
        raise not_found("connection", identifier)
    if live and document["status"] == "ARCHIVED":
        raise conflict("the connection is archived: it cannot be used or changed any more", code="archived")
    return document


async def _config(call: Call[Any, Any], provider_type: StorageProvider, given: Mapping[str, Any]) -> ProviderConfig:
    """Validate a provider_config (its provider_type is the connection's when left out) and its endpoint."""
    model = CONFIGS[provider_type]
    if given.get("provider_type", provider_type) != provider_type:
        raise invalid(
            f"provider_config.provider_type is not the connection's, which is '{provider_type}'",
            field="provider_config.provider_type",
        )
    try:
        config = model.model_validate(
            {**{name: value for name, value in given.items() if value is not None}, "provider_type": provider_type}
        )
    except ValidationError as error:
        raise problem(error, model, prefix="provider_config.") from None
    endpoint = getattr(config, "endpoint_url", None)
    # A provider's own default is not a caller's choice.
    if endpoint and endpoint != model.model_fields["endpoint_url"].default:
        try:
            await check_endpoint(endpoint, allow_private=call.services.settings.allow_private_endpoints)
        except Misconfigured as error:
            raise invalid(error.message, code="endpoint_refused", field="provider_config.endpoint_url") from error
    return config


async def _new_config(call: Call[Any, Any], document: Document, given: Mapping[str, Any]) -> dict[str, Any]:
    """A replacing provider_config; what it leaves out of the credentials is kept while their type is the same."""
    stored = await call.services.vault.decrypt(document["credentials"])
    credentials = given.get("credentials")
    if credentials is None:
        credentials = {}
    if not isinstance(credentials, Mapping):
        raise invalid("provider_config.credentials is not an object", field="provider_config.credentials")
    if credentials.get("type", stored["type"]) == stored["type"]:
        credentials = {**stored, **{name: value for name, value in credentials.items() if value is not None}}
    config = await _config(call, document["provider_type"], {**given, "credentials": credentials})
    plain, secret = split_credentials(config)
    changes: dict[str, Any] = {"provider_config": plain}
    if secret != stored:
        changes["credentials_type"] = secret["type"]
        changes["credentials"] = await call.services.vault.encrypt(call.caller.internal_id, secret)
    return changes


def _status_change(body: StorageConnectionUpdateRequest, document: Document) -> dict[str, Any]:
    """ACTIVE and SUSPENDED are a person's to set; FAILED is left by a successful test, ARCHIVED is for ever."""
    wanted = body.status
    if wanted is None and body.is_active is not None:
        wanted = "ACTIVE" if body.is_active else "SUSPENDED"
    if wanted is None or wanted == document["status"]:
        return {}
    if wanted not in {"ACTIVE", "SUSPENDED"}:
        hint = "; DELETE archives a connection" if wanted == "ARCHIVED" else ""
        raise invalid(f"a connection can be set ACTIVE or SUSPENDED, not {wanted}{hint}", field="status")
    if document["status"] == "FAILED" and wanted == "ACTIVE":
        raise conflict("the connection has failed: a successful test makes it active again", code="test_first")
    if document["status"] == "FAILED" and body.status is None:
        return {}
    return {"status": wanted, "is_active": wanted == "ACTIVE"}


async def _wake_syncs(call: Call[Any, Any], connection_id: str) -> None:
    """Let waiting syncs look again; those a person paused are not among the active ones."""
    for sync in await call.services.syncs.live_of_connection(connection_id):
        await call.services.commands.signal_sync(sync["_id"], "reload", CommandArgs(by=call.caller.user_id))


def _facts(error: ProviderError) -> dict[str, Any]:
    # Named apart from the reply's own code and status, which say something else.
    facts = {
        "reason": error.reason,
        "upstream_code": error.code,
        "upstream_status": error.status,
        "retryable": error.retryable,
    }
    return {name: value for name, value in facts.items() if value is not None}
