"""Jobs (runs of a sync) as the API reads them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from models.paging import PageRequest
from models.scope import Scope
from stores.database import Database, Document
from stores.pages import PageOfDocuments, Sort, find_page

__all__ = ["JobStore"]

_NEWEST_FIRST = Sort("created_at", descending=True)


class JobStore:
    """Jobs of a sync."""

    def __init__(self, database: Database) -> None:
        self._jobs = database["jobs"]

    async def get(self, scope: Scope, sync_config_id: str, job_id: str) -> Document | None:
        """One job of that sync."""
        return await self._jobs.find_one({"_id": job_id, "sync_config_id": sync_config_id, **scope.fields})

    async def page(
        self, scope: Scope, sync_config_id: str, conditions: Mapping[str, Any], page: PageRequest
    ) -> PageOfDocuments:
        """Newest first."""
        query = {"sync_config_id": sync_config_id, **scope.fields, **conditions}
        return await find_page(self._jobs, query, page, sort=_NEWEST_FIRST, count=True)

    async def latest(self, scope: Scope, sync_config_id: str, *, limit: int) -> list[Document]:
        """The newest jobs."""
        return await self._jobs.find(
            {"sync_config_id": sync_config_id, **scope.fields}, sort=[("created_at", -1), ("_id", -1)], limit=limit
        ).to_list()
