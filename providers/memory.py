"""The smallest correct provider: files in a dict. Copy it to begin a new one; tests use it as it is."""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import ClassVar

from providers.base import Attributes, Capabilities, CheckReport, Content, Page, Provider, SourceObject
from providers.errors import Changed, Gone, Misconfigured

__all__ = ["MemoryFile", "MemoryProvider"]


@dataclass(frozen=True, slots=True)
class MemoryFile:
    """One file and what a store would tell about it."""

    body: bytes
    modified_at: datetime = datetime(2026, 1, 1, tzinfo=UTC)
    tags: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """`content|stamp`, as `providers.base` defines it."""
        return f"{hashlib.sha256(self.body).hexdigest()}|{self.modified_at.isoformat()}"


class MemoryProvider(Provider):
    """`files` maps full paths (`folder/name`) to files and may be changed between calls.

    A source path is a folder: `""` is everything, `"a"` what begins with `a/`. A cursor is the id
    after which to go on, then a tab, then the id up to which.
    """

    name: ClassVar[str] = "memory"

    def __init__(self, files: dict[str, MemoryFile]) -> None:
        self.files = files
        self.capabilities = Capabilities(ordered=True, ranges=True)

    async def check(self, path: str | None = None) -> CheckReport:
        """See Provider."""
        if path and not any(name.startswith(self._folder(path)) for name in self.files):
            raise Misconfigured("there is no such folder", provider=self.name, path=path)
        return CheckReport(f"{len(self.files)} files")

    async def list_page(self, path: str, cursor: str | None, limit: int) -> Page:
        """See Provider."""
        after, _, until = (cursor or "").partition("\t")
        folder = self._folder(path)
        names = sorted(n for n in self.files if n.startswith(folder) and (not until or n <= until))
        start = bisect_right(names, after) if after else 0
        shown, more = names[start : start + limit], start + limit < len(names)
        fingerprints = [self.files[name].fingerprint for name in shown]
        files = [self.files[name] for name in shown]

        def row(i: int) -> SourceObject:
            return SourceObject(
                id=shown[i],
                path=shown[i].removeprefix(folder),
                fingerprint=fingerprints[i],
                size=len(files[i].body),
                modified_at=files[i].modified_at,
                locator={"name": shown[i]},
            )

        return Page(shown, fingerprints, row, f"{shown[-1]}\t{until}" if more else None, complete=not more)

    async def open(self, source: SourceObject, *, any_version: bool = False) -> Content:
        """See Provider."""
        file = self.files.get(source.locator["name"])
        if file is None:
            raise Gone("no longer there", provider=self.name, path=source.id)
        if file.fingerprint.partition("|")[0] != source.fingerprint.partition("|")[0]:
            if not any_version:
                raise Changed("no longer the listed version", provider=self.name, path=source.id)
            source = SourceObject(
                source.id, source.path, file.fingerprint, len(file.body), file.modified_at, None, source.locator
            )

        async def chunks() -> AsyncIterator[bytes]:
            yield file.body

        return Content(source, len(file.body), None, chunks=chunks())

    async def attributes(self, source: SourceObject, *, tags: bool, metadata: bool) -> Attributes:
        """See Provider."""
        file = self.files.get(source.locator["name"])
        if file is None:
            raise Gone("no longer there", provider=self.name, path=source.id)
        return Attributes(file.tags if tags else {}, file.metadata if metadata else {})

    def scope(self, path: str) -> tuple[str, str | None]:
        """See Provider."""
        folder = self._folder(path)
        return folder, (folder[:-1] + "0" if folder else None)  # "0" follows "/"

    def range_cursor(self, path: str, after: str | None, until: str | None) -> str:
        """See Provider."""
        del path
        return f"{after or ''}\t{until or ''}"

    async def close(self) -> None:
        """See Provider."""

    @staticmethod
    def _folder(path: str) -> str:
        return path if not path or path.endswith("/") else f"{path}/"
