"""Walks of libraries, page by page: everything (`list_page`), or what changed (`list_changes`).

Both read deltas. A full walk reads each drive from the beginning; an incremental one goes on from the
place that was kept, and reads a drive anew only where its feed cannot tell what happened. Shortcuts to
other drives are read right after the answer that shows them, or, in a change feed, after their drive.
"""

from __future__ import annotations

from dataclasses import replace

import structlog

from providers.base import Page, Positions
from providers.errors import ProviderError
from providers.sharepoint.addresses import Address
from providers.sharepoint.cursors import Cursor, Feed, Mode, Shortcut
from providers.sharepoint.errors import Resync, may_go_on
from providers.sharepoint.graph import Graph
from providers.sharepoint.items import Options
from providers.sharepoint.passes import Pass, Sheet, SiteFacts, Walks
from providers.sharepoint.places import Library, Places, Site
from providers.sharepoint.record import (
    Kept,
    changed_libraries,
    folder_rows,
    kept_of,
    load_folders,
    load_shortcuts,
    shortcut_rows,
)
from providers.sharepoint.taking import Answer, Taken, Taker, read_answer
from providers.sharepoint.targets import open_shortcut

__all__ = ["Walk"]

_LOG = structlog.get_logger(__name__)
# Empty answers one page may pass over: many drives at rest cost few pages.
_ANSWERS_PER_PAGE = 16
_MOST_FRESH = 4
_NAMED = 20
_MOST_UNPROVEN = 64


