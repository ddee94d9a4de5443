"""A session at Snowflake: logged in when first needed and when it was lost; queries are cancelled with their task.

The official connector's asyncio client is used; it runs in native threads of its own and is imported with the first
login, so that a worker without Snowflake connections does not carry it. Cancelling the task of a query aborts the
query at the server: the connector sends the abort by the request's id.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from providers.errors import ProviderError, Transient
from providers.snowflake.errors import SESSION_LOST, Who, is_chunk_refused, translate

__all__ = ["Session", "session_parameters"]

Value = TypeVar("Value")

_BATCH = 200
# A result's address that was refused is asked for anew, and a lost session opened anew, once per query each.
_TIMES = 3
_LOGIN_SECONDS = 60
# The server cancels by itself; this is for a server that does not answer at all.
_GRACE_SECONDS = 30.0
# Statements in flight: each may hold a result of several megabytes.
_AT_ONCE = 4


def session_parameters(query_timeout_seconds: int) -> dict[str, Any]:
    """What every session is pinned to, whatever the account's and the user's defaults are."""
    return {
        "TIMEZONE": "UTC",
        "TIMESTAMP_NTZ_OUTPUT_FORMAT": 'YYYY-MM-DD"T"HH24:MI:SS.FF9',
        "TIMESTAMP_LTZ_OUTPUT_FORMAT": 'YYYY-MM-DD"T"HH24:MI:SS.FF9TZH:TZM',
        "TIMESTAMP_TZ_OUTPUT_FORMAT": 'YYYY-MM-DD"T"HH24:MI:SS.FF9TZH:TZM',
        "DATE_OUTPUT_FORMAT": "YYYY-MM-DD",
        "TIME_OUTPUT_FORMAT": "HH24:MI:SS.FF9",
        "TIMESTAMP_INPUT_FORMAT": "AUTO",
        "DATE_INPUT_FORMAT": "AUTO",
        "TIME_INPUT_FORMAT": "AUTO",
        "BINARY_INPUT_FORMAT": "HEX",
        "BINARY_OUTPUT_FORMAT": "HEX",
        "GEOGRAPHY_OUTPUT_FORMAT": "GeoJSON",
        "GEOMETRY_OUTPUT_FORMAT": "GeoJSON",
        "JSON_INDENT": 0,
        "QUOTED_IDENTIFIERS_IGNORE_CASE": False,
        "AUTOCOMMIT": True,
        "STATEMENT_TIMEOUT_IN_SECONDS": query_timeout_seconds,
        "STATEMENT_QUEUED_TIMEOUT_IN_SECONDS": query_timeout_seconds,
        "ABORT_DETACHED_QUERY": True,
        "QUERY_TAG": "tidemark",
        "CLIENT_TELEMETRY_ENABLED": False,
    }


@dataclass(slots=True)
class _Open:
    """One login."""

    connection: Any
    users: int = 0
    lost: bool = False


class Session:
    """Statements of one connection. `arguments` are the connector's, the secret among them: they go nowhere else."""

    def __init__(self, arguments: dict[str, Any], who: Who, *, provider: str, query_timeout_seconds: int) -> None:
        self._arguments = arguments
        self._who = who
        self._provider = provider
        self._timeout = query_timeout_seconds
        self._open: _Open | None = None
        self._login_lock = asyncio.Lock()
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._closed = False

    async def fetch(self, sql: str, binds: Sequence[str] = (), *, path: str = "") -> list[tuple[Any, ...]]:
        """All rows of a statement. Raises the errors of `providers.errors`."""
        return await self.fetch_as(tuple, sql, binds, path=path)

    async def fetch_as(
        self,
        row: Callable[[Sequence[Any]], Value],
        sql: str,
        binds: Sequence[str],
        *,
        path: str,
        enough: Callable[[Value], bool] | None = None,
    ) -> list[Value]:
        """The rows of a statement, each through `row`, up to the one at which `enough` says so.

        Raises the errors of `providers.errors`.
        """
        async with self._slots:
            for left in range(_TIMES - 1, -1, -1):
                session = await self._login(path)
                session.users += 1
                try:
                    async with asyncio.timeout(self._timeout + _GRACE_SECONDS):
                        rows, promised = await self._read(session.connection.cursor(), sql, binds, row, enough)
                except TimeoutError:
                    raise self._no_answer(path) from None
                except ProviderError:
                    raise
                except self._connector_error() as error:
                    session.lost = session.lost or getattr(error, "errno", None) in SESSION_LOST
                    if not left or not (session.lost or is_chunk_refused(error)):
                        raise translate(error, self._who, provider=self._provider, path=path) from None
                else:
                    if promised is not None and len(rows) < promised:
                        raise Transient(
                            f"a result of {promised} rows has only {len(rows)}",
                            provider=self._provider,
                            path=path,
                            reason="listing_incomplete",
                        )
                    return rows
                finally:
                    session.users -= 1
                    await self._let_go(session)
        raise AssertionError  # pragma: no cover - the last round returns or raises

    @staticmethod
    async def _read(
        cursor: Any,
        sql: str,
        binds: Sequence[str],
        row: Callable[[Sequence[Any]], Value],
        enough: Callable[[Value], bool] | None,
    ) -> tuple[list[Value], int | None]:
        """Rows, and how many the server promised where they were read to the end."""
        try:
            await cursor.execute(sql, list(binds) or None)
            rows: list[Value] = []
            while batch := await cursor.fetchmany(_BATCH):
                for values in batch:
                    rows.append(row(values))
                    if enough is not None and enough(rows[-1]):
                        return rows, None
            return rows, cursor.rowcount
        finally:
            cursor.close()

    async def _login(self, path: str) -> _Open:
        async with self._login_lock:
            if self._closed:
                raise Transient("the connection was closed meanwhile", provider=self._provider, path=path)
            if self._open is None or self._open.lost:
                # Asking the cloud's metadata address where it runs is telemetry, and costs seconds.
                os.environ.setdefault("SNOWFLAKE_DISABLE_PLATFORM_DETECTION", "true")
                from snowflake.connector.aio import connect  # noqa: PLC0415 - 60 MB that other workers do without

                try:
                    async with asyncio.timeout(_LOGIN_SECONDS + _GRACE_SECONDS):
                        # A key pair's token is made anew by each login, from the key.
                        self._open = _Open(await connect(**self._arguments))
                except TimeoutError:
                    raise self._no_answer(path) from None
                except self._connector_error() as error:
                    raise translate(error, self._who, provider=self._provider, path=path, login=True) from None
            return self._open

    def _no_answer(self, path: str) -> Transient:
        return Transient(
            f"no answer from account {self._who.account}", provider=self._provider, path=path, reason="network_timeout"
        )

    @staticmethod
    def _connector_error() -> type[Exception]:
        from snowflake.connector.errors import Error  # noqa: PLC0415 - see _login

        return Error

    async def _let_go(self, session: _Open) -> None:
        """Close a lost login when its last statement is done with it."""
        if session.lost and not session.users:
            if self._open is session:
                self._open = None
            await self._logout(session)

    async def _logout(self, session: _Open) -> None:
        try:
            async with asyncio.timeout(_GRACE_SECONDS):
                await session.connection.close(retry=False)
        except (TimeoutError, self._connector_error()):
            return  # an unanswered farewell changes nothing: the server ends idle sessions by itself

    async def close(self) -> None:
        """Log out. Idempotent."""
        self._closed = True
        if self._open is not None:
            session, self._open = self._open, None
            await self._logout(session)
