"""Chunks as a listing hands them over."""

from __future__ import annotations

from typing import Any, cast

from activities.run_contracts import ListResult
from activities.staging import CHUNK_OBJECTS, Staging
from providers.base import SourceObject
from stores.runs import RunStore


class _Kept:
    """Stands in for the store: staging only ever calls `stage`."""

    def __init__(self) -> None:
        self.chunks: dict[str, list[Any]] = {}

    async def stage(self, chunk_id: str, *, items: list[Any], **_: Any) -> None:
        self.chunks[chunk_id] = items


def _staging() -> tuple[Staging, ListResult, _Kept]:
    kept, result = _Kept(), ListResult()
    runs = cast("RunStore", kept)
    return Staging(runs, result, run_id="job_1", sync_config_id="sync_1", prefix="job_1:0:1"), result, kept


def _row(name: str, version: str = "1", size: int = 1) -> SourceObject:
    return SourceObject(name, name, f"{version}|1", size)


async def test_a_row_shown_again_takes_the_place_of_the_first() -> None:
    staging, result, kept = _staging()
    for row in (_row("a"), _row("b"), _row("a", "2")):
        staging.take("new", None, row)
    await staging.flush(everything=True)
    [items] = kept.chunks.values()
    assert [(item["id"], item["fp"]) for item in items] == [("a", "2|1"), ("b", "1|1")]
    assert result.counts.skipped_by_reason == {"shown_again": 1}


async def test_chunks_end_at_their_number_and_at_their_content() -> None:
    staging, result, _ = _staging()
    for number in range(CHUNK_OBJECTS + 3):
        staging.take("new", None, _row(f"small-{number}"))
    await staging.flush(everything=False)
    staging.take("new", None, _row("small-0", "2"))  # its chunk has gone: a chunk of its own run shows it again
    for number in range(5):
        staging.take("new", None, _row(f"large-{number}", size=100 * 1024 * 1024))
    await staging.flush(everything=True)
    assert [chunk.size for chunk in result.chunks] == [CHUNK_OBJECTS, 6, 2, 1]
    assert not result.counts.skipped_by_reason