class Walk:
    """Makes one page. `positions` are given for an incremental walk only."""

    def __init__(
        self,
        graph: Graph,
        places: Places,
        walks: Walks,
        *,
        path: str,
        address: Address,
        options: Options,
        positions: Positions | None,
        limit: int,
    ) -> None:
        self._graph = graph
        self._places = places
        self._walks = walks
        self._path = path
        self._address = address
        self._options = options
        self._positions = positions
        self._limit = limit
        self._sheet = Sheet()
        self._cursor = Cursor()
        self._pass = Pass()

    async def page(self, cursor: str | None) -> Page:
        """The page at `cursor`."""
        before = self._graph.requests
        self._cursor = Cursor.decode(cursor, path=self._path) if cursor else Cursor()
        self._pass = self._walks.of(self._cursor.pass_id)
        sheet, going = self._sheet, True
        if not cursor:
            going = await self._begin()
        for _ in range(_ANSWERS_PER_PAGE):
            if not going or sheet.enough:
                break
            going = await self._step()
        rows = sheet.rows
        return Page(
            ids=[row.id for row in rows],
            fingerprints=[row.fingerprint for row in rows],
            row=rows.__getitem__,
            next_cursor=self._cursor.encode() if going else None,
            # What is kept of a library that could not be read stays: in a change feed its place does not move.
            complete=not going and not (self._cursor.blind and self._positions is None),
            skips=sheet.skips,
            removed=sheet.removed,
            positions=sheet.positions,
            proven=sheet.proven,
            unproven=sheet.unproven,
            rescan=sheet.rescan,
            requests=max(1, self._graph.requests - before),
        )

    # --- which library

    async def _begin(self) -> bool:
        place = await self._places.resolve(self._address, self._path)
        if isinstance(place, Library):
            self._cursor.feed = Feed.of(place)
            return True
        self._pass.sites = place
        return await self._next_library()

    async def _next_library(self) -> bool:
        """Go to the library after the current one; False at the end."""
        cursor = self._cursor
        after = cursor.feed.drive if cursor.feed else ""
        cursor.feed, cursor.sub, cursor.index, cursor.fresh = None, None, -1, []
        if self._pass.sites is None:
            if not cursor.site:
                return False  # a single library was meant
            place = await self._places.resolve(self._address, self._path)
            self._pass.sites = [] if isinstance(place, Library) else place
        for site in self._pass.sites:
            if site.id < cursor.site:
                continue
            facts = await self._facts(site)
            if site.id > cursor.site:
                self._enter(site, facts)
            for library in facts.libraries:
                if site.id > cursor.site or library.drive > after:
                    cursor.site, cursor.feed = site.id, Feed.of(library)
                    return True
        return False

    async def _facts(self, site: Site) -> SiteFacts:
        found = self._pass.facts.get(site.id)
        if found is None:
            try:
                libraries = await self._places.libraries(site)
            except ProviderError as error:
                if len(self._pass.sites or ()) < 2 or not may_go_on(error):
                    raise
                found = SiteFacts(error=error)
            else:
                drives = [library.drive for library in libraries]
                gone, rows = await changed_libraries(self._positions, site.id, drives)
                found = SiteFacts(libraries, rows, gone)
            self._pass.facts[site.id] = found
        return found

    def _enter(self, site: Site, facts: SiteFacts) -> None:
        self._sheet.positions |= facts.rows
        if facts.error is not None:
            self._cursor.blind = True
            self._give_up(site.id, site.name, facts.error)
        if facts.gone:
            self._sheet.rescan = f"{site.name} has lost a library"

    def _give_up(self, source_id: str, name: str, error: ProviderError, *, drive: str = "") -> None:
        """One library's or site's failure: named, and the others go on."""
        self._cursor.failed += 1
        _LOG.warning("library cannot be read", library=name, error=error.message, code=error.code, status=error.status)
        why = f"{error.status or ''} {error.code or ''}".strip()
        named = f"library_failed: {name} ({why})".replace(".", "_").replace("$", "_")
        self._sheet.notice(source_id, name, named if self._cursor.failed <= _NAMED else "library_failed")
        if self._cursor.failed > _MOST_UNPROVEN:
            self._cursor.blind = True
        elif drive:
            self._sheet.unproven.append((f"{drive}/", f"{drive}0", named))

    def _lose(self, feed: Feed, error: ProviderError) -> None:
        """A library that was being read failed. Its record may be overwritten in part: it will have to be read anew."""
        self._give_up(feed.key, feed.name, error, drive=feed.drive)
        if feed.mode == "anew" or self._positions is None:
            self._sheet.positions[feed.key] = Kept.of(replace(feed, rows=0, shortcuts=0, moved=True), "")

    # --- one answer

    async def _step(self) -> bool:
        cursor = self._cursor
        assert cursor.feed is not None  # there is a next page only while there is a library
        try:
            if cursor.sub is not None:
                await self._read_shortcut(cursor.sub)
                return True
            return await self._read(cursor.feed)
        except ProviderError as error:
            if not may_go_on(error) or not (cursor.site or cursor.sub):
                raise
            if cursor.sub is not None:
                self._lose(cursor.sub, error)
                self._after_shortcut()
                return True
            self._lose(cursor.feed, error)
            going = await self._next_library()
            if not going and not cursor.read:
                raise  # not one library could be read: that is the connection's failure
            return going

    async def _read(self, feed: Feed) -> bool:
        """One answer of a library's own feed, or the next of its shortcuts."""
        cursor = self._cursor
        taker = await self._ready(feed)
        held = self._pass.answers.get(self._key(feed)) if cursor.index >= 0 else None
        if held is None:
            answer = await self._answer(feed)
            if answer is None:
                return True
            taken = await taker.take(feed, answer)
            if cursor.index < 0 and not self._add(feed, taken, answer):
                return True
            held = (answer, self._shortcuts_to_walk(feed, taken))
            self._pass.answers = {self._key(feed): held}
        answer, shortcuts = held
        if feed.mode == "changes" and not answer.next:
            kept = await kept_of(self._positions, feed.key) if self._positions else None
            old = await load_shortcuts(self._positions, feed.key, kept.shortcuts) if self._positions and kept else []
            shortcuts = [*old, *cursor.fresh]
        cursor.index += 1
        if cursor.index < len(shortcuts) and not self._sheet.rescan:
            cursor.sub = await self._open(shortcuts[cursor.index])
            return True
        cursor.index = -1
        if answer.next:
            feed.link = answer.next
            return True
        cursor.read += 1
        await self._end(feed, answer.delta)
        return await self._next_library()

    def _shortcuts_to_walk(self, feed: Feed, taken: Taken) -> list[Shortcut]:
        """Shortcuts of an answer; what a change feed shows waits in the cursor for the feed's end."""
        cursor = self._cursor
        if feed.mode != "changes":
            return taken.shortcuts
        known = {shortcut.id for shortcut in cursor.fresh}
        cursor.fresh += [shortcut for shortcut in taken.shortcuts if shortcut.id not in known]
        if len(cursor.fresh) > _MOST_FRESH:
            self._sheet.rescan = "many shortcuts to other libraries were added"
        return []

    async def _read_shortcut(self, sub: Feed) -> None:
        taker = await self._ready(sub)
        answer = await self._answer(sub)
        if answer is None:
            return
        taken = await taker.take(sub, answer)
        if not self._add(sub, taken, answer):
            return
        if answer.next:
            sub.link = answer.next
            return
        await self._end(sub, answer.delta)
        self._after_shortcut()

    def _after_shortcut(self) -> None:
        self._cursor.sub = None

    async def _open(self, shortcut: Shortcut) -> Feed | None:
        """A shortcut's feed; None for one that leads to what is walked anyway, or nowhere."""
        own = {library.drive for facts in self._pass.facts.values() for library in facts.libraries}
        if self._cursor.feed is not None:
            own.add(self._cursor.feed.drive)
        if shortcut.drive in own and not (self._cursor.feed and self._cursor.feed.folder):
            return None
        try:
            return await open_shortcut(self._graph, shortcut)
        except ProviderError as error:
            if not may_go_on(error):
                raise
            self._give_up(f"{shortcut.drive}/{shortcut.item}", shortcut.path, error, drive=shortcut.drive)
            return None

    async def _answer(self, feed: Feed) -> Answer | None:
        """The answer at a feed's place; None when the place was refused and the feed begins anew."""
        try:
            return await read_answer(self._graph, feed, self._limit, self._options)
        except Resync as resync:
            link = self._places.link(resync.location, self._path)
            if not feed.link and not link:
                raise
            if feed.mode != "changes":
                self._restart(feed, feed.mode if feed.mode != "first" or not resync.upload else "kept", link)
            elif feed.shortcut or self._has_shortcuts(feed):
                self._sheet.rescan = "the place in a library's changes was refused, and shortcuts are concerned"
            elif resync.upload:
                self._sheet.notice(feed.drive, feed.name, "resync_keeps_what_is_missing")
                self._restart(feed, "kept", link)
            else:
                self._restart(feed, "anew", link)
            return None

    def _restart(self, feed: Feed, mode: Mode, link: str = "") -> None:
        again = feed.restarted(mode, link)
        self._cursor.index = -1
        self._pass.takers.pop(self._key(feed), None)
        if self._cursor.sub is feed:
            self._cursor.sub = again
        else:
            self._cursor.feed, self._cursor.fresh = again, []

    # --- what comes of it

    def _add(self, feed: Feed, taken: Taken, answer: Answer) -> bool:
        """Take an answer into the page; False if the feed has to be read otherwise before going on."""
        sheet = self._sheet
        if taken.rescan or (taken.anew and feed.shortcut):
            sheet.rescan = taken.rescan or f"in a shared library {taken.anew}"
            return False
        if taken.anew:
            if self._has_shortcuts(feed):
                sheet.rescan = f"{taken.anew}, and there are shortcuts to other libraries"
                return False
            _LOG.info("library is read anew", library=feed.name, reason=taken.anew)
            self._restart(feed, "anew")
            return False
        if feed.mode == "anew" and any(shortcut.drive == feed.drive for shortcut in taken.shortcuts):
            sheet.rescan = "a library with shortcuts into itself has to be read anew"
        feed.items |= any("root" not in item for item in answer.items)
        feed.moved |= taken.moved
        sheet.positions |= folder_rows(feed, taken.folders)
        sheet.positions |= shortcut_rows(feed, taken.shortcuts)
        offset = len(sheet.rows)
        sheet.rows += taken.rows
        sheet.skips |= {offset + index: reason for index, reason in taken.skips.items()}
        sheet.removed |= taken.removed
        return True

    def _has_shortcuts(self, feed: Feed) -> bool:
        return bool(feed.shortcuts or self._cursor.fresh)

    async def _end(self, feed: Feed, delta: str) -> None:
        """A feed has come to its end."""
        kept = await kept_of(self._positions, feed.key) if self._positions else None
        if feed.mode != "changes" or feed.items or kept is None or kept.stale:
            self._sheet.positions[feed.key] = Kept.of(feed, delta)
        if feed.mode == "anew":
            self._sheet.proven.append((f"{feed.drive}/", f"{feed.drive}0"))
        self._pass.takers.pop(self._key(feed), None)

    async def _ready(self, feed: Feed) -> Taker:
        """The feed's taker; the first time in a pass, where an incremental walk starts."""
        positions = self._positions
        kept = None
        if positions is not None and (
            not feed.began or (feed.mode == "changes" and self._key(feed) not in self._pass.takers)
        ):
            kept = await kept_of(positions, feed.key)
        if positions is not None and not feed.began:
            if kept is None:
                feed.mode = "first"
            elif kept.moved:
                feed.mode = "anew" if not feed.shortcut else "first"
            else:
                feed.mode, feed.link = "changes", kept.link
                feed.rows, feed.shortcuts, feed.moved = kept.rows, kept.shortcuts, kept.moved
        feed.began = True
        taker = self._pass.takers.get(self._key(feed))
        if taker is None:
            taker = self._pass.takers[self._key(feed)] = Taker(self._graph, feed, self._options)
            if len(self._pass.takers) > 4:
                self._pass.takers.popitem(last=False)
            if positions is not None and kept is not None and feed.mode == "changes":
                folders = await load_folders(positions, feed.key, kept.rows)
                taker.compare_with(folders, await load_shortcuts(positions, feed.key, kept.shortcuts), kept.at)
        return taker

    @staticmethod
    def _key(feed: Feed) -> str:
        return f"{feed.key} {feed.mode}"
