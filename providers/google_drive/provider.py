"""The Google Drive provider: the contract of `providers.base`, put together from the parts of this package."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from providers.base import Attributes, Capabilities, CheckReport, Content, Page, Positions, Provider, SourceObject
from providers.google_drive.auth import TokenSource
from providers.google_drive.client import DriveClient, foreign
from providers.google_drive.content import attributes_of, open_file
from providers.google_drive.errors import PROVIDER
from providers.google_drive.lister import PAGE_LIMIT, Lister
from providers.google_drive.options import narrow, parse
from providers.google_drive.presence import still_there
from providers.google_drive.previews import preview_files, preview_folders
from providers.google_drive.roots import corpus, find_root, quoted
from providers.google_drive.transport import Transport
from providers.http import HttpClient
from providers.settings import ProviderSettings

__all__ = ["GoogleDriveProvider"]


class GoogleDriveProvider(Provider):
    """One Google account, a service account or a user it stands in for. See `options` for source paths."""

    name: ClassVar[str] = PROVIDER

    def __init__(self, config: Mapping[str, Any], credentials: Mapping[str, Any], settings: ProviderSettings) -> None:
        self.capabilities = Capabilities(change_feed=True, confirms=True, page_limit=PAGE_LIMIT)
        self._settings = settings
        self._drive: str | None = config.get("shared_drive_id") or None
        # Both addresses are the operator's, not a tenant's: a private link is as good as Google's own.
        self._http = HttpClient(
            allow_private=True, connect_timeout=settings.connect_timeout, read_timeout=settings.read_timeout
        )
        user = config.get("impersonate_user") or None
        transport = Transport(self._http, settings.user_agent)
        tokens = TokenSource(transport, credentials, token_uri=settings.google_token_uri, user=user)
        self._client = DriveClient(
            transport,
            tokens,
            endpoint=settings.google_api_endpoint.rstrip("/"),
            quota_user=f"{user or ''} {credentials.get('client_email') or credentials.get('refresh_token') or ''}",
        )
        self._lister = Lister(self._client)

    def narrow(self, path: str, provider_filters: Mapping[str, Any]) -> str:
        """See Provider and `providers.google_drive.options`."""
        return narrow(path, provider_filters)

    async def check(self, path: str | None = None) -> CheckReport:
        """Say who we are, find `path` (or the configured shared drive) and list one child of it."""
        about = await self._client.call("about.get", fields="user(displayName,emailAddress)")
        user = about.get("user")
        if not isinstance(user, dict):
            raise foreign("no user")
        email = str(user.get("emailAddress") or self._client.account)
        if not path and not self._drive:
            return CheckReport(f"signed in to Google Drive as {email}", {"account": email})
        root = await find_root(self._client, parse(path or "/", self._drive))
        answer = await self._client.call(
            "files.list",
            q=f"{quoted(root.id)} in parents and trashed = false",
            fields="files(id)",
            pageSize=1,
            keys=root.keys,
            path=path or root.name,
            **corpus(root.drive),
        )
        if not isinstance(answer.get("files"), list):
            raise foreign("no list of files", root.name)
        empty = not answer["files"]
        return CheckReport(
            f"{email} can read {root.name!r}{'; nothing is there yet' if empty else ''}",
            {
                "account": email,
                "folder_id": root.id,
                "folder": root.name,
                "shared_drive_id": root.drive,
                "empty": empty,
            },
        )

    async def list_page(self, path: str, cursor: str | None, limit: int) -> Page:
        """See Provider."""
        return await self._lister.list_page(parse(path, self._drive), cursor, limit)

    async def list_changes(self, path: str, positions: Positions, cursor: str | None, limit: int) -> Page:
        """See Provider."""
        return await self._lister.list_changes(parse(path, self._drive), positions, cursor, limit)

    async def still_there(self, path: str, ids: Sequence[str]) -> set[str]:
        """See Provider and `providers.google_drive.presence`."""
        return await still_there(self._client, parse(path, self._drive), ids)

    async def open(self, source: SourceObject, *, any_version: bool = False) -> Content:
        """See Provider."""
        return await open_file(self._client, source, any_version=any_version, max_bytes=self._settings.max_object_bytes)

    async def attributes(self, source: SourceObject, *, tags: bool, metadata: bool) -> Attributes:
        """What `drive_property` sees: the listing told it, so it costs nothing."""
        del tags, metadata
        return attributes_of(source)

    async def preview_folders(self, path: str | None = None) -> list[dict[str, str]]:
        """Folders directly in `path`, each as id, name, path, mime_type. Errors of `check`."""
        return await preview_folders(self._client, parse(path or "/", self._drive))

    async def preview_files(self, path: str | None = None, max_results: int = 10) -> dict[str, Any]:
        """At most `max_results` files directly in `path`. Errors of `check`."""
        return await preview_files(self._client, parse(path or "/", self._drive), max_results)

    async def close(self) -> None:
        """See Provider."""
        await self._http.close()
