"""The comparison against its definition: what is staged is the set difference of source and stored, each once.

Random sources and stored states, cut into segments, handed back and taken up again at random, ordered
or not; the memory provider on one side, a real MongoDB on the other.
"""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from activities import stored_ahead
from activities.contracts import Counts
from activities.engine import Engine, SyncContext
from activities.hand_back import Stop
from activities.mapping import compile_mapping
from activities.pages import Listing
from activities.run_contracts import ListArgs, Segment
from models.settings import Settings
from providers.base import Capabilities, Page
from providers.errors import Transient
from providers.memory import MemoryFile, MemoryProvider
from stores.database import connect, ensure_indexes

_T = datetime(2026, 1, 1, tzinfo=UTC)
_names = st.text(st.sampled_from("ab/é\uff5a😀\x01~"), min_size=1, max_size=4)
_files = st.tuples(st.sampled_from([b"1", b"2"]), st.sampled_from([0, 1]))


@dataclass
class Found:
    """What the listings of one pass have staged."""

    work: dict[str, str] = field(default_factory=dict)
    absent: list[str] = field(default_factory=list)
    counts: Counts = field(default_factory=Counts)
    taken: int = 0
    listings: int = 0
    attempts: int = 0


class Interrupted(MemoryProvider):
    """Asks for a hand-back after so many pages."""

    def __init__(self, files: dict[str, MemoryFile], *, page: int, ordered: bool) -> None:
        super().__init__(files)
        self.capabilities = Capabilities(ordered=ordered, ranges=True, page_limit=page)
        self.pages = 0
        self.stop_after = 0
        self.stop = Stop()
        self.fail_every = 0
        self.asked = 0

    async def list_page(self, path: str, cursor: str | None, limit: int) -> Page:
        self.pages += 1
        self.asked += 1
        if self.fail_every and self.asked % self.fail_every == 0:
            raise Transient("the store failed to answer", provider="memory", path=path)
        if self.pages >= self.stop_after:
            self.stop.request()
        return await super().list_page(path, cursor, limit)


class Bench:
    """An engine on a real database, driven without Temporal."""

    def __init__(self, settings: Settings) -> None:
        self.loop = asyncio.new_event_loop()
        self.client, database = connect(settings)
        self.engine = Engine(settings, database, None, None)  # type: ignore[arg-type]  # listing needs neither vault nor blobs
        self.loop.run_until_complete(ensure_indexes(database))

    def close(self) -> None:
        self.loop.run_until_complete(self.client.close())
        self.loop.close()

    async def compare(
        self,
        source: dict[str, MemoryFile],
        stored: dict[str, str],
        *,
        cuts: list[str],
        stops: list[int],
        page: int,
        ordered: bool,
        fail_every: int = 0,
    ) -> Found:
        unique = uuid.uuid4().hex
        sync: dict[str, Any] = {"_id": f"sync_{unique}", "bucket_id": "bkt_1", "connection_id": "conn_1"}
        if stored:
            await self.engine.objects._objects.insert_many(
                [
                    {"_id": f"{unique}/{i}", "sync_config_id": sync["_id"], "source_object_id": i, "fingerprint": f}
                    for i, f in stored.items()
                ]
            )
        provider = Interrupted(source, page=page, ordered=ordered)
        provider.fail_every = fail_every
        mapping = compile_mapping(None, None)
        context = SyncContext(sync, {"_id": "conn_1", "provider_type": "memory"}, {}, provider, "", None, mapping)
        bounds = ["", *sorted(set(cuts)), ""] if ordered else ["", ""]
        segments = [Segment(after=low, until=high) for low, high in pairwise(bounds)]
        return await self._pass(context, provider, segments, stops, run_id=f"job_{unique}", ordered=ordered)

    async def _pass(
        self,
        context: SyncContext,
        provider: Interrupted,
        segments: list[Segment],
        stops: list[int],
        *,
        run_id: str,
        ordered: bool,
    ) -> Found:
        found, runs = Found(), self.engine.runs
        attempt = 0
        while True:
            attempt += 1
            assert attempt <= 3, "no page has more than three attempts"
            provider.pages, provider.stop = 0, Stop()
            provider.stop_after = stops[found.listings] if found.listings < len(stops) else 1_000_000
            args = ListArgs(context.id, run_id, found.listings, segments, room=1_000_000)
            listing = Listing(self.engine, context, args, provider.stop, attempt=attempt, ordered=ordered)
            found.attempts += 1
            try:
                result = await listing.run()
            except Transient:
                continue
            attempt = 0
            found.listings += 1
            found.counts.add(result.counts)
            for chunk in result.chunks:
                for item in (await runs.chunk(chunk.id) or {})["items"]:
                    assert item["id"] not in found.work, f"{item['id']} staged twice"
                    found.work[item["id"]] = item["op"]
                found.taken += chunk.size
            for chunk_id in result.absent_chunks:
                found.absent += (await runs.chunk(chunk_id) or {})["items"]
            segments = result.segments
            if result.at_end:
                assert result.complete
                break
        if not ordered:
            async for ids in self.engine.objects.all_ids(context.id, low="", high="", step=3):
                found.absent += await runs.not_seen(run_id, ids)
        return found


