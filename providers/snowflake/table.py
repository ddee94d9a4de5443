"""The table or view of a sync: which one, its columns as they are now, what tells its rows apart and what advances."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from providers.errors import Misconfigured
from providers.snowflake.columns import Column, Term
from providers.snowflake.identifiers import find_name, parse_name, quote, shown
from providers.snowflake.session import Session

__all__ = ["PROVIDER", "Scope", "Table", "describe", "narrow", "read_scope"]

PROVIDER = "snowflake"
_FILTERS = frozenset({"columns", "lookback_seconds"})
_MAX_LOOKBACK = 366 * 86_400


@dataclass(frozen=True, slots=True)
class Scope:
    """What a sync asks for: a table, perhaps some of its columns, perhaps with a lookback."""

    parts: tuple[str, str, str]
    columns: tuple[str, ...] = ()
    lookback: int = 0

    @property
    def prefix(self) -> str:
        """What ids begin with."""
        return shown(self.parts) + "/"

    @property
    def sql(self) -> str:
        """The table's full name, quoted."""
        return ".".join(quote(part) for part in self.parts)


@dataclass(frozen=True, slots=True)
class Table:
    """A table as described. `key` is empty where nothing tells its rows apart; `cursor` is the incremental column."""

    scope: Scope
    columns: tuple[Column, ...]
    key: tuple[Column, ...]
    cursor: Column | None
    created: str

    @property
    def name(self) -> str:
        """The full name, as a person writes it."""
        return shown(self.scope.parts)

    @property
    def hash_term(self) -> Term:
        """Something to order rows without a key by. FILE values have no hash, and no two rows only differ there."""
        parts = ", ".join(column.select for column in self.columns if column.kind != "FILE")
        text = f"TO_VARCHAR(HASH({parts}))"
        return Term("the row's hash", text, text, "?", nullable=False, kind="TEXT")

    @property
    def key_terms(self) -> list[Term]:
        """The key as something to order by."""
        return [column.term for column in self.key]

    @property
    def signature(self) -> str:
        """Changes when rows would be written differently."""
        shape = [[column.name, column.kind, column.scale] for column in self.columns]
        return hashlib.sha256(json.dumps([shape, [column.name for column in self.key]]).encode()).hexdigest()[:24]


def narrow(path: str, provider_filters: Mapping[str, Any]) -> str:
    """`path` with a sync's filters: `columns` (a list of names) and `lookback_seconds`. Raises Misconfigured."""
    if not provider_filters:
        return path
    if unknown := sorted(provider_filters.keys() - _FILTERS):
        raise Misconfigured(
            f"unknown provider_filters: {', '.join(unknown)}; there are columns and lookback_seconds",
            provider=PROVIDER,
            path=path,
        )
    columns = provider_filters.get("columns")
    if columns is not None and not (
        isinstance(columns, list) and columns and all(isinstance(name, str) and name for name in columns)
    ):
        raise Misconfigured("provider_filters.columns must be a list of column names", provider=PROVIDER, path=path)
    lookback = provider_filters.get("lookback_seconds")
    if lookback is not None and (
        isinstance(lookback, bool) or not isinstance(lookback, int) or not 0 <= lookback <= _MAX_LOOKBACK
    ):
        raise Misconfigured(
            f"provider_filters.lookback_seconds must be a whole number from 0 to {_MAX_LOOKBACK}",
            provider=PROVIDER,
            path=path,
        )
    return f"{path}\n{json.dumps({'columns': columns or [], 'lookback': lookback or 0})}"


def read_scope(path: str, database: str | None, schema: str | None) -> Scope:
    """The scope of a path as `narrow` made it; what the path leaves out comes from the connection."""
    name, _, filters = path.partition("\n")
    parts = parse_name(name)
    given = [
        parse_name(value, what=what) if value else [] for what, value in (("database", database), ("schema", schema))
    ]
    if len(given[1]) == 2:  # a schema may be given as DB.SCHEMA
        given = [given[1][:1], given[1][1:]]
    missing = 3 - len(parts)
    whole = [*[part for one in given[:missing] for part in one], *parts] if missing > 0 else parts
    if len(whole) != 3:
        raise Misconfigured(
            "source_path must name database, schema and table (DB.SCHEMA.TABLE), unless the connection has"
            " database and schema",
            provider=PROVIDER,
            path=name,
        )
    options = json.loads(filters) if filters else {}
    return Scope((whole[0], whole[1], whole[2]), tuple(options.get("columns", ())), options.get("lookback", 0))


