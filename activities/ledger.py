"""The books of finished runs: recount, close the job, add to the totals of sync, bucket and connection.

Every step is idempotent, and in an order in which a crash between two of them leaves nothing wrong:
the job is closed first, totals are booked once per run, staged chunks are forgotten last.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from activities.contracts import Counts
from activities.engine import Engine
from activities.metrics import count_proposal, count_run
from activities.run_contracts import BatchesArgs, BatchesResult, FinishArgs, FinishResult
from activities.settlement import counted, settle
from stores.database import Document

__all__ = ["RunLedger", "counts_document", "discrepancy", "signature"]

_MARKS_KEPT = 64


@dataclass(slots=True)
class _Entry:
    """One run as it goes into the books."""

    sync: Document
    args: FinishArgs
    counts: Counts
    status: str
    error: str
    ended: datetime
    seconds: float
    tally: dict[str, int]
    removal: Document
    failures: int = 0
    suspended: bool = False
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def synced(self) -> int:
        return self.counts.stored + self.counts.updated

    @property
    def completed(self) -> bool:
        return self.status == "completed"

    @property
    def rate(self) -> float:
        """Objects a minute."""
        return round(60 * self.synced / self.seconds, 3)

    @property
    def partial_reason(self) -> str:
        return self.args.partial_reason or ("" if self.args.complete else "not_completed")


class RunLedger:
    """Closes runs."""

    def __init__(self, engine: Engine, make_batches: Callable[[BatchesArgs], Awaitable[BatchesResult]]) -> None:
        self._engine = engine
        self._make_batches = make_batches

    async def close_lost(self, sync: Document, run_id: str, error: str) -> None:
        """Close a run that no workflow knows (any more): nobody else will."""
        run_no = int(sync.get("sync_run_counter") or 0) if sync.get("numbered_run") == run_id else 0
        args = FinishArgs(sync["_id"], run_id, run_no, status="interrupted", error=error)
        await self.close(sync, args)

    async def close(self, sync: Document, args: FinishArgs) -> FinishResult:
        """Close a run; a repeated call answers the same and books nothing twice."""
        settings = self._engine.settings
        if args.status != "completed":
            await settle(self._engine, sync, args.run_id)
            if not sync.get("skip_batch_submission"):
                made = await self._make_batches(BatchesArgs(args.sync_config_id, args.run_id))
                args.batches = max(args.batches, made.batches)
        entry = await self._entry(sync, args)
        keep = timedelta(seconds=settings.job_keep_seconds)
        await self._engine.runs.close_job(args.run_id, _job_fields(entry), keep=keep)
        letters = await self._engine.letters.count(args.sync_config_id)
        if letters:
            kept = timedelta(seconds=settings.dead_letter_keep_seconds)
            letters -= await self._engine.letters.dispose(args.sync_config_id, keep=kept)
        entry.extra = await self._listing_facts(entry)
        if await self._engine.configs.book_run(
            args.sync_config_id, args.run_id, fields=_sync_fields(entry), add=_sync_totals(entry), peak=entry.rate
        ):
            count_run(entry.status, entry.counts, partial=bool(entry.partial_reason))
            if args.proposed:
                count_proposal(args.proposed)
        await self._book_bucket(entry)
        if entry.completed or args.connection_fault:
            await self._note_connection(sync, fault=entry.error if args.connection_fault else None)
        await self._engine.runs.discard(args.run_id)
        return FinishResult(
            counts=entry.counts,
            status=entry.status,
            error=entry.error,
            polling_interval_seconds=int(sync.get("polling_interval_seconds") or 300),
            continuous=sync.get("sync_mode") != "initial_only",
            consecutive_failures=entry.failures,
            dead_letters=letters,
            suspended=entry.suspended,
        )

    async def _entry(self, sync: Document, args: FinishArgs) -> _Entry:
        tally, skipped, _ = await self._engine.runs.recount(args.run_id)
        removal = await self._engine.runs.removal(args.run_id) or {}
        job = await self._engine.runs.job(args.run_id) or {}
        status, error, counts = args.status, args.error, args.counts
        if job.get("completed_at"):
            # An earlier attempt closed the job; it may have died before it booked. What it found stands.
            status, error = job["status"], job.get("error") or ""
            counts = Counts(**job["metadata"]["counts"])
        elif status == "completed":
            error = discrepancy(counts, tally, skipped)
            status = "failed" if error else status
        else:
            counts = counted(counts, tally, skipped)
        counts.removed = removal.get("removed", args.removed)
        ended = job.get("completed_at") or datetime.now(UTC)
        seconds = max(0.001, (ended - (job.get("started_at") or ended)).total_seconds())
        entry = _Entry(sync, args, counts, status, error, ended, seconds, tally, removal)
        if not entry.completed:
            booked = sync.get("last_booked_run") == args.run_id
            entry.failures = int(sync.get("consecutive_failures") or 0) + (status == "failed" and not booked)
            entry.suspended = status == "failed" and entry.failures >= self._engine.settings.suspend_after_failures
        return entry

    async def _listing_facts(self, entry: _Entry) -> dict[str, Any]:
        """For the next pass: where to split the walk, how slow a page is, whether the order is to be trusted."""
        facts: dict[str, Any] = {}
        if entry.args.unordered:
            facts["source_unordered"] = True
        if entry.completed and entry.args.complete:
            run_id = entry.args.run_id
            await self._keep_positions(entry)
            if not entry.args.incremental:
                facts |= {"full_pass_at": entry.ended, "full_pass_signature": signature(entry.sync)}
            marks, page_seconds = await self._engine.runs.marks(run_id)
            if marks:
                facts["list_marks"] = marks[:: max(1, len(marks) // _MARKS_KEPT)]
                facts["list_page_seconds"] = page_seconds
        return facts

    async def _keep_positions(self, entry: _Entry) -> None:
        """Everything up to these places in the change feeds is stored, skipped with a reason, or a dead letter."""
        for chunk_id in entry.args.position_chunks:
            chunk = await self._engine.runs.chunk(chunk_id)
            if chunk is not None:
                positions = dict(chunk["items"])
                await self._engine.positions.keep(entry.args.sync_config_id, positions, run_no=entry.args.run_no)

    async def _book_bucket(self, entry: _Entry) -> None:
        objects = entry.tally.get("added", 0) - entry.removal.get("removed", 0)
        size = entry.tally.get("size_delta", 0) - entry.removal.get("size", 0)
        if objects or size:
            await self._engine.configs.book_bucket(
                entry.sync["bucket_id"], entry.args.sync_config_id, entry.args.run_id, objects=objects, size=size
            )

    async def _note_connection(self, sync: Document, *, fault: str | None) -> None:
        connection = await self._engine.configs.connection_used(sync["connection_id"], fault=fault)
        limit = self._engine.settings.suspend_after_failures
        if fault is not None and connection and connection.get("consecutive_failures", 0) >= limit:
            await self._engine.configs.set_connection_status(sync["connection_id"], expect=["ACTIVE"], status="FAILED")


def _job_fields(entry: _Entry) -> dict[str, Any]:
    args, counts = entry.args, entry.counts
    return {
        "status": entry.status,
        "phase": "idle",
        "completed_at": entry.ended,
        "error": entry.error[:1000] or None,
        "total_files": counts.seen,
        "files_synced": entry.synced,
        "files_failed": counts.failed,
        "files_verified": counts.unchanged,
        "progress_percent": 100.0 if entry.completed else None,
        "throughput_files_per_min": entry.rate,
        "metadata.counts": counts_document(counts),
        "metadata.partial": bool(entry.partial_reason),
        "metadata.partial_reason": entry.partial_reason or None,
        "metadata.pass": "incremental" if args.incremental else "full",
        "metadata.run_no": args.run_no,
        "metadata.batches": args.batches,
        "metadata.removals_proposed": args.proposed,
        "metadata.proposal_id": args.proposal_id or None,
    }


def _sync_fields(entry: _Entry) -> dict[str, Any]:
    counts, seconds = entry.counts, entry.seconds
    fields: dict[str, Any] = {
        "locked": False,
        "locked_by_worker_id": None,
        "locked_at": None,
        "current_sync_run_id": None,
        "consecutive_failures": entry.failures,
        "last_error": entry.error[:1000] or None,
        "stats.last_run_objects_synced": entry.synced,
        "stats.last_run_objects_verified": counts.unchanged,
        "stats.last_run_objects_failed": counts.failed,
        "stats.last_run_objects_discovered": counts.seen,
        "stats.last_run_objects_skipped": counts.skipped,
        "stats.last_run_skipped_by_reason": dict(counts.skipped_by_reason),
        "stats.last_run_partial_reason": entry.partial_reason or None,
        "stats.last_run_bytes_synced": counts.bytes,
        "stats.last_run_duration_seconds": round(seconds, 3),
        "stats.last_run_throughput_objects_per_min": entry.rate,
        "stats.last_run_throughput_mbps": round(counts.bytes * 8 / seconds / 1e6, 3),
        "stats.last_run_avg_object_size_bytes": counts.bytes // entry.synced if entry.synced else 0,
        "stats.last_run_at": entry.ended,
        "stats.updated_at": entry.ended,
        **entry.extra,
    }
    if entry.completed:
        interval = int(entry.sync.get("polling_interval_seconds") or 300)
        fields |= {"last_sync_at": entry.ended, "next_sync_at": entry.ended + timedelta(seconds=interval)}
        if entry.sync.get("sync_mode") == "initial_only":
            fields |= {"status": "COMPLETED", "next_sync_at": None}
    if entry.suspended:
        fields |= {"status": "FAILED", "is_active": False, "next_sync_at": None}
    return fields


def _sync_totals(entry: _Entry) -> dict[str, float]:
    counts = entry.counts
    return {
        "total_files_discovered": counts.seen,
        "total_files_synced": entry.synced,
        "total_files_failed": counts.failed,
        "total_bytes_synced": counts.bytes,
        "batches_created": entry.args.batches,
        "stats.total_objects_synced": entry.synced,
        "stats.total_objects_verified": counts.unchanged,
        "stats.total_objects_failed": counts.failed,
        "stats.total_objects_discovered": counts.seen,
        "stats.total_objects_skipped": counts.skipped,
        "stats.total_bytes_synced": counts.bytes,
        "stats.total_duration_seconds": round(entry.seconds, 3),
        "stats.total_runs_completed": int(entry.completed),
        "stats.total_runs_failed": int(entry.status == "failed"),
    }


def signature(sync: Document) -> str:
    """What a full pass was made with: when this changes, a change feed alone cannot tell what is wanted."""
    names = ("connection_id", "source_path", "provider_filters", "file_filters", "schema_mapping")
    return hashlib.sha256(orjson.dumps([sync.get(name) for name in names], default=str)).hexdigest()


def discrepancy(counts: Counts, tally: dict[str, int], skipped: dict[str, int]) -> str:
    """The books of the workflow against those of MongoDB, which were kept apart; empty when they agree."""
    for name in ("stored", "updated", "failed", "bytes"):
        history, documents = getattr(counts, name), tally.get(name, 0)
        if history != documents:
            return f"recount differs: {name} is {history} by history, {documents} by documents"
    for reason, n in skipped.items():
        if counts.skipped_by_reason.get(reason, 0) < n:
            return f"recount differs: {n} skipped as {reason} by documents, fewer by history"
    return "" if counts.balanced else f"counts do not balance: {counts_document(counts)}"


def counts_document(counts: Counts) -> dict[str, Any]:
    """Counts as a job's `metadata.counts`."""
    return {
        "seen": counts.seen,
        "stored": counts.stored,
        "updated": counts.updated,
        "unchanged": counts.unchanged,
        "skipped": counts.skipped,
        "skipped_by_reason": dict(counts.skipped_by_reason),
        "failed": counts.failed,
        "removed": counts.removed,
        "bytes": counts.bytes,
        "requests": counts.requests,
        "throttle_waits": counts.throttle_waits,
    }
