"""What a listing activity hands over: chunks of work, of removals, of marks and of places in change feeds.

Ids carry run, listing number and attempt, so that no attempt writes over another; the workflow uses
only those it was told of.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from activities.run_contracts import ChunkRef, ListResult
from providers.base import SourceObject
from stores.runs import RunStore

__all__ = ["CHUNK_OBJECTS", "Staging"]

CHUNK_OBJECTS = 1000
_CHUNK_BYTES = 4 * 1024 * 1024
# Of content: large files are spread over several chunks, so that all worker processes have a share.
_CHUNK_CONTENT_BYTES = 256 * 1024 * 1024
_ABSENT_PER_CHUNK = 20_000
# What a staged row weighs beside its id and path, both of which are stored twice in effect.
_ROW_OVERHEAD = 220


class Staging:
    """Buffers of one listing attempt; `flush` writes full chunks, or everything."""

    def __init__(self, runs: RunStore, result: ListResult, *, run_id: str, sync_config_id: str, prefix: str) -> None:
        self._runs = runs
        self._result = result
        self._run_id = run_id
        self._sync = sync_config_id
        self._prefix = prefix
        self._items: list[dict[str, Any]] = []
        self._places: dict[str, int] = {}
        self._weights: list[int] = []
        self._sizes: list[int] = []
        self._absent: dict[tuple[str, int], list[str]] = {}
        self._marks: list[str] = []
        self._positions: dict[str, str] = {}
        self._staged = 0
        self.page_seconds = 0.0

    @property
    def work(self) -> int:
        """Objects taken so far."""
        return self._staged + len(self._items)

    def take(self, operation: str, old: str | None, row: SourceObject) -> None:
        """An object to ingest. One that a feed shows again takes the place of its earlier showing."""
        item = {"op": operation, "old": old, **row.to_document()}
        if (index := self._places.get(row.id)) is not None:
            self._items[index] = item
            reasons = self._result.counts.skipped_by_reason
            reasons["shown_again"] = reasons.get("shown_again", 0) + 1
            return
        self._places[row.id] = len(self._items)
        self._items.append(item)
        self._weights.append(_ROW_OVERHEAD + 2 * len(row.id) + row.weight)
        self._sizes.append(row.size or 0)

    def absent(self, ids: Sequence[str], reason: str, ordinal: int = 0) -> None:
        """Owned objects that are to go. `ordinal` orders deletion events against what the feed shows later."""
        if ids:
            self._absent.setdefault((reason, ordinal), []).extend(ids)

    def mark(self, source_id: str) -> None:
        """A key at which a later walk may be split."""
        self._marks.append(source_id)

    def place(self, positions: Mapping[str, str]) -> None:
        """Places in change feeds, to be kept once the run is durable."""
        self._positions.update(positions)

    async def flush(self, *, everything: bool) -> None:
        """Stage what is full, or with `everything` the rest too."""
        while self._items and (everything or self._is_full()):
            size = self._fitting()
            items, self._items = self._items[:size], self._items[size:]
            self._places = {item["id"]: index for index, item in enumerate(self._items)}
            del self._weights[:size], self._sizes[:size]
            chunk = ChunkRef(f"{self._prefix}:{len(self._result.chunks)}", size)
            self._staged += size
            self._result.chunks.append(chunk)
            await self._stage(chunk.id, "work", items)
        for key in [k for k, ids in self._absent.items() if everything or len(ids) >= _ABSENT_PER_CHUNK]:
            ids = self._absent.pop(key)
            for start in range(0, len(ids), _ABSENT_PER_CHUNK):
                part = ids[start : start + _ABSENT_PER_CHUNK]
                chunk_id = f"{self._prefix}:a{len(self._result.absent_chunks)}"
                self._result.absent += len(part)
                self._result.absent_chunks.append(chunk_id)
                await self._stage(chunk_id, "absent", part, reason=key[0], ordinal=key[1])
        if everything and self._marks:
            await self._stage(f"{self._prefix}:m", "marks", self._marks, page_seconds=self.page_seconds)
        if everything and self._positions:
            self._result.position_chunks.append(f"{self._prefix}:p")
            await self._stage(f"{self._prefix}:p", "positions", [[k, v] for k, v in self._positions.items()])

    def _is_full(self) -> bool:
        return (
            len(self._items) >= CHUNK_OBJECTS
            or sum(self._weights) >= _CHUNK_BYTES
            or sum(self._sizes) >= _CHUNK_CONTENT_BYTES
        )

    def _fitting(self) -> int:
        """How many of the first items make one chunk: at least one."""
        weight = content = 0
        for index, own in enumerate(self._weights[:CHUNK_OBJECTS]):
            weight += own
            content += self._sizes[index]
            if index and (weight > _CHUNK_BYTES or content > _CHUNK_CONTENT_BYTES):
                return index
        return min(len(self._items), CHUNK_OBJECTS)

    async def _stage(self, chunk_id: str, kind: str, items: Sequence[Any], **more: Any) -> None:
        await self._runs.stage(
            chunk_id, run_id=self._run_id, sync_config_id=self._sync, kind=kind, items=items, more=more
        )
