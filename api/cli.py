"""The subcommands of `starter.py`: serve the API, and manage what only an operator may."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, TypeVar

import typer

from models.scope import Role
from models.settings import Settings
from stores.audit import AuditStore
from stores.blobs import open_blob_store, purge_unreferenced
from stores.database import Database, connect, ensure_indexes
from stores.failures import UNAVAILABLE, DuplicateError
from stores.organizations import OrganizationStore

__all__ = ["app"]

app = typer.Typer(
    help="Tidemark's HTTP API and its operator's commands.", no_args_is_help=True, pretty_exceptions_enable=False
)
database = typer.Typer(help="The database.", no_args_is_help=True)
organization = typer.Typer(help="Organizations.", no_args_is_help=True)
namespace = typer.Typer(help="Namespaces of an organization.", no_args_is_help=True)
key = typer.Typer(help="API keys.", no_args_is_help=True)
audit = typer.Typer(help="The audit log.", no_args_is_help=True)
blobs = typer.Typer(help="The blob store.", no_args_is_help=True)
for name, group in (
    ("database", database), ("organization", organization), ("namespace", namespace),
    ("key", key), ("audit", audit), ("blobs", blobs),
):  # fmt: skip
    app.add_typer(group, name=name)

T = TypeVar("T")
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Organization = Annotated[str, typer.Option("--organization", help="Id or name of the organization.")]
Name = Annotated[str, typer.Option("--name", help="A name for people.")]


class RoleName(StrEnum):
    """The roles a key may have."""

    READ = "READ"
    WRITE = "WRITE"
    ADMIN = "ADMIN"


@app.command()
def serve() -> None:
    """Serve the HTTP API until SIGTERM."""
    from api.serving import run  # noqa: PLC0415 - the other commands need no web server

    run(Settings())


@database.command("init")
def database_init() -> None:
    """Create whatever index is missing. Safe to repeat, also beside running workers."""
    _run(ensure_indexes)
    typer.echo("the indexes are there")


@organization.command("create")
def organization_create(
    *,
    name: Name,
    namespace_name: Annotated[str, typer.Option("--namespace", help="Its first namespace.")] = "default",
    as_json: Json = False,
) -> None:
    """Create an organization with a first namespace."""

    async def work(db: Database) -> dict[str, Any]:
        store = OrganizationStore(db)
        made = await store.create_organization(name)
        space = await store.create_namespace(made["_id"], namespace_name)
        await _record(db, made["_id"], "create", "organization", made["_id"])
        return {
            "organization_id": made["_id"],
            "name": name,
            "namespace_id": space["_id"],
            "namespace": namespace_name,
        }

    _show(_run(work), as_json=as_json)


@namespace.command("create")
def namespace_create(*, organization: Organization, name: Name, as_json: Json = False) -> None:
    """Create a namespace in an organization."""

    async def work(db: Database) -> dict[str, Any]:
        store = OrganizationStore(db)
        owner = await _owner(store, organization)
        made = await store.create_namespace(owner, name)
        await _record(db, owner, "create", "namespace", made["_id"])
        return {"namespace_id": made["_id"], "name": name, "organization_id": owner}

    _show(_run(work), as_json=as_json)


@key.command("create")
def key_create(
    *,
    organization: Organization,
    role: Annotated[RoleName, typer.Option("--role", help="What it may do.", case_sensitive=False)],
    name: Name = "",
    as_json: Json = False,
) -> None:
    """Create an API key. It is shown this once; only its hash is kept."""

    async def work(db: Database) -> dict[str, Any]:
        store = OrganizationStore(db)
        owner = await _owner(store, organization)
        secret, made = await store.create_key(owner, Role[role.value], name)
        await _record(db, owner, "create", "api_key", made["_id"], role=role.value)
        return {"api_key": secret, "key_id": made["_id"], "role": role.value, "organization_id": owner, "name": name}

    _show(_run(work), as_json=as_json)


@key.command("revoke")
def key_revoke(*, key_id: Annotated[str, typer.Argument(help="Its id: key_…")], as_json: Json = False) -> None:
    """Make a key useless at once."""

    async def work(db: Database) -> dict[str, Any]:
        found = await OrganizationStore(db).revoke_key(key_id)
        if found is None:
            raise typer.BadParameter(f"there is no key {key_id}")
        await _record(db, found["internal_id"], "revoke", "api_key", key_id)
        return {"key_id": key_id, "revoked_at": found["revoked_at"]}

    _show(_run(work), as_json=as_json)


@key.command("list")
def key_list(
    *,
    organization: Annotated[str | None, typer.Option("--organization", help="Only this organization's.")] = None,
    as_json: Json = False,
) -> None:
    """List keys by their first characters, with their last use."""

    async def work(db: Database) -> list[dict[str, Any]]:
        store = OrganizationStore(db)
        owner = None if organization is None else await _owner(store, organization)
        wanted = ("_id", "prefix", "role", "name", "internal_id", "created_at", "last_used_at", "revoked_at")
        return [{name: found.get(name) for name in wanted} for found in await store.keys(owner)]

    _show(_run(work), as_json=as_json)


@audit.command("list")
def audit_list(
    *,
    organization: Annotated[str | None, typer.Option("--organization", help="Only this organization's.")] = None,
    action: Annotated[str | None, typer.Option("--action", help="Only this: create, update, delete, test, …")] = None,
    resource: Annotated[str | None, typer.Option("--resource", help="Only of this kind, or of this id.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many, newest first.")] = 100,
    as_json: Json = False,
) -> None:
    """Show who did what, newest first. The use of a key is noted every five minutes at most."""

    async def work(db: Database) -> list[dict[str, Any]]:
        owner = None if organization is None else await _owner(OrganizationStore(db), organization)
        return await AuditStore(db).entries(owner, action=action, resource=resource, limit=limit)

    _show(_run(work), as_json=as_json)


@blobs.command("purge")
def blobs_purge(*, as_json: Json = False) -> None:
    """Remove blobs that no object has referred to for the grace period."""

    async def work(db: Database) -> dict[str, Any]:
        settings = Settings()
        store = open_blob_store(settings)
        try:
            report = await purge_unreferenced(store, db, settings.blob_purge_grace_seconds)
        finally:
            await store.close()
        return {name: getattr(report, name) for name in ("discarded", "restored", "erased", "bytes", "unfinished")}

    _show(_run(work), as_json=as_json)


def _run(work: Callable[[Database], Awaitable[T]]) -> T:
    async def whole() -> T:
        async with _database() as db:
            return await work(db)

    try:
        return asyncio.run(whole())
    except DuplicateError as error:
        raise typer.BadParameter(str(error)) from error
    except UNAVAILABLE as error:
        typer.echo("The database does not answer: check TIDEMARK_MONGODB_URI and that mongod is up.", err=True)
        raise typer.Exit(1) from error


@asynccontextmanager
async def _database() -> AsyncIterator[Database]:
    client, db = connect(Settings())
    async with client:
        yield db


async def _owner(store: OrganizationStore, identifier: str) -> str:
    found = await store.organization(identifier)
    if found is None:
        raise typer.BadParameter(f"there is no organization {identifier!r}, or more than one of that name")
    return str(found["_id"])


async def _record(db: Database, internal_id: str, action: str, resource: str, resource_id: str, **facts: Any) -> None:
    await AuditStore(db).record(
        internal_id, actor="operator", action=action, resource=resource, resource_id=resource_id, **facts
    )


def _show(result: Mapping[str, Any] | list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(result, default=_plain))
        return
    rows = result if isinstance(result, list) else [result]
    for row in rows:
        shown = {name: _plain(value) for name, value in row.items() if value not in (None, "")}
        if isinstance(result, list):
            typer.echo("  ".join(f"{name.lstrip('_')}={value}" for name, value in shown.items()))
        else:
            for name, value in shown.items():
                typer.echo(f"{name}: {value}")
    if not rows:
        typer.echo("none")


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds")
    return value if isinstance(value, str | int | float | dict) else str(value)
