"""What the SharePoint tests share: a running simulator, providers on it, kept positions as the engine keeps them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from providers import ProviderSettings, open_provider
from providers.base import Page, Provider, SourceObject
from tests.contract.provider_suite import Places
from tests.simulators.graph import GraphSimulator
from tests.simulators.graph_tree import Drive

__all__ = ["CREDENTIALS", "Rig", "Seen", "graph_simulator", "tenant"]

CREDENTIALS = {"type": "client_credentials", "tenant_id": "contoso", "client_id": "app", "client_secret": "secret"}


@dataclass
class Seen:
    """A whole pass."""

    rows: list[SourceObject] = field(default_factory=list)
    skips: dict[str, str] = field(default_factory=dict)
    removed: dict[str, str] = field(default_factory=dict)
    positions: dict[str, str] = field(default_factory=dict)
    proven: list[tuple[str, str | None]] = field(default_factory=list)
    unproven: list[tuple[str, str | None, str]] = field(default_factory=list)
    rescan: str = ""
    complete: bool = False
    requests: int = 0
    pages: int = 0

    @property
    def paths(self) -> list[str]:
        return sorted(row.path for row in self.rows)

    def add(self, page: Page) -> None:
        for index, source_id in enumerate(page.ids):
            if index in page.skips:
                self.skips[source_id] = page.skips[index]
            else:
                self.rows.append(page.row(index))
            self.removed.pop(source_id, None)
        self.removed |= page.removed
        self.positions |= page.positions
        self.proven += page.proven
        self.unproven += page.unproven
        self.rescan = self.rescan or page.rescan
        self.complete = page.complete
        self.requests += page.requests
        self.pages += 1


@dataclass
class Rig:
    """A simulator with a site `Sales` and its library `Documents`, and one sync's memory."""

    graph: GraphSimulator
    library: Drive
    positions: Places = field(default_factory=Places)
    config: dict[str, Any] = field(default_factory=dict)
    credentials: dict[str, Any] = field(default_factory=lambda: dict(CREDENTIALS))
    path: str = "/sites/Sales/Documents"
    settings: dict[str, Any] = field(default_factory=dict)
    opened: list[Provider] = field(default_factory=list)

    def provider(self) -> Provider:
        """A new provider, as another process would have."""
        settings = ProviderSettings(
            graph_endpoint=self.graph.url,
            microsoft_authority=self.graph.authority,
            **{"allow_private_endpoints": True, "read_timeout": 5.0, **self.settings},
        )
        self.opened.append(open_provider("sharepoint", self.config, self.credentials, settings))
        return self.opened[-1]

    async def full(self, provider: Provider | None = None, *, limit: int = 1000, path: str | None = None) -> Seen:
        """A full pass, kept if complete."""
        return await self._walk(provider or self.provider(), limit, self.path if path is None else path, changes=False)

    async def changes(self, provider: Provider | None = None, *, limit: int = 1000, path: str | None = None) -> Seen:
        """An incremental pass, kept if it needs no full one."""
        return await self._walk(provider or self.provider(), limit, self.path if path is None else path, changes=True)

    async def _walk(self, provider: Provider, limit: int, path: str, *, changes: bool) -> Seen:
        seen, cursor = Seen(), None
        while True:
            if changes:
                page = await provider.list_changes(path, self.positions, cursor, limit)
            else:
                page = await provider.list_page(path, cursor, limit)
            seen.add(page)
            cursor = page.next_cursor
            assert cursor is None or len(cursor) <= 4096
            if cursor is None or page.rescan:
                break
        if seen.complete and not seen.rescan:
            assert all(len(place) <= 4096 for place in seen.positions.values())
            self.positions.kept |= seen.positions
        return seen


@pytest.fixture
def graph_simulator(monkeypatch: pytest.MonkeyPatch) -> Iterator[GraphSimulator]:
    with GraphSimulator.running() as server:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", server.ca_file)
        yield server


@pytest.fixture
async def tenant(graph_simulator: GraphSimulator) -> Any:
    graph = graph_simulator
    site = graph.tree.add_site("sites/Sales", name="Sales")
    made = Rig(graph, graph.tree.add_library(site, "Documents", "Shared Documents"))
    yield made
    for provider in made.opened:
        await provider.close()
