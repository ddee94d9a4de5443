"""One answer of a drive's delta, sorted out: rows, removals, folders, shortcuts, and what needs more than this answer.

https://learn.microsoft.com/graph/api/driveitem-delta
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import quote

from providers.base import SourceObject
from providers.errors import Transient
from providers.sharepoint.cursors import Feed, Shortcut
from providers.sharepoint.errors import Kind
from providers.sharepoint.folders import FolderTree, entry_of, key_of
from providers.sharepoint.graph import Graph
from providers.sharepoint.items import FIELDS, Options, parse_time, source_object, unwanted
from providers.sharepoint.links import relative

__all__ = ["Answer", "Taken", "Taker", "read_answer"]


@dataclass(frozen=True, slots=True)
class Answer:
    """One page of a delta: items (each once, as last shown), and where to go on or from where to ask next time."""

    items: Sequence[Mapping[str, Any]]
    next: str
    delta: str


@dataclass(slots=True)
class Taken:
    """What came of an answer."""

    rows: list[SourceObject] = field(default_factory=list)
    skips: dict[int, str] = field(default_factory=dict)
    removed: dict[str, str] = field(default_factory=dict)
    folders: dict[bytes, bytes] = field(default_factory=dict)
    shortcuts: list[Shortcut] = field(default_factory=list)
    moved: bool = False
    anew: str = ""
    """Why the drive must be read anew: what is below a folder cannot be told from this feed."""
    rescan: str = ""


async def read_answer(graph: Graph, feed: Feed, limit: int, options: Options) -> Answer:
    """The answer at a feed's place. Raises Transient unless it is provably a whole page; Resync on 410."""
    labels = ",sensitivityLabel" if options.exclude_labels else ""
    start = f"/drives/{quote(feed.drive, safe='!')}/root/delta?$top={limit}&$select={FIELDS}{labels}"
    target = feed.link or start
    answer = await graph.get(target, kind=Kind.DELTA, path=feed.name)

    def broken(what: str) -> Transient:
        return Transient(f"not a page of changes: {what}", provider="sharepoint", path=feed.name,
                         reason="listing_incomplete", status=200)  # fmt: skip

    items = answer.get("value")
    if not isinstance(items, list) or not all(isinstance(item, dict) and item.get("id") for item in items):
        raise broken("no list of items")
    following = relative(str(answer.get("@odata.nextLink") or ""), graph.endpoint, path=feed.name)
    delta = relative(str(answer.get("@odata.deltaLink") or ""), graph.endpoint, path=feed.name)
    if bool(following) == bool(delta):
        raise broken("neither the last nor followed by another")
    if following and following == feed.link:
        raise broken("it leads to itself")
    # An item may appear more than once; Graph says to use its last occurrence.
    return Answer(list({str(item["id"]): item for item in items}.values()), following, delta)


class Taker:
    """Sorts out the answers of one drive in one pass."""

    def __init__(self, graph: Graph, feed: Feed, options: Options) -> None:
        self.tree = FolderTree(graph, feed.drive)
        self._options = options
        self._kept_folders: Mapping[bytes, bytes] = {}
        self._kept_shortcuts: Mapping[str, Shortcut] = {}
        self._since: datetime | None = None

    def compare_with(self, folders: Mapping[bytes, bytes], shortcuts: Sequence[Shortcut], since: datetime) -> None:
        """What was kept of the drive, for reading its changes."""
        self._kept_folders = folders
        self._kept_shortcuts = {shortcut.id: shortcut for shortcut in shortcuts}
        self._since = since

    async def take(self, feed: Feed, answer: Answer) -> Taken:
        """Sort out one answer."""
        taken = Taken()
        for item in answer.items:
            if (
                "deleted" not in item
                and "remoteItem" not in item
                and ("folder" in item or "package" in item or "root" in item)
            ):
                taken.moved |= self.tree.note(item)
        for item in answer.items:
            if "root" in item:
                continue
            if "deleted" in item:
                self._deleted(feed, item, taken)
            elif "remoteItem" in item:
                await self._shortcut(feed, item, taken)
            elif "folder" in item:
                await self._folder(feed, item, taken)
            else:
                await self._file(feed, item, taken)
        return taken

    def _deleted(self, feed: Feed, item: Mapping[str, Any], taken: Taken) -> None:
        item_id = str(item["id"])
        if feed.mode == "changes":
            if item_id in self._kept_shortcuts:
                taken.rescan = "a shortcut to another library was removed"
            if key_of(item_id) in self._kept_folders:
                # What was in it is only said to be gone if Graph says so item by item, which it does not promise.
                taken.anew = taken.anew or "a folder was deleted"
                return
        taken.removed[f"{feed.drive}/{item_id}"] = "deleted"

    async def _shortcut(self, feed: Feed, item: Mapping[str, Any], taken: Taken) -> None:
        path = await self._path(feed, item)
        remote = item["remoteItem"] or {}
        drive = str((remote.get("parentReference") or {}).get("driveId") or "")
        kept = self._kept_shortcuts.get(str(item["id"]))
        if not path or not drive or not remote.get("id") or feed.shortcut:
            if kept is not None:
                taken.rescan = "a shortcut to another library was moved away"
            return
        shortcut = Shortcut(str(item["id"]), drive, str(remote["id"]), path)
        if kept is None:
            taken.shortcuts.append(shortcut)
        elif kept != shortcut:
            taken.rescan = "a shortcut to another library was renamed or moved"

    async def _folder(self, feed: Feed, item: Mapping[str, Any], taken: Taken) -> None:
        item_id, place = str(item["id"]), entry_of(item)
        if feed.target and item_id == feed.target:
            inside = True
        elif feed.folder:
            inside = await self._path(feed, item) is not None
        else:
            inside = True
        key = key_of(item_id)
        if feed.mode == "changes":
            before = self._kept_folders.get(key)
            if before == place and inside:
                return
            if before is not None:
                taken.anew = taken.anew or "a folder was renamed or moved"
            elif inside and self._is_old(item):
                # Not on record and not new: moved in, or brought back from the bin.
                taken.anew = taken.anew or "a folder was moved in or restored"
        if inside:
            taken.folders[key] = place

    def _is_old(self, item: Mapping[str, Any]) -> bool:
        if (item.get("folder") or {}).get("childCount") == 0:
            return False
        created = parse_time(item.get("createdDateTime"))
        return created is not None and self._since is not None and created < self._since

    async def _file(self, feed: Feed, item: Mapping[str, Any], taken: Taken) -> None:
        source_id = f"{feed.drive}/{item['id']}"
        path = await self._path(feed, item)
        if path is None:
            if feed.mode == "changes":
                taken.removed[source_id] = "moved_out"
            return
        reason = unwanted(item, self._options)
        if reason is None and self.tree.in_package(item):
            reason = "package_part"
        if reason is not None:
            taken.skips[len(taken.rows)] = reason
        taken.rows.append(source_object(feed.drive, item, path, options=self._options))

    async def _path(self, feed: Feed, item: Mapping[str, Any]) -> str | None:
        """The path below the source path; None for an item outside the synced folder, or about to vanish."""
        whole = await self.tree.path_of(item, shown=feed.name)
        if whole is None:
            return None
        if feed.single:
            return feed.prefix.rstrip("/") if str(item["id"]) == feed.target else None
        if not feed.folder:
            return feed.prefix + whole
        return feed.prefix + whole[len(feed.folder) + 1 :] if whole.startswith(f"{feed.folder}/") else None
