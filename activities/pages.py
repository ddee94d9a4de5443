"""Listing: compare the source with what is stored, page by page, and stage what is to be done.

Nothing is written for an unchanged object. An ordered listing is merged with a range scan of the
stored fingerprints; an unordered one is looked up page by page and its ids are stamped as seen.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from itertools import pairwise

import structlog

from activities.engine import Engine, SyncContext
from activities.hand_back import Stop
from activities.metrics import count_throttle
from activities.run_contracts import ListArgs, ListResult, Segment
from activities.staging import CHUNK_OBJECTS, Staging
from activities.stored_ahead import StoredAhead
from models.ids import object_id
from providers.base import Page, SourceObject, content_part
from providers.errors import Throttled, Transient
from stores.positions import SyncPositions

__all__ = ["SLOW_PAGE_SECONDS", "Listing", "is_ordered"]

_LOG = structlog.get_logger(__name__)

# A walk is split where pages take this long: then waiting, not comparing, is what costs time.
SLOW_PAGE_SECONDS = 0.05
_PAGES_TO_JUDGE = 3

# With work in hand, listing hands it over after this long rather than filling a chunk.
_HAND_OVER_SECONDS = 2.0
# Without any, one activity walks on; a longer walk is only a longer redo after a crash.
_WALK_SECONDS = 120.0
# A throttled page is asked for again after this long, unless the source says otherwise.
_THROTTLE_SECONDS = 2.0
# Pages between two remembered keys: where later passes may split the walk. A first run lists a few pages at a time,
# so the second page of an activity has one; a source of a single page needs none.
_MARK_EVERY, _MARK_FIRST = 4, 2
# Orders what a feed says: a later page, or a page of a later listing, wins.
_PAGES_PER_LISTING = 1_000_000
_AFTER_ALL = 1 << 60
# Reasons for which a stored object leaves the bucket when `reconcile.on_filter_drift` is on.
_DRIFTS = frozenset(
    {
        "filtered_pattern",
        "filtered_size",
        "filtered_modified",
        "filtered_mime_type",
        "filtered_extension",
        "filtered_metadata",
    }
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
        self._positions = SyncPositions(engine.positions, context.id)
        self._pages = 0
        self._page_seconds: list[float] = []
        self._began = time.monotonic()
        self._letters = False
        self._rivals: list[str] | None = None
        self._updates = context.reconcile("on_update")
        self._drops = context.reconcile("on_filter_drift")
        self._asks = context.filters is not None and any(context.filters.needs_attributes)
        self._failure: Exception | None = None
        self._failed_page: Transient | None = None
        self.result = ListResult(segments=[Segment(s.after, s.until, s.cursor) for s in args.segments])
        self._staging = Staging(
            engine.runs,
            self.result,
            run_id=args.run_id,
            sync_config_id=context.id,
            prefix=f"{args.run_id}:{args.seq}:{attempt}",
        )

    async def run(self) -> ListResult:
        """Walk until there is enough to do, the time is up, a hand-back is asked for, or the end."""
        # Several ranges at once: what a slow source needs, and no harm to a fast one.
        async with asyncio.TaskGroup() as self._walkers:
            for segment in list(self.result.segments):
                self._walkers.create_task(self._walk(segment))
        # What was compared before a page failed is handed over: that page then has the three attempts of the next
        # activity for itself, and a listing of ten thousand pages does not end because one in a hundred fails.
        failure = self._failure or (None if self._pages else self._failed_page)
        if failure is not None:
            raise failure
        if self._failed_page is not None:
            _LOG.warning("page failed; what was listed is handed over", pages=self._pages, error=str(self._failed_page))
        self._staging.page_seconds = self.page_seconds
        await self._staging.flush(everything=True)
        result = self.result
        result.at_end = not result.segments or bool(result.partial_reason)
        result.complete = not (result.segments or result.partial_reason or result.out_of_order or result.rescan)
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
            or self._failed_page is not None
            or bool(self.result.partial_reason)
            or self.result.out_of_order
            or bool(self.result.rescan)
            or self.result.retry_after > 0
            or self._staging.work >= self._args.max_chunks * CHUNK_OBJECTS
            or elapsed > _WALK_SECONDS
            or (self._staging.work > 0 and elapsed > _HAND_OVER_SECONDS)
        )

    async def _walk(self, segment: Segment) -> None:
        ahead: asyncio.Task[Page] | None = None
        stored = StoredAhead(self._engine.objects, self._context.id, segment.after)
        try:
            while not self._enough():
                page = await (ahead or asyncio.create_task(self._page(segment.cursor, segment)))
                ahead = None
                # Reading ahead hides the source's latency, but is wasted where this page fills the chunk.
                if (
                    page.next_cursor is not None
                    and self._staging.work + len(page.ids) < self._args.max_chunks * CHUNK_OBJECTS
                ):
                    ahead = asyncio.create_task(self._page(page.next_cursor, segment))
                if not page.in_order and self._ordered:
                    self.result.out_of_order = True
                    return
                if page.rescan:
                    self.result.rescan = page.rescan
                    return
                await self._compare(segment, page, stored)
                if page.next_cursor is None:
                    if not page.complete:
                        self.result.partial_reason = self.result.partial_reason or "listing_not_complete"
                    self.result.segments.remove(segment)
                    return
                if len(self._page_seconds) == _PAGES_TO_JUDGE and self._split(segment):
                    await _drop(ahead)
                    ahead = None
        except Exception as error:  # noqa: BLE001 - kept to stop the other walkers first, then judged by run()
            self._stop_for(error)
        finally:
            await _drop(ahead)

    def _stop_for(self, error: Exception) -> None:
        if isinstance(error, Throttled):
            count_throttle(self._context.connection["provider_type"])
            self.result.retry_after = max(self.result.retry_after, error.retry_after or _THROTTLE_SECONDS)
            self.result.counts.throttle_waits += 1
        elif isinstance(error, Transient):
            self._failed_page = self._failed_page or error
        else:
            self._failure = self._failure or error

    def _split(self, segment: Segment) -> bool:
        """Cut what is left of a walk at keys the last pass remembered, if the source proves slow; once per activity."""
        parts = self._engine.settings.list_segments
        provider, path = self._context.provider, self._context.path
        if len(self.result.segments) > 1 or parts == 1 or self.page_seconds < SLOW_PAGE_SECONDS or not self._ordered:
            return False
        if not provider.capabilities_for(path).ranges:
            return False
        marks = [
            m for m in self._context.sync.get("list_marks") or [] if segment.after < m < (segment.until or m + "a")
        ]
        cuts = list(dict.fromkeys(marks[len(marks) * n // parts] for n in range(1, parts))) if marks else []
        if not cuts:
            return False
        bounds = [*cuts, segment.until]
        segment.until, segment.cursor = cuts[0], ""
        for low, high in pairwise(bounds):
            part = Segment(after=low, until=high)
            self.result.segments.append(part)
            self._walkers.create_task(self._walk(part))
        return True

    async def _page(self, cursor: str, segment: Segment) -> Page:
        began = time.monotonic()
        try:
            page = await self._list(cursor, segment)
        except Transient as error:
            if error.reason != "cursor_refused":
                raise
            if self._args.incremental:
                return Page([], [], _no_row, None, complete=False, rescan=str(error))
            if not self._context.provider.capabilities.ranges:
                raise
            # A cursor that has grown too old (a pause of months): the last compared key says where to go on.
            page = await self._list("", segment)
        self._page_seconds.append(time.monotonic() - began)
        return page

    async def _list(self, cursor: str, segment: Segment) -> Page:
        provider, path = self._context.provider, self._context.path
        limit = provider.capabilities_for(path).page_limit
        if self._args.incremental:
            return await provider.list_changes(path, self._positions, cursor or None, limit)
        if not cursor and provider.capabilities_for(path).ranges and (segment.after or segment.until):
            cursor = provider.range_cursor(path, segment.after or None, segment.until or None)
        return await provider.list_page(path, cursor or None, limit)

    async def _compare(self, segment: Segment, page: Page, owned: StoredAhead) -> None:
        counts = self.result.counts
        counts.requests += page.requests
        stored: dict[str, str] | None
        if self._ordered:
            stored = await self._stored_beside(segment, page, owned)
        else:
            stored = await self._engine.objects.stored_among(self._context.id, page.ids)
            ordinal = self._args.seq * _PAGES_PER_LISTING + self._pages
            if page.ids:
                await self._engine.runs.mark_seen(self._args.run_id, page.ids, ordinal)
            await self._note_removed(page, ordinal)
        counts.seen += len(page.ids)
        if stored is None:
            counts.unchanged += len(page.ids)
        elif work := self._sort_out(page, stored):
            await self._take(work)
        if page.ids:
            segment.after = page.ids[-1]
        segment.cursor = page.next_cursor or ""
        self._pages += 1
        if self._ordered and self._pages % _MARK_EVERY == _MARK_FIRST and page.ids:
            self._staging.mark(page.ids[-1])
        self._staging.place(page.positions)
        self.result.proven += [[low, high or ""] for low, high in page.proven]
        self.result.unproven += [[low, high or "", why] for low, high, why in page.unproven]
        await self._staging.flush(everything=False)

    async def _stored_beside(self, segment: Segment, page: Page, owned: StoredAhead) -> dict[str, str] | None:
        """Stored fingerprints of the page's ids, None when all are as listed; what is owned between them is absent.

        In slices: a source that has lost a million objects shows them all on one page.
        """
        if not page.ids and page.next_cursor is not None:
            return {}
        until = page.ids[-1] if page.next_cursor is not None else segment.until or None
        stored: dict[str, str] = {}
        listed: set[str] | None = None
        same = False
        async for ids, prints in owned.take(until):
            # Two list comparisons settle the page that has not changed: most pages of most polls.
            if listed is None and not self._must_look and ids == page.ids and prints == page.fingerprints:
                same = True
                continue
            listed = listed if listed is not None else set(page.ids)
            absent = []
            for source_id, fingerprint in zip(ids, prints, strict=True):
                if source_id in listed:
                    stored[source_id] = fingerprint
                else:
                    absent.append(source_id)
            self._staging.absent(absent, "source_gone")
            await self._staging.flush(everything=False)
        return None if same else stored

    async def _note_removed(self, page: Page, ordinal: int) -> None:
        """Explicit deletion events of what this sync owns; the rest is somebody else's."""
        if page.removed:
            owned = await self._engine.objects.stored_among(self._context.id, list(page.removed))
            for source_id in owned:
                self._staging.absent([source_id], page.removed[source_id], ordinal)

    @property
    def _must_look(self) -> bool:
        """Whether even an unchanged page needs a look at its rows: drifting filters, or a forced refetch."""
        return self._context.filters is not None or self._refetch

    @property
    def _refetch(self) -> bool:
        """A full sync of a config that replaces known objects (`skip_duplicates` false) takes everything anew."""
        return self._args.full_sync and not self._context.sync.get("skip_duplicates", True)

    def _sort_out(self, page: Page, stored: Mapping[str, str]) -> list[tuple[str, str | None, SourceObject]]:
        """Decide each row: unchanged, skipped, drifted, or (operation, old fingerprint, row) for ingestion."""
        work: list[tuple[str, str | None, SourceObject]] = []
        for index, source_id in enumerate(page.ids):
            old = stored.get(source_id)
            reason = self._unwanted(page, index)
            same = old == page.fingerprints[index] and not self._refetch
            if same and (reason is None or index in page.skips):
                self.result.counts.unchanged += 1
            elif reason is not None:
                self._leave_out(source_id, old, reason)
            elif old is None:
                work.append(("new", None, page.row(index)))
            elif not (self._updates or self._refetch):
                self._skip("updates_off")
            else:
                touched = content_part(old) == content_part(page.fingerprints[index]) and not self._refetch
                work.append(("touch" if touched else "update", old, page.row(index)))
        return work

    def _leave_out(self, source_id: str, old: str | None, reason: str) -> None:
        """Not wanted. What is stored and has drifted out of the filters leaves like something absent, by the gate."""
        self._skip(reason)
        if old is not None and reason in _DRIFTS and self._drops:
            self._staging.absent([source_id], "filtered", _AFTER_ALL)

    def _unwanted(self, page: Page, index: int) -> str | None:
        """Why a listed row is not to be ingested; None when it is."""
        if (reason := page.skips.get(index)) is not None or self._context.filters is None:
            return reason
        return self._context.filters.reject(page.row(index))

    async def _take(self, work: Sequence[tuple[str, str | None, SourceObject]]) -> None:
        engine, context = self._engine, self._context
        if self._rivals is None:  # once, and not at all by a poll that finds nothing new
            self._letters = await engine.letters.any(context.id)
            self._rivals = await engine.configs.rivals(context.sync)
        held: set[str] = set()
        rejects: Mapping[str, str] = {}
        if self._letters or self._asks:
            prints = {row.id: row.fingerprint for _, _, row in work}
            if self._letters:
                heal = timedelta(seconds=engine.settings.dead_letter_heal_seconds)
                held = await engine.letters.held(context.id, prints, heal_after=heal)
            if self._asks:
                rejects = await engine.rejects.among(context.id, prints)
        theirs = await self._owned_by_rivals([row.id for operation, _, row in work if operation == "new"])
        for operation, old, row in work:
            if row.id in theirs:
                self._skip("owned_by_another_sync")
            elif row.id in rejects:
                self._leave_out(row.id, old, rejects[row.id])
            elif row.id in held:
                self._skip("quarantined")
            elif self._staging.work >= self._args.room:
                self._skip("over_run_limit")
                self.result.partial_reason = "max_objects_per_run"
            else:
                self._staging.take(operation, old, row)

    async def _owned_by_rivals(self, ids: Sequence[str]) -> set[str]:
        """Another sync has brought these: fetching them would only show, each time, that they are there."""
        if not (self._rivals and ids):
            return set()
        sync = self._context.sync
        keys = {object_id(sync["bucket_id"], sync["connection_id"], i): i for i in ids}
        return {keys[key] for key in await self._engine.objects.owned_by(self._rivals, list(keys))}

    def _skip(self, reason: str) -> None:
        reasons = self.result.counts.skipped_by_reason
        reasons[reason] = reasons.get(reason, 0) + 1


async def _drop(task: asyncio.Task[Page] | None) -> None:
    if task is not None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _no_row(index: int) -> SourceObject:
    raise IndexError(index)  # the page that asks for a full walk has no rows


def is_ordered(context: SyncContext) -> bool:
    """Whether this source's listing may be merged in key order."""
    ordered = context.provider.capabilities_for(context.path).ordered
    return ordered and not context.sync.get("source_unordered", False)
