"""Connections as the API reads and writes them. Their credentials are only ever ciphertext here."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from pymongo.errors import DuplicateKeyError

from models.ids import new_id
from models.paging import PageRequest
from models.scope import Scope
from stores.database import Database, Document
from stores.failures import DuplicateError
from stores.pages import PageOfDocuments, Sort, find_page

__all__ = ["ConnectionStore"]

_ARCHIVED = "ARCHIVED"
_NEWEST_FIRST = Sort("created_at", descending=True)
_WITHOUT_SECRETS = {"credentials": 0}


class ConnectionStore:
    """Connections of organizations."""

    def __init__(self, database: Database) -> None:
        self._connections = database["connections"]
        self._syncs = database["syncs"]

    async def create(self, scope: Scope, fields: Mapping[str, Any], *, user_id: str) -> Document:
        """A new, active connection. Raises DuplicateError on a name in use."""
        now = datetime.now(UTC)
        document: Document = {
            "_id": new_id("conn"),
            "internal_id": scope.internal_id,
            **fields,
            "status": "ACTIVE",
            "is_active": True,
            "created_by_user_id": user_id,
            "last_used_at": None,
            "last_error": None,
            "consecutive_failures": 0,
            "throttled_until": None,
            "created_at": now,
            "updated_at": now,
        }
        try:
            await self._connections.insert_one(document)
        except DuplicateKeyError as error:
            raise DuplicateError(f"a connection named {fields['name']!r} exists already") from error
        return document

    async def get(self, scope: Scope, identifier: str, *, secrets: bool = False) -> Document | None:
        """By `conn_…` id, or by name (then only if not archived). Ciphertext is read only on demand."""
        query: dict[str, Any] = {"internal_id": scope.internal_id}
        if identifier.startswith("conn_"):
            query["_id"] = identifier
        else:
            query |= {"name": identifier, "status": {"$ne": _ARCHIVED}}
        return await self._connections.find_one(query, None if secrets else _WITHOUT_SECRETS)

    async def page(self, scope: Scope, conditions: Mapping[str, Any], page: PageRequest) -> PageOfDocuments:
        """Newest first; archived ones only when asked for."""
        query: dict[str, Any] = {"internal_id": scope.internal_id, "status": {"$ne": _ARCHIVED}, **conditions}
        return await find_page(
            self._connections, query, page, sort=_NEWEST_FIRST, count=True, projection=_WITHOUT_SECRETS
        )

    async def update(self, scope: Scope, connection_id: str, fields: Mapping[str, Any]) -> Document | None:
        """Set fields of a connection that is not archived. Raises DuplicateError on a name in use."""
        try:
            return await self._connections.find_one_and_update(
                {"_id": connection_id, "internal_id": scope.internal_id, "status": {"$ne": _ARCHIVED}},
                {"$set": {**fields, "updated_at": datetime.now(UTC)}},
                projection=_WITHOUT_SECRETS,
                return_document=True,
            )
        except DuplicateKeyError as error:
            raise DuplicateError(f"a connection named {fields.get('name')!r} exists already") from error

    async def archive(self, scope: Scope, connection_id: str) -> Document | None:
        """Soft deletion: kept for audit, never active again, its name free."""
        return await self.update(scope, connection_id, {"status": _ARCHIVED, "is_active": False})

    async def used_by(self, scope: Scope, connection_id: str, *, limit: int = 20) -> list[Document]:
        """Live syncs that use a connection."""
        return await self._syncs.find(
            {"connection_id": connection_id, "internal_id": scope.internal_id, "deleted_at": None},
            {"bucket_id": 1, "source_path": 1, "internal_id": 1, "connection_id": 1, "source_type": 1, "paused": 1},
            limit=limit,
        ).to_list()

    async def all_live(self) -> list[str]:
        """Ids of every connection that is not archived, of all organizations (start-up only)."""
        found = self._connections.find({"status": {"$ne": _ARCHIVED}}, {"_id": 1})
        return [document["_id"] async for document in found]
