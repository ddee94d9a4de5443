"""Ingestion of one staged chunk: fetch, make blobs durable, commit in groups, count what became of each object.

At most `batch_size` objects are fetched or in flight but not yet committed, so a killed worker costs
no more than one group. A group commits in a fixed order: blobs on disk, one sync for the group, then
one insert of the new and one update of the known.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.book import ChunkBook, recall
from activities.contracts import Counts
from activities.engine import Engine, SyncContext
from activities.fetch import Fetched, Fetcher, Verdict
from activities.hand_back import Stop, run_until_handed_back
from activities.metrics import count_throttle
from activities.pace import Pace
from activities.run_contracts import IngestArgs, IngestResult
from activities.writing import GroupWriter
from providers.base import SourceObject
from providers.errors import Throttled, Transient
from stores.database import Document
from stores.objects import fence_of

__all__ = ["MAX_TRIES", "ChunkIngestion", "IngestActivities"]

# Temporal's three attempts, counted per object so that a lost worker costs no object one of its own.
MAX_TRIES = 3
# A source that lets most things through is asked for the rest soon; one that does not, later each time.
_SOON_SECONDS = 1.0
_THROTTLE_SECONDS = 2.0
_LONGEST_THROTTLE_SECONDS = 30.0
_STREAM_BYTES = 8 * 1024 * 1024
_UNKNOWN_BYTES = 1024 * 1024


class ChunkIngestion:
    """One attempt at one chunk."""

    def __init__(
        self, engine: Engine, context: SyncContext, args: IngestArgs, chunk: Document, stop: Stop, *, attempt: int
    ) -> None:
        self._engine = engine
        self._context = context
        self._args = args
        self._chunk = chunk
        self._stop = stop
        self._attempt = attempt
        self._items: list[Document] = chunk["items"]
        self._failures: dict[str, Document] = {f["id"]: f for f in chunk.get("failures", [])}
        self._book = ChunkBook()
        self._requests = 0
        self._held = 0
        self._in_flight = 0
        self._fetchers = 0
        self._letters_open = False
        self._queue: asyncio.Queue[Fetched | None] = asyncio.Queue()
        self._group = max(1, int(context.sync.get("batch_size") or 50))
        wanted = context.sync.get("sync_concurrency") or engine.settings.sync_concurrency
        self._concurrency = max(1, min(int(wanted), self._group) >> args.slow)
        self._pace = Pace(self._concurrency)
        self._permits = asyncio.Semaphore(self._group)
        self._fetcher = Fetcher(engine, context)
        self._writer = GroupWriter(
            engine, context, run_id=args.run_id, chunk_id=args.chunk_id, fence=fence_of(args.run_no, attempt)
        )

    async def run(self) -> IngestResult:
        """Work through the chunk; see the module docstring."""
        todo = await self._still_to_do()
        self._letters_open = await self._engine.letters.any(self._context.id)
        feed = iter(todo)
        self._fetchers = min(self._concurrency, len(todo))
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self._fetchers):
                    group.create_task(self._fetch_from(feed))
                group.create_task(self._commit_groups())
        finally:
            # What an attempt that failed still held on its way to a commit.
            self._engine.memory.give(self._held)
        return await self._settle()

    async def show_progress(self) -> None:
        """Let the job show how far this chunk is."""
        await self._engine.runs.progress(self._args.chunk_id, self._book.tally())

    async def _still_to_do(self) -> list[Document]:
        """Items that neither an earlier attempt nor an earlier part of this run has finished."""
        if self._attempt == 1 and not self._args.resumed:
            return self._items
        return await recall(self._engine, self._context.sync, self._chunk, self._book)

    # --- fetching

    async def _fetch_from(self, feed: Iterator[Document]) -> None:
        try:
            for item in feed:
                await self._permits.acquire()
                # A body is held whole until its group commits, and copied once on its way; a stream holds two batches.
                budget = await self._engine.memory.take(min(2 * (item["size"] or _UNKNOWN_BYTES), _STREAM_BYTES))
                self._held += budget
                await self._pace.enter()
                if self._stop.requested or self._pace.closed:
                    self._pace.leave()
                    self._release(budget)
                    return
                self._in_flight += 1
                try:
                    fetched = await self._fetch(item)
                finally:
                    self._in_flight -= 1
                    self._pace.leave()
                if fetched is None:
                    self._release(budget)
                elif fetched.body is None:
                    # A stream is in the store already: what waits for the commit is its name.
                    self._give(budget)
                else:
                    fetched.budget = budget
                self._queue.put_nowait(fetched)
        finally:
            self._fetchers -= 1
            self._queue.put_nowait(None)

    def _give(self, budget: int) -> None:
        self._held -= budget
        self._engine.memory.give(budget)

    def _release(self, budget: int) -> None:
        self._give(budget)
        self._permits.release()

    async def _fetch(self, item: Document) -> Fetched | None:
        """None: not this time. Throttled slows this attempt down, transient trouble is counted for the next."""
        source = SourceObject.from_document(item)
        try:
            fetched = await self._fetcher.fetch(item["op"], source)
        except Throttled as error:
            self._requests += 1
            self._pace.was_throttled(error.retry_after)
            return None
        except Transient as error:
            self._requests += 1
            self._pace.went_through()
            tries = self._failures.get(source.id, {}).get("tries", 0) + 1
            self._failures[source.id] = _failure(source.id, tries, error.reason, str(error))
            return None
        self._pace.went_through()
        self._requests += fetched.requests
        return fetched

    # --- committing

    async def _commit_groups(self) -> None:
        # Half a group commits while the other half is being fetched: never more than one group is outstanding.
        enough = max(1, self._group // 2)
        ready: list[Fetched] = []
        while True:
            while not self._queue.empty() or (
                len(ready) < enough and (self._in_flight or (self._fetchers and not ready))
            ):
                if (fetched := await self._queue.get()) is not None:
                    ready.append(fetched)
            if not ready:
                return
            group, ready = ready[: self._group], ready[self._group :]
            await self._commit(group)
            for one in group:
                self._release(one.budget)

    async def _commit(self, group: list[Fetched]) -> None:
        failed: list[tuple[str, str, str]] = []
        for one in group:
            if one.verdict is Verdict.FAILED:
                failed.append((one.listed.id, one.reason, one.message))
            elif one.verdict is Verdict.SKIPPED:
                self._book.done(one.listed.id, f"skipped:{one.reason}", 0, None)
        await self._engine.rejects.note(
            self._context.id,
            [(one.listed.id, one.listed.fingerprint, one.reason) for one in group if one.reason.startswith("filtered")],
        )
        wanted = [one for one in group if one.verdict in {Verdict.FETCHED, Verdict.TOUCHED}]
        for result in await self._writer.write(wanted):
            name, _, reason = result.outcome.partition(":")
            if name == "failed":
                failed.append((result.source_id, reason, result.message))
            else:
                accepted = result.object_id if result.accepted else None
                growth = (result.added, result.size_delta)
                self._book.done(result.source_id, result.outcome, result.size, accepted, growth)
        if wanted and self._letters_open:
            await self._engine.letters.resolve(
                self._context.id, [one.source.id for one in wanted if one.source.id in self._book.outcome]
            )
        for source_id, reason, message in failed:
            tries = self._failures.get(source_id, {}).get("tries", 0) + 1
            self._failures[source_id] = _failure(source_id, tries, reason, message)
        if failed:
            await self._bury([source_id for source_id, _, _ in failed])

    # --- settling

    async def _settle(self) -> IngestResult:
        exhausted = [
            i
            for i, f in self._failures.items()
            if f["tries"] >= MAX_TRIES and not f.get("dead") and i not in self._book.outcome
        ]
        if exhausted:
            await self._bury(exhausted)
        left = [item["id"] for item in self._items if item["id"] not in self._book.outcome]
        if left:
            if self._failures:
                await self._engine.runs.record_failures(self._args.chunk_id, list(self._failures.values()))
            return await self._unfinished(left)
        tally = self._book.tally()
        await self._engine.runs.complete(
            self._args.chunk_id,
            tally={**tally, "requests": self._requests},
            skipped=self._book.skipped(),
            accepted=list(self._book.accepted.values()),
        )
        return IngestResult(counts=result_counts(tally, self._book.skipped(), self._requests), done=True)

    async def _unfinished(self, left: list[str]) -> IngestResult:
        counts = Counts(requests=self._requests)
        if self._pace.throttled:
            return await self._throttled(counts)
        if self._stop.requested:
            return IngestResult(counts=counts, handed_back=True)
        failing = [self._failures[i] for i in left if i in self._failures]
        if failing and self._attempt < MAX_TRIES:
            first = failing[0]
            raise ApplicationError(
                f"{len(failing)} of {len(self._items)} objects still failing, first: {first['message']}",
                type="ObjectsStillFailing",
            )
        # A lost worker used up an attempt: the objects have tries left, so the workflow schedules the chunk anew.
        return IngestResult(counts=counts, retry_after=_SOON_SECONDS)

    async def _throttled(self, counts: Counts) -> IngestResult:
        """The workflow waits, and where the source needs a pause everything on the connection does."""
        count_throttle(self._context.connection["provider_type"])
        counts.throttle_waits = 1
        if not self._pace.heavy:
            return IngestResult(counts=counts, retry_after=_SOON_SECONDS, steady=True)
        wait = self._pace.asked_to_wait or min(_LONGEST_THROTTLE_SECONDS, _THROTTLE_SECONDS * 2**self._args.slow)
        until = datetime.now(UTC) + timedelta(seconds=wait)
        await self._engine.configs.throttle_connection(self._context.sync["connection_id"], until)
        return IngestResult(counts=counts, retry_after=wait)

    async def _bury(self, source_ids: list[str]) -> None:
        items = {item["id"]: item for item in self._items}
        sync = self._context.sync
        await self._engine.letters.bury(
            [
                {
                    "sync_config_id": self._context.id,
                    "source_object_id": source_id,
                    "source_path": items[source_id]["path"],
                    "fingerprint": items[source_id]["fp"],
                    "error_type": self._failures[source_id]["reason"],
                    "error_message": self._failures[source_id]["message"][:1000],
                    "retry_count": self._failures[source_id]["tries"],
                    "sync_job_id": self._args.run_id,
                    "internal_id": sync["internal_id"],
                    "namespace_id": sync["namespace_id"],
                    "bucket_id": sync["bucket_id"],
                }
                for source_id in source_ids
            ]
        )
        for source_id in source_ids:
            self._failures[source_id]["dead"] = True
            self._book.done(source_id, "failed", 0, None)


def _failure(source_id: str, tries: int, reason: str, message: str) -> Document:
    return {"id": source_id, "tries": tries, "reason": reason, "message": message[:500]}


def result_counts(tally: dict[str, Any], skipped: dict[str, int], requests: int) -> Counts:
    """The tally of a chunk as Counts; `seen` and `unchanged` belong to the listing."""
    return Counts(
        stored=tally.get("stored", 0),
        updated=tally.get("updated", 0),
        skipped=tally.get("skipped", 0),
        failed=tally.get("failed", 0),
        bytes=tally.get("bytes", 0),
        requests=requests,
        skipped_by_reason=dict(skipped),
    )


class IngestActivities:
    """The ingestion activity."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @activity.defn(name="ingest_chunk")
    async def ingest_chunk(self, args: IngestArgs) -> IngestResult:
        """Ingest one staged chunk. Done already: answers its recorded outcome again."""
        chunk = await self._engine.runs.chunk(args.chunk_id)
        if chunk is None:
            raise ApplicationError(f"staged chunk {args.chunk_id} is gone", type="ChunkLost", non_retryable=True)
        if chunk.get("done"):
            tally = chunk["tally"]
            return IngestResult(
                counts=result_counts(tally, chunk.get("skipped") or {}, tally.get("requests", 0)), done=True
            )
        context = await self._engine.open_sync(args.sync_config_id)
        if wait := context.throttled_for():
            return IngestResult(counts=Counts(throttle_waits=1), retry_after=wait)
        stop = Stop()
        work = ChunkIngestion(self._engine, context, args, chunk, stop, attempt=activity.info().attempt)
        return await run_until_handed_back(work.run(), stop, beat=work.show_progress)
