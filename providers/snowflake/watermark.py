"""How far an incremental pass has come: the greatest value of the incremental column, and what stood at it.

Beside the true maximum a watermark keeps a count and a digest of the rows from it (or from a lookback before it) on.
So a poll is one query over those rows alone, and a row that is committed late with an equal or an earlier value is
seen although the maximum has not moved.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from providers.snowflake.columns import Column
from providers.snowflake.keyset import Predicate, conjunction, up_to
from providers.snowflake.session import Session
from providers.snowflake.table import Table

__all__ = ["Watermark", "at_top", "measure", "since", "take"]

_NAMES = 1500
_DAY = 86_400


@dataclass(frozen=True, slots=True)
class Watermark:
    """A place in one table's changes. `top` None: no row has a value yet."""

    column: str
    top: str | None
    count: str
    digest: str
    lookback: int
    signature: str
    created: str
    names: str

    def to_text(self) -> str:
        """As it is kept: at most 4 KiB."""
        return json.dumps(asdict(self), separators=(",", ":"), ensure_ascii=False)

    @classmethod
    def from_text(cls, text: str) -> Watermark | None:
        """Inverse of `to_text`; None for a place of another make."""
        try:
            return cls(**json.loads(text))
        except (ValueError, TypeError):
            return None

    def outdated(self, table: Table) -> str:
        """Why only a full pass can go on from here; empty where this place is good."""
        name = table.name
        cursor = table.cursor.name if table.cursor else ""
        if cursor != self.column:
            return f"the incremental column of {name} is now {cursor}, it was {self.column}"
        if table.created != self.created:
            return f"{name} was created anew"
        if table.signature != self.signature:
            before, now = set(self.names.split("\n")) - {""}, {column.name for column in table.columns}
            gone, new = sorted(before - now), sorted(now - before)
            changes = [f"gone: {', '.join(gone)}"] * bool(gone) + [f"new: {', '.join(new)}"] * bool(new)
            what = "; ".join(changes) if before and changes else "types or key"
            return f"the columns of {name} have changed ({what})"[:500]
        return ""


def since(column: Column, top: str | None, lookback: int) -> Predicate:
    """Rows from `top` on, or from a lookback before it; seconds, or the column's own unit where it holds numbers."""
    term = column.term
    if top is None:
        return f"{term.order} IS NOT NULL", []
    bound = term.bound
    if lookback and column.kind in ("NUMBER", "FLOAT"):
        bound = f"({bound} - {lookback})"
    elif lookback and column.kind == "DATE":
        bound = f"DATEADD(day, -{-(-lookback // _DAY)}, {bound})"
    elif lookback:
        bound = f"DATEADD(second, -{lookback}, {bound})"
    return f"{term.order} >= {bound}", [top]


async def measure(
    session: Session, table: Table, cursor: Column, where: Sequence[Predicate]
) -> tuple[str | None, str, str]:
    """(greatest value, count, digest) of the rows that `where` lets through: one query, one row."""
    term = cursor.term
    greatest = f"MAX({term.order})" if cursor.kind == "FLOAT" else f"TO_VARCHAR(MAX({term.order}))"
    parts = ", ".join([term.select, *[key.select for key in table.key_terms]])
    if not table.key:
        parts = f"{parts}, {table.hash_term.select}"
    sql, binds = conjunction(where)
    [(top, count, digest)] = await session.fetch(
        f"SELECT {greatest}, TO_VARCHAR(COUNT(*)), TO_VARCHAR(BITXOR_AGG(HASH({parts})))"
        f" FROM {table.scope.sql} T WHERE {sql}",
        binds,
        path=table.name,
    )
    return term.text(top), str(count), str(digest or "")


async def take(session: Session, table: Table, cursor: Column) -> Watermark:
    """The watermark of this moment: two queries, one of which the server answers from its metadata."""
    term = cursor.term
    greatest = f"MAX({term.order})" if cursor.kind == "FLOAT" else f"TO_VARCHAR(MAX({term.order}))"
    [(found,)] = await session.fetch(f"SELECT {greatest} FROM {table.scope.sql} T", path=table.name)
    top = term.text(found)
    count, digest = "0", ""
    if top is not None:
        where = [since(cursor, top, table.scope.lookback), up_to([term], [top])]
        _, count, digest = await measure(session, table, cursor, where)
    return at_top(table, cursor, top, count, digest)


def at_top(table: Table, cursor: Column, top: str | None, count: str, digest: str) -> Watermark:
    """A watermark of this table."""
    names = "\n".join(column.name for column in table.columns)
    return Watermark(
        cursor.name,
        top,
        count,
        digest,
        table.scope.lookback,
        table.signature,
        table.created,
        names if len(names.encode()) <= _NAMES else "",
    )
