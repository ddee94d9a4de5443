"""The SharePoint and OneDrive provider: the contract of `providers.base`, put together from this package."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, ClassVar
from urllib.parse import quote

from providers.base import Attributes, Capabilities, CheckReport, Content, Page, Positions, Provider, SourceObject
from providers.errors import Denied, Misconfigured, ProviderError, Throttled, Transient
from providers.settings import ProviderSettings
from providers.sharepoint.addresses import Address, parse_address
from providers.sharepoint.download import attributes_of, open_item, read_item
from providers.sharepoint.errors import Kind, may_go_on
from providers.sharepoint.graph import Graph
from providers.sharepoint.items import Options
from providers.sharepoint.passes import Walks
from providers.sharepoint.places import Library, Places
from providers.sharepoint.walker import Walk

__all__ = ["SharePointProvider"]

_PAGE_LIMIT = 1000
_FILTERS = "\x1f"
# A file that answers 503 so often while others do not is itself the trouble.
_UNAVAILABLE_AFTER = 5
_REMEMBERED = 10_000


class SharePointProvider(Provider):
    """One application's (or user's) view of a tenant. Source paths: see `providers.sharepoint.addresses`."""

    name: ClassVar[str] = "sharepoint"

    def __init__(self, config: Mapping[str, Any], credentials: Mapping[str, Any], settings: ProviderSettings) -> None:
        self.capabilities = Capabilities(change_feed=True, page_limit=_PAGE_LIMIT)
        self._config = config
        self._settings = settings
        self._graph = Graph(credentials, settings)
        self._places = Places(self._graph)
        self._walks = Walks()
        self._unavailable: dict[str, tuple[int, int]] = {}

    def narrow(self, path: str, provider_filters: Mapping[str, Any]) -> str:
        """See Provider. `allow_malware`: true; `exclude_sensitivity_labels`: label ids."""
        if not provider_filters:
            return path
        unknown = sorted(provider_filters.keys() - {"allow_malware", "exclude_sensitivity_labels"})
        if unknown:
            message = (
                f"unknown provider_filters: {', '.join(unknown)}; there are allow_malware, exclude_sensitivity_labels"
            )
            raise Misconfigured(message, provider=self.name, path=path)
        labels = provider_filters.get("exclude_sensitivity_labels") or []
        malware = provider_filters.get("allow_malware") or False
        if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
            raise Misconfigured(
                "provider_filters.exclude_sensitivity_labels must be a list of label ids", provider=self.name
            )
        if not isinstance(malware, bool):
            raise Misconfigured("provider_filters.allow_malware must be true or false", provider=self.name)
        return f"{path}{_FILTERS}{json.dumps({'malware': malware, 'labels': labels})}"

    async def check(self, path: str | None = None) -> CheckReport:
        """Sign in, and look up what `path` or else the connection's configuration names."""
        shown, address, _ = self._parts(path or "")
        if address.kind == "tenant":
            return await self._check_sign_in()
        place = await self._places.resolve(address, shown)
        if isinstance(place, Library):
            await self._check_library(place)
            return CheckReport(f"library {place.name!r} can be read", {"drive_id": place.drive, "folder": place.folder})
        readable, refused = [], []
        failure: ProviderError | None = None
        for site in place:
            for library in await self._places.libraries(site):
                try:
                    await self._check_library(library)
                    readable.append(library.name)
                except ProviderError as error:
                    if not may_go_on(error):
                        raise
                    failure = error
                    refused.append(f"{library.name} ({error.status} {error.code or ''})".replace(" )", ")"))
        if failure is not None and not readable:
            raise failure
        but = f"; not readable: {', '.join(refused)}" if refused else ""
        return CheckReport(f"{len(readable)} libraries can be read{but}", {"libraries": readable, "refused": refused})

    async def _check_library(self, library: Library) -> None:
        where = f"/drives/{quote(library.drive, safe='!')}/root?$select=id,name"
        await self._graph.get(where, kind=Kind.CHECK, path=library.name)

    async def _check_sign_in(self) -> CheckReport:
        where = "/me/drive?$select=id" if self._graph.tokens.delegated else "/sites/root?$select=id"
        try:
            await self._graph.get(where, kind=Kind.CHECK, path="")
        except (Denied, Misconfigured) as error:
            if error.status not in {403, 404}:
                raise
            # The token was accepted. With Sites.Selected the root site is rightly out of reach.
            return CheckReport("sign-in works; a source path is needed to check what may be read", {"root": False})
        return CheckReport("sign-in works", {"root": True})

    async def list_page(self, path: str, cursor: str | None, limit: int) -> Page:
        """See Provider."""
        return await self._walk(path, None, limit).page(cursor)

    async def list_changes(self, path: str, positions: Positions, cursor: str | None, limit: int) -> Page:
        """See Provider."""
        return await self._walk(path, positions, limit).page(cursor)

    def _walk(self, path: str, positions: Positions | None, limit: int) -> Walk:
        shown, address, options = self._parts(path)
        return Walk(
            self._graph,
            self._places,
            self._walks,
            path=shown,
            address=address,
            options=options,
            positions=positions,
            limit=min(limit, _PAGE_LIMIT),
        )

    def _parts(self, path: str) -> tuple[str, Address, Options]:
        shown, _, filters = path.partition(_FILTERS)
        plain = json.loads(filters) if filters else {}
        labels = frozenset(str(label).lower() for label in plain.get("labels", ()))
        options = Options(allow_malware=plain.get("malware", False), exclude_labels=labels)
        return shown, parse_address(shown, self._config), options

    async def open(self, source: SourceObject, *, any_version: bool = False) -> Content:
        """See Provider."""
        try:
            content = await open_item(
                self._graph, source, any_version=any_version, max_bytes=self._settings.max_object_bytes
            )
        except Throttled as error:
            if error.status == 503 and self._is_unavailable(source.id):
                message = "this file alone cannot be had: the service answers 503 time and again"
                raise Transient(
                    message, provider=self.name, path=source.path, reason="unavailable", code=error.code, status=503
                ) from None
            raise
        self._unavailable.pop(source.id, None)
        return content

    def _is_unavailable(self, source_id: str) -> bool:
        if len(self._unavailable) > _REMEMBERED:
            self._unavailable.clear()
        times, successes = self._unavailable.get(source_id, (0, -1))
        if self._graph.gate.successes > successes:
            times += 1
        self._unavailable[source_id] = (times, self._graph.gate.successes)
        return times >= _UNAVAILABLE_AFTER

    async def attributes(self, source: SourceObject, *, tags: bool, metadata: bool) -> Attributes:
        """The item's own properties, the same that come with its bytes. SharePoint has no tags."""
        del tags
        if not metadata:
            return Attributes()
        return attributes_of(await read_item(self._graph, source))

    async def close(self) -> None:
        """See Provider."""
        await self._graph.close()
