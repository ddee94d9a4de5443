"""Pagination of list operations (contract/notes.md, section 1, "set P"): what is asked and what is answered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from models.common import Reply

__all__ = [
    "DEEPEST_OFFSET", "DEFAULT_LIMIT", "Limit", "Offset", "PageNumber", "PageQuery", "PageRequest",
    "PageTooDeepError", "PaginationResponse", "Query", "QueryBool",
]  # fmt: skip

DEFAULT_LIMIT = 100
DEEPEST_OFFSET = 10_000

Limit = Annotated[int, Field(ge=1, le=1000)]
Offset = Annotated[int, Field(ge=0, le=DEEPEST_OFFSET)]
PageNumber = Annotated[int, Field(ge=1)]


class PageTooDeepError(ValueError):
    """A page whose cost would grow with its number; a cursor costs the same everywhere."""


def _query_bool(value: Any) -> Any:
    if isinstance(value, str):
        return {"true": True, "false": False}.get(value.lower(), value if value not in {"0", "1"} else value == "1")
    return value


def _query_int(value: Any) -> Any:
    digits = isinstance(value, str) and value.lstrip("-").isascii() and value.lstrip("-").isdigit()
    return int(value) if digits and len(value) < 20 else value


QueryBool = Annotated[bool, BeforeValidator(_query_bool)]
QueryInt = BeforeValidator(_query_int)


class Query(BaseModel):
    """Query parameters. Undeclared ones are ignored; of a repeated one the last counts."""

    model_config = ConfigDict(strict=True, extra="ignore")


class PageQuery(Query):
    """Which part of a list is wanted."""

    limit: Annotated[Limit, QueryInt] | None = None
    page_size: Annotated[Limit, QueryInt] | None = None
    offset: Annotated[Offset, QueryInt] | None = None
    page: Annotated[PageNumber, QueryInt] | None = None
    cursor: str | None = None
    next_cursor: str | None = None
    after: str | None = None
    include_total: QueryBool | None = None

    def resolve(self, body: Mapping[str, Any] | None = None, *, default_limit: int = DEFAULT_LIMIT) -> PageRequest:
        """Apply the stated precedence: body over query, limit over page_size, offset over page, cursor over aliases.

        A cursor beats any offset: it already says where to go on. Raises PageTooDeepError.
        """
        asked = (body or {}, self.model_dump())

        def first(*names: str) -> Any:
            return next((given[name] for given in asked for name in names if given.get(name) is not None), None)

        limit = int(first("limit", "page_size") or default_limit)
        offset, cursor = first("offset"), first("cursor", "next_cursor", "after") or None
        if offset is None:
            offset = ((first("page") or 1) - 1) * limit
        if offset > DEEPEST_OFFSET and not cursor:
            raise PageTooDeepError(f"page lies beyond row {DEEPEST_OFFSET}: go on with next_cursor instead")
        return PageRequest(limit, 0 if cursor else int(offset), cursor, include_total=bool(first("include_total")))


@dataclass(frozen=True, slots=True)
class PageRequest:
    """A resolved page: at most `limit` rows after `cursor`, or from `offset`."""

    limit: int
    offset: int = 0
    cursor: str | None = None
    include_total: bool = False


class PaginationResponse(Reply):
    """Where this page lies. `next_page` and `previous_page` are relative addresses; null where there is none."""

    total: int | None = None
    page: int | None = None
    page_size: int | None = None
    total_pages: int | None = None
    next_page: str | None = None
    previous_page: str | None = None
    next_cursor: str | None = None
