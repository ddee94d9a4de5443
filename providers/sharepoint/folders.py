"""Where files are: paths recomputed from the tree of ids, and a record of every folder to notice moved ones.

Graph's delta shows a renamed folder but not what is in it, and it also shows folders in which only a
file has changed. Telling the two apart takes the folder's former parent and name: 12 bytes of hashes a
folder, kept with the drive's position in rows of at most 4 KiB.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, unquote

from providers.errors import Gone, Permanent, Transient
from providers.sharepoint.errors import Kind
from providers.sharepoint.graph import Graph

__all__ = ["ENTRIES_PER_ROW", "FolderTree", "entry_of", "key_of", "pack", "unpack"]

ENTRIES_PER_ROW = 240
_KEY, _PLACE = 8, 4
_DEEPEST = 400


def key_of(item_id: str) -> bytes:
    """A folder's key in the record."""
    return hashlib.blake2b(item_id.encode(), digest_size=_KEY).digest()


def entry_of(item: Mapping[str, Any]) -> bytes:
    """A folder's parent and name in the record."""
    parent = (item.get("parentReference") or {}).get("id") or ""
    return hashlib.blake2b(
        f"{parent}\n{item.get('name')}".encode("utf-8", "surrogatepass"), digest_size=_PLACE
    ).digest()


def pack(entries: Mapping[bytes, bytes]) -> Iterator[str]:
    """Rows of the record."""
    flat = [key + place for key, place in entries.items()]
    for start in range(0, len(flat), ENTRIES_PER_ROW):
        yield base64.b64encode(b"".join(flat[start : start + ENTRIES_PER_ROW])).decode()


def unpack(row: str) -> dict[bytes, bytes]:
    """Inverse of one row of `pack`."""
    flat = base64.b64decode(row)
    step = _KEY + _PLACE
    return {flat[i : i + _KEY]: flat[i + _KEY : i + step] for i in range(0, len(flat) - len(flat) % step, step)}


class FolderTree:
    """Folders of one drive as seen in one pass. Unknown parents are asked for, once each."""

    def __init__(self, graph: Graph, drive: str) -> None:
        self._graph = graph
        self._drive = drive
        self._known: dict[str, tuple[str, str]] = {}
        self._paths: dict[str, str] = {}
        self._packages: set[str] = set()
        self._root = ""
        self.asked = 0

    def note(self, item: Mapping[str, Any]) -> bool:
        """Take in a folder (or package, or root); True if this pass has seen it in another place before."""
        item_id = str(item["id"])
        if "root" in item:
            self._root = item_id
            self._paths[item_id] = ""
            return False
        place = (str((item.get("parentReference") or {}).get("id") or ""), str(item.get("name") or ""))
        before = self._known.get(item_id)
        self._known[item_id] = place
        if "package" in item:
            self._packages.add(item_id)
        if before == place:
            return False
        if before is not None or item_id in self._paths:
            # What was derived from its former place, or taken from an answer's own words, is derived anew.
            self._paths = {self._root: ""} if self._root else {}
        return before is not None

    async def path_of(self, item: Mapping[str, Any], *, shown: str) -> str | None:
        """An item's path from the drive's root; None if a folder above it is gone."""
        parent = item.get("parentReference") or {}
        parent_id = str(parent.get("id") or "")
        if (
            parent_id
            and parent_id not in self._known
            and parent_id not in self._paths
            and "root:" in str(parent.get("path") or "")
        ):
            # The answer itself says where its folder is; the tree of ids has not come by it.
            self._paths[parent_id] = unquote(str(parent["path"]).partition("root:")[2]).strip("/")
        above = await self._folder_path(parent_id, shown=shown)
        name = str(item.get("name") or item["id"])
        return None if above is None else f"{above}/{name}" if above else name

    def in_package(self, item: Mapping[str, Any]) -> bool:
        """Whether an item is a part of a package (a section of a OneNote notebook)."""
        current = str((item.get("parentReference") or {}).get("id") or "")
        for _ in range(_DEEPEST):
            if current in self._packages:
                return True
            if current not in self._known:
                return False
            current = self._known[current][0]
        return False

    async def _folder_path(self, folder: str, *, shown: str) -> str | None:
        names: list[str] = []
        passed: list[tuple[str, int]] = []
        current = folder
        while current and current not in self._paths:
            if len(names) > _DEEPEST:
                return None
            if current not in self._known and not await self._ask(current, shown=shown):
                return None
            if current in self._paths:
                break
            passed.append((current, len(names)))
            current, name = self._known[current]
            names.append(name)
        base = self._paths.get(current, "")
        whole = "/".join(filter(None, [base, *reversed(names)]))
        for item_id, index in passed:
            below = names[index:]
            self._paths[item_id] = "/".join(filter(None, [base, *reversed(below)]))
        return whole

    async def _ask(self, folder: str, *, shown: str) -> bool:
        """Look a folder up; False if it is gone."""
        where = f"/drives/{quote(self._drive, safe='!')}/items/{quote(folder, safe='!')}"
        try:
            item = await self._graph.get(
                f"{where}?$select=id,name,root,package,parentReference", kind=Kind.ITEM, path=shown
            )
        except Gone:
            return False
        except Permanent as error:
            message = "a folder cannot be looked up, so the path of a file in it is not known"
            raise Transient(message, provider="sharepoint", path=shown, code=error.code, status=error.status) from None
        self.asked += 1
        self.note({**item, "id": folder})
        above = str((item.get("parentReference") or {}).get("path") or "")
        parent_id = str((item.get("parentReference") or {}).get("id") or "")
        if "root:" in above and parent_id and parent_id not in self._known:
            self._paths.setdefault(parent_id, unquote(above.partition("root:")[2]).strip("/"))
        return True
