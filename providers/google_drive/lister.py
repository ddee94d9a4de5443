"""Pages of a full pass and of an incremental one.

A full pass takes the change token first, walks the tree, looks whether the root is still there, and then reads
the log from that token on, so that what was moved about while it walked is not taken for absent. The token
kept is the one from before the walk.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self

from providers.base import Page, Positions
from providers.errors import Denied, Transient
from providers.google_drive.client import DriveClient
from providers.google_drive.errors import PROVIDER
from providers.google_drive.exports import FOLDER, SHORTCUT
from providers.google_drive.feed import changes_since, judge, lost, start_token
from providers.google_drive.files import FIELDS, Row, row_of
from providers.google_drive.known import KnownFolders, entries
from providers.google_drive.options import Options
from providers.google_drive.roots import Ancestors, Root, find_root, look_at
from providers.google_drive.walk import Folder, Place, Step, Walk, WalkMemory

__all__ = ["PAGE_LIMIT", "Lister"]

PAGE_LIMIT = 1000
_PLACE_BYTES = 4096
_FEED = "feed"
_MAX_FOLDERS = 64
"""Folders of one page of the log that are walked: their ids go into the cursor. A page with more is read in parts."""
_SHORTCUTS_AT_ONCE = 8
_SHORT = "drive_listing_short: Drive's answers leave files out, so nothing is removed in this pass"


@dataclass(slots=True)
class _Cursor:
    """A place in a pass; names are short because it has to stay below 4 KiB.

    `r`, `k`, `d`: the root's id, resource key and drive. `g`, `n`: generation and next number of the folder log.
    `w`: a walk's place. `t`, `e`: tokens of the log's next page and of the next visit. `i`: something was left out.
    `s`: the log is full of folders and is read in small pages. `h`: Drive was caught leaving files out.
    """

    r: str = ""
    k: str = ""
    d: str | None = None
    name: str = ""
    g: str = ""
    n: int = 0
    i: bool = False
    s: bool = False
    h: bool = False
    t: str = ""
    e: str = ""
    w: list[Any] | None = None
    into: list[str] = field(default_factory=list)
    out: list[str] = field(default_factory=list)

    def encode(self) -> str:
        return json.dumps({k: v for k, v in asdict(self).items() if v}, ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def decode(cls, text: str) -> Self:
        try:
            return cls(**json.loads(text))
        except (ValueError, TypeError):
            raise Transient("not a place in this listing", provider=PROVIDER, reason="cursor_refused") from None

    @property
    def root(self) -> Root:
        return Root(self.r, self.name, self.d, self.k)

    @classmethod
    def at(cls, root: Root, **more: Any) -> Self:
        return cls(r=root.id, k=root.resource_key, d=root.drive, name=root.name[:64], **more)


@dataclass(slots=True)
class _Found:
    """What goes on a page."""

    files: Sequence[tuple[Mapping[str, Any], str]] = ()
    removed: dict[str, str] = field(default_factory=dict)
    positions: dict[str, str] = field(default_factory=dict)
    rescan: str = ""


class Lister:
    """Lists for one connection."""

    def __init__(self, client: DriveClient) -> None:
        self._client = client
        self._memory = WalkMemory()
        self._permits = asyncio.Semaphore(_SHORTCUTS_AT_ONCE)

    async def list_page(self, options: Options, cursor: str | None, limit: int) -> Page:
        """See Provider.list_page."""
        before = self._client.requests
        found = _Found()
        if cursor is None:
            root = await find_root(self._client, options)
            place = _Cursor.at(root, g=uuid.uuid4().hex[:8], t=await start_token(self._client, root))
            place.w = Place().encode()
            found.positions[_FEED] = _feed(place, place.t)
        else:
            place = _Cursor.decode(cursor)
        following = await self._walk_on(place, found, limit) if place.w and not place.into else None
        if following is None:
            following = await self._catch_up(place, found, limit, fresh=bool(place.w) and not place.into)
        return await self._page(options, found, following, incomplete=place.i, short=place.h, before=before)

    async def list_changes(self, options: Options, positions: Positions, cursor: str | None, limit: int) -> Page:
        """See Provider.list_changes."""
        before = self._client.requests
        if cursor is None:
            root = await find_root(self._client, options)
            kept = json.loads(await positions.get(_FEED) or "{}")
            if (kept.get("r"), kept.get("d")) != (root.id, root.drive):
                why = "no place in the change log is kept" if not kept else "source_path means another folder now"
                return await self._page(options, _Found(rescan=why), None, before=before)
            place = _Cursor.at(root, g=str(kept["g"]), t=str(kept["t"]))
        else:
            place = _Cursor.decode(cursor)
        found = _Found()
        if place.into or place.out:
            following = await self._walk_folders(place, found, limit)
        else:
            following = await self._read_log(place, found, positions, limit)
        if following is None and not found.rescan:
            found.positions[_FEED] = _feed(place, place.e)
        return await self._page(options, found, following, short=place.h, before=before)

    # --- the full pass

    async def _walk_on(self, place: _Cursor, found: _Found, limit: int) -> _Cursor | None:
        async def tops() -> list[Folder]:
            return [Folder(place.r, "", place.k)]

        step = await self._step(place, tops, limit, name=f"{place.r} {place.g}")
        self._note(place, found, step)
        return replace(place, w=step.place.encode()) if step.place is not None else None

    async def _catch_up(self, place: _Cursor, found: _Found, limit: int, *, fresh: bool) -> _Cursor | None:
        """What the log says since before the walk: nothing, mostly."""
        if fresh:
            await self._alive(place.root)
            changes = await changes_since(self._client, place.root, place.t, 1)
            return None if not changes.entries and changes.end else replace(place, w=None)
        if place.into:
            return await self._walk_folders(place, found, limit)
        following = await self._read_log(place, found, None, limit)
        found.removed.clear()
        if found.rescan:
            found.rescan, place.i = "", True
        return following

    # --- the incremental pass, and the end of a full one

    async def _read_log(self, place: _Cursor, found: _Found, positions: Positions | None, limit: int) -> _Cursor | None:
        small = min(limit, _MAX_FOLDERS)
        changes = await changes_since(self._client, place.root, place.t, small if place.s else limit)
        if _folders_in(changes.entries) > _MAX_FOLDERS:
            changes = await changes_since(self._client, place.root, place.t, small)
        place.s = _folders_in(changes.entries) > small // 4
        known = None
        if positions is not None and any(_about_folders(entry) for entry in changes.entries):
            known = await KnownFolders.read(positions, place.g)
            place.n = max(place.n, known.following)
        elif positions is not None:
            known = KnownFolders({}, 0)
        ancestors = Ancestors(self._client, place.root)
        try:
            verdicts = await judge(ancestors, place.root, changes.entries, known)
        finally:
            await ancestors.close()
        found.files, found.removed, found.rescan = verdicts.files, verdicts.removed, verdicts.rescan
        if len(verdicts.entered) + len(verdicts.left) > _MAX_FOLDERS:  # the log was not given in smaller pages
            found.rescan = f"{len(verdicts.entered) + len(verdicts.left)} folders were moved or renamed at once"
        logged, place.n = entries(verdicts.known, place.g, place.n)
        found.positions |= logged
        place.t, place.e = changes.following or "", changes.end or ""
        place.into, place.out = verdicts.entered, verdicts.left
        if found.rescan:
            return None
        return replace(place, w=None) if place.t or place.into or place.out else None

    async def _walk_folders(self, place: _Cursor, found: _Found, limit: int) -> _Cursor | None:
        """Walk what entered, then what left, then go on in the log."""
        leaving = not place.into
        wanted = place.out if leaving else place.into

        async def tops() -> list[Folder]:
            if leaving:
                return [Folder(folder_id, folder_id) for folder_id in wanted]
            ancestors = Ancestors(self._client, place.root)
            try:
                paths = await ancestors.paths(wanted)
            finally:
                await ancestors.close()
            return [Folder(folder_id, path) for folder_id, path in paths.items() if path is not None]

        name = f"{place.r} {place.g} {place.t} {place.e} {leaving} {' '.join(wanted)}"
        step = await self._step(place, tops, limit, name=name, with_bin=leaving)
        if leaving:
            found.removed = {
                str(file["id"]): "trashed" if file.get("trashed") else "moved_out" for file, _ in step.files
            }
            logged, place.n = entries([(folder.id, None) for folder in step.folders], place.g, place.n)
            found.positions |= logged
        else:
            self._note(place, found, step)
        if step.place is not None:
            return replace(place, w=step.place.encode())
        if leaving:
            place.out = []
        else:
            place.into = []
        return replace(place, w=None) if place.out or place.t else None

    async def _step(self, place: _Cursor, tops: Any, limit: int, *, name: str, with_bin: bool = False) -> Step:
        walk = Walk(
            self._client,
            self._memory,
            tops,
            name=name,
            drive=place.d,
            alive=lambda: self._alive(place.root),
            with_bin=with_bin,
        )
        return await walk.page(Place.decode(place.w) if place.w else Place(), limit)

    def _note(self, place: _Cursor, found: _Found, step: Step) -> None:
        found.files = step.files
        place.i = place.i or step.incomplete
        place.h = place.h or step.short
        logged, place.n = entries([(folder.id, folder.path) for folder in step.folders], place.g, place.n)
        found.positions |= logged

    async def _alive(self, root: Root) -> None:
        """Raises where the root is no longer there: what is not shown then proves nothing."""
        file = await look_at(self._client, root.id, keys=root.keys)
        if file is None or file.get("trashed") or (file.get("driveId") or None) != root.drive:
            raise lost(root)

    # --- pages

    async def _page(
        self,
        options: Options,
        found: _Found,
        following: _Cursor | None,
        *,
        incomplete: bool = False,
        short: bool = False,
        before: int,
    ) -> Page:
        next_cursor = following.encode() if following is not None else None
        if next_cursor is not None and len(next_cursor.encode()) > _PLACE_BYTES:
            # Too many folders at once for a place: a full pass finds them.
            found, next_cursor = _Found(rescan="too many folders were moved at once"), None
        if found.rescan:
            found = _Found(rescan=found.rescan)
        rows = await asyncio.gather(*(self._row(options, file, folder) for file, folder in found.files))
        return Page(
            ids=[row.source.id for row in rows],
            fingerprints=[row.source.fingerprint for row in rows],
            row=lambda i: rows[i].source,
            next_cursor=next_cursor,
            complete=next_cursor is None and not incomplete and not found.rescan,
            skips={i: row.skip for i, row in enumerate(rows) if row.skip},
            removed=found.removed,
            positions=found.positions,
            # Whatever else it left out: nothing is taken for absent by a pass that was caught at it.
            unproven=[("", None, _SHORT)] if short and next_cursor is None and not found.rescan else (),
            rescan=found.rescan,
            in_order=False,
            requests=max(1, self._client.requests - before),
        )

    async def _row(self, options: Options, file: Mapping[str, Any], folder: str) -> Row:
        target = None
        details = file.get("shortcutDetails") or {}
        if file.get("mimeType") == SHORTCUT and details.get("targetMimeType") != FOLDER and details.get("targetId"):
            target = await self._target(str(details["targetId"]), str(details.get("targetResourceKey") or ""))
        formats = options.export_formats
        return row_of(file, folder, formats, acknowledge=options.acknowledge_abuse, target=target)

    async def _target(self, target_id: str, key: str) -> dict[str, Any] | None:
        """What a shortcut stands for, where the account may see it and it is not in the bin."""
        async with self._permits:
            try:
                keys = {target_id: key} if key else None
                target = await look_at(self._client, target_id, keys=keys, fields=FIELDS)
            except Denied as error:
                if error.status != 403:
                    raise
                return None
        return target if target and not target.get("trashed") and target.get("mimeType") != SHORTCUT else None


def _folders_in(entries: Sequence[Mapping[str, Any]]) -> int:
    return sum((entry.get("file") or {}).get("mimeType") == FOLDER for entry in entries)


def _about_folders(entry: Mapping[str, Any]) -> bool:
    """Whether it takes the known folders to decide this entry."""
    return bool(entry.get("removed")) or (entry.get("file") or {}).get("mimeType") == FOLDER


def _feed(place: _Cursor, token: str) -> str:
    return json.dumps({"g": place.g, "r": place.r, "d": place.d, "t": token}, separators=(",", ":"))
