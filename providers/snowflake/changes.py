"""The incremental pass: rows whose incremental column stands at the kept watermark or beyond, up to a fixed bound.

Ordered by that column *and* the key, so that equal values cannot be lost between pages. Deletions do not show here.
"""

from __future__ import annotations

import json
from typing import Any

from providers.base import Page, Positions
from providers.snowflake.columns import Column
from providers.snowflake.keyset import Predicate, after, conjunction, order_by, up_to
from providers.snowflake.paging import Fetched, checked_cursor, ended, fetch_page, show
from providers.snowflake.rows import Selection, identify
from providers.snowflake.session import Session
from providers.snowflake.table import Table
from providers.snowflake.watermark import Watermark, at_top, measure, since, take

__all__ = ["begin_changes", "changes_page", "full_pass_needed", "state_of"]


def full_pass_needed(why: str, *, requests: int) -> Page:
    """A page that asks for a full pass."""
    return Page([], [], _no_row, None, complete=False, rescan=why, requests=requests)


def _no_row(index: int) -> Any:
    raise IndexError(index)


async def begin_changes(
    session: Session, table: Table, cursor: Column, positions: Positions
) -> tuple[Page | None, dict[str, Any], int]:
    """(a page where that is all there is to say, the state of the pass, statements)."""
    text = await positions.get(table.scope.prefix)
    mark = Watermark.from_text(text) if text else None
    why = "no watermark is kept yet" if mark is None else mark.outdated(table)
    if mark is None or why:
        return full_pass_needed(why, requests=0), {}, 0
    low = since(cursor, mark.top, mark.lookback)
    top, count, digest = await measure(session, table, cursor, [low])
    if (count, digest) == (mark.count, mark.digest) and table.scope.lookback == mark.lookback:
        return show(table, [], table.name, None, requests=1, positions={}), {}, 1
    statements = 1
    if top is None:
        # What stood there was deleted: a full pass will find it absent; the watermark is what remains.
        new = await take(session, table, cursor)
        return show(table, [], table.name, None, requests=3, positions={table.scope.prefix: new.to_text()}), {}, 3
    bound = up_to([cursor.term], [top])
    if table.scope.lookback or top != mark.top:
        where = [since(cursor, top, table.scope.lookback), bound]
        _, count, digest = await measure(session, table, cursor, where)
        statements = 2
    new = at_top(table, cursor, top, count, digest)
    return None, {"low": mark.top, "back": mark.lookback, "top": top, "new": new.to_text(), "place": None}, statements


async def changes_page(
    session: Session,
    table: Table,
    cursor: Column,
    state: dict[str, Any],
    *,
    path: str,
    limit: int,
) -> Page:
    """The next page of an incremental pass."""
    terms = [cursor.term, *(table.key_terms or [table.hash_term])]
    low: Predicate = since(cursor, state["low"], state["back"])
    where = [low, up_to([cursor.term], [state["top"]])]
    if state["place"] is not None:
        where.append(after(terms, state["place"]))
    sql, binds = conjunction(where)
    selection = Selection(table, terms, counted=bool(table.key))
    query = f"SELECT {selection.sql} FROM {table.scope.sql} T WHERE {sql} {order_by(terms)} LIMIT {limit + 1}"
    if table.key:
        query = _counted(selection, table, sql, limit)
    fetched: Fetched = await fetch_page(session, selection, (query, binds), limit, state["place"])
    if fetched.crowded is not None:
        return full_pass_needed(f"more than {limit} rows share one key and one value of {cursor.name}", requests=1)
    identify(table, fetched.rows)
    if not fetched.more:
        last = list(fetched.rows[-1].order) if fetched.rows else state["place"]
        if last is None or last[0] != state["top"]:
            await ended(session, table, [low, where[1], *([after(terms, last)] if last else [])])
        positions = {table.scope.prefix: state["new"]}
        return show(table, fetched.rows, path, None, requests=1, positions=positions)
    state = {**state, "place": list(fetched.rows[-1].order)}
    return show(table, fetched.rows, path, checked_cursor(state, table), requests=1, positions={})


def _counted(selection: Selection, table: Table, where: str, limit: int) -> str:
    """The page, and for each of its keys how many rows the whole table has of it: a key may be declared, not kept."""
    keys, orders = table.key_terms, selection.order
    native = ", ".join(
        [f"{term.order} AS K{i}" for i, term in enumerate(keys)]
        + [f"{term.order} AS O{i}" for i, term in enumerate(orders)]
    )
    shown = ", ".join(f"P.C{i}" for i in range(selection.width))
    same = " AND ".join(f"P.K{i} = N.K{i}" for i in range(len(keys)))
    by = ", ".join(str(i + 1) for i in range(len(keys)))
    sequence = ", ".join(f"P.O{i} ASC NULLS LAST" for i in range(len(orders)))
    source = table.scope.sql
    return (
        f"WITH P AS (SELECT {selection.sql}, {native} FROM {source} T WHERE {where} {order_by(orders)}"
        f" LIMIT {limit + 1}),"
        f" N AS (SELECT {', '.join(f'{term.order} AS K{i}' for i, term in enumerate(keys))}, COUNT(*) AS N"
        f" FROM {source} T WHERE {keys[0].order} IN (SELECT K0 FROM P) GROUP BY {by})"
        f" SELECT {shown}, TO_VARCHAR(N.N) FROM P LEFT JOIN N ON {same} ORDER BY {sequence}"
    )


def state_of(cursor: str) -> dict[str, Any] | None:
    """The state that a cursor holds; None for one of another make."""
    try:
        state = json.loads(cursor)
    except ValueError:
        return None
    return state if isinstance(state, dict) and {"low", "back", "top", "new", "place"} <= state.keys() else None
