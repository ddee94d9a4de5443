"""What every activity of a sync needs, wired once by `worker.py`, and how a sync's context is opened.

Credentials are decrypted here and go no further than the provider object.
"""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime

from activities.budget import ByteBudget
from activities.filters import Filter, compile_filters
from activities.mapping import Mapping, compile_mapping
from models.settings import Settings
from providers import ProviderSettings, open_provider
from providers.base import Provider
from providers.errors import Misconfigured
from stores.blobs import BlobStore
from stores.database import Database, Document
from stores.dead_letters import DeadLetterStore
from stores.objects import ObjectStore
from stores.positions import PositionStore
from stores.rejects import RejectStore
from stores.runs import RunStore
from stores.sync_configs import SyncConfigStore
from stores.vault import Vault

__all__ = ["ConnectionWaits", "Engine", "SyncContext", "SyncGone"]


class SyncGone(Exception):
    """The sync config no longer exists."""


class ConnectionWaits(Exception):
    """The connection is not active, so nothing of it may run. `reason` is for a person."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(slots=True)
class SyncContext:
    """One sync, ready to work: its documents, its provider and its compiled filters and mapping."""

    sync: Document
    connection: Document
    bucket: Document
    provider: Provider
    path: str
    filters: Filter | None
    mapping: Mapping

    @property
    def id(self) -> str:
        """The sync config id."""
        return str(self.sync["_id"])

    def reconcile(self, name: str) -> bool:
        """A switch of the contract's `reconcile` settings; all are on unless said otherwise."""
        return bool((self.sync.get("reconcile") or {}).get(name, True))

    def throttled_for(self) -> float:
        """Seconds for which all work on this connection still has to wait."""
        until = self.connection.get("throttled_until")
        return max(0.0, (until - datetime.now(UTC)).total_seconds()) if until else 0.0


class Engine:
    """Stores, blobs, vault and open providers of one worker process."""

    # Open providers hold sockets; more connections than this in use at once take turns.
    _MAX_PROVIDERS = 64

    def __init__(self, settings: Settings, database: Database, vault: Vault, blobs: BlobStore) -> None:
        self.settings = settings
        self.vault = vault
        self.blobs = blobs
        self.database = database
        self.objects = ObjectStore(database)
        self.runs = RunStore(database)
        self.configs = SyncConfigStore(database)
        self.letters = DeadLetterStore(database)
        self.positions = PositionStore(database)
        self.rejects = RejectStore(database)
        self.memory = ByteBudget(settings.worker_memory_budget_bytes)
        self._provider_settings = ProviderSettings.from_settings(settings)
        self._providers: OrderedDict[str, Provider] = OrderedDict()

    async def read_sync(self, sync_config_id: str) -> tuple[Document, Document, Document]:
        """The sync, its connection and its bucket as they are now.

        Raises SyncGone and ConnectionWaits.
        """
        sync = await self.configs.sync(sync_config_id)
        bucket = await self.configs.bucket(sync["bucket_id"]) if sync else None
        if sync is None or bucket is None:
            raise SyncGone(sync_config_id)
        connection = await self.configs.connection(sync["connection_id"])
        if connection is None:
            raise ConnectionWaits(f"connection {sync['connection_id']} does not exist")
        if connection["status"] != "ACTIVE":
            last = f": {connection['last_error']}" if connection.get("last_error") else ""
            raise ConnectionWaits(f"connection {connection['name']!r} is {connection['status']}{last}")
        return sync, connection, bucket

    async def open_sync(self, sync_config_id: str) -> SyncContext:
        """Read the sync afresh and open its provider.

        Raises SyncGone, ConnectionWaits, or a provider's Misconfigured.
        """
        sync, connection, bucket = await self.read_sync(sync_config_id)
        provider = await self.provider(connection)
        try:
            filters = compile_filters(sync.get("file_filters"), sync.get("sync_from"))
            mapping = compile_mapping(sync.get("schema_mapping"), bucket.get("bucket_schema"))
        except ValueError as error:
            raise Misconfigured(str(error), provider=provider.name, path=sync["source_path"]) from None
        return SyncContext(
            sync=sync,
            connection=connection,
            bucket=bucket,
            provider=provider,
            path=provider.narrow(sync["source_path"], sync.get("provider_filters") or {}),
            filters=filters,
            mapping=mapping,
        )

    async def provider(self, connection: Document) -> Provider:
        """The open provider of a connection, kept while its configuration and credentials stay as they are."""
        identity = hashlib.sha256(json.dumps(connection["provider_config"], sort_keys=True, default=str).encode())
        identity.update(bytes(connection["credentials"]))
        key = f"{connection['_id']}:{identity.hexdigest()}"
        provider = self._providers.get(key)
        if provider is None:
            credentials = await self.vault.decrypt(connection["credentials"])
            provider = open_provider(
                connection["provider_type"],
                connection["provider_config"],
                credentials,
                self._provider_settings,
            )
            self._providers[key] = provider
            if len(self._providers) > self._MAX_PROVIDERS:
                _, oldest = self._providers.popitem(last=False)
                await oldest.close()
        self._providers.move_to_end(key)
        return provider

    async def close(self) -> None:
        """Release all sockets."""
        while self._providers:
            _, provider = self._providers.popitem()
            await provider.close()
