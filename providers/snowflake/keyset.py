"""Comparing rows as tuples in SQL: after a place, up to a place, at a place; NULL comes last.

Every predicate is (SQL, values to bind). `ORDER BY` is always ascending with NULLS LAST.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from providers.snowflake.columns import Term

__all__ = ["Predicate", "after", "at", "conjunction", "order_by", "up_to"]

Predicate = tuple[str, list[str]]
Place = Sequence[str | None]
_Differs = Callable[[Term, str | None], Predicate | None]


def order_by(terms: Sequence[Term], *, descending: bool = False) -> str:
    """The ORDER BY clause; `descending` is the exact reverse."""
    direction = "DESC NULLS FIRST" if descending else "ASC NULLS LAST"
    return "ORDER BY " + ", ".join(f"{term.order} {direction}" for term in terms)


def after(terms: Sequence[Term], place: Place) -> Predicate:
    """Rows that come later than `place`."""
    sql, binds = _steps(terms, place, _greater)
    if len(terms) > 1 and place[0] is not None:
        # Says nothing new, but lets the server leave out what lies before without looking into it.
        first = terms[0]
        lead = f"{first.order} >= {first.bound}"
        lead = f"({lead} OR {first.order} IS NULL)" if first.nullable else lead
        return f"{lead} AND {sql}", [place[0], *binds]
    return sql, binds


def up_to(terms: Sequence[Term], place: Place) -> Predicate:
    """Rows that come earlier than `place`, and those at it."""
    earlier, binds = _steps(terms, place, _less)
    same, more = at(terms, place)
    return f"({earlier} OR ({same}))", [*binds, *more]


def at(terms: Sequence[Term], place: Place) -> Predicate:
    """Rows at `place`."""
    return conjunction([_equal(term, value) for term, value in zip(terms, place, strict=True)])


def conjunction(parts: Sequence[Predicate]) -> Predicate:
    """All of them."""
    return " AND ".join(sql for sql, _ in parts) or "TRUE", [value for _, binds in parts for value in binds]


def _steps(terms: Sequence[Term], place: Place, differs: _Differs) -> Predicate:
    options: list[Predicate] = []
    for i, (term, value) in enumerate(zip(terms, place, strict=True)):
        step = differs(term, value)
        if step is not None:
            options.append(conjunction([*[_equal(terms[j], place[j]) for j in range(i)], step]))
    if not options:
        return "FALSE", []
    return "(" + " OR ".join(f"({sql})" for sql, _ in options) + ")", [value for _, binds in options for value in binds]


def _greater(term: Term, value: str | None) -> Predicate | None:
    if value is None:
        return None
    sql = f"{term.order} > {term.bound}"
    return f"({sql} OR {term.order} IS NULL)" if term.nullable else sql, [value]


def _less(term: Term, value: str | None) -> Predicate | None:
    if value is None:
        return f"{term.order} IS NOT NULL", []
    return f"{term.order} < {term.bound}", [value]


def _equal(term: Term, value: str | None) -> Predicate:
    if value is None:
        return f"{term.order} IS NULL", []
    return f"{term.order} = {term.bound}", [value]
