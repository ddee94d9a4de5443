"""What handlers work with: stores, vault, blobs and the way to the workflows. Put together once, by `build`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from api.commands import Commands
from api.rate_limits import RateLimiter
from models.settings import Settings
from providers.base import CheckReport
from stores.audit import AuditStore
from stores.batches_read import BatchReader
from stores.batches_write import BatchWriter
from stores.blobs import BlobStore, signing_key
from stores.bucket_deletion import TaskReader
from stores.buckets import BucketStore
from stores.connections import ConnectionStore
from stores.database import Database
from stores.dead_letters_read import DeadLetterReader
from stores.jobs import JobStore
from stores.objects import ObjectStore
from stores.objects_create import ObjectCreator
from stores.objects_read import ObjectReader
from stores.organizations import OrganizationStore
from stores.sync_configs import SyncConfigStore
from stores.syncs import SyncStore

__all__ = ["Services", "Vault", "build"]

CheckConnection = Callable[..., Awaitable[CheckReport]]


class Vault(Protocol):
    """Encrypts credentials; see `stores.vault`."""

    async def encrypt(self, internal_id: str, credentials: Mapping[str, Any]) -> Any:
        """Ciphertext."""

    async def decrypt(self, value: Any) -> dict[str, Any]:
        """Credentials."""


@dataclass(slots=True)
class Services:
    """Everything a handler may use."""

    settings: Settings
    database: Database
    commands: Commands
    vault: Vault
    blobs: BlobStore
    signing_key: bytes
    check_connection: CheckConnection
    organizations: OrganizationStore
    connections: ConnectionStore
    buckets: BucketStore
    syncs: SyncStore
    jobs: JobStore
    dead_letters: DeadLetterReader
    objects: ObjectReader
    object_writer: ObjectStore
    object_creator: ObjectCreator
    engine: SyncConfigStore
    batches: BatchReader
    batch_writer: BatchWriter
    tasks: TaskReader
    audit: AuditStore
    rate_limiter: RateLimiter


def build(
    settings: Settings,
    database: Database,
    *,
    commands: Commands,
    vault: Vault,
    blobs: BlobStore,
    check_connection: CheckConnection,
) -> Services:
    """Put the services together."""
    return Services(
        settings=settings,
        database=database,
        commands=commands,
        vault=vault,
        blobs=blobs,
        signing_key=signing_key(settings),
        check_connection=check_connection,
        organizations=OrganizationStore(database),
        connections=ConnectionStore(database),
        buckets=BucketStore(database),
        syncs=SyncStore(database),
        jobs=JobStore(database),
        dead_letters=DeadLetterReader(database),
        objects=ObjectReader(database),
        object_writer=ObjectStore(database),
        object_creator=ObjectCreator(database),
        engine=SyncConfigStore(database),
        batches=BatchReader(database),
        batch_writer=BatchWriter(database),
        tasks=TaskReader(database),
        audit=AuditStore(database),
        rate_limiter=RateLimiter(settings.rate_limits),
    )
