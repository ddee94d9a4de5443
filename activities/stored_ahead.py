"""What a sync owns, read ahead of an ordered listing: one query for several pages."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import AsyncIterator

from stores.objects import ObjectStore

__all__ = ["SLICE", "StoredAhead"]

# Rows of a query. A command costs as much as some hundred rows; 4,000 rows are about 1 MB.
SLICE = 4000


class StoredAhead:
    """Ids and fingerprints in ascending order, from above `after` on.

    They are as they were when they were read: what a user removes meanwhile is noticed by the next pass.
    """

    def __init__(self, objects: ObjectStore, sync_config_id: str, after: str) -> None:
        self._objects = objects
        self._sync_config_id = sync_config_id
        self._after = after or None
        self._ids: list[str] = []
        self._prints: list[str] = []
        self._end = False

    async def take(self, until: str | None) -> AsyncIterator[tuple[list[str], list[str]]]:
        """All that follows up to and with `until` (None: to the end), at once if it is less than a slice."""
        while not self._end and (until is None or not self._ids or self._ids[-1] < until):
            if len(self._ids) >= SLICE:
                yield self._cut(len(self._ids))
            ids, prints = await self._objects.stored_slice(self._sync_config_id, after=self._after, limit=SLICE)
            self._ids += ids
            self._prints += prints
            self._end = len(ids) < SLICE
            self._after = ids[-1] if ids else self._after
        yield self._cut(len(self._ids) if until is None else bisect_right(self._ids, until))

    def _cut(self, count: int) -> tuple[list[str], list[str]]:
        taken = self._ids[:count], self._prints[:count]
        del self._ids[:count], self._prints[:count]
        return taken
