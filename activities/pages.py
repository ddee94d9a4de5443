"""Listing: compare the source with what is stored, page by page, and stage what is to be done.

Nothing is written for an unchanged object. An ordered listing is merged with a range scan of the
stored fingerprints; an unordered one is looked up page by page and its ids are stamped as seen.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from temporalio import activity

from activities.contracts import Counts
from activities.engine import Engine, SyncContext
from activities.hand_back import Stop, run_until_handed_back
from activities.run_contracts import ChunkRef, ListArgs, ListResult, Segment
from providers.base import Page, SourceObject, content_part
from providers.errors import Throttled, Transient

__all__ = ["Listing", "PageActivities"]

_CHUNK_OBJECTS = 1000
_CHUNK_BYTES = 4 * 1024 * 1024
_ABSENT_PER_CHUNK = 20_000
# With work in hand, listing hands it over after this long rather than filling a chunk.
_HAND_OVER_SECONDS = 2.0
# Without any, one activity walks on; a longer walk is only a longer redo after a crash.
_WALK_SECONDS = 120.0
# Pages between two remembered keys: where later passes may split the walk.
_MARK_EVERY = 8
_ROW_OVERHEAD = 220
# Reasons for which a stored object leaves the bucket when `reconcile.on_filter_drift` is on.
_DRIFTS = frozenset(
    {"filtered_pattern", "filtered_size", "filtered_modified", "filtered_mime_type", "filtered_extension"}
)


class Listing:
    """One listing activity's walk over the segments it was given."""

    def __init__(
        self, engine: Engine, context: SyncContext, args: ListArgs, stop: Stop, *, attempt: int, ordered: bool
    ) -> None:
        self._engine = engine
        self._context = context
        self._args = args
        self._stop = stop
        self._ordered = ordered
        self._prefix = f"{args.run_id}:{args.seq}:{attempt}"
        self._low: str | None = None
        self._high: str | None = None
        if ordered:
            self._low, self._high = context.provider.scope(context.path)
        self._items: list[dict[str, Any]] = []
        self._item_bytes = 0
        self._absent: list[str] = []
        self._marks: list[str] = []
        self._staged = 0
        self._pages = 0
        self._page_seconds: list[float] = []
        self._began = time.monotonic()
        self._letters = False
        self._updates = context.reconcile("on_update")
        self._drops = context.reconcile("on_filter_drift")
        self._failure: BaseException | None = None
        self.result = ListResult(segments=[Segment(s.after, s.until, s.cursor) for s in args.segments])

    async def run(self) -> ListResult:
        """Walk until there is enough to do, the time is up, a hand-back is asked for, or the end."""
        self._letters = await self._engine.letters.any(self._context.id)
        # Several ranges at once: what a slow source needs, and no harm to a fast one.
        async with asyncio.TaskGroup() as walkers:
            for segment in list(self.result.segments):
                walkers.create_task(self._walk(segment))
        if self._failure is not None:
            raise self._failure
        await self._flush(everything=True)
        result = self.result
        result.at_end = not result.segments or bool(result.partial_reason)
        result.complete = not result.segments and not result.partial_reason and not result.out_of_order
        result.handed_back = self._stop.requested and not result.at_end
        result.counts.skipped = sum(result.counts.skipped_by_reason.values())
        return result

    @property
    def page_seconds(self) -> float:
        """Median time the source took for a page; 0 when none was listed."""
        return sorted(self._page_seconds)[len(self._page_seconds) // 2] if self._page_seconds else 0.0

    def _enough(self) -> bool:
        elapsed = time.monotonic() - self._began
        return (
            self._stop.requested
            or self._failure is not None
            or bool(self.result.partial_reason)
            or self.result.out_of_order
            or self.result.retry_after > 0
            or len(self._items) + self._staged >= self._args.max_chunks * _CHUNK_OBJECTS
            or elapsed > _WALK_SECONDS
            or (bool(self._items or self._staged) and elapsed > _HAND_OVER_SECONDS)
        )

    async def _walk(self, segment: Segment) -> None:
        ahead: asyncio.Task[Page] | None = None
        try:
            while not self._enough():
                page = await (ahead or asyncio.create_task(self._page(segment.cursor, segment)))
                ahead = None
                before = len(self._items) + self._staged
                # Reading ahead hides the source's latency, but is wasted where this page fills the chunk.
                if page.next_cursor is not None and before + len(page.ids) < self._args.max_chunks * _CHUNK_OBJECTS:
                    ahead = asyncio.create_task(self._page(page.next_cursor, segment))
                if not page.in_order and self._ordered:
                    self.result.out_of_order = True
                    return
                await self._compare(segment, page)
                if page.next_cursor is None:
                    if not page.complete:
                        self.result.partial_reason = self.result.partial_reason or "listing_not_complete"
                    self.result.segments.remove(segment)
                    return
        except Throttled as error:
            self.result.retry_after = max(self.result.retry_after, error.retry_after or 5.0)
            self.result.counts.throttle_waits += 1
        except Exception as error:  # noqa: BLE001 - kept to stop the other walkers first, then raised by run()
            self._failure = self._failure or error
        finally:
            if ahead is not None:
                ahead.cancel()
                await asyncio.gather(ahead, return_exceptions=True)

    async def _page(self, cursor: str, segment: Segment) -> Page:
        provider, path = self._context.provider, self._context.path
        if not cursor and provider.capabilities.ranges and (segment.after or segment.until):
            cursor = provider.range_cursor(path, segment.after or None, segment.until or None)
        began = time.monotonic()
        try:
            page = await provider.list_page(path, cursor or None, provider.capabilities.page_limit)
        except Transient as error:
            if error.reason != "cursor_refused" or not provider.capabilities.ranges:
                raise
            # A cursor that has grown too old (a pause of months): the last compared key says where to go on.
            cursor = provider.range_cursor(path, segment.after or None, segment.until or None)
            page = await provider.list_page(path, cursor, provider.capabilities.page_limit)
        self._page_seconds.append(time.monotonic() - began)
        return page

    async def _compare(self, segment: Segment, page: Page) -> None:
        context, counts = self._context, self.result.counts
        counts.requests += page.requests
        if self._ordered:
            last = page.next_cursor is None
            stored_ids: list[str] = []
            stored_prints: list[str] = []
            if page.ids or last:
                until = (segment.until or None) if last else page.ids[-1]
                stored_ids, stored_prints = await self._engine.objects.stored_range(
                    context.id, after=segment.after or None, low=self._low, until=until, below=self._high
                )
            # Two list comparisons settle the page that has not changed: most pages of most polls.
            same = stored_ids == page.ids and stored_prints == page.fingerprints and not self._must_look
            stored: dict[str, Any] = {} if same else dict(zip(stored_ids, stored_prints, strict=True))
        else:
            same = False
            stored = {**await self._engine.objects.stored_among(context.id, page.ids)}
            if page.ids:
                await self._engine.runs.mark_seen(self._args.run_id, page.ids)
        counts.seen += len(page.ids)
        if same:
            counts.unchanged += len(page.ids)
        else:
            changed = self._sort_out(page, stored)
            if self._ordered:
                self._absent += [i for i in stored if stored[i] is not _PRESENT]
            await self._take(changed)
        if page.ids:
            segment.after = page.ids[-1]
        segment.cursor = page.next_cursor or ""
        self._pages += 1
        if self._pages % _MARK_EVERY == 0 and page.ids:
            self._marks.append(page.ids[-1])
        await self._flush(everything=False)

    @property
    def _must_look(self) -> bool:
        """Whether even an unchanged page needs a look at its rows: drifting filters, or a forced refetch."""
        return self._context.filters is not None or self._refetch

    @property
    def _refetch(self) -> bool:
        """A full sync of a config that replaces known objects (`skip_duplicates` false) takes everything anew."""
        return self._args.full_sync and not self._context.sync.get("skip_duplicates", True)

    def _sort_out(self, page: Page, stored: dict[str, Any]) -> list[tuple[str, str | None, SourceObject]]:
        """Decide each row: unchanged, skipped, drifted, or (operation, old fingerprint, row) for ingestion.

        Marks in `stored` what is present; what stays unmarked is absent.
        """
        work: list[tuple[str, str | None, SourceObject]] = []
        for index, source_id in enumerate(page.ids):
            old = stored.get(source_id)
            reason = self._unwanted(page, index)
            if old is not None and not (reason in _DRIFTS and self._drops):
                stored[source_id] = _PRESENT  # what stays unmarked leaves like something absent, through the same gate
            elif old is not None and not self._ordered:
                self._absent.append(source_id)
            same = old == page.fingerprints[index] and not self._refetch
            if same and (reason is None or index in page.skips):
                self.result.counts.unchanged += 1
            elif reason is not None:
                self._skip(reason)
            elif old is None:
                work.append(("new", None, page.row(index)))
            elif not (self._updates or self._refetch):
                self._skip("updates_off")
            else:
                touched = content_part(old) == content_part(page.fingerprints[index]) and not self._refetch
                work.append(("touch" if touched else "update", old, page.row(index)))
        return work

    def _unwanted(self, page: Page, index: int) -> str | None:
        """Why a listed row is not to be ingested; None when it is."""
        if (reason := page.skips.get(index)) is not None or self._context.filters is None:
            return reason
        return self._context.filters.reject(page.row(index))

    async def _take(self, work: Sequence[tuple[str, str | None, SourceObject]]) -> None:
        held: set[str] = set()
        if self._letters and work:
            prints: Mapping[str, str] = {row.id: row.fingerprint for _, _, row in work}
            heal = timedelta(seconds=self._engine.settings.dead_letter_heal_seconds)
            held = await self._engine.letters.held(self._context.id, prints, heal_after=heal)
        for operation, old, row in work:
            if row.id in held:
                self._skip("quarantined")
            elif self._staged + len(self._items) >= self._args.room:
                self._skip("over_run_limit")
                self.result.partial_reason = "max_objects_per_run"
            else:
                self._items.append({"op": operation, "old": old, **row.to_document()})
                self._item_bytes += _ROW_OVERHEAD + 2 * len(row.id)

    def _skip(self, reason: str) -> None:
        reasons = self.result.counts.skipped_by_reason
        reasons[reason] = reasons.get(reason, 0) + 1

    async def _flush(self, *, everything: bool) -> None:
        """Stage full chunks, or with `everything` the rest too. Ids carry the attempt: none writes over another."""
        while self._items and (everything or len(self._items) >= _CHUNK_OBJECTS or self._item_bytes >= _CHUNK_BYTES):
            share = max(1, len(self._items) * _CHUNK_BYTES // max(self._item_bytes, _CHUNK_BYTES))
            size = min(_CHUNK_OBJECTS, share, len(self._items))
            items, self._items = self._items[:size], self._items[size:]
            self._item_bytes -= self._item_bytes * size // (size + len(self._items))
            chunk_id = f"{self._prefix}:{len(self.result.chunks)}"
            self._staged += size
            self.result.chunks.append(ChunkRef(chunk_id, size))
            await self._stage(chunk_id, "work", items)
        while self._absent and (everything or len(self._absent) >= _ABSENT_PER_CHUNK):
            ids, self._absent = self._absent[:_ABSENT_PER_CHUNK], self._absent[_ABSENT_PER_CHUNK:]
            chunk_id = f"{self._prefix}:a{len(self.result.absent_chunks)}"
            self.result.absent += len(ids)
            self.result.absent_chunks.append(chunk_id)
            await self._stage(chunk_id, "absent", ids)
        if everything and self._marks:
            await self._stage(f"{self._prefix}:m", "marks", self._marks)

    async def _stage(self, chunk_id: str, kind: str, items: Sequence[Any]) -> None:
        await self._engine.runs.stage(
            chunk_id, run_id=self._args.run_id, sync_config_id=self._context.id, kind=kind, items=items
        )


class _Present:
    """Marks a stored id that the listing has shown."""


_PRESENT = _Present()


class PageActivities:
    """The listing activity."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @activity.defn(name="list_pages")
    async def list_pages(self, args: ListArgs) -> ListResult:
        """List and compare on from `args.segments`; see `Listing`."""
        context = await self._engine.open_sync(args.sync_config_id)
        if wait := context.throttled_for():
            return ListResult(segments=args.segments, retry_after=wait, counts=Counts(throttle_waits=1))
        stop = Stop()
        listing = Listing(
            self._engine, context, args, stop, attempt=activity.info().attempt, ordered=is_ordered(context)
        )
        return await run_until_handed_back(listing.run(), stop)


def is_ordered(context: SyncContext) -> bool:
    """Whether this source's listing may be merged in key order."""
    return context.provider.capabilities.ordered and not context.sync.get("source_unordered", False)
