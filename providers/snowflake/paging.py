"""Pages of a table by key: the full pass and the incremental one.

A page asks for one row more than it may show. So it knows whether there is more, and never ends within rows that
share a key. Rows that fill a page and more with one key, and rows of tables without a key, are ordered by their hash
instead; a place among identical rows is told by how many of them came before.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from providers.base import Page
from providers.errors import Misconfigured, Transient
from providers.snowflake.columns import Term
from providers.snowflake.keyset import Predicate, after, at, conjunction, order_by, up_to
from providers.snowflake.rows import Row, Selection, identify, source_object
from providers.snowflake.session import Session
from providers.snowflake.table import PROVIDER, Table

__all__ = ["Fetched", "Walk", "checked_cursor", "ended", "fetch_page", "last_key", "show", "walk_page"]

CURSOR_BYTES = 4096
# Rows of a page are held together: a page ends early rather than outgrow this.
_PAGE_BYTES = 16 * 1024 * 1024

Texts = list[str | None]


@dataclass(slots=True)
class Walk:
    """A place in a full pass: what its cursor holds."""

    names: list[str]
    """The key's columns: a place is worth nothing when these are others."""
    upper: Texts | None = None
    """The last key at the start of the pass: rows beyond it belong to the next one."""
    place: Texts | None = None
    group: Texts | None = None
    """Within the rows of this key, by hash; `[]` for a table without a key."""
    hash: str | None = None
    taken: int = 0
    digest: str = ""
    seen: int = 0

    def to_cursor(self, table: Table) -> str:
        """As a cursor. Raises Misconfigured where the key's values are too long for one."""
        return checked_cursor(asdict(self), table)

    @classmethod
    def from_cursor(cls, cursor: str, table: Table) -> Walk:
        """Inverse of `to_cursor`. Raises Transient (`cursor_refused`)."""
        try:
            walk = cls(**json.loads(cursor))
        except (ValueError, TypeError):
            walk = cls(["?"])
        if walk.names != [column.name for column in table.key]:
            raise Transient(
                "the key of the table has changed since this pass began",
                provider=PROVIDER,
                path=table.name,
                reason="cursor_refused",
            )
        return walk


def checked_cursor(state: dict[str, Any], table: Table) -> str:
    """`state` as a cursor of at most 4 KiB."""
    text = json.dumps(state, separators=(",", ":"), ensure_ascii=False)
    if len(text.encode()) > CURSOR_BYTES:
        raise Misconfigured(
            "the values of the key are too long to go on from (about 1,500 bytes at most): set primary_key_columns"
            " to shorter ones",
            provider=PROVIDER,
            path=table.name,
            reason="key_too_long",
        )
    return text


def _within_budget() -> Callable[[Row], bool]:
    """Says when a page's rows weigh enough; never at the first row, which must be shown."""
    rows, weight = 0, 0

    def enough(row: Row) -> bool:
        nonlocal rows, weight
        rows, weight = rows + 1, weight + row.size
        return rows > 1 and weight > _PAGE_BYTES

    return enough


def show(
    table: Table, rows: Sequence[Row], path: str, cursor: str | None, *, requests: int, positions: dict[str, str]
) -> Page:
    """Rows as a page."""
    return Page(
        [row.id for row in rows],
        [row.fingerprint for row in rows],
        lambda i: source_object(table, rows[i], path),
        cursor,
        complete=cursor is None,
        positions=positions,
        requests=requests,
    )


async def last_key(session: Session, table: Table) -> Texts | None:
    """The greatest key there is, None for an empty table."""
    terms = table.key_terms
    found = await session.fetch(
        f"SELECT {', '.join(term.select for term in terms)} FROM {table.scope.sql} T"
        f" {order_by(terms, descending=True)} LIMIT 1",
        path=table.name,
    )
    return [term.text(value) for term, value in zip(terms, found[0], strict=True)] if found else None


@dataclass(slots=True)
class Fetched:
    """Rows that may be shown, and whether more follow. `rows` empty with `more`: one key fills more than a page."""

    rows: list[Row] = field(default_factory=list)
    more: bool = False
    crowded: Texts | None = None


