"""Opening a row: it came with its listing, or is asked for again by its key."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

from providers.base import Attributes, Content, SourceObject, content_part
from providers.errors import Changed, Gone, Misconfigured
from providers.snowflake.keyset import at
from providers.snowflake.rows import IN_LOCATOR, Columns, Row, Selection, source_object
from providers.snowflake.session import Session
from providers.snowflake.table import PROVIDER, Table

__all__ = ["carried", "properties", "read_again"]

_HELD = 1024 * 1024
# Rows that share a key and are looked through for the one that was listed.
_ALIKE = 10_000


def carried(source: SourceObject) -> Content | None:
    """The row as listed, where it came with its listing."""
    text = source.locator.get("row")
    if text is None:
        return None
    return _content(source, text, properties(source, text, source.locator["missing"]))


def properties(source: SourceObject, text: str, missing: Sequence[str]) -> Attributes:
    """The row's columns for mappings."""
    table = source.id.partition("/[")[0]

    def refuse(name: str) -> Misconfigured:
        return Misconfigured(
            f"column {name} is mapped, but {table} has no such column (any more), or provider_filters.columns leaves"
            " it out: change the mapping, or bring the column back",
            provider=PROVIDER,
            path=table,
            reason="column_missing",
        )

    return Attributes(properties=Columns(text, missing, refuse))


async def read_again(session: Session, table: Table, source: SourceObject, *, any_version: bool) -> Content:
    """Ask for the row by its key. Raises Gone, Changed and what a query raises."""
    where = source.locator
    if where["key"]:
        terms, place = table.key_terms, where["key"]
    else:
        terms, place = [table.hash_term], [where["order"]]
    gone = Gone("no such row any more", provider=PROVIDER, path=source.id)
    if len(terms) != len(place):
        raise gone  # another key identifies rows now: the next pass will list them anew
    selection = Selection(table, terms, carry=1 << 62)
    sql, binds = at(terms, place)
    wanted = content_part(source.fingerprint)
    listed: Row | None = None
    others: list[Row] = []

    def look(values: Sequence[Any]) -> None:
        nonlocal listed
        row = selection.row(values)
        if row.digest == wanted:
            listed = row
        elif len(others) < 2:
            others.append(row)

    await session.fetch_as(
        look,
        f"SELECT {selection.sql} FROM {table.scope.sql} T WHERE {sql} LIMIT {_ALIKE}",
        binds,
        path=source.id,
        enough=lambda _: listed is not None,
    )
    row = listed
    if row is None:
        if where["shared"] or len(others) != 1:
            raise gone
        if not any_version:
            raise Changed("no longer the listed row", provider=PROVIDER, path=source.id)
        row = others[0]
    assert row.text is not None
    text = row.text
    row.text = text if row.size <= IN_LOCATOR else None
    row.shared, row.ordinal, row.id = where["shared"], where["ordinal"], source.id
    now = source if row.digest == wanted else source_object(table, row, where["path"])
    return _content(now, text, properties(now, text, row.missing))


def _content(source: SourceObject, text: str, attributes: Attributes) -> Content:
    raw = text.encode()
    if len(raw) <= _HELD:
        return Content(source, len(raw), source.mime_type, body=raw, attributes=attributes)

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(raw), _HELD):
            yield raw[start : start + _HELD]

    return Content(source, len(raw), source.mime_type, chunks=chunks(), attributes=attributes)