@pytest.fixture
def bench(settings: Settings) -> Iterator[Bench]:
    made = Bench(settings)
    yield made
    made.close()


def _print(content: bytes, stamp: int) -> str:
    return f"{hashlib.sha256(content).hexdigest()}|{(_T + timedelta(hours=stamp)).isoformat()}"


@hypothesis_settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    source=st.dictionaries(_names, _files, max_size=25),
    kept=st.dictionaries(_names, _files, max_size=10),
    stale=st.sets(st.integers(0, 24)),
    cuts=st.lists(_names, max_size=4),
    stops=st.lists(st.integers(1, 6), max_size=6),
    page=st.integers(1, 5),
    rows=st.sampled_from([1, 2, 7, stored_ahead.SLICE]),
    ordered=st.booleans(),
    fail_every=st.sampled_from([0, 2, 3, 7]),
)
def test_comparison_is_the_set_difference(
    bench: Bench,
    *,
    source: dict[str, tuple[bytes, int]],
    kept: dict[str, tuple[bytes, int]],
    stale: set[int],
    cuts: list[str],
    stops: list[int],
    page: int,
    rows: int,
    ordered: bool,
    fail_every: int,
) -> None:
    files = {name: MemoryFile(content, _T + timedelta(hours=stamp)) for name, (content, stamp) in source.items()}
    # Stored: some of the source as it is, some of it older, some that is no longer there.
    stored = {name: _print(*version) for name, version in kept.items()}
    for number in stale:
        if number < len(source):
            name = sorted(source)[number]
            stored[name] = files[name].fingerprint
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stored_ahead, "SLICE", rows)
        found = bench.loop.run_until_complete(
            bench.compare(files, stored, cuts=cuts, stops=stops, page=page, ordered=ordered, fail_every=fail_every)
        )
    expected = {}
    for name, file in files.items():
        old = stored.get(name)
        if old is None:
            expected[name] = "new"
        elif old != file.fingerprint:
            same_bytes = old.partition("|")[0] == file.fingerprint.partition("|")[0]
            expected[name] = "touch" if same_bytes else "update"
    assert found.work == expected
    assert sorted(found.absent) == sorted(stored.keys() - files.keys())
    assert found.counts.seen == len(files)
    assert found.counts.unchanged == len(files) - len(expected)
    assert found.taken == len(expected) and found.counts.skipped == 0


def test_a_great_loss_is_read_in_slices(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = {f"k{number:06}": "x|y" for number in range(45_000)}
    staged: list[int] = []
    stage = bench.engine.runs.stage

    async def watch(chunk_id: str, **more: Any) -> None:
        staged.append(len(more["items"]))
        await stage(chunk_id, **more)

    monkeypatch.setattr(bench.engine.runs, "stage", watch)
    found = bench.loop.run_until_complete(bench.compare({}, stored, cuts=[], stops=[], page=5, ordered=True))
    assert sorted(found.absent) == sorted(stored) and max(staged) <= 20_000


def test_a_page_that_fails_costs_no_page_before_it(bench: Bench) -> None:
    files = {f"k{number:03}": MemoryFile(b"x", _T) for number in range(100)}
    found = bench.loop.run_until_complete(
        bench.compare(files, {}, cuts=[], stops=[], page=1, ordered=True, fail_every=10)
    )
    # 111 requests for 100 pages, eleven of which failed: twelve listings, none of which was an attempt in vain.
    assert len(found.work) == 100
    assert (found.attempts, found.listings) == (12, 12)