async def describe(
    session: Session, scope: Scope, *, key: Sequence[str], cursor: str | None, role: str
) -> tuple[Table, int]:
    """The table as it is now, and how many statements that took. Raises Misconfigured naming what is not there."""
    database, schema, name = scope.parts
    source = f"{quote(database)}.INFORMATION_SCHEMA"
    path = shown(scope.parts)
    found = await session.fetch(
        "SELECT C.COLUMN_NAME, C.DATA_TYPE, C.IS_NULLABLE, TO_VARCHAR(C.NUMERIC_SCALE), C.COLLATION_NAME,"
        f" TO_VARCHAR(T.CREATED), T.TABLE_TYPE FROM {source}.TABLES T JOIN {source}.COLUMNS C"
        " ON C.TABLE_SCHEMA = T.TABLE_SCHEMA AND C.TABLE_NAME = T.TABLE_NAME"
        " WHERE T.TABLE_SCHEMA = ? AND T.TABLE_NAME = ? ORDER BY C.ORDINAL_POSITION",
        (schema, name),
        path=path,
    )
    if not found:
        raise Misconfigured(
            f"there is no such table or view, or role {role} may not see it: check the source path, GRANT USAGE on"
            " the database and schema and SELECT on the table to it",
            provider=PROVIDER,
            path=path,
            reason="not_found",
        )
    every = {row[0]: Column.of(row[0], row[1], row[2] == "YES", row[3], row[4]) for row in found}
    statements = 1
    if key:
        names = [_known(one, every, "primary_key_columns", path) for one in key]
    elif "VIEW" in str(found[0][6]):
        names = []  # a view declares no key
    else:
        names = await _declared_key(session, scope, every)
        statements += 1
    advancing = every[_known(cursor, every, "incremental_column", path)] if cursor else None
    if advancing is not None:
        _check_advancing(advancing, path)
    keys = tuple(every[one] for one in names)
    for column in keys:
        if not column.comparable:
            raise Misconfigured(
                f"column {column.name} of type {column.kind} cannot be part of a key: set primary_key_columns",
                provider=PROVIDER,
                path=path,
            )
    wanted = {_known(one, every, "provider_filters.columns", path) for one in scope.columns} or set(every)
    wanted |= set(names) | ({advancing.name} if advancing else set())
    columns = tuple(column for column in every.values() if column.name in wanted)
    return Table(scope, columns, keys, advancing, str(found[0][5] or "")), statements


async def _declared_key(session: Session, scope: Scope, every: Mapping[str, Column]) -> list[str]:
    """Columns of the declared primary key. Snowflake does not enforce it: rows that share one are shown apart."""
    # created_on, database_name, schema_name, table_name, column_name, key_sequence, …
    declared = await session.fetch(f"SHOW PRIMARY KEYS IN TABLE {scope.sql}", path=shown(scope.parts))
    names = [name for _, name in sorted((int(row[5]), str(row[4])) for row in declared)]
    usable = all(name in every and every[name].comparable for name in names)
    return names if usable else []


def _known(name: str, every: Mapping[str, Column], what: str, path: str) -> str:
    found = find_name(name, every)
    if found is None:
        raise Misconfigured(
            f"{what} names column {name}, but there is none of that name (any more); there are"
            f" {', '.join(list(every)[:50])}",
            provider=PROVIDER,
            path=path,
            reason="column_missing",
        )
    return found


def _check_advancing(column: Column, path: str) -> None:
    if column.advancing:
        return
    why = (
        "is text, which compares '9' as greater than '10'"
        if column.kind == "TEXT"
        else f"is of type {column.kind}, which does not advance"
    )
    raise Misconfigured(
        f"incremental_column {column.name} {why}: choose a TIMESTAMP, DATE or NUMBER column, or a view that casts it",
        provider=PROVIDER,
        path=path,
        reason="incremental_column",
    )
