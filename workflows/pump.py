"""The sliding window of a run: listing goes on while a few chunks are being ingested.

Nothing here sleeps or polls: every activity's end, every command and every waiting time that is over
wakes `work`, which then starts what there is room for.
"""

from __future__ import annotations

import asyncio
import contextlib
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from temporalio import workflow
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from activities.run_contracts import (
        BeginArgs,
        BeginResult,
        ChunkRef,
        IngestArgs,
        IngestResult,
        ListArgs,
        ListResult,
    )
    from workflows import details, policies
    from workflows.failures import classify
    from workflows.state import Run

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from workflows.sync import SyncWorkflow

__all__ = ["Pump"]

# Throttled: each time the concurrency is halved, down to a sixteenth; each finished chunk gives a step back.
_SLOWEST = 4
# A listing hands over one chunk at first, so that ingestion starts at once, then several, which costs fewer events.
_CHUNKS_PER_LISTING = 4
# Name of the one listing that may be in flight; every other name is a chunk's id.
_LIST = "list"


class Pump:
    """Drives one run of one workflow; made anew whenever the run is taken up."""

    def __init__(self, owner: SyncWorkflow) -> None:
        self._owner = owner
        self._handles: dict[str, workflow.ActivityHandle[Any]] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._recalled: set[str] = set()

    async def work(self, run: Run) -> None:
        """Begin the run if it has not begun, then keep the window full until it is through, failed or must hand back.

        Returns with nothing in flight.
        """
        owner = self._owner
        while owner.state.run is run:
            if not self._over(run):
                self._start(run)
            if not self._tasks and (self._over(run) or run.wait_until <= workflow.time()):
                return
            await self._until_moved(run)
            self._collect()

    def _over(self, run: Run) -> bool:
        owner = self._owner
        if owner.halting() or run.error or run.unusable or owner.draining():
            return True
        return run.at_end and not run.chunks

    # --- starting

    def _start(self, run: Run) -> None:
        if run.wait_until > workflow.time():
            return
        if not run.begun:
            if not self._tasks:
                self._start_begin(run)
            return
        window = max(1, run.plan.window >> run.slow)
        waiting = [chunk for chunk in run.chunks if chunk.id not in self._tasks]
        if not run.at_end and _LIST not in self._tasks and len(waiting) < run.plan.window:
            self._start_listing(run)
        running = len(self._tasks) - (_LIST in self._tasks)
        for chunk in waiting[: max(0, window - running)]:
            self._start_chunk(run, chunk)
        run.phase = "downloading" if run.chunks else "discovering"

    def _start_begin(self, run: Run) -> None:
        """The first activity of a run: freezes its settings and lists the first slice; an idle pass ends in it."""
        state = self._owner.state
        args = BeginArgs(
            sync_config_id=self._owner.ids.sync_config_id,
            run_id=run.id,
            trigger=run.trigger,
            triggered_by=run.by,
            full_sync=run.full_sync,
            full_pass=state.full_pass_next or bool(state.approved),
            pending_full_sync=state.pending_full_sync,
        )
        handle = workflow.start_activity(
            "begin_run",
            args,
            result_type=BeginResult,
            summary="begin run, list",
            **policies.listing(self._owner.control_queue),
        )
        self._follow(_LIST, handle, self._begun(run, handle, args))

    def _start_listing(self, run: Run) -> None:
        run.seq += 1
        args = ListArgs(
            sync_config_id=self._owner.ids.sync_config_id,
            run_id=run.id,
            seq=run.seq,
            segments=run.segments,
            room=max(0, run.plan.object_cap - run.taken),
            max_chunks=1 if run.seq < 2 else _CHUNKS_PER_LISTING,
            full_sync=run.full_sync,
            incremental=run.plan.incremental,
        )
        handle = workflow.start_activity(
            "list_pages",
            args,
            result_type=ListResult,
            summary=f"run {run.number}: list on after {run.counts.seen}",
            **policies.listing(self._owner.control_queue),
        )
        self._follow(_LIST, handle, self._page_listed(run, handle))

    def _start_chunk(self, run: Run, chunk: ChunkRef) -> None:
        args = IngestArgs(
            sync_config_id=self._owner.ids.sync_config_id,
            run_id=run.id,
            run_no=run.number,
            chunk_id=chunk.id,
            resumed=chunk.tried,
            slow=run.slow,
        )
        handle = workflow.start_activity(
            "ingest_chunk",
            args,
            result_type=IngestResult,
            summary=details.chunk_summary(chunk.size, run.number),
            **policies.ingestion(self._owner.ingest_queue),
        )
        chunk.tried = True
        self._follow(chunk.id, handle, self._chunk_ended(run, chunk, handle))

    def _follow(self, name: str, handle: workflow.ActivityHandle[Any], ending: Coroutine[Any, Any, None]) -> None:
        self._handles[name] = handle
        self._tasks[name] = asyncio.create_task(ending)

    # --- results

    async def _begun(self, run: Run, handle: workflow.ActivityHandle[BeginResult], args: BeginArgs) -> None:
        owner = self._owner
        try:
            begun = await handle
        except ActivityError as error:
            owner.failed(run, classify(error, listing=True))
            run.begun = run.at_end = bool(run.error)
            return
        if begun.gone or begun.blocked:
            owner.blocked(run, begun)
            return
        owner.state.blocked = ""
        run.begun, run.plan, run.number = True, begun.plan, begun.run_no
        self._listed(run, begun.listing)
        if begun.finished is not None:
            owner.finished(run, begun.finished)
        await owner.correct(args)

    async def _page_listed(self, run: Run, handle: workflow.ActivityHandle[ListResult]) -> None:
        try:
            result = await handle
        except ActivityError as error:
            self._owner.failed(run, classify(error, listing=True))
        else:
            self._listed(run, result)

    def _listed(self, run: Run, result: ListResult) -> None:
        run.segments, run.at_end = result.segments, result.at_end
        run.complete = result.complete
        run.partial_reason = run.partial_reason or result.partial_reason
        if result.unproven and not run.partial_reason:
            run.partial_reason = result.unproven[0][2]
        run.out_of_order = run.out_of_order or result.out_of_order
        run.rescan = run.rescan or result.rescan
        run.proven += result.proven
        run.unproven += result.unproven
        run.position_chunks += result.position_chunks
        run.chunks += result.chunks
        run.taken += sum(chunk.size for chunk in result.chunks)
        run.absent += result.absent
        run.absent_chunks += result.absent_chunks
        run.counts.add(result.counts)
        if result.retry_after:
            self._throttled(run, result.retry_after)

    async def _chunk_ended(self, run: Run, chunk: ChunkRef, handle: workflow.ActivityHandle[IngestResult]) -> None:
        try:
            result = await handle
        except ActivityError as error:
            self._owner.failed(run, classify(error, listing=False))
            return
        run.counts.add(result.counts)
        if result.done:
            run.chunks.remove(chunk)
            run.slow = max(0, run.slow - 1)
        elif result.retry_after:
            slower = bool(result.counts.throttle_waits) and not result.steady
            self._throttled(run, result.retry_after, slower=slower)

    def _throttled(self, run: Run, seconds: float, *, slower: bool = True) -> None:
        run.wait_until = max(run.wait_until, workflow.time() + seconds)
        if slower:
            run.slow = min(_SLOWEST, run.slow + 1)

    # --- waiting

    def _collect(self) -> None:
        """Forget what has ended; a bug in handling a result fails the workflow task here, so that a deploy mends it."""
        for name in [name for name, task in self._tasks.items() if task.done()]:
            del self._handles[name]
            self._recalled.discard(name)
            self._tasks.pop(name).result()
        self._owner.publish()

    async def _until_moved(self, run: Run) -> None:
        """Until an activity ended, a command asks to hand back, or a waiting time is over."""
        timeout = None
        if run.wait_until > workflow.time() and not self._over(run):
            timeout = timedelta(seconds=run.wait_until - workflow.time())
        self._recall(run)
        with contextlib.suppress(TimeoutError):
            await workflow.wait_condition(
                lambda: self._moved(run),
                timeout=timeout,
                timeout_summary="source throttles, or trying again later" if timeout else None,
            )
        self._recall(run)

    def _moved(self, run: Run) -> bool:
        if not self._tasks:
            return self._over(run)
        return any(task.done() for task in self._tasks.values()) or bool(self._to_recall(run))

    def _to_recall(self, run: Run) -> list[str]:
        """What is in flight, should hand back and was not asked to yet; in order of starting, as replay needs it."""
        if not (self._owner.halting() or run.error):
            return []
        return [name for name in self._handles if name not in self._recalled and not self._tasks[name].done()]

    def _recall(self, run: Run) -> None:
        """Ask what runs to hand back; it answers with what it has done."""
        for name in self._to_recall(run):
            self._recalled.add(name)
            self._handles[name].cancel()
