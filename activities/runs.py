"""Beginning and ending a run, and showing the workflow's state in the documents that the API reads."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

from temporalio import activity

from activities.batches import BatchActivities
from activities.contracts import RequeueArgs
from activities.engine import ConnectionWaits, Engine, SyncContext, SyncGone
from activities.hand_back import Stop, run_until_handed_back
from activities.ledger import RunLedger, signature
from activities.pages import SLOW_PAGE_SECONDS, Listing, is_ordered
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


class RunActivities:
    """Run bookkeeping."""

    def __init__(self, engine: Engine, batches: BatchActivities) -> None:
        self._engine = engine
        self._ledger = RunLedger(engine, batches.make)

    @activity.defn(name="load_state")
    async def load_state(self, sync_config_id: str) -> LoadedState:
        """Desired state for a fresh execution; a job left running by a lost one is closed as interrupted."""
        sync = await self._engine.configs.sync(sync_config_id, deleted=True)
        if sync is None:
            return LoadedState(deleted=True)
        if lost := sync.get("current_sync_run_id"):
            await self._ledger.close_lost(
                sync, lost, "the workflow of this run ended before the run did; the next run takes over"
            )
        if sync.get("deleted_at"):
            return LoadedState(deleted=True)
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
        """Freeze the settings, record the job, list the first slice; finish at once if nothing is to be done."""
        try:
            sync, _, _ = await self._engine.read_sync(args.sync_config_id)
        except SyncGone:
            await self._close_unbegun(args, "the sync was deleted before this run began")
            return BeginResult(gone=True)
        except ConnectionWaits as error:
            if args.trigger == "scheduled":  # a run that somebody asked for is kept, and begins later
                await self._close_unbegun(args, error.reason)
            return BeginResult(blocked=error.reason)
        run_no = await self._engine.configs.take_run_number(args.sync_config_id, args.run_id)
        # The job is on record before anything can go wrong at the source.
        fresh = await self._open_job(sync, args)
        context = await self._engine.open_sync(args.sync_config_id)
        plan = self._plan(context, args)
        stop = Stop()
        first = ListArgs(
            sync_config_id=args.sync_config_id,
            run_id=args.run_id,
            segments=self._segments(context, plan),
            room=plan.object_cap,
            max_chunks=1,
            full_sync=args.full_sync,
            incremental=plan.incremental,
        )
        ordered = plan.ordered and not plan.incremental
        listing = Listing(self._engine, context, first, stop, attempt=activity.info().attempt, ordered=ordered)
        result = await run_until_handed_back(listing.run(), stop)
        begun = BeginResult(plan=plan, run_no=run_no, listing=result)
        idle = result.complete and not (result.chunks or result.absent or result.proven)
        waiting = context.sync.get("delete_proposal") or context.sync.get("delete_rejected")
        # Of an unordered full walk only the comparison with what was seen proves an end.
        whole = idle and (plan.incremental or plan.ordered)
        # An earlier attempt whose answer was lost may have ended the run: what came since is the next run's.
        if not fresh or (whole and (plan.incremental or not waiting)):
            finish = FinishArgs(
                sync_config_id=args.sync_config_id,
                run_id=args.run_id,
                run_no=run_no,
                counts=result.counts,
                complete=whole,
                partial_reason=result.unproven[0][2] if result.unproven else "",
                incremental=plan.incremental,
                position_chunks=result.position_chunks,
            )
            begun.finished = await self._ledger.close(context.sync, finish)
        return begun

    def _plan(self, context: SyncContext, args: BeginArgs) -> RunPlan:
        sync = context.sync
        return RunPlan(
            polling_interval_seconds=int(sync.get("polling_interval_seconds") or 300),
            continuous=sync.get("sync_mode") != "initial_only",
            window=self._engine.settings.sync_window,
            object_cap=int(sync.get("max_objects_per_run") or 100_000),
            ordered=is_ordered(context),
            make_batches=not sync.get("skip_batch_submission"),
            incremental=self._is_incremental(context, args),
        )

    def _is_incremental(self, context: SyncContext, args: BeginArgs) -> bool:
        """Whether the change feed is enough: no full pass is asked for, the last is recent and of this config."""
        sync = context.sync
        if args.full_sync or args.full_pass or not context.provider.capabilities_for(context.path).change_feed:
            return False
        walked = sync.get("full_pass_at")
        if walked is None or sync.get("full_pass_signature") != signature(sync):
            return False
        age: float = (datetime.now(UTC) - walked).total_seconds()
        return age < self._engine.settings.full_pass_seconds

    def _segments(self, context: SyncContext, plan: RunPlan) -> list[Segment]:
        """One range, or several where the last pass found the source slow and remembered where to split."""
        marks: list[str] = context.sync.get("list_marks") or []
        slow = (context.sync.get("list_page_seconds") or 0.0) >= SLOW_PAGE_SECONDS
        if plan.incremental or not (plan.ordered and context.provider.capabilities.ranges and slow and marks):
            return [Segment()]
        parts = min(self._engine.settings.list_segments, len(marks) + 1)
        cuts = [marks[len(marks) * n // parts] for n in range(1, parts)]
        bounds = ["", *dict.fromkeys(cuts), ""]
        return [Segment(after=low, until=high) for low, high in pairwise(bounds)]

    async def _close_unbegun(self, args: BeginArgs, error: str) -> None:
        """Close what an earlier attempt, or a trigger, put on record of a run that will not begin."""
        job = await self._engine.runs.job(args.run_id)
        if job is None or job.get("completed_at"):
            return
        if sync := await self._engine.configs.sync(args.sync_config_id, deleted=True):
            await self._ledger.close_lost(sync, args.run_id, error)

    async def _open_job(self, sync: dict[str, Any], args: BeginArgs) -> bool:
        """Record that the run has begun; False when it has already ended."""
        now = datetime.now(UTC)
        fresh = await self._engine.runs.open_job(
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
        if not fresh:
            return False
        await self._engine.configs.project(
            args.sync_config_id,
            {
                "locked": True,
                "locked_by_worker_id": "temporal",
                "locked_at": now,
                "current_sync_run_id": args.run_id,
                "pending_full_sync": args.pending_full_sync,
                "status": "ACTIVE",
                # A suspension after failures is lifted by the run that begins; a pause is a person's to lift.
                **({"is_active": True} if sync.get("status") == "FAILED" else {}),
            },
        )
        return True

    @activity.defn(name="finish_run")
    async def finish_run(self, args: FinishArgs) -> FinishResult:
        """Recount, close the job, add to the totals. Idempotent: a repeated call books nothing twice."""
        sync = await self._engine.configs.sync(args.sync_config_id, deleted=True)
        if sync is None:
            return FinishResult(counts=args.counts, status="failed", error="the sync config no longer exists")
        return await self._ledger.close(sync, args)

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
