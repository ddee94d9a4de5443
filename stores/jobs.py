"""Jobs (runs of a sync) as the API reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
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
        self._progress = database["progress"]

    async def get(self, scope: Scope, sync_config_id: str, job_id: str) -> Document | None:
        """One job of that sync."""
        job = await self._jobs.find_one({"_id": job_id, "sync_config_id": sync_config_id, **scope.fields})
        await self._add_progress([job] if job else [])
        return job

    async def page(
        self, scope: Scope, sync_config_id: str, conditions: Mapping[str, Any], page: PageRequest
    ) -> PageOfDocuments:
        """Newest first."""
        query = {"sync_config_id": sync_config_id, **scope.fields, **conditions}
        found = await find_page(self._jobs, query, page, sort=_NEWEST_FIRST, count=True)
        await self._add_progress(found.documents)
        return found

    async def _add_progress(self, jobs: Sequence[Document]) -> None:
        """Give jobs that are under way what their chunks have done so far; a finished job has its own counts."""
        open_jobs = {job["_id"]: job for job in jobs if job.get("completed_at") is None}
        if not open_jobs:
            return
        names = ("stored", "updated", "skipped", "failed", "bytes")
        sums = {name: {"$sum": f"$tally.{name}"} for name in names}
        pipeline: list[Document] = [
            {"$match": {"run_id": {"$in": list(open_jobs)}}},
            {"$group": {"_id": "$run_id", **sums}},
        ]
        async for total in await self._progress.aggregate(pipeline):
            job = open_jobs[total["_id"]]
            synced = total["stored"] + total["updated"]
            started = job.get("started_at")
            seconds = max(1.0, (datetime.now(UTC) - started).total_seconds()) if started else 1.0
            job["progress"] = {**{name: total[name] for name in names}, "objects": synced}
            job["files_synced"], job["files_failed"] = synced, total["failed"]
            job["throughput_files_per_min"] = round(60 * synced / seconds, 3)
            if job["status"] == "running":
                job["phase"] = "downloading"

    async def latest(self, scope: Scope, sync_config_id: str, *, limit: int) -> list[Document]:
        """The newest jobs."""
        return await self._jobs.find(
            {"sync_config_id": sync_config_id, **scope.fields}, sort=[("created_at", -1), ("_id", -1)], limit=limit
        ).to_list()
