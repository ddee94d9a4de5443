"""Beginning and ending a run, and showing the workflow's state in the documents that the API reads."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from temporalio import activity

from activities.contracts import Counts, RequeueArgs
from activities.engine import ConnectionWaits, Engine, SyncContext, SyncGone
from activities.hand_back import Stop, run_until_handed_back
from activities.pages import Listing, is_ordered
from activities.run_contracts import (
    BeginArgs,
    BeginResult,
    FinishArgs,
    FinishResult,
    ListArgs,
    LoadedState,
    ProjectArgs,
    RequeueResult,
    RunPlan,
    Segment,
)

__all__ = ["RunActivities"]

# A walk is split where pages take this long: then waiting, not comparing, is what costs time.
_SLOW_PAGE_SECONDS = 0.05
_MARKS_KEPT = 64


class RunActivities:
    """Run bookkeeping."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @activity.defn(name="load_state")
    async def load_state(self, sync_config_id: str) -> LoadedState:
        """Desired state for a fresh execution; a job left running by a lost one is closed as interrupted."""
        sync = await self._engine.configs.sync(sync_config_id)
        if sync is None:
            return LoadedState(deleted=True)
        if lost := sync.get("current_sync_run_id"):
            await self._engine.runs.lose_job(lost)
            await self._engine.configs.project(sync_config_id, {"locked": False, "current_sync_run_id": None})
        proposal = sync.get("delete_proposal") or {}
        return LoadedState(
            paused=bool(sync.get("paused")),
            pause_reason=sync.get("pause_reason") or "",
            pending_full_sync=bool(sync.get("pending_full_sync")),
            proposal_id=proposal.get("proposal_id", ""),
            proposed=proposal.get("count", 0),
            consecutive_failures=int(sync.get("consecutive_failures") or 0),
            polling_interval_seconds=int(sync.get("polling_interval_seconds") or 300),
            continuous=sync.get("sync_mode") != "initial_only",
        )

    @activity.defn(name="begin_run")
    async def begin_run(self, args: BeginArgs) -> BeginResult:
        """Freeze the run's settings, record its job, list the first slice, and finish at once if nothing is to be done."""
        try:
            sync, _, _ = await self._engine.read_sync(args.sync_config_id)
        except SyncGone:
            return BeginResult(gone=True)
        except ConnectionWaits as error:
            return BeginResult(blocked=error.reason)
        run_no = await self._engine.configs.take_run_number(args.sync_config_id, args.run_id)
        # The job is on record before anything can go wrong at the source.
        await self._open_job(sync, args)
        context = await self._engine.open_sync(args.sync_config_id)
        plan = self._plan(context)
        stop = Stop()
        first = ListArgs(
            sync_config_id=args.sync_config_id,
            run_id=args.run_id,
            segments=self._segments(context, plan),
            room=plan.object_cap,
            max_chunks=1,
            full_sync=args.full_sync,
        )
        listing = Listing(self._engine, context, first, stop, attempt=activity.info().attempt, ordered=plan.ordered)
        result = await run_until_handed_back(listing.run(), stop)
        begun = BeginResult(plan=plan, run_no=run_no, listing=result)
        idle = result.complete and not result.chunks and not result.absent and plan.ordered
        if idle and not (context.sync.get("delete_proposal") or context.sync.get("delete_rejected")):
            finish = FinishArgs(
                sync_config_id=args.sync_config_id,
                run_id=args.run_id,
                run_no=run_no,
                counts=result.counts,
                complete=True,
            )
            begun.finished = await self._finish(context.sync, finish, page_seconds=listing.page_seconds)
        return begun

    def _plan(self, context: SyncContext) -> RunPlan:
        sync = context.sync
        return RunPlan(
            polling_interval_seconds=int(sync.get("polling_interval_seconds") or 300),
            continuous=sync.get("sync_mode") != "initial_only",
            window=self._engine.settings.sync_window,
            object_cap=int(sync.get("max_objects_per_run") or 100_000),
            ordered=is_ordered(context),
            make_batches=not sync.get("skip_batch_submission"),
        )

    def _segments(self, context: SyncContext, plan: RunPlan) -> list[Segment]:
        """One range, or several where the last pass found the source slow and remembered where to split."""
        marks: list[str] = context.sync.get("list_marks") or []
        slow = (context.sync.get("list_page_seconds") or 0.0) >= _SLOW_PAGE_SECONDS
        if not (plan.ordered and context.provider.capabilities.ranges and slow and marks):
            return [Segment()]
        parts = min(self._engine.settings.list_segments, len(marks) + 1)
        cuts = [marks[len(marks) * n // parts] for n in range(1, parts)]
        bounds = ["", *dict.fromkeys(cuts), ""]
        return [Segment(after=low, until=high) for low, high in zip(bounds, bounds[1:], strict=False)]

    async def _open_job(self, sync: dict[str, Any], args: BeginArgs) -> None:
        now = datetime.now(UTC)
        await self._engine.runs.open_job(
            args.run_id,
            {
                "sync_config_id": args.sync_config_id,
                "bucket_id": sync["bucket_id"],
                "internal_id": sync["internal_id"],
                "namespace_id": sync["namespace_id"],
            },
            running={
                "status": "running",
                "trigger": args.trigger,
                "phase": "discovering",
                "started_at": now,
                "metadata.full_sync": args.full_sync,
                "metadata.triggered_by": args.triggered_by or args.trigger,
            },
        )
        await self._engine.configs.project(
            args.sync_config_id,
            {
                "locked": True,
                "locked_by_worker_id": "temporal",
                "locked_at": now,
                "current_sync_run_id": args.run_id,
                "pending_full_sync": args.pending_full_sync,
                "status": "ACTIVE",
            },
        )

    @activity.defn(name="finish_run")
    async def finish_run(self, args: FinishArgs) -> FinishResult:
        """Recount, close the job, add to the totals. Idempotent: a repeated call books nothing twice."""
        sync = await self._engine.configs.sync(args.sync_config_id)
        if sync is None:
            return FinishResult(counts=args.counts, status="failed", error="the sync config was deleted")
        return await self._finish(sync, args)

    async def _finish(
        self, sync: dict[str, Any], args: FinishArgs, *, page_seconds: float | None = None
    ) -> FinishResult:
        tally, skipped, _ = await self._engine.runs.recount(args.run_id)
        removal = await self._engine.runs.removal(args.run_id) or {}
        job = await self._engine.runs.job(args.run_id) or {}
        counts, status, error = args.counts, args.status, args.error
        if job.get("completed_at"):
            # An earlier attempt closed the job; it may have died before it booked. What it found stands.
            status, error = job["status"], job.get("error") or ""
        elif status == "completed":
            error = discrepancy(counts, tally, skipped)
            status = "failed" if error else status
        counts.removed = removal.get("removed", args.removed)
        now = job.get("completed_at") or datetime.now(UTC)
        began = job.get("started_at") or now
        seconds = max(0.001, (now - began).total_seconds())
        await self._engine.runs.close_job(
            args.run_id,
            self._job_fields(args, counts, status, error, now, seconds),
            keep=timedelta(seconds=self._engine.settings.job_keep_seconds),
        )
        letters = await self._engine.letters.count(args.sync_config_id)
        if letters:
            keep = timedelta(seconds=self._engine.settings.dead_letter_keep_seconds)
            letters -= await self._engine.letters.dispose(args.sync_config_id, keep=keep)
        failures = 0 if status == "completed" else int(sync.get("consecutive_failures") or 0) + (status == "failed")
        suspended = status == "failed" and failures >= self._engine.settings.suspend_after_failures
        await self._book(sync, args, counts, status, error, now, seconds, failures, tally, removal, page_seconds)
        if status == "completed" or args.connection_fault:
            await self._note_connection(sync, fault=error if args.connection_fault else None)
        if status == "completed":
            await self._engine.runs.discard(args.run_id)
        return FinishResult(
            counts=counts,
            status=status,
            error=error,
            polling_interval_seconds=int(sync.get("polling_interval_seconds") or 300),
            continuous=sync.get("sync_mode") != "initial_only",
            consecutive_failures=failures,
            dead_letters=letters,
            suspended=suspended,
        )

    def _job_fields(
        self, args: FinishArgs, counts: Counts, status: str, error: str, now: datetime, seconds: float
    ) -> dict[str, Any]:
        partial = args.partial_reason or ("" if args.complete else "not_completed")
        synced = counts.stored + counts.updated
        return {
            "status": status,
            "phase": "idle",
            "completed_at": now,
            "error": error[:1000] or None,
            "total_files": counts.seen,
            "files_synced": synced,
            "files_failed": counts.failed,
            "files_verified": counts.unchanged,
            "progress_percent": 100.0 if status == "completed" else None,
            "throughput_files_per_min": round(60 * synced / seconds, 3),
            "metadata.counts": counts_document(counts),
            "metadata.partial": bool(partial),
            "metadata.partial_reason": partial or None,
            "metadata.pass": "full",
            "metadata.run_no": args.run_no,
            "metadata.batches": args.batches,
            "metadata.removals_proposed": args.proposed,
            "metadata.proposal_id": args.proposal_id or None,
        }

    async def _book(  # noqa: PLR0913 - the columns of one ledger line
        self,
        sync: dict[str, Any],
        args: FinishArgs,
        counts: Counts,
        status: str,
        error: str,
        now: datetime,
        seconds: float,
        failures: int,
        tally: dict[str, int],
        removal: dict[str, Any],
        page_seconds: float | None,
    ) -> None:
        synced = counts.stored + counts.updated
        completed = status == "completed"
        interval = int(sync.get("polling_interval_seconds") or 300)
        rate = round(60 * synced / seconds, 3)
        fields: dict[str, Any] = {
            "locked": False,
            "locked_by_worker_id": None,
            "locked_at": None,
            "current_sync_run_id": None,
            "consecutive_failures": failures,
            "last_error": error[:1000] or None if not completed else None,
            "stats.last_run_objects_synced": synced,
            "stats.last_run_objects_verified": counts.unchanged,
            "stats.last_run_objects_failed": counts.failed,
            "stats.last_run_objects_discovered": counts.seen,
            "stats.last_run_objects_skipped": counts.skipped,
            "stats.last_run_bytes_synced": counts.bytes,
            "stats.last_run_duration_seconds": round(seconds, 3),
            "stats.last_run_throughput_objects_per_min": rate,
            "stats.last_run_throughput_mbps": round(counts.bytes * 8 / seconds / 1e6, 3),
            "stats.last_run_avg_object_size_bytes": counts.bytes // synced if synced else 0,
            "stats.last_run_at": now,
            "stats.updated_at": now,
        }
        if completed:
            fields |= {"last_sync_at": now, "next_sync_at": now + timedelta(seconds=interval)}
            if sync.get("sync_mode") == "initial_only":
                fields |= {"status": "COMPLETED", "next_sync_at": None}
        if args.unordered:
            fields["source_unordered"] = True
        if args.complete and completed:
            marks = [m async for _, items in self._engine.runs.staged_ids(args.run_id, "marks") for m in items]
            if marks:
                marks.sort()
                fields["list_marks"] = marks[:: max(1, len(marks) // _MARKS_KEPT)]
            if page_seconds is not None:
                fields["list_page_seconds"] = page_seconds
        add = {
            "total_files_discovered": counts.seen,
            "total_files_synced": synced,
            "total_files_failed": counts.failed,
            "total_bytes_synced": counts.bytes,
            "batches_created": args.batches,
            "stats.total_objects_synced": synced,
            "stats.total_objects_verified": counts.unchanged,
            "stats.total_objects_failed": counts.failed,
            "stats.total_objects_discovered": counts.seen,
            "stats.total_objects_skipped": counts.skipped,
            "stats.total_bytes_synced": counts.bytes,
            "stats.total_duration_seconds": round(seconds, 3),
            "stats.total_runs_completed": int(completed),
            "stats.total_runs_failed": int(status == "failed"),
        }
        await self._engine.configs.book_run(args.sync_config_id, args.run_id, fields=fields, add=add, peak=rate)
        objects = tally.get("added", 0) - removal.get("removed", 0)
        size = tally.get("size_delta", 0) - removal.get("size", 0)
        if objects or size:
            await self._engine.configs.book_bucket(
                sync["bucket_id"], args.sync_config_id, args.run_id, objects=objects, size=size
            )

    async def _note_connection(self, sync: dict[str, Any], *, fault: str | None) -> None:
        connection = await self._engine.configs.connection_used(sync["connection_id"], fault=fault)
        limit = self._engine.settings.suspend_after_failures
        if fault is not None and connection and connection.get("consecutive_failures", 0) >= limit:
            await self._engine.configs.set_connection_status(sync["connection_id"], expect=["ACTIVE"], status="FAILED")

    @activity.defn(name="project")
    async def project(self, args: ProjectArgs) -> None:
        """Show a change of the workflow's state."""
        now = datetime.now(UTC)
        fields: dict[str, Any] = {}
        if args.paused is not None:
            fields |= {
                "paused": args.paused,
                "pause_reason": (args.reason or None) if args.paused else None,
                "paused_at": now if args.paused else None,
                "paused_by_user_id": (args.by or None) if args.paused else None,
                "is_active": not args.paused,
            }
        if args.pending_full_sync is not None:
            fields["pending_full_sync"] = args.pending_full_sync
        if args.status:
            fields["status"] = args.status
        if args.next_poll_at:
            fields["next_sync_at"] = datetime.fromtimestamp(args.next_poll_at, UTC)
        if args.reason and args.paused is None:
            fields["last_error"] = args.reason[:1000]
        if args.deleted:
            fields |= {"deleted_at": now, "is_active": False, "locked": False}
        if args.decision == "reject":
            sync = await self._engine.configs.sync(args.sync_config_id) or {}
            proposal = sync.get("delete_proposal") or {}
            fields |= {
                "delete_rejected": {"count": proposal.get("count", 0), "by": args.by, "at": now},
                "delete_proposal": None,
            }
        if args.job_id:
            await self._project_job(args, now)
            fields |= {"locked": args.job_status in {"", "running"}}
        await self._engine.configs.project(args.sync_config_id, fields)

    async def _project_job(self, args: ProjectArgs, now: datetime) -> None:
        if args.job_status:
            await self._engine.runs.set_job(
                args.job_id,
                {"status": args.job_status, **({"trigger": args.job_trigger} if args.job_trigger else {})},
            )
            return
        sync = await self._engine.configs.sync(args.sync_config_id)
        if sync is None:
            return
        await self._engine.runs.open_job(
            args.job_id,
            {
                "sync_config_id": args.sync_config_id,
                "bucket_id": sync["bucket_id"],
                "internal_id": sync["internal_id"],
                "namespace_id": sync["namespace_id"],
                "metadata": {"triggered_by": args.by or args.job_trigger},
                "phase": "queued",
                "started_at": None,
                "status": "running",
                "trigger": args.job_trigger,
            },
            running={"requested_at": now},
        )

    @activity.defn(name="requeue_dead_letters")
    async def requeue(self, sync_config_id: str, args: RequeueArgs) -> RequeueResult:
        """Exhausted dead letters get three new tries in the next run."""
        return RequeueResult(requeued=await self._engine.letters.requeue(sync_config_id, args.error_types))


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
