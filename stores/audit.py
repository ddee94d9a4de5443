"""The audit log: who did what to which resource, and when. Written by the API, read by `starter.py audit list`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from stores.database import Database, Document

__all__ = ["AuditStore"]


class AuditStore:
    """Append and read; nothing changes an entry."""

    def __init__(self, database: Database) -> None:
        self._audit = database["audit"]

    async def record(
        self, internal_id: str, *, actor: str, action: str, resource: str, resource_id: str, **facts: Any
    ) -> None:
        """Append an entry. `facts` are small and hold no secret."""
        entry: Document = {
            "at": datetime.now(UTC),
            "internal_id": internal_id,
            "actor": actor,
            "action": action,
            "resource": resource,
            "id": resource_id,
        }
        if facts:
            entry["facts"] = facts
        await self._audit.insert_one(entry)

    async def entries(
        self,
        internal_id: str | None = None,
        *,
        action: str | None = None,
        resource: str | None = None,
        limit: int = 100,
    ) -> list[Document]:
        """The newest entries of an organization, or of all; `resource` is a kind of resource or an id."""
        query: dict[str, Any] = {} if internal_id is None else {"internal_id": internal_id}
        if action is not None:
            query["action"] = action
        if resource is not None:
            query["$or"] = [{"resource": resource}, {"id": resource}]
        return await self._audit.find(query, {"_id": 0}, sort=[("at", -1)], limit=limit).to_list()
