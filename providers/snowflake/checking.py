"""What a connection test proves: all that a run will need, so that it fails where a run would fail."""

from __future__ import annotations

from typing import Any

from providers.base import CheckReport
from providers.errors import Misconfigured, Transient
from providers.snowflake.errors import Who
from providers.snowflake.identifiers import parse_name, quote, shown
from providers.snowflake.rows import Selection
from providers.snowflake.session import Session
from providers.snowflake.table import PROVIDER, Table

__all__ = ["check_connection", "check_table"]

# Results up to about 100 KB come in the answer itself; larger ones are fetched from a storage host.
_LARGE = "SELECT RANDSTR(1000, RANDOM()) FROM TABLE(GENERATOR(ROWCOUNT => 300))"
_LARGE_BYTES = 100_000


async def check_connection(session: Session, who: Who, database: str | None, schema: str | None) -> None:
    """Log in, run a query on the warehouse, fetch a result large enough to come from the result storage."""
    try:
        rows = await session.fetch(_LARGE)
    except Transient as error:
        if error.reason != "result_storage":
            raise
        raise Misconfigured(
            f"login and queries work, but large results do not arrive: {error.message}",
            provider=PROVIDER,
            reason="result_storage",
            code=error.code,
            status=error.status,
        ) from None
    if len("".join(str(row[0]) for row in rows)) < _LARGE_BYTES:
        raise Transient("a test result came back cut", provider=PROVIDER, reason="network")
    parts = parse_name(database, what="database") if database else []
    inner = parse_name(schema, what="schema") if schema else []
    parts = inner if len(inner) == 2 else [*parts, *inner]
    if len(parts) == 2:
        found = await session.fetch(
            f"SELECT 1 FROM {quote(parts[0])}.INFORMATION_SCHEMA.SCHEMATA WHERE SCHEMA_NAME = ?",
            parts[1:],
            path=shown(parts),
        )
        if not found:
            raise Misconfigured(
                f"there is no such schema, or role {who.role} may not see it: GRANT USAGE on it to the role",
                provider=PROVIDER,
                path=shown(parts),
                reason="not_found",
            )
    elif parts and database:
        await session.fetch(f"SELECT 1 FROM {quote(parts[0])}.INFORMATION_SCHEMA.SCHEMATA LIMIT 1", path=shown(parts))


async def check_table(session: Session, table: Table) -> CheckReport:
    """Read a row as a run would, and tell what identifies rows and what an incremental pass cannot see."""
    name = table.name
    order = table.key_terms or [table.hash_term]
    selection = Selection(table, order)
    await session.fetch_as(selection.row, f"SELECT {selection.sql} FROM {table.scope.sql} T LIMIT 1", (), path=name)
    details: dict[str, Any] = {
        "table": name,
        "columns": len(table.columns),
        "identity": [column.name for column in table.key] or "hash of the row",
    }
    notes = []
    if not table.key:
        notes.append("rows have no key: a changed row is a new object; set primary_key_columns if there is one")
    if table.cursor is not None:
        column = table.cursor.term.order
        [(rows, valued)] = await session.fetch(
            f"SELECT TO_VARCHAR(COUNT(*)), TO_VARCHAR(COUNT({column})) FROM {table.scope.sql} T", path=name
        )
        details |= {
            "rows": int(rows),
            "incremental_column": f"{table.cursor.name} {table.cursor.kind}",
            "rows_without_incremental_value": int(rows) - int(valued),
        }
        if rows != valued:
            notes.append(
                f"{int(rows) - int(valued)} of {rows} rows have no {table.cursor.name}: only full passes see them"
            )
        notes.append("deleted rows are found by full passes only")
    return CheckReport("; ".join([f"{name} can be read", *notes]), details)
