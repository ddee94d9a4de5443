"""The API in this process, on a real port, a real database and a real Temporal server, for the tests of it.

Every JSON reply passes through a client-side check against `contract/openapi.json`.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import bson
import jsonschema
import mixpeek
from aiohttp import web
from pydantic import SecretStr
from yarl import URL

from api import services as api_services
from api.commands import Commands
from api.server import make_app
from models.scope import Role
from models.settings import Settings
from providers.base import CheckReport
from providers.errors import ProviderError
from stores.blobs import open_blob_store
from stores.database import Database, connect, ensure_indexes
from stores.organizations import OrganizationStore

JSON = dict[str, Any]


@cache
def contract() -> JSON:
    """The contract: a copy of `shared/contract/openapi.json`, so that a clone has all it needs."""
    found: JSON = json.loads((Path(__file__).parent / "data" / "contract.openapi.json").read_text())
    return found


@cache
def _templates() -> list[tuple[re.Pattern[str], str]]:
    paths = sorted(contract()["paths"], key=lambda path: (path.count("{"), path))
    return [(re.compile(re.sub(r"\{\w+\}", "[^/]+", path)), path) for path in paths]


def operation_at(method: str, url: str) -> JSON | None:
    """The operation of the contract that this address is; None: one of ours only."""
    path = urlsplit(url).path
    template = next((template for pattern, template in _templates() if pattern.fullmatch(path)), None)
    found: JSON | None = contract()["paths"].get(template, {}).get(method.lower())
    return found


def check_reply(method: str, url: str, status: int, body: bytes) -> None:
    """Fail unless this is a reply that the contract declares for this operation."""
    operation = operation_at(method, url)
    if operation is None:
        return
    response = operation["responses"].get(str(status))
    schema: JSON = {"$ref": "#/components/schemas/ErrorResponse"}
    if response is not None and status != 204:
        schema = response["content"]["application/json"]["schema"]
    elif status == 204:
        assert body == b""
        return
    jsonschema.Draft202012Validator({**schema, "components": contract()["components"]}).validate(json.loads(body))


class PlainVault:
    """Keeps credentials readable: what a test of the API alone needs of a vault."""

    async def encrypt(self, internal_id: str, credentials: Any) -> Any:
        return bson.Binary(bson.encode({"of": internal_id, "credentials": dict(credentials)}))

    async def decrypt(self, value: Any) -> JSON:
        credentials: JSON = bson.decode(bytes(value))["credentials"]
        return credentials


@dataclass
class Check:
    """Stands in for the provider's check: works unless `fault` is set; remembers what it was given."""

    fault: ProviderError | None = None
    seen: list[JSON] = field(default_factory=list)

    async def __call__(self, kind: str, config: JSON, credentials: JSON, settings: Settings, path: Any = None) -> Any:
        self.seen.append({"kind": kind, "config": config, "credentials": credentials})
        if self.fault is not None:
            raise self.fault
        return CheckReport("it works", {"buckets": 1})


@dataclass
class Key:
    """An API key and whose it is."""

    key: str
    internal_id: str
    namespace_id: str


class Rig:
    """The running API with its stores."""

    def __init__(self, settings: Settings, database: Database, services: api_services.Services, check: Check) -> None:
        self.settings = settings
        self.database = database
        self.services = services
        self.check = check
        self.url = settings.public_url
        self.session: aiohttp.ClientSession

    async def key(self, role: Role = Role.ADMIN, *, of: Key | None = None) -> Key:
        """A key of a new organization, or another one of the organization of `of`."""
        store = OrganizationStore(self.database)
        if of is not None:
            secret, _ = await store.create_key(of.internal_id, role, "test")
            return Key(secret, of.internal_id, of.namespace_id)
        organization = await store.create_organization("test")
        namespace = await store.create_namespace(organization["_id"], "default")
        secret, _ = await store.create_key(organization["_id"], role, "test")
        return Key(secret, organization["_id"], namespace["_id"])

    async def ask(
        self, method: str, path: str, key: Key | None = None, *, body: Any = None, headers: Any = None, **more: Any
    ) -> tuple[int, Any, Any]:
        """(status, JSON body, headers) of a request; the reply is checked against the contract."""
        sent = {"Authorization": f"Bearer {key.key}", "X-Namespace": key.namespace_id} if key else {}
        if body is not None:
            more["data"] = io.BytesIO(body if isinstance(body, bytes) else json.dumps(body).encode())
            sent["Content-Type"] = "application/json"
        # The address as it is: `%2F` must not be tidied on its way.
        url = URL(self.url + path, encoded=True)
        async with self.session.request(method, url, headers={**sent, **(headers or {})}, **more) as response:
            raw = await response.read()
            check_reply(method, str(url), response.status, raw)
            return response.status, json.loads(raw) if raw else None, response.headers

    def client(self, key: Key) -> mixpeek.ApiClient:
        """The public client, unmodified."""
        configuration = mixpeek.Configuration(
            host=self.url, access_token=key.key, api_key={"NamespaceHeader": key.namespace_id}
        )
        return mixpeek.ApiClient(configuration)


async def call(function: Callable[..., Any], *args: Any, **more: Any) -> Any:
    """Call the (blocking) public client beside the running server."""
    return await asyncio.to_thread(function, *args, **more)


def environment(settings: Settings, temporal_address: str) -> dict[str, str]:
    """Environment variables that give another process these settings."""
    given = {
        f"TIDEMARK_{name.upper()}": value.get_secret_value() if isinstance(value, SecretStr) else str(value)
        for name, value in settings.model_dump().items()
        if value is not None and value != type(settings).model_fields[name].default
    }
    return {**os.environ, "TEMPORAL_ADDRESS": temporal_address, **given}


class RunningRig:
    """`async with RunningRig(settings, temporal_client) as rig`."""

    def __init__(self, settings: Settings, temporal: Any, *, vault: Any = None, check: Any = None) -> None:
        self._settings, self._temporal = settings, temporal
        self._vault, self._check = vault or PlainVault(), check or Check()

    async def __aenter__(self) -> Rig:
        self._mongo, database = connect(self._settings)
        await ensure_indexes(database)
        self._blobs = open_blob_store(self._settings)
        services = api_services.build(
            self._settings,
            database,
            commands=Commands(self._temporal, self._settings),
            vault=self._vault,
            blobs=self._blobs,
            check_connection=self._check,
        )
        self._runner = web.AppRunner(make_app(services, reconcile=False), access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, self._settings.api_host, self._settings.api_port).start()
        self._rig = Rig(self._settings, database, services, self._check)
        self._rig.session = aiohttp.ClientSession()
        return self._rig

    async def __aexit__(self, *_: object) -> None:
        await self._rig.session.close()
        await self._runner.cleanup()
        await self._blobs.close()
        await self._mongo.close()
