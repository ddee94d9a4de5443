"""A Snowflake account under test: fakesnow behind the gate, a database of the test's own, statements as its owner."""

from __future__ import annotations

import uuid
from typing import Any

from providers import ProviderSettings, open_provider
from providers.base import Page, Provider, SourceObject
from tests.contract.provider_suite import Places
from tests.simulators.snowflake_gate import GateUser, SnowflakeGate
from tests.simulators.snowflake_owner import Owner

__all__ = ["PASSWORD", "Account", "changes", "full_pass", "shown"]

PASSWORD = "correct horse"
Body = dict[str, Any]


class Account:
    """`run` executes statements past the gate, so that nothing of them is counted; names are in schema S."""

    def __init__(self, gate: SnowflakeGate) -> None:
        self.gate = gate
        self.database = f"DB{uuid.uuid4().hex[:10].upper()}"
        gate.users["LOADER"] = GateUser(password=PASSWORD)
        self._owner = Owner(gate.upstream)
        self._owner.run(f"CREATE DATABASE {self.database}", f"CREATE SCHEMA {self.database}.S")
        self._owner.use(self.database, "S")
        self.run = self._owner.run

    def open(self, *, credentials: Body | None = None, **config: Any) -> Provider:
        """A provider on the account."""
        settings = ProviderSettings(
            snowflake_host="127.0.0.1", snowflake_port=self.gate.port, snowflake_protocol="http"
        )
        whole = {"account": "acme-main", "warehouse": "WH", "database": self.database, "schema": "s", **config}
        secret = credentials or {"type": "username_password", "username": "loader", "password": PASSWORD}
        return open_provider("snowflake", whole, secret, settings)


async def full_pass(
    provider: Provider, path: str, kept: Places | None = None, limit: int = 1000, cursor: str | None = None
) -> list[Page]:
    """All pages of a full pass; its positions are kept."""
    pages = []
    while True:
        pages.append(await provider.list_page(path, cursor, limit))
        if kept is not None:
            kept.kept.update(pages[-1].positions)
        cursor = pages[-1].next_cursor
        if cursor is None:
            assert pages[-1].complete
            return pages


async def changes(provider: Provider, path: str, kept: Places, limit: int = 1000) -> list[Page]:
    """All pages of an incremental pass; its positions are kept when it is through."""
    pages: list[Page] = []
    cursor = None
    while True:
        pages.append(await provider.list_changes(path, kept, cursor, limit))
        cursor = pages[-1].next_cursor
        if cursor is None:
            for page in pages:
                kept.kept.update(page.positions)
            return pages


def shown(pages: list[Page]) -> list[SourceObject]:
    """Their rows."""
    return [page.row(i) for page in pages for i in range(len(page.ids))]
