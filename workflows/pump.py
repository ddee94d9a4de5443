"""The sliding window of a run: listing goes on while a few chunks are being ingested.

Nothing here sleeps or polls: every activity's end, every command and every waiting time that is over
wakes `pump`, which then starts what there is room for.
"""

from __future__ import annotations

import asyncio
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
    from workflows.failures import Failure, classify
    from workflows.state import Run

if TYPE_CHECKING:
    from workflows.sync import SyncWorkflow

__all__ = ["Pump"]

# Throttled: each time the concurrency is halved, down to a sixteenth; each finished chunk gives a step back.
_SLOWEST = 4
# A listing hands over one chunk at first, so that ingestion starts at once, then several, which costs fewer events.
_CHUNKS_PER_LISTING = 4


class Pump:
    """Drives one run of one workflow; made anew whenever the run is taken up."""

    def __init__(self, owner: SyncWorkflow) -> None:
        self._owner = owner
        self._busy: dict[str, asyncio.Task[None]] = {}
        self._handles: dict[str, workflow.ActivityHandle[Any]] = {}
        self._moved = False
        self._recalled = False

    @property
    def _ingest_queue(self) -> str:
        return workflow.info().task_queue.removesuffix("-workflows") + "-ingest"

    async def begin(self, run: Run) -> None:
        """The first activity of a run: freezes its settings and lists the first slice; an idle pass ends here."""
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
        while not run.begun and not self._owner.halting():
            self._handles["list"] = workflow.start_activity(
                "begin_run",
                args,
                result_type=BeginResult,
                summary="begin run, list",
                **policies.listing(self._owner.control_queue),
            )
            task = asyncio.create_task(self._await_begin(run))
            self._busy["list"] = task
            await self._until_idle_or_halted()
            await task
            # A begun run waits in `pump`, one that could not begin waits here before it tries again.
            await self._until_moved(run)

    async def _await_begin(self, run: Run) -> None:
        try:
            begun: BeginResult = await self._handles["list"]
        except ActivityError as error:
            self._apply(run, classify(error, listing=True))
            if run.error:
                run.begun = True
                run.at_end = True
            return
        finally:
            self._free("list")
        if begun.gone or begun.blocked:
            self._owner.blocked(run, begun)
            run.begun = True
            return
        self._owner.state.blocked = ""
        run.begun, run.plan, run.number = True, begun.plan, begun.run_no
        self._listed(run, begun.listing)
        if begun.finished is not None:
            self._owner.finished(run, begun.finished)

    async def pump(self, run: Run) -> None:
        """Run the window until the run is through, has failed, or must hand back."""
        owner = self._owner
        while owner.state.run is run:
            if not (owner.halting() or run.error or run.unusable or owner.draining()):
                self._start(run)
            if not self._busy and (self._over(run) or run.wait_until <= workflow.time()):
                return
            await self._until_moved(run)
            for task in [t for t in self._busy.values() if t.done()]:
                task.result()

    def _over(self, run: Run) -> bool:
        owner = self._owner
        if owner.halting() or run.error or run.unusable or owner.draining():
            return True
        return run.at_end and not run.chunks

    def _start(self, run: Run) -> None:
        if run.wait_until > workflow.time():
            return
        window = max(1, run.plan.window >> run.slow)
        waiting = [chunk for chunk in run.chunks if chunk.id not in self._busy]
        if not run.at_end and "list" not in self._busy and len(waiting) < run.plan.window:
            self._start_listing(run)
        running = len(self._busy) - ("list" in self._busy)
        for chunk in waiting[: max(0, window - running)]:
            self._start_chunk(run, chunk)
        run.phase = "downloading" if run.chunks else "discovering"

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
        self._handles["list"] = workflow.start_activity(
            "list_pages",
            args,
            result_type=ListResult,
            summary=f"run {run.number}: list on after {run.counts.seen}",
            **policies.listing(self._owner.control_queue),
        )
        self._busy["list"] = asyncio.create_task(self._await_listing(run))

    async def _await_listing(self, run: Run) -> None:
        try:
            result: ListResult = await self._handles["list"]
        except ActivityError as error:
            self._apply(run, classify(error, listing=True))
        else:
            self._listed(run, result)
        finally:
            self._free("list")

    def _listed(self, run: Run, result: ListResult) -> None:
        run.segments, run.at_end = result.segments, result.at_end
        run.complete = result.complete
        run.partial_reason = run.partial_reason or result.partial_reason
        run.out_of_order = run.out_of_order or result.out_of_order
        run.rescan = run.rescan or result.rescan
        run.proven += result.proven
        run.position_chunks += result.position_chunks
        run.chunks += result.chunks
        run.taken += sum(chunk.size for chunk in result.chunks)
        run.absent += result.absent
        run.absent_chunks += result.absent_chunks
        run.counts.add(result.counts)
        if result.retry_after:
            self._throttled(run, result.retry_after)

    def _start_chunk(self, run: Run, chunk: ChunkRef) -> None:
        args = IngestArgs(
            sync_config_id=self._owner.ids.sync_config_id,
            run_id=run.id,
            run_no=run.number,
            chunk_id=chunk.id,
            resumed=chunk.tried,
            slow=run.slow,
        )
        self._handles[chunk.id] = workflow.start_activity(
            "ingest_chunk",
            args,
            result_type=IngestResult,
            summary=details.chunk_summary(chunk.size, run.number),
            **policies.ingestion(self._ingest_queue),
        )
        chunk.tried = True
        self._busy[chunk.id] = asyncio.create_task(self._await_chunk(run, chunk))

    async def _await_chunk(self, run: Run, chunk: ChunkRef) -> None:
        try:
            result: IngestResult = await self._handles[chunk.id]
        except ActivityError as error:
            self._apply(run, classify(error, listing=False))
        else:
            run.counts.add(result.counts)
            if result.done:
                run.chunks.remove(chunk)
                run.slow = max(0, run.slow - 1)
            elif result.retry_after:
                self._throttled(run, result.retry_after, slower=bool(result.counts.throttle_waits))
        finally:
            self._free(chunk.id)

    def _throttled(self, run: Run, seconds: float, *, slower: bool = True) -> None:
        run.wait_until = max(run.wait_until, workflow.time() + seconds)
        if slower:
            run.slow = min(_SLOWEST, run.slow + 1)

    def _apply(self, run: Run, failure: Failure) -> None:
        owner = self._owner
        if failure.error:
            run.error = run.error or failure.error
            run.connection_fault = run.connection_fault or failure.connection_fault
        elif failure.again:
            run.wait_until = max(run.wait_until, workflow.time() + failure.again)
        if failure.alarm and not owner.halting():
            owner.state.attention = failure.alarm[:500]

    def _free(self, name: str) -> None:
        self._busy.pop(name, None)
        self._handles.pop(name, None)
        self._moved = True
        self._owner.publish()

    # --- waiting

    async def _until_moved(self, run: Run) -> None:
        """Until an activity ended, a command asks to hand back, or a waiting time is over."""
        timeout = None
        if run.wait_until > workflow.time() and not self._over(run):
            timeout = timedelta(seconds=run.wait_until - workflow.time())
        elif not self._busy:
            return
        self._recall_if_halting(run)
        self._moved = False
        try:
            await workflow.wait_condition(
                lambda: self._moved or (bool(self._owner.halting() or run.error) and not self._recalled),
                timeout=timeout,
                timeout_summary="source throttles, or trying again later" if timeout else None,
            )
        except TimeoutError:
            self._owner.publish()
        self._recall_if_halting(run)

    async def _until_idle_or_halted(self) -> None:
        while self._busy:
            self._moved = False
            await workflow.wait_condition(
                lambda: self._moved or not self._busy or (self._owner.halting() != "" and not self._recalled)
            )
            if self._owner.halting():
                self._recall()

    def _recall_if_halting(self, run: Run) -> None:
        if (self._owner.halting() or run.error) and not self._recalled:
            self._recall()

    def _recall(self) -> None:
        """Ask what runs to hand back; it answers with what it has done."""
        self._recalled = True
        for handle in self._handles.values():
            handle.cancel()
