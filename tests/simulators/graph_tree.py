"""The tenant behind the Graph simulator: sites, libraries, items, and the log of changes that delta reads.

Changes are logged as SharePoint logs them: a folder appears whenever something in it changes, a renamed
folder without what is in it, a deleted item as a tombstone.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from providers.sharepoint.quickxor import QuickXorHash

__all__ = ["Drive", "Item", "Site", "Tree", "quick_xor"]

_START = datetime(2026, 1, 1, tzinfo=UTC)


def quick_xor(body: bytes) -> str:
    made = QuickXorHash()
    made.update(body)
    return made.digest()


@dataclass(slots=True)
class Item:
    """One file, folder, shortcut or package. `shown` overrides what is shown of it; None leaves a field out."""

    id: str
    name: str
    parent: str
    kind: str
    body: bytes = b""
    version: int = 1
    order: int = 0
    seq: int = 0
    created: datetime = _START
    modified: datetime = _START
    shown: dict[str, Any] = field(default_factory=dict)
    remote: tuple[str, str] | None = None
    deleted: bool = False
    listed: bool = True
    """Whether the feed shows its deletion at all."""


@dataclass(slots=True)
class Drive:
    """One library."""

    id: str
    name: str
    segment: str
    site: str
    items: dict[str, Item] = field(default_factory=dict)
    seq: int = 0
    oldest: int = 0
    """Tokens from before are answered 410 of this kind."""
    gone_kind: str = "resyncChangesApplyDifferences"
    status: int = 200
    type: str = "documentLibrary"

    @property
    def root(self) -> Item:
        return self.items["root-" + self.id]

    def find(self, path: str) -> Item | None:
        """The item at a path; None if there is none."""
        item = self.root
        for name in filter(None, path.split("/")):
            found = [
                i
                for i in self.items.values()
                if i.parent == item.id and not i.deleted and i.name.lower() == name.lower()
            ]
            if not found:
                return None
            item = found[0]
        return item

    def path_of(self, item: Item) -> str:
        names = []
        while item.parent:
            names.append(item.name)
            item = self.items[item.parent]
        return "/".join(reversed(names))

    def below(self, item: Item) -> list[Item]:
        """Everything in a folder, at any depth."""
        direct = [i for i in self.items.values() if i.parent == item.id and not i.deleted]
        return direct + [deep for one in direct for deep in self.below(one)]


@dataclass(slots=True)
class Site:
    id: str
    host: str
    path: str
    name: str
    drives: list[str] = field(default_factory=list)
    status: int = 200
    personal: bool = False

    @property
    def url(self) -> str:
        return f"https://{self.host}/{self.path}".rstrip("/")


class Tree:
    """A tenant, and what people do in it."""

    def __init__(self, host: str = "contoso.sharepoint.com") -> None:
        self.host = host
        self.sites: dict[str, Site] = {}
        self.drives: dict[str, Drive] = {}
        self._number = itertools.count(1)
        self.folders_touched = True
        """Whether a folder appears in the feed when something in it changes."""
        self.descendants_reported = True
        """Whether a deleted folder's content is reported deleted item by item."""
        self.add_site("", name="Root")

    def add_site(self, path: str, name: str = "", *, host: str = "", personal: bool = False) -> Site:
        number = next(self._number)
        host = host or self.host
        site_id = f"{host},{number:08d}-0000-4000-8000-000000000000,{number:08d}-1111-4000-8000-000000000000"
        site = Site(site_id, host, path, name or path.rpartition("/")[2], personal=personal)
        self.sites[site.id] = site
        return site

    def add_library(self, site: Site, name: str = "Documents", segment: str = "", **more: Any) -> Drive:
        drive_id = f"b!{next(self._number):06d}{name.encode().hex()}"
        drive = Drive(drive_id, name, segment or name, site.id, **more)
        drive.items["root-" + drive_id] = Item("root-" + drive_id, "root", "", "root")
        self.drives[drive_id] = drive
        site.drives.append(drive_id)
        return drive

    # --- what people do

    def mkdir(self, drive: Drive, path: str, **fields: Any) -> Item:
        """The folder at `path`, made with those above it."""
        item = drive.root
        for name in filter(None, path.split("/")):
            found = next(
                (i for i in drive.items.values() if i.parent == item.id and not i.deleted and i.name == name), None
            )
            item = found or self._new(drive, Item(f"01F{next(self._number):08d}", name, item.id, "folder", **fields))
        return item

    def put(self, drive: Drive, path: str, body: bytes = b"", *, kind: str = "file", **fields: Any) -> Item:
        """Write a file (a new version of it if it is there)."""
        folder, _, name = path.rpartition("/")
        parent = self.mkdir(drive, folder)
        found = drive.find(path)
        if found is not None and found.kind == kind:
            found.body, found.version = body, found.version + 1
            for key, value in fields.items():
                setattr(found, key, value)
            found.modified = fields.get("modified") or found.modified + timedelta(seconds=1)
            self._touch(drive, found)
            return found
        return self._new(drive, Item(f"01{next(self._number):08d}X", name, parent.id, kind, body, **fields))

    def shortcut(self, drive: Drive, path: str, target: Drive, item: Item) -> Item:
        return self.put(drive, path, kind="remote", remote=(target.id, item.id))

    def show(self, drive: Drive, path: str, **shown: Any) -> Item:
        """Show an item otherwise, as a change of it."""
        item = self._at(drive, path)
        item.shown |= shown
        item.version += 1
        self._touch(drive, item)
        return item

    def move(self, drive: Drive, path: str, to: str) -> Item:
        """Rename or move a file or folder: only itself appears in the feed, not what is in it."""
        item = self._at(drive, path)
        folder, _, name = to.rpartition("/")
        before = drive.items[item.parent]
        item.parent, item.name = self.mkdir(drive, folder).id, name
        item.version += 1
        self._touch(drive, item)
        if self.folders_touched:
            self._mark(drive, before)
        return item

    def remove(self, drive: Drive, path: str) -> None:
        item = self._at(drive, path)
        for deep in drive.below(item):
            deep.deleted, deep.listed = True, self.descendants_reported
            self._mark(drive, deep)
        item.deleted = True
        self._touch(drive, item)

    def expire(self, drive: Drive, kind: str = "resyncChangesApplyDifferences") -> None:
        """Every token given out so far is too old."""
        drive.seq += 1
        drive.oldest, drive.gone_kind = drive.seq, kind

    def _at(self, drive: Drive, path: str) -> Item:
        item = drive.find(path)
        assert item is not None, path
        return item

    def _new(self, drive: Drive, item: Item) -> Item:
        if item.created == _START:
            item.created = datetime.now(UTC)
        item.order = next(self._number)
        drive.items[item.id] = item
        self._touch(drive, item)
        return item

    def _touch(self, drive: Drive, item: Item) -> None:
        self._mark(drive, item)
        while self.folders_touched and item.parent:
            item = drive.items[item.parent]
            self._mark(drive, item)

    @staticmethod
    def _mark(drive: Drive, item: Item) -> None:
        drive.seq += 1
        item.seq = drive.seq
