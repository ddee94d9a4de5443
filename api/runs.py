"""What a sync has done: its jobs, its dead letters, its metrics."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from activities.contracts import RequeueArgs
from api.errors import not_found
from api.operations import Call, NoBody, NoQuery, Operations
from api.pagination import pagination
from api.syncs import sync_of
from models.common import cut
from models.jobs import (
    BulkMarkDLQRequest,
    BulkMarkDLQResponse,
    BulkRequeueDLQRequest,
    BulkRequeueDLQResponse,
    DLQListResponse,
    ListDLQRequest,
    ListSyncJobsRequest,
    SyncDeadLetterObjectModel,
    SyncJobListResponse,
    SyncJobModel,
)
from models.paging import PageQuery
from models.scope import Role
from models.syncs import SyncMetricsResponse
from stores.database import Document

__all__ = ["metrics_of", "operations"]

operations = Operations("BucketSyncsApi", "/v1/buckets/{bucket_id}/syncs/{sync_config_id}", namespaced=True)

_LONGEST_LIST = 1000
_LEAST_STALE_SECONDS = 120
_LEAST_STALLED_SECONDS = 300


@operations.add(
    "POST", "/jobs", "list_sync_jobs_buckets_id_config",
    role=Role.READ, body=ListSyncJobsRequest, query=PageQuery, answers=SyncJobListResponse,
)  # fmt: skip
async def jobs(call: Call[ListSyncJobsRequest, PageQuery]) -> SyncJobListResponse:
    """List the jobs of a sync, newest first."""
    sync = await sync_of(call)
    page = call.query.resolve()
    conditions = call.body.model_dump(exclude_none=True)
    found = await call.services.jobs.page(call.scope, sync["_id"], conditions, page)
    return SyncJobListResponse(
        results=[job_shown(document) for document in found.documents],
        pagination=pagination(call.request, page, found),
        total=found.total or 0,
    )


@operations.add("GET", "/jobs/{sync_job_id}", "get_sync_job_buckets_id_config", role=Role.READ, answers=SyncJobModel)
async def job(call: Call[NoBody, NoQuery]) -> SyncJobModel:
    """Read a job. `metadata.counts` says what became of every source object the run saw."""
    sync = await sync_of(call)
    identifier = call.path["sync_job_id"]
    document = await call.services.jobs.get(call.scope, sync["_id"], identifier)
    if document is None:
        raise not_found("job", identifier)
    return job_shown(document)


@operations.add(
    "POST", "/dlq", "list_dlq_entries_buckets_id_syncs_config",
    role=Role.READ, body=ListDLQRequest, answers=DLQListResponse,
)  # fmt: skip
async def dead_letters(call: Call[ListDLQRequest, NoQuery]) -> DLQListResponse:
    """List dead letters, newest first, at most 1,000."""
    sync = await sync_of(call)
    found, total = await call.services.dead_letters.find(
        call.scope,
        sync["_id"],
        exhausted_only=bool(call.body.only_max_retries),
        error_types=call.body.error_types or [],
        limit=_LONGEST_LIST,
    )
    results = [SyncDeadLetterObjectModel.model_validate({**letter, "dlq_id": letter["_id"]}) for letter in found]
    return DLQListResponse(results=results, total=total)


@operations.add(
    "POST", "/dlq/requeue", "requeue_dlq_entries_buckets_id_syncs_config",
    role=Role.WRITE, body=BulkRequeueDLQRequest, answers=BulkRequeueDLQResponse,
)  # fmt: skip
async def requeue(call: Call[BulkRequeueDLQRequest, NoQuery]) -> BulkRequeueDLQResponse:
    """Give exhausted dead letters three new tries."""
    sync = await sync_of(call)
    args = RequeueArgs(by=call.caller.user_id, error_types=call.body.error_types or [])
    result = await call.services.commands.sync(sync, "requeue", args)
    await call.audit("requeue", "sync", sync["_id"], count=result.count)
    return BulkRequeueDLQResponse(requeued=result.count)


@operations.add(
    "POST", "/dlq/bulk-mark-failed", "bulk_mark_dlq_permanently_failed_buckets_id_syncs_config",
    role=Role.WRITE, body=BulkMarkDLQRequest, answers=BulkMarkDLQResponse,
)  # fmt: skip
async def give_up(call: Call[BulkMarkDLQRequest, NoQuery]) -> BulkMarkDLQResponse:
    """Give dead letters of these error types up: no healing attempts until the object changes or is requeued."""
    sync = await sync_of(call)
    updated = await call.services.dead_letters.give_up(call.scope, sync["_id"], call.body.error_types)
    await call.audit("give_up", "sync", sync["_id"], count=updated)
    return BulkMarkDLQResponse(updated=updated)


@operations.add("GET", "/metrics", "get_sync_metrics_buckets_id_config", role=Role.READ, answers=SyncMetricsResponse)
async def metrics(call: Call[NoBody, NoQuery]) -> SyncMetricsResponse:
    """Say in numbers whether a sync is well."""
    sync = await sync_of(call)
    letters = await call.services.dead_letters.by_error(call.scope, sync["_id"])
    latest = await call.services.jobs.latest(call.scope, sync["_id"], limit=5)
    return metrics_of(sync, latest, letters, datetime.now(UTC))


def job_shown(document: Document) -> SyncJobModel:
    """A job as answered."""
    return SyncJobModel.model_validate({**document, "sync_job_id": document["_id"]})


def metrics_of(
    sync: Document, jobs_newest_first: Sequence[Document], letters: dict[str, int], now: datetime
) -> SyncMetricsResponse:
    """The figures of the contract (notes.md, section 8) from a sync, its newest jobs and its dead letters."""
    running = next((item for item in jobs_newest_first if item["status"] == "running"), None)
    finished = next((item for item in jobs_newest_first if item["status"] in {"completed", "failed"}), None)
    interval = sync.get("polling_interval_seconds") or 300
    stale_after = max(2 * interval, _LEAST_STALE_SECONDS)
    since = _seconds(sync.get("last_sync_at"), now)
    paused = bool(sync.get("paused"))
    continuous = sync.get("sync_mode") != "initial_only"
    age = since if since is not None else _seconds(sync.get("created_at"), now) or 0
    stale = continuous and bool(sync["is_active"]) and not paused and running is None and age > stale_after
    stalled_reason = _stalled(running, max(stale_after, _LEAST_STALLED_SECONDS), now)
    discovered = sync.get("total_files_discovered") or 0
    failures = sync.get("consecutive_failures") or 0
    metadata = (finished or {}).get("metadata") or {}
    return SyncMetricsResponse.model_validate(
        {
            **sync,
            "sync_config_id": sync["_id"],
            "paused": paused,
            "last_error": cut(sync.get("last_error")),
            "seconds_since_last_sync": since,
            "is_stale": stale,
            "intervals_since_last_sync": None if since is None else round(since / interval, 3),
            "stale_after_seconds": stale_after,
            "failure_rate": (sync.get("total_files_failed") or 0) / discovered if discovered else 0.0,
            "healthy": bool(sync["is_active"]) and not paused and not failures and not stale and not stalled_reason,
            "dlq_total": sum(letters.values()),
            "dlq_by_error": letters,
            "running_job": running is not None,
            "stalled": stalled_reason is not None,
            "stalled_reason": stalled_reason,
            "last_job": _last_job(finished) if finished else None,
            "total_objects_skipped": (sync.get("stats") or {}).get("total_objects_skipped") or 0,
            "last_run_counts": metadata.get("counts"),
            "partial": metadata.get("partial"),
            "partial_reason": metadata.get("partial_reason"),
        }
    )


def _seconds(moment: datetime | None, now: datetime) -> int | None:
    return None if moment is None else max(0, int((now - moment).total_seconds()))


def _stalled(running: Document | None, limit: int, now: datetime) -> str | None:
    if running is None:
        return None
    quiet = _seconds(running.get("updated_at") or running.get("started_at") or running.get("created_at"), now) or 0
    return f"the running job {running['_id']} has made no progress for {quiet} seconds" if quiet > limit else None


def _last_job(document: Document) -> dict[str, Any]:
    began, ended = document.get("started_at"), document.get("completed_at")
    return {
        "status": document["status"],
        "files_synced": document.get("files_synced") or 0,
        "files_failed": document.get("files_failed") or 0,
        "throughput_files_per_min": document.get("throughput_files_per_min"),
        "duration_seconds": (ended - began).total_seconds() if began and ended else None,
    }
