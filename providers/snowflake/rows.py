"""Rows as source objects: their JSON, their ids, and what distinguishes rows that share a key.

An id is `DB.SCHEMA.TABLE/` and a compact JSON array: the key's values; for rows that share a key, the key's values,
the row's hash and an ordinal; for rows without a key, the hash and the ordinal.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from providers.base import SourceObject
from providers.errors import Misconfigured
from providers.snowflake.columns import Term, json_value, to_json
from providers.snowflake.identifiers import find_name
from providers.snowflake.table import Table

__all__ = ["IN_LOCATOR", "Columns", "Row", "Selection", "identify", "source_object"]

# Rows up to this size travel with the listing; larger ones are asked for again by their key.
IN_LOCATOR = 256 * 1024
_HASH = 32
_NAME = 200


@dataclass(slots=True)
class Row:
    """One fetched row. `order` is what it was ordered by; `text` is None where the row is too large to carry."""

    key: tuple[str | None, ...]
    order: tuple[str | None, ...]
    advanced: str | None
    text: str | None
    missing: tuple[str, ...]
    digest: str
    size: int
    shared: bool
    ordinal: int = 0
    id: str = ""

    @property
    def fingerprint(self) -> str:
        """`content|stamp`: the row is all there is."""
        return f"{self.digest}|"


class Selection:
    """What is selected of a table, and how a fetched tuple becomes a Row."""

    def __init__(self, table: Table, order: Sequence[Term], *, carry: int = IN_LOCATOR, counted: bool = False) -> None:
        self.table = table
        self._key = table.key_terms
        self.order = list(order)
        self._by_key = self.order == self._key
        self._cursor = table.cursor.term if table.cursor else None
        self._carry = carry
        self._counted = counted
        self._names = [orjson.dumps(column.name).decode() for column in table.columns]
        ordered = [] if self._by_key else self.order
        terms = [*self._key, *ordered, *([self._cursor] if self._cursor else [])]
        expressions = [*[column.select for column in table.columns], *[term.select for term in terms]]
        self.sql = ", ".join(f"{expression} AS C{i}" for i, expression in enumerate(expressions))
        self.width = len(expressions)

    def row(self, values: Sequence[Any]) -> Row:
        """A fetched tuple as a row."""
        table = self.table
        pieces, missing = [], []
        for column, name, value in zip(table.columns, self._names, values, strict=False):
            piece = to_json(column, value)
            if piece is None:
                missing.append(column.name)
            else:
                pieces.append(f"{name}:{piece}")
        text = "{" + ",".join(pieces) + "}"
        raw = text.encode()
        rest = values[len(table.columns) :]
        key = tuple(term.text(value) for term, value in zip(self._key, rest, strict=False))
        rest = rest[len(key) :]
        order = key if self._by_key else tuple(t.text(value) for t, value in zip(self.order, rest, strict=False))
        rest = rest if self._by_key else rest[len(order) :]
        advanced = self._cursor.text(rest[0]) if self._cursor else None
        # NULL is no identity, and no two NULLs are the same; neither is a key that another row has too.
        shared = not key or None in key or (self._counted and int(rest[-1] or 0) > 1)
        carried = text if len(raw) <= self._carry else None
        digest = hashlib.sha256(raw).hexdigest()
        return Row(key, order, advanced, carried, tuple(missing), digest, len(raw), shared)


def identify(table: Table, rows: Sequence[Row], taken: Mapping[str, int] | None = None) -> None:
    """Give rows their ids. Rows that share a key stand next to each other and are whole groups.

    `taken` says how many rows of a digest came before, where a group goes on from an earlier page.
    """
    keys = Counter(row.key for row in rows)
    ordinals: Counter[tuple[Any, ...]] = Counter()
    for row in rows:
        row.shared = row.shared or keys[row.key] > 1
        values: list[Any] = [_key_value(column.kind, column.scale, text) for column, text in _pairs(table, row)]
        if row.shared:
            place = (*row.key, row.digest)
            row.ordinal = ordinals[place] + (taken or {}).get(row.digest, 0)
            ordinals[place] += 1
            values += [row.digest[:_HASH], row.ordinal]
        row.id = table.scope.prefix + orjson.dumps(values).decode()


def _pairs(table: Table, row: Row) -> Iterator[tuple[Any, str | None]]:
    return zip(table.key, row.key, strict=True)


def _key_value(kind: str, scale: int, text: str | None) -> Any:
    if text is None:
        return None
    if kind == "NUMBER" and scale == 0 and len(text.lstrip("-")) < 19:
        return int(text)
    if kind == "BOOLEAN":
        return text.lower() == "true"
    return text


def source_object(table: Table, row: Row, path: str) -> SourceObject:
    """A row as listed. Its file name is its key's values."""
    parts = [text if text is not None else "null" for text in row.key]
    if row.shared:
        parts += [f"{row.digest[:_HASH]}-{row.ordinal}"]
    locator: dict[str, Any] = {"path": path, "key": list(row.key), "shared": row.shared, "ordinal": row.ordinal}
    weight = 300 + sum(len(part) for part in parts)
    if not row.key:
        locator["order"] = row.order[-1] if row.order else None
    if row.text is not None:
        locator |= {"row": row.text, "missing": list(row.missing)}
        weight += row.size
    return SourceObject(
        id=row.id,
        path=f"{','.join(parts)[:_NAME]}.json",
        fingerprint=row.fingerprint,
        size=row.size,
        modified_at=_instant(table, row.advanced),
        mime_type="application/json",
        locator=locator,
        weight=weight,
    )


def _instant(table: Table, text: str | None) -> datetime | None:
    if text is None or table.cursor is None or not table.cursor.is_time:
        return None
    try:
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
    except (ValueError, OverflowError):
        return None  # a year that Python has none of


class Columns(Mapping[str, Any]):
    """A row's columns for mappings, by name in any case. Asking for a column that the table has not stops the run."""

    def __init__(self, text: str, missing: Sequence[str], refuse: Callable[[str], Misconfigured]) -> None:
        self._text = text
        self._missing = frozenset(missing)
        self._refuse = refuse
        self._values: dict[str, Any] | None = None

    @property
    def _row(self) -> dict[str, Any]:
        if self._values is None:
            self._values = json_value(self._text)
        return self._values

    def __getitem__(self, name: str) -> Any:
        found = find_name(name, [*self._row, *self._missing])
        if found is None:
            raise self._refuse(name)
        if found in self._missing:
            raise KeyError(name)  # SQL NULL where null is a value of its own
        return self._row[found]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and find_name(name, self._row) is not None

    def __iter__(self) -> Iterator[str]:
        return iter(self._row)

    def __len__(self) -> int:
        return len(self._row)
