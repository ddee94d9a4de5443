"""Settling a run that did not get to its end (failed, unlocked, stopped, its workflow lost).

What it did get done is in the documents and stays there: it is read back and counted, so that totals
stay exact, and what was accepted is known, so that it still gets its batches. The rest was not reached.
"""

from __future__ import annotations

from activities.book import ChunkBook, recall
from activities.contracts import Counts
from activities.engine import Engine
from models.ids import object_id
from stores.database import Document

__all__ = ["NOT_REACHED", "counted", "settle"]

NOT_REACHED = "not_reached"


async def settle(engine: Engine, sync: Document, run_id: str) -> None:
    """Close the chunks that are open and the removal that is under way. Idempotent."""
    async for chunk in engine.runs.open_chunks(run_id):
        book = ChunkBook()
        for item in await recall(engine, sync, chunk, book):
            book.done(item["id"], f"skipped:{NOT_REACHED}", 0, None)
        await engine.runs.complete(
            chunk["_id"], tally=book.tally(), skipped=book.skipped(), accepted=list(book.accepted.values())
        )
    removal = await engine.runs.removal(run_id)
    if removal is not None and "removed" not in removal:
        removed = size = 0
        for chunk_id in removal["chunks"]:
            chunk = await engine.runs.chunk(chunk_id) or {"items": []}
            keys = [object_id(sync["bucket_id"], sync["connection_id"], i) for i in chunk["items"]]
            n, freed = await engine.objects.graves(keys, run_id=run_id)
            removed, size = removed + n, size + freed
        await engine.runs.end_removal(run_id, removed=removed, size=size)


def counted(history: Counts, tally: dict[str, int], skipped: dict[str, int]) -> Counts:
    """The counts of such a run: what history saw, what the documents say became of it, and the rest not reached."""
    reasons = dict(history.skipped_by_reason)
    for reason, n in skipped.items():
        if reason != NOT_REACHED:
            reasons[reason] = max(n, reasons.get(reason, 0))
    counts = Counts(
        seen=history.seen,
        stored=tally["stored"],
        updated=tally["updated"],
        unchanged=history.unchanged,
        failed=tally["failed"],
        bytes=tally["bytes"],
        requests=history.requests,
        throttle_waits=history.throttle_waits,
    )
    known = counts.stored + counts.updated + counts.unchanged + counts.failed + sum(reasons.values())
    if counts.seen > known:
        reasons[NOT_REACHED] = counts.seen - known
    counts.seen = max(counts.seen, known)  # the history of a lost workflow is lost with it
    counts.skipped_by_reason, counts.skipped = reasons, sum(reasons.values())
    return counts
