"""The Snowflake provider: the contract of `providers.base`, put together from the parts of this package."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, ClassVar

from providers.base import Attributes, Capabilities, CheckReport, Content, Page, Positions, Provider, SourceObject
from providers.errors import Transient
from providers.settings import ProviderSettings
from providers.snowflake.changes import begin_changes, changes_page, full_pass_needed, state_of
from providers.snowflake.checking import check_connection, check_table
from providers.snowflake.credentials import account_identifier, login_arguments
from providers.snowflake.errors import Who
from providers.snowflake.paging import Walk, last_key, show, walk_page
from providers.snowflake.reading import carried, read_again
from providers.snowflake.session import Session, session_parameters
from providers.snowflake.table import Table, describe, narrow, read_scope
from providers.snowflake.watermark import take

__all__ = ["SnowflakeProvider"]

# A described table is asked about again when a pass begins, and after this long.
_DESCRIBED_SECONDS = 600.0
# A warehouse that answered is not woken again by the periodic check: that would cost credits all day.
_PROVEN_SECONDS = 6 * 3600.0
_QUERY_SECONDS = 300
_PAGE = 1000


class SnowflakeProvider(Provider):
    """One account, seen with one role. A source path is `DB.SCHEMA.TABLE`, `SCHEMA.TABLE` or `TABLE`."""

    name: ClassVar[str] = "snowflake"

    def __init__(self, config: Mapping[str, Any], credentials: Mapping[str, Any], settings: ProviderSettings) -> None:
        account, domain = account_identifier(config.get("account") or "", provider=self.name)
        seconds = int(config.get("query_timeout_seconds") or _QUERY_SECONDS)
        self._key = [str(name) for name in config.get("primary_key_columns") or ()]
        self._cursor: str | None = config.get("incremental_column") or None
        self._database: str | None = config.get("database") or None
        self._schema: str | None = config.get("schema") or None
        self._who = Who(
            account, credentials.get("username") or "", config.get("role") or "(default)", config.get("warehouse") or ""
        )
        arguments: dict[str, Any] = {
            **login_arguments(credentials, provider=self.name),
            "account": account,
            "host": settings.snowflake_host or (f"{account}{domain}" if domain.endswith(".cn") else None),
            "port": settings.snowflake_port,
            "protocol": settings.snowflake_protocol,
            **{name: config.get(name) for name in ("warehouse", "role", "database", "schema")},
            "application": "Tidemark",
            "paramstyle": "qmark",
            "session_parameters": session_parameters(seconds),
            # Temporal retries, with the place kept; the connector would do it where nobody sees it.
            "retry_max_attempts": 1,
            "login_timeout": 60,
            "client_prefetch_threads": 1,
            "client_store_temporary_credential": False,
            "enable_server_session_keep_alive_auto_detection": False,
            "server_session_keep_alive": False,
            "auto_cleanup": False,
        }
        arguments = {name: value for name, value in arguments.items() if value is not None}
        self._session = Session(arguments, self._who, provider=self.name, query_timeout_seconds=seconds)
        limit = max(1, int(config.get("fetch_size") or _PAGE))
        self.capabilities = Capabilities(change_feed=self._cursor is not None, page_limit=limit)
        self._tables: dict[str, tuple[Table, float]] = {}
        self._proven = float("-inf")

    def narrow(self, path: str, provider_filters: Mapping[str, Any]) -> str:
        """See Provider and `providers.snowflake.table.narrow`."""
        return narrow(path, provider_filters)

    async def check(self, path: str | None = None) -> CheckReport:
        """Log in, use the warehouse and the way results come, and read the table where `path` names one."""
        if time.monotonic() - self._proven > _PROVEN_SECONDS:
            await check_connection(self._session, self._who, self._database, self._schema)
            self._proven = time.monotonic()
        else:
            await self._session.fetch("SELECT CURRENT_USER()")
        if path:
            table, _ = await self._described(path, anew=True)
            return await check_table(self._session, table)
        return CheckReport(
            f"user {self._who.user} can use warehouse {self._who.warehouse}",
            {"account": self._who.account, "warehouse": self._who.warehouse, "role": self._who.role},
        )

    async def list_page(self, path: str, cursor: str | None, limit: int) -> Page:
        """See Provider and `providers.snowflake.paging`."""
        table, requests = await self._described(path, anew=cursor is None)
        positions: dict[str, str] = {}
        if cursor is None:
            if table.cursor is not None:
                mark = await take(self._session, table, table.cursor)
                positions[table.scope.prefix] = mark.to_text()
                requests += 2
            walk = Walk([column.name for column in table.key])
            if table.key:
                walk.upper = await last_key(self._session, table)
                requests += 1
                if walk.upper is None:
                    return show(table, [], path, None, requests=requests, positions=positions)
            else:
                walk.group = []
        else:
            walk = Walk.from_cursor(cursor, table)
        rows, following, statements = await walk_page(self._session, table, walk, limit)
        return show(table, rows, path, following, requests=requests + statements, positions=positions)

    async def list_changes(self, path: str, positions: Positions, cursor: str | None, limit: int) -> Page:
        """See Provider and `providers.snowflake.changes`."""
        table, requests = await self._described(path, anew=cursor is None)
        if table.cursor is None:
            return full_pass_needed("there is no incremental_column any more", requests=requests)
        if cursor is None:
            page, state, statements = await begin_changes(self._session, table, table.cursor, positions)
            requests += statements
        else:
            page, known = None, state_of(cursor)
            if known is None or len(known["place"] or ()) != 1 + len(table.key or "1"):
                raise Transient(
                    "not a place in these changes", provider=self.name, path=table.name, reason="cursor_refused"
                )
            state = known
        if page is None:
            page = await changes_page(self._session, table, table.cursor, state, path=path, limit=limit)
            requests += page.requests
        page.requests = requests
        return page

    async def open(self, source: SourceObject, *, any_version: bool = False) -> Content:
        """The row that came with the listing is the listed version; a larger one is asked for again."""
        if not any_version and (content := carried(source)) is not None:
            return content
        table, _ = await self._described(source.locator["path"], anew=False)
        return await read_again(self._session, table, source, any_version=any_version)

    async def attributes(self, source: SourceObject, *, tags: bool, metadata: bool) -> Attributes:
        """The row's columns as `properties`."""
        del tags, metadata
        content = await self.open(source)
        return content.attributes or Attributes()  # rows always have them

    async def close(self) -> None:
        """See Provider."""
        await self._session.close()

    async def _described(self, path: str, *, anew: bool) -> tuple[Table, int]:
        """The table of a path, and how many statements it took to know it."""
        known = self._tables.get(path)
        if known is not None and not anew and time.monotonic() - known[1] < _DESCRIBED_SECONDS:
            return known[0], 0
        scope = read_scope(path, self._database, self._schema)
        table, statements = await describe(
            self._session, scope, key=self._key, cursor=self._cursor, role=self._who.role
        )
        self._tables[path] = table, time.monotonic()
        return table, statements
