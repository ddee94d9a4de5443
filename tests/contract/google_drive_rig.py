"""What the tests of the Google Drive provider share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from providers.base import Page, Provider, SourceObject
from providers.google_drive import GoogleDriveProvider
from providers.settings import ProviderSettings
from tests.contract.provider_suite import Places, Source
from tests.simulators.google_drive import DriveSimulator

__all__ = ["DriveSource", "changes", "connect", "full_pass", "ids", "poll", "settings"]


def settings(drive: DriveSimulator, **more: Any) -> ProviderSettings:
    return ProviderSettings(google_api_endpoint=drive.url, google_token_uri=drive.token_uri, **more)


def connect(
    drive: DriveSimulator,
    config: Mapping[str, Any] | None = None,
    credentials: Mapping[str, Any] | None = None,
    **more: Any,
) -> GoogleDriveProvider:
    """A provider as the service account standing in for me@example.com, unless told otherwise."""
    config = {"impersonate_user": "me@example.com"} if config is None else config
    return GoogleDriveProvider(config, credentials or drive.service_account(), settings(drive, **more))


class DriveSource(Source):
    """A folder of a simulated Drive."""

    def __init__(self, drive: DriveSimulator, within: str, *, config: Mapping[str, Any], path: str) -> None:
        self.drive, self.config, self.path = drive, config, path
        self.root = drive.tree.folder("root", within)
        drive.tree.put("other/x", b"not ours", within)

    def open(self) -> Provider:
        return connect(self.drive, self.config)

    def put(self, name: str, body: bytes) -> None:
        self.drive.tree.put(name, body, self.root)

    def remove(self, name: str) -> None:
        last = name.rpartition("/")[2]
        [file] = [file for file in self.drive.tree.below(self.root) if file.name == last]
        self.drive.tree.delete(file.id)


def ids(pages: Sequence[Page]) -> list[str]:
    """Of all pages, in order."""
    return [id_ for page in pages for id_ in page.ids]


async def full_pass(provider: Provider, path: str, places: Places | None = None, limit: int = 1000) -> list[Page]:
    found: list[Page] = []
    gained: dict[str, str] = {}
    cursor: str | None = None
    while True:
        found.append(await provider.list_page(path, cursor, limit))
        gained.update(found[-1].positions)
        cursor = found[-1].next_cursor
        assert cursor is None or len(cursor.encode()) <= 4096
        if cursor is None:
            if places is not None:
                assert found[-1].complete
                places.kept.update(gained)
            return found


async def changes(provider: Provider, path: str, places: Places, limit: int = 1000) -> list[Page]:
    found: list[Page] = []
    gained: dict[str, str] = {}
    cursor: str | None = None
    while True:
        found.append(await provider.list_changes(path, places, cursor, limit))
        gained.update(found[-1].positions)
        cursor = found[-1].next_cursor
        assert cursor is None or len(cursor.encode()) <= 4096
        if cursor is None:
            if found[-1].complete:
                places.kept.update(gained)
            return found


async def poll(provider: Provider, path: str, places: Places) -> tuple[dict[str, SourceObject], dict[str, str]]:
    """An incremental pass: rows by path, and what was removed."""
    found = await changes(provider, path, places)
    assert not any(page.rescan for page in found), [page.rescan for page in found]
    rows = [page.row(i) for page in found for i in range(len(page.ids)) if i not in page.skips]
    removed: dict[str, str] = {}
    for page in found:
        removed |= page.removed
    return {row.path: row for row in rows}, removed
