"""The MongoDB connection and every index. Writes are w=majority and journaled, everywhere.

Documents are plain dicts whose shapes are in `stores/README.md`; the stores are the only modules
that know them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pymongo import ASCENDING, AsyncMongoClient, IndexModel
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from models.settings import Settings

__all__ = ["Database", "connect", "ensure_indexes"]

Document = dict[str, Any]
Database = AsyncDatabase[Document]

_INDEXES: Mapping[str, list[IndexModel]] = {
    "api_keys": [IndexModel("key_hash", unique=True), IndexModel("internal_id")],
    "namespaces": [IndexModel([("internal_id", 1), ("name", 1)], unique=True)],
    "connections": [
        IndexModel(
            [("internal_id", 1), ("name", 1)],
            unique=True,
            # An archived connection gives its name free.
            partialFilterExpression={"status": {"$in": ["ACTIVE", "SUSPENDED", "FAILED"]}},
        ),
        IndexModel([("internal_id", 1), ("created_at", -1), ("_id", -1)]),
    ],
    "buckets": [
        IndexModel([("internal_id", 1), ("namespace_id", 1), ("bucket_name", 1)], unique=True),
        IndexModel([("internal_id", 1), ("namespace_id", 1), ("created_at", 1), ("_id", 1)]),
    ],
    "syncs": [
        IndexModel([("bucket_id", 1), ("created_at", -1), ("_id", -1)]),
        IndexModel("connection_id"),
        IndexModel([("is_active", 1), ("deleted_at", 1)]),
    ],
    "jobs": [
        IndexModel([("sync_config_id", 1), ("created_at", -1), ("_id", -1)]),
        IndexModel("expire_at", expireAfterSeconds=0),
    ],
    "chunks": [
        IndexModel([("run_id", 1), ("kind", 1)]),
        IndexModel("expire_at", expireAfterSeconds=0),
    ],
    "progress": [
        IndexModel("run_id"),
        IndexModel("expire_at", expireAfterSeconds=0),
    ],
    "seen": [
        IndexModel([("run_id", 1), ("id", 1)]),
        IndexModel("expire_at", expireAfterSeconds=0),
    ],
    "objects": [
        # Covers the comparison of a listing with what is stored: no document is read for an unchanged object.
        IndexModel([("sync_config_id", 1), ("source_object_id", 1), ("fingerprint", 1)]),
        IndexModel([("bucket_id", 1), ("created_at", 1), ("_id", 1)]),
        IndexModel("blobs.sha256"),
        # Objects made by hand only; a repeated request finds what the first one made.
        IndexModel(
            [("bucket_id", 1), ("idempotency_key", 1)],
            unique=True,
            partialFilterExpression={"idempotency_key": {"$exists": True}},
        ),
        IndexModel("expire_at", expireAfterSeconds=0, sparse=True),
    ],
    "positions": [IndexModel("sync_config_id")],
    "rejects": [IndexModel("expire_at", expireAfterSeconds=0)],
    "dead_letters": [
        IndexModel([("sync_config_id", 1), ("source_object_id", 1)], unique=True),
        IndexModel([("sync_config_id", 1), ("max_retries_reached", 1), ("error_type", 1)]),
        IndexModel([("sync_config_id", 1), ("last_seen_at", -1), ("_id", -1)]),
    ],
    "batches": [
        IndexModel([("bucket_id", 1), ("created_at", -1), ("_id", -1)]),
        IndexModel([("run_id", 1), ("index", ASCENDING)]),
    ],
    "tasks": [IndexModel("internal_id")],
    "audit": [IndexModel([("internal_id", 1), ("at", -1)])],
}


def connect(settings: Settings) -> tuple[AsyncMongoClient[Document], Database]:
    """Open a client (lazily: nothing is sent yet) and the database with durable concerns."""
    client: AsyncMongoClient[Document] = AsyncMongoClient(
        settings.mongodb_uri.get_secret_value(),
        tz_aware=True,
        appname="tidemark",
        serverSelectionTimeoutMS=10_000,
        retryWrites=True,
        retryReads=True,
    )
    database = client.get_database(
        settings.mongodb_database,
        write_concern=WriteConcern(w="majority", j=True),
        read_concern=ReadConcern("majority"),
    )
    return client, database


async def ensure_indexes(database: Database) -> None:
    """Create every index that is missing. Idempotent; safe beside running workers."""
    for collection, indexes in _INDEXES.items():
        await database[collection].create_indexes(indexes)