async def fetch_page(
    session: Session, selection: Selection, query: Predicate, limit: int, place: Texts | None
) -> Fetched:
    """Run a query (SQL, values to bind) for `limit` + 1 rows after `place` and keep whole groups of equal order.

    Raises Transient where rows of the page before are shown again.
    """
    rows = await session.fetch_as(selection.row, *query, path=selection.table.name, enough=_within_budget())
    if place is not None and any(list(row.order) == place for row in rows):
        raise _incomplete(selection.table, "the page before is shown again")
    weighty = len(rows) > 1 and sum(row.size for row in rows) > _PAGE_BYTES
    if len(rows) <= limit and not weighty:
        return Fetched(rows)
    last = rows[-1].order
    end = len(rows) - 1
    while end and rows[end - 1].order == last:
        end -= 1
    return Fetched(rows[:end], more=True, crowded=None if end else list(last))


def _incomplete(table: Table, why: str) -> Transient:
    return Transient(why, provider=PROVIDER, path=table.name, reason="listing_incomplete")


async def ended(session: Session, table: Table, where: Sequence[Predicate]) -> None:
    """Raises Transient if there are rows where a walk ended without having come to the last one it knows of.

    That one may have been deleted meanwhile, or what came last was no whole answer.
    """
    sql, binds = conjunction(where)
    if await session.fetch(f"SELECT 1 FROM {table.scope.sql} T WHERE {sql} LIMIT 1", binds, path=table.name):
        raise _incomplete(table, "rows are missing at the end of the walk")


async def walk_page(session: Session, table: Table, walk: Walk, limit: int) -> tuple[list[Row], str | None, int]:
    """(rows, cursor, statements) of the next page of a full pass."""
    if walk.group is not None:
        rows, cursor = await _group_page(session, table, walk, limit)
        return rows, cursor, 1
    terms = table.key_terms
    selection = Selection(table, terms)
    where: list[Predicate] = []
    if walk.place is not None:
        where.append(after(terms, walk.place))
    if walk.upper is not None:
        where.append(up_to(terms, walk.upper))
    sql, binds = conjunction(where)
    query = _select(selection, table, sql, terms, f"LIMIT {limit + 1}"), binds
    fetched = await fetch_page(session, selection, query, limit, walk.place)
    if fetched.crowded is not None:
        walk.group, walk.hash, walk.taken, walk.digest, walk.seen = fetched.crowded, None, 0, "", 0
        rows, cursor = await _group_page(session, table, walk, limit)
        return rows, cursor, 2
    identify(table, fetched.rows)
    if not fetched.more:
        last = list(fetched.rows[-1].order) if fetched.rows else walk.place
        if walk.upper is None or last == walk.upper:
            return fetched.rows, None, 1
        await ended(session, table, [*([after(terms, last)] if last else []), up_to(terms, walk.upper)])
        return fetched.rows, None, 2
    walk.place = list(fetched.rows[-1].order)
    return fetched.rows, walk.to_cursor(table), 1


async def _group_page(session: Session, table: Table, walk: Walk, limit: int) -> tuple[list[Row], str | None]:
    """Rows of one key (or of a table without one), by hash."""
    assert walk.group is not None
    by_hash = table.hash_term
    selection = Selection(table, [by_hash])
    where = [at(table.key_terms, walk.group)] if walk.group else []
    if walk.hash is not None:
        where.append((f"{by_hash.order} >= {by_hash.bound}", [walk.hash]))
    sql, binds = conjunction(where)
    paging = f"LIMIT {limit + 1} OFFSET {walk.taken}"
    rows = await session.fetch_as(
        selection.row,
        _select(selection, table, sql, [by_hash], paging),
        binds,
        path=table.name,
        enough=_within_budget(),
    )
    more = len(rows) > limit or (len(rows) > 1 and sum(row.size for row in rows) > _PAGE_BYTES)
    rows = rows[:-1] if more else rows
    for row in rows:
        row.shared = True
    identify(table, rows, {walk.digest: walk.seen})
    if more:
        last = rows[-1]
        same = sum(row.order == last.order for row in rows)
        walk.taken = same + (walk.taken if walk.hash == last.order[0] else 0)
        walk.hash, walk.digest, walk.seen = last.order[0], last.digest, last.ordinal + 1
    elif walk.group:
        walk.place, walk.group, walk.hash, walk.taken, walk.digest, walk.seen = walk.group, None, None, 0, "", 0
    else:
        return rows, None
    return rows, walk.to_cursor(table)


def _select(selection: Selection, table: Table, where: str, terms: Sequence[Term], paging: str) -> str:
    return f"SELECT {selection.sql} FROM {table.scope.sql} T WHERE {where} {order_by(terms)} {paging}"
