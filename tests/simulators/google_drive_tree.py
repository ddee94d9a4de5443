"""The files of a simulated Drive: a tree that a test changes and a log of what changed. No HTTP here."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

__all__ = ["APPS", "FOLDER", "SHORTCUT", "File", "Tree"]

APPS = "application/vnd.google-apps."
FOLDER = f"{APPS}folder"
SHORTCUT = f"{APPS}shortcut"
_START = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class File:
    """One item and how it behaves."""

    id: str
    name: str
    mime_type: str
    parent: str | None
    owner: str
    body: bytes = b""
    drive: str | None = None
    trashed: bool = False
    version: int = 1
    revision: int = 1
    modified: datetime = _START
    shown: dict[str, Any] = field(default_factory=dict)
    """Further fields of the resource: description, appProperties, starred, resourceKey, ..."""
    exports: dict[str, bytes] = field(default_factory=dict)
    shared_with: set[str] = field(default_factory=set)
    target: str | None = None
    refuse: tuple[int, str] | None = None
    """Status and reason with which its bytes are refused."""
    export_limit: int = 10 * 1024 * 1024
    links: bool = True
    served: bytes | None = None
    """What is served instead of `body`: a file whose bytes are not those of its metadata."""


class Tree:
    """Items by id, shared drives with their members, and the log."""

    def __init__(self) -> None:
        self.files: dict[str, File] = {}
        self.drives: dict[str, dict[str, Any]] = {}
        self.log: list[dict[str, Any]] = []
        self.domain: set[str] = {"me@example.com"}
        """Users that a service account with domain-wide delegation may stand in for."""
        self.delegation = True
        self.suspended: set[str] = set()
        self.owner = "me@example.com"
        """Whose My Drive `put` writes to when no drive is named."""
        self._ids = itertools.count(1)
        self._clock = itertools.count(1)

    # --- filling

    def new_id(self, start: str = "1") -> str:
        """An id that looks like Drive's and comes in no order."""
        return start + hashlib.sha256(f"id{next(self._ids)}".encode()).hexdigest()[:32]

    def root_of(self, user: str) -> str:
        """The id of a user's My Drive."""
        root = "0A" + hashlib.sha256(user.encode()).hexdigest()[:15] + "PVA"
        if root not in self.files:
            self.files[root] = File(root, "My Drive", FOLDER, None, user)
        return root

    def add_drive(self, name: str, members: set[str] | None = None) -> str:
        """A shared drive."""
        drive = "0A" + hashlib.sha256(f"drive{next(self._ids)}".encode()).hexdigest()[:15] + "PVA"
        self.drives[drive] = {"id": drive, "name": name, "members": {self.owner} if members is None else members}
        self.files[drive] = File(drive, "Drive", FOLDER, None, "", drive=drive)
        return drive

    def folder(self, path: str, within: str | None = None) -> str:
        """The folder at `path` (made where missing) below a folder, a drive, or My Drive."""
        here = within or self.root_of(self.owner)
        for name in (name for name in path.split("/") if name):
            found = [f for f in self.children(here) if f.name == name and f.mime_type == FOLDER and not f.trashed]
            here = found[0].id if found else self.add(name, FOLDER, here).id
        return here

    def add(self, name: str, mime_type: str, parent: str | None, body: bytes = b"", **more: Any) -> File:
        """A new item, whatever there is of that name already."""
        above = self.files.get(parent) if parent else None
        file = File(
            self.new_id(),
            name,
            mime_type,
            parent,
            above.owner if above else self.owner,
            body,
            above.drive if above else None,
            modified=self._now(),
            **more,
        )
        self.files[file.id] = file
        self._note(file)
        return file

    def put(
        self, path: str, body: bytes, within: str | None = None, mime_type: str = "text/plain", **more: Any
    ) -> File:
        """Write a file; one that is there gets a new version."""
        folder, _, name = path.rpartition("/")
        parent = self.folder(folder, within)
        for file in self.children(parent):
            if file.name == name and not file.trashed and file.mime_type != FOLDER:
                return self.write(file.id, body)
        return self.add(name, mime_type, parent, body, **more)

    def native(self, kind: str, path: str, exports: Mapping[str, bytes], within: str | None = None) -> File:
        """A Google Doc (`document`), Sheet (`spreadsheet`), ..."""
        folder, _, name = path.rpartition("/")
        return self.add(name, f"{APPS}{kind}", self.folder(folder, within), exports=dict(exports))

    def shortcut(self, path: str, target: str, within: str | None = None) -> File:
        """A shortcut."""
        folder, _, name = path.rpartition("/")
        return self.add(name, SHORTCUT, self.folder(folder, within), target=target)

    def children(self, folder: str) -> list[File]:
        """What is directly in a folder."""
        return [file for file in self.files.values() if file.parent == folder]

    # --- changing

    def write(self, file_id: str, body: bytes) -> File:
        """New bytes."""
        file = self.files[file_id]
        file.body, file.revision, file.modified = body, file.revision + 1, self._now()
        self._note(file)
        return file

    def edit(self, file_id: str, exports: Mapping[str, bytes]) -> None:
        """A native document is edited."""
        file = self.files[file_id]
        file.exports, file.modified = dict(exports), self._now()
        self._note(file)

    def bump(self, file_id: str) -> None:
        """A change that nobody sees: only `version` moves."""
        self._note(self.files[file_id])

    def show(self, file_id: str, **fields: Any) -> None:
        """Other fields: description, appProperties, starred."""
        self.files[file_id].shown |= fields
        self._note(self.files[file_id])

    def rename(self, file_id: str, name: str) -> None:
        """A new name; the time of change stays, as Drive leaves it."""
        self.files[file_id].name = name
        self._note(self.files[file_id])

    def move(self, file_id: str, parent: str) -> None:
        """Into another folder; the log names the moved item only."""
        file = self.files[file_id]
        before = self.viewers(file)
        file.parent, drive = parent, self.files[parent].drive
        for one in [file, *self.below(file_id)]:
            if one.drive != drive and one.drive:
                self._note(one, gone=True)
            one.drive = drive
        self._note(file, seen=before)

    def trash(self, file_id: str, *, back: bool = False) -> None:
        """Into the bin, with what is below; or back."""
        for one in [self.files[file_id], *self.below(file_id)]:
            one.trashed = not back
        self._note(self.files[file_id])

    def delete(self, file_id: str) -> None:
        """For good, with what is below."""
        file = self.files[file_id]
        below = self.below(file_id)
        self._note(file, gone=True)
        for one in [file, *below]:
            del self.files[one.id]

    def share(self, file_id: str, user: str) -> None:
        """Let somebody see an item and what is below."""
        self.files[file_id].shared_with.add(user)
        self._note(self.files[file_id])

    def unshare(self, file_id: str, user: str) -> None:
        """The opposite; for that user the item is gone."""
        self.files[file_id].shared_with.discard(user)
        self._note(self.files[file_id], gone=True, seen={user})

    def delete_drive(self, drive: str) -> None:
        """A shared drive and all its items."""
        self.log.append({"kind": "drive", "drive": drive, "gone": True})
        del self.drives[drive]
        for file in [file for file in self.files.values() if file.drive == drive]:
            del self.files[file.id]

    # --- seeing

    def below(self, folder: str) -> list[File]:
        """Everything below a folder."""
        found: list[File] = []
        queue = [folder]
        while queue:
            here = self.children(queue.pop())
            found += here
            queue += [file.id for file in here]
        return found

    def visible(self, file: File, user: str) -> bool:
        """Whether a user sees an item."""
        if file.drive:
            drive = self.drives.get(file.drive)
            if drive is not None and user in drive["members"]:
                return True
        elif file.owner == user:
            return True
        here: File | None = file
        while here is not None:
            if user in here.shared_with:
                return True
            here = self.files.get(here.parent) if here.parent else None
        return False

    def resource(self, file: File, user: str) -> dict[str, Any]:
        """The item as Drive v3 shows it."""
        above = self.files.get(file.parent) if file.parent else None
        shown: dict[str, Any] = {
            "kind": "drive#file",
            "id": file.id,
            "name": file.name,
            "mimeType": file.mime_type,
            "trashed": file.trashed,
            "starred": False,
            "version": str(file.version),
            "createdTime": _time(_START),
            "modifiedTime": _time(file.modified),
            "webViewLink": f"https://drive.google.com/file/d/{file.id}/view",
        }
        if above is not None and self.visible(above, user):
            shown["parents"] = [above.id]
        if file.drive:
            shown["driveId"] = file.drive
        if file.target:
            target = self.files.get(file.target)
            shown["shortcutDetails"] = {"targetId": file.target, "targetMimeType": target.mime_type if target else ""}
            if target and target.shown.get("resourceKey"):
                shown["shortcutDetails"]["targetResourceKey"] = target.shown["resourceKey"]
        elif file.mime_type.startswith(APPS):
            if file.exports:
                shown["size"] = "1024"  # what Drive accounts for, not what an export has
        else:
            shown |= {
                "size": str(len(file.body)),
                "md5Checksum": hashlib.md5(file.body).hexdigest(),
                "sha1Checksum": hashlib.sha1(file.body).hexdigest(),
                "headRevisionId": f"rev{file.revision}",
            }
        shown["sharedWithMe"] = user in file.shared_with
        return {key: value for key, value in (shown | file.shown).items() if value is not None}

    def viewers(self, file: File) -> set[str]:
        """Whom an item is shared with, by itself or by a folder above it."""
        found: set[str] = set()
        here: File | None = file
        while here is not None:
            found |= here.shared_with
            here = self.files.get(here.parent) if here.parent else None
        return found

    def _note(self, file: File, *, gone: bool = False, seen: Iterable[str] = ()) -> None:
        file.version += 1
        entry: dict[str, Any] = {
            "kind": "file",
            "file": file.id,
            "drive": file.drive,
            "owner": file.owner,
            "gone": gone,
        }
        # Who could see it: what has gone is told to them only.
        entry["seen_by"] = self.viewers(file) | set(seen)
        self.log.append(entry)

    def _now(self) -> datetime:
        return _START + timedelta(seconds=next(self._clock))


def _time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"
