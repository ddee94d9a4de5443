"""Activities under their real names over `Books`: pages, chunks and scripted outcomes, no source, no database."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable
from typing import Any

from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.contracts import Counts, RequeueArgs
from activities.run_contracts import (
    BatchesArgs,
    BatchesResult,
    BatchOutcome,
    BatchPlan,
    BeginArgs,
    BeginResult,
    ChunkRef,
    FinishArgs,
    FinishResult,
    HealthResult,
    IngestArgs,
    IngestResult,
    ListArgs,
    ListResult,
    LoadedState,
    ProjectArgs,
    ReconcileArgs,
    ReconcileResult,
    RequeueResult,
    RunPlan,
    Segment,
)
from tests.workflow_model.books import WORK, Books, Chunk, Job

SUSPEND_AFTER = 5
# An outcome that is an exception: its type, and whether Temporal may retry it.
RAISED = {
    "transient": ("ObjectsStillFailing", True),
    "bug": ("Bug", True),
    "store": ("StoreUnavailable", True),
    "denied": ("Denied", False),
    "waits": ("ConnectionWaits", False),
    "fatal": ("Bug", False),
}


class Call:
    """An activity that waits for its outcome to be told, one by one."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.outcome: str | None = None


class Model:
    """Every activity of the worker. `script[name]` holds the outcomes of its next calls; without one it succeeds.

    Outcomes: a key of `RAISED`, `throttle`, `hand_back`, `lost` (the worker is killed: no beat, no answer),
    `block`, `gone`, `unordered`.
    """

    def __init__(self, books: Books | None = None) -> None:
        self.books = books or Books()
        self.script: dict[str, deque[str]] = defaultdict(deque)
        self.gates: dict[str, asyncio.Event] = {}
        self.in_flight: dict[str, int] = defaultdict(int)
        self.manual = False
        self.waiting: list[Call] = []
        self.choose: Callable[[str], str] = lambda _name: ""
        self.plans: dict[str, BatchPlan] = {}
        self.batches: dict[str, str] = {}
        self.health = HealthResult(status="ACTIVE")
        self.checks = 0
        self.requeued = 0

    @property
    def activities(self) -> list[Callable[..., Any]]:
        return [
            *(self.load_state, self.begin_run, self.list_pages, self.reconcile, self.make_batches, self.finish_run),
            *(self.project, self.requeue_dead_letters, self.begin_batch, self.post_batch, self.finish_batch),
            self.check_connection,
        ]

    # --- scripting

    def hold(self, name: str) -> None:
        """Calls of this activity work until released, or hand back when they are canceled."""
        self.gates[name] = asyncio.Event()

    def release(self, name: str) -> None:
        if (gate := self.gates.pop(name, None)) is not None:
            gate.set()

    async def _outcome(self, name: str) -> str:
        """The next scripted outcome, after waiting while held; `hand_back` when canceled meanwhile."""
        outcome = self.script[name].popleft() if self.script[name] else self.choose(name)
        if self.manual and name in WORK:
            outcome = await self._told(name)
        if outcome in RAISED:
            kind, retryable = RAISED[outcome]
            raise ApplicationError(f"scripted {outcome}", type=kind, non_retryable=not retryable)
        self.in_flight[name] += 1
        try:
            if outcome == "lost":
                await asyncio.Event().wait()
            while (gate := self.gates.get(name)) is not None:
                activity.heartbeat()
                try:
                    async with asyncio.timeout(0.05):
                        await gate.wait()
                except TimeoutError:
                    continue
        except asyncio.CancelledError:
            details = activity.cancellation_details()
            if outcome == "lost" or details is None or details.not_found or details.timed_out:
                raise
            return "hand_back"
        finally:
            self.in_flight[name] -= 1
        return outcome

    async def _told(self, name: str) -> str:
        """Wait to be told the outcome; `hand_back` when canceled meanwhile."""
        call = Call(name)
        self.waiting.append(call)
        try:
            while call.outcome is None and self.manual:
                activity.heartbeat()
                await asyncio.sleep(0.02)
        except asyncio.CancelledError:
            details = activity.cancellation_details()
            if details is None or details.not_found or details.timed_out:
                raise
            return "hand_back"
        finally:
            self.waiting.remove(call)
        return call.outcome or ""

    async def _work(self, name: str) -> str:
        self.books.work(name, activity.info().current_attempt_scheduled_time)
        return await self._outcome(name)

    # --- runs

    @activity.defn(name="load_state")
    async def load_state(self, sync_config_id: str) -> LoadedState:
        await self._outcome("load_state")
        books = self.books
        for job in books.jobs.values():
            if job.begun and not job.closed:
                job.closed, job.status = True, "interrupted"
        return LoadedState(
            deleted=books.deleted,
            paused=books.paused,
            pause_reason=books.pause_reason,
            pending_full_sync=books.pending_full_sync,
            proposal_id=books.proposal_id,
            proposed=books.proposed,
            consecutive_failures=books.failures,
            polling_interval_seconds=books.interval,
            continuous=books.continuous,
        )

    @activity.defn(name="begin_run")
    async def begin_run(self, args: BeginArgs) -> BeginResult:
        books = self.books
        try:
            outcome = await self._work("begin_run")
        except ApplicationError as error:
            if error.non_retryable:  # the source refused: the job is on record before it is asked
                self._record(args)
            raise
        if books.deleted or outcome == "gone":
            books.drop(args.run_id)
            return BeginResult(gone=True)
        if books.blocked or outcome == "block":
            if args.trigger == "scheduled":
                books.drop(args.run_id)
            return BeginResult(blocked=books.blocked or "connection is FAILED")
        job = self._record(args)
        plan = RunPlan(
            polling_interval_seconds=books.interval,
            continuous=books.continuous,
            window=books.window,
            make_batches=books.make_batches,
            object_cap=10**9,
        )
        listing = self._list(args.run_id, 0, [Segment()], 1, outcome)
        begun = BeginResult(plan=plan, run_no=books.counter, listing=listing)
        found = listing.chunks or listing.absent or books.proposal_id or books.rejected
        if job.closed or (listing.complete and not found):
            finish = FinishArgs(run_id=args.run_id, counts=listing.counts, complete=True)
            begun.finished = self._finish(finish)
        return begun

    def _record(self, args: BeginArgs) -> Job:
        books = self.books
        books.begin(args.run_id)
        if books.numbered != args.run_id:
            books.numbered, books.counter = args.run_id, books.counter + 1
        job = books.jobs.setdefault(args.run_id, Job(args.trigger, args.triggered_by))
        job.begun, job.full_sync, job.pending_full_sync = True, args.full_sync, args.pending_full_sync
        if not job.closed:
            books.pending_full_sync, books.status = args.pending_full_sync, "ACTIVE"
        return job

    @activity.defn(name="list_pages")
    async def list_pages(self, args: ListArgs) -> ListResult:
        outcome = await self._work("list_pages")
        return self._list(args.run_id, args.seq, args.segments, args.max_chunks, outcome)

    def _list(self, run_id: str, seq: int, segments: list[Segment], max_chunks: int, outcome: str) -> ListResult:
        books = self.books
        if outcome == "throttle":
            return ListResult(segments=segments, retry_after=7.0, counts=Counts(throttle_waits=1))
        if outcome == "hand_back":
            return ListResult(segments=segments, handed_back=True)
        result = ListResult(segments=segments, out_of_order=outcome == "unordered")
        if result.out_of_order:
            return result
        place = int(segments[0].cursor or 0) if segments else 0
        rest = sorted(i for i in books.source if i >= place)
        take = max_chunks * books.chunk_size
        fresh = [i for i in rest if i not in books.stored]
        last = fresh[take - 1] if len(fresh) > take else None
        listed = rest if last is None else [i for i in rest if i <= last]
        new = [i for i in listed if i not in books.stored]
        result.counts = Counts(seen=len(listed), unchanged=len(listed) - len(new), requests=1)
        for start in range(0, len(new), books.chunk_size):
            chunk_id = f"{run_id}:{seq}:{activity.info().attempt}:{len(result.chunks)}"
            members = new[start : start + books.chunk_size]
            books.chunks[chunk_id] = Chunk(run_id, members)
            result.chunks.append(ChunkRef(chunk_id, len(members)))
        if last is not None:
            result.segments = [Segment(cursor=str(last + 1), after=str(last))]
            return result
        result.segments, result.at_end, result.complete = [], True, True
        gone = sorted(books.stored - books.source)
        if gone:
            chunk_id = f"{run_id}:{seq}:{activity.info().attempt}:a0"
            books.absent[chunk_id] = gone
            result.absent, result.absent_chunks = len(gone), [chunk_id]
        return result

    @activity.defn(name="ingest_chunk")
    async def ingest_chunk(self, args: IngestArgs) -> IngestResult:
        books, chunk = self.books, self.books.chunks[args.chunk_id]
        if chunk.done and activity.info().attempt == 1:
            books.violations.append(f"chunk {args.chunk_id} is ingested again though its result was answered")
        outcome = await self._work("ingest_chunk")
        if outcome == "throttle":
            return IngestResult(retry_after=5.0, counts=Counts(throttle_waits=1))
        if outcome == "hand_back":
            return IngestResult(handed_back=True)
        chunk.done = True
        books.jobs[args.run_id].new |= set(chunk.members)
        books.stored |= set(chunk.members)
        return IngestResult(counts=Counts(stored=len(chunk.members), bytes=len(chunk.members)), done=True)

    @activity.defn(name="reconcile")
    async def reconcile(self, args: ReconcileArgs) -> ReconcileResult:
        books = self.books
        if await self._work("reconcile") == "hand_back":
            return ReconcileResult(handed_back=True)
        gone = {i for name in args.absent_chunks for i in books.absent[name]}
        owned = len(books.stored)
        if len(gone) > books.gate and not (args.approved and args.approved == books.proposal_id):
            if books.rejected >= len(gone):
                return ReconcileResult(owned=owned)
            books.proposal_id, books.proposed = books.proposal_id or f"del_{args.run_id}", len(gone)
            return ReconcileResult(proposed=len(gone), owned=owned, proposal_id=books.proposal_id)
        books.stored -= gone
        books.proposal_id, books.proposed, books.rejected = "", 0, 0
        return ReconcileResult(removed=len(gone), owned=owned)

    @activity.defn(name="make_batches")
    async def make_batches(self, args: BatchesArgs) -> BatchesResult:
        await self._work("make_batches")
        return BatchesResult(batches=1, objects=len(self.books.jobs[args.run_id].new))

    @activity.defn(name="finish_run")
    async def finish_run(self, args: FinishArgs) -> FinishResult:
        await self._outcome("finish_run")
        return self._finish(args)

    def _finish(self, args: FinishArgs) -> FinishResult:
        books = self.books
        job = books.close(args.run_id, args.status, args.counts, args.error)
        return FinishResult(
            counts=job.counts,
            status=job.status,
            error=job.error,
            polling_interval_seconds=books.interval,
            continuous=books.continuous,
            consecutive_failures=books.failures,
            dead_letters=books.dead_letters,
            suspended=job.status == "failed" and books.failures >= SUSPEND_AFTER,
        )

    @activity.defn(name="project")
    async def project(self, args: ProjectArgs) -> None:
        await self._outcome("project")
        books = self.books
        if args.paused is not None:
            books.paused, books.pause_reason = args.paused, args.reason
            books.noted_at = activity.info().started_time
            if not args.paused:
                books.failures = 0
        if args.pending_full_sync is not None:
            books.pending_full_sync = args.pending_full_sync
        books.status = args.status or books.status
        books.deleted = books.deleted or args.deleted
        if args.decision == "reject":
            books.rejected, books.proposal_id, books.proposed = books.proposed, "", 0
        if args.job_id and not args.job_status:
            books.jobs.setdefault(args.job_id, Job(args.job_trigger, args.by))
        elif args.job_id and args.job_id in books.jobs and not books.jobs[args.job_id].closed:
            job = books.jobs[args.job_id]
            job.status = args.job_status
            job.resumed += args.job_trigger == "resume"

    @activity.defn(name="requeue_dead_letters")
    async def requeue_dead_letters(self, sync_config_id: str, args: RequeueArgs) -> RequeueResult:
        await self._outcome("requeue_dead_letters")
        self.requeued += 1
        requeued, self.books.dead_letters = self.books.dead_letters, 0
        return RequeueResult(requeued=requeued)

    # --- batches and connections

    @activity.defn(name="begin_batch")
    async def begin_batch(self, batch_id: str) -> BatchPlan:
        await self._outcome("begin_batch")
        return self.plans.get(batch_id, BatchPlan(objects=1))

    @activity.defn(name="post_batch")
    async def post_batch(self, batch_id: str) -> None:
        if await self._outcome("post_batch") == "hand_back":
            raise asyncio.CancelledError

    @activity.defn(name="finish_batch")
    async def finish_batch(self, batch_id: str, outcome: BatchOutcome) -> None:
        await self._outcome("finish_batch")
        self.batches[batch_id] = outcome.status

    @activity.defn(name="check_connection")
    async def check_connection(self, connection_id: str) -> HealthResult:
        await self._outcome("check_connection")
        self.checks += 1
        return self.health
