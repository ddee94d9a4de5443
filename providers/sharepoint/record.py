"""What is kept of a drive between passes: its deltaLink, the record of its folders, its shortcuts.

    {drive}      {"link", "at", "rows", "shortcuts", "moved"}     one row per drive
    {drive}#f0…  record of folders, 240 a row                     only where there are folders
    {drive}#s0…  shortcuts to other drives, as JSON               only where there are any
    @{site}      which libraries a site had                       only where every library is walked
A change feed adds rows; a drive that is read anew begins at 0 again, and rows beyond `rows` mean nothing.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta

from providers.base import Positions
from providers.sharepoint.cursors import Feed, Shortcut
from providers.sharepoint.folders import pack, unpack
from providers.sharepoint.items import parse_time

__all__ = ["Kept", "changed_libraries", "folder_rows", "kept_of", "load_folders", "load_shortcuts", "shortcut_rows"]

_ROW_BYTES = 3500
# An unused place is renewed now and then, so that it never grows as old as Graph forgets them.
_RENEW = timedelta(hours=6)
_LIBRARIES_PER_ROW = 340


@dataclass(frozen=True, slots=True)
class Kept:
    """A drive's position."""

    at: datetime
    link: str = ""
    rows: int = 0
    shortcuts: int = 0
    moved: bool = False

    @property
    def stale(self) -> bool:
        """Whether it should be renewed although nothing has changed."""
        return datetime.now(UTC) - self.at > _RENEW

    @classmethod
    def of(cls, feed: Feed, link: str) -> str:
        """The position at the end of a feed, as kept."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        plain = {"link": link, "at": now, "rows": feed.rows, "shortcuts": feed.shortcuts, "moved": feed.moved}
        return json.dumps({name: value for name, value in plain.items() if value}, separators=(",", ":"))


async def kept_of(positions: Positions, key: str) -> Kept | None:
    """The position kept under `key`; None if there is none that can be read."""
    text = await positions.get(key)
    if text is None:
        return None
    try:
        plain = json.loads(text)
        at = parse_time(plain["at"])
        return None if at is None else Kept(**{**plain, "at": at})
    except (ValueError, TypeError, KeyError):
        return None


def folder_rows(feed: Feed, entries: Mapping[bytes, bytes]) -> dict[str, str]:
    """Rows for folders that came up; counts them in `feed`."""
    rows = {}
    for row in pack(entries):
        rows[f"{feed.key}#f{feed.rows}"] = row
        feed.rows += 1
    return rows


async def load_folders(positions: Positions, key: str, rows: int) -> dict[bytes, bytes]:
    """The record of a drive's folders; a later row wins."""
    found: dict[bytes, bytes] = {}
    for start in range(0, rows, 16):
        numbers = range(start, min(start + 16, rows))
        for row in await asyncio.gather(*(positions.get(f"{key}#f{number}") for number in numbers)):
            found |= unpack(row or "")
    return found


def shortcut_rows(feed: Feed, shortcuts: Iterable[Shortcut]) -> dict[str, str]:
    """Rows for shortcuts that came up; counts them in `feed`."""
    rows: dict[str, str] = {}
    pending: list[dict[str, str]] = []
    for shortcut in shortcuts:
        if pending and len(json.dumps([*pending, asdict(shortcut)]).encode()) > _ROW_BYTES:
            rows[f"{feed.key}#s{feed.shortcuts}"] = json.dumps(pending, separators=(",", ":"))
            feed.shortcuts, pending = feed.shortcuts + 1, []
        pending.append(asdict(shortcut))
    if pending:
        rows[f"{feed.key}#s{feed.shortcuts}"] = json.dumps(pending, separators=(",", ":"))
        feed.shortcuts += 1
    return rows


async def load_shortcuts(positions: Positions, key: str, rows: int) -> list[Shortcut]:
    """A drive's kept shortcuts, in the order in which they were found."""
    found: dict[str, Shortcut] = {}
    for number in range(rows):
        for plain in json.loads(await positions.get(f"{key}#s{number}") or "[]"):
            found[plain["id"]] = Shortcut(**plain)
    return list(found.values())


async def changed_libraries(
    positions: Positions | None, site: str, drives: Sequence[str]
) -> tuple[bool, dict[str, str]]:
    """(whether a library that a site had is gone, rows to keep). Without positions: the first time."""
    now = sorted(hashlib.blake2b(drive.encode(), digest_size=8).digest() for drive in drives)
    parts = [now[start : start + _LIBRARIES_PER_ROW] for start in range(0, len(now), _LIBRARIES_PER_ROW)] or [[]]
    rows = {
        f"@{site}" + (f"#{number}" if number else ""): f"{len(parts)}:{base64.b64encode(b''.join(part)).decode()}"
        for number, part in enumerate(parts)
    }
    if positions is None:
        return False, rows
    first = await positions.get(f"@{site}")
    if first is None:
        return False, rows
    texts = [first]
    texts += [await positions.get(f"@{site}#{number}") or "" for number in range(1, int(first.partition(":")[0]))]
    flat = b"".join(base64.b64decode(text.partition(":")[2]) for text in texts)
    before = {flat[start : start + 8] for start in range(0, len(flat), 8)}
    gone = bool(before - set(now))
    return gone, {} if before == set(now) else rows
