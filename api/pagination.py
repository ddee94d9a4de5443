"""Where a page lies, as answered."""

from __future__ import annotations

from urllib.parse import urlencode

from aiohttp import web

from models.paging import DEEPEST_OFFSET, PageRequest, PaginationResponse
from stores.pages import PageOfDocuments

__all__ = ["pagination"]


def pagination(
    request: web.Request, page: PageRequest, found: PageOfDocuments, *, total: int | None = None
) -> PaginationResponse:
    """The `pagination` of a reply. Totals only when asked for; addresses of neighbours only for pages by offset."""
    total = (found.total if total is None else total) if page.include_total else None
    by_offset = page.cursor is None
    following = page.offset + page.limit
    more = found.next_cursor is not None
    return PaginationResponse(
        total=total,
        page=page.offset // page.limit + 1 if by_offset else None,
        page_size=page.limit,
        total_pages=None if total is None else -(-total // page.limit),
        next_page=_address(request, page, following) if by_offset and more and following <= DEEPEST_OFFSET else None,
        previous_page=_address(request, page, max(0, page.offset - page.limit)) if page.offset else None,
        next_cursor=found.next_cursor,
    )


def _address(request: web.Request, page: PageRequest, offset: int) -> str:
    return f"{request.rel_url.raw_path}?{urlencode({'limit': page.limit, 'offset': offset})}"
