"""The small parts of the engine: the removal gate, the byte budget, the pace, the books."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activities.book import ChunkBook
from activities.budget import ByteBudget
from activities.contracts import Counts
from activities.ledger import discrepancy
from activities.pace import Pace
from activities.reconcile import over_gate
from activities.settlement import NOT_REACHED, counted

_numbers = st.integers(0, 10_000)


@given(_numbers, _numbers, st.integers(0, 100), st.floats(0, 100))
def test_gate_by_its_definition(absent: int, owned: int, objects: int, percent: float) -> None:
    asks = over_gate(absent, owned, objects=objects, percent=percent)
    everything = absent > 0 and absent >= owned
    assert asks == (everything or (absent > objects and absent > owned * percent / 100))


@pytest.mark.parametrize(
    ("absent", "owned", "asks"),
    [
        (0, 0, False),
        (0, 9, False),
        (1, 1, True),
        (25, 26, False),
        (26, 40, True),
        (100, 1000, False),
        (101, 1000, True),
    ],
)
def test_gate_at_its_edges(absent: int, owned: int, asks: bool) -> None:
    assert over_gate(absent, owned, objects=25, percent=10) is asks


# --- the byte budget


@given(st.lists(st.tuples(st.integers(0, 150), st.booleans()), max_size=40), st.randoms(use_true_random=False))
def test_budget_is_never_exceeded_and_never_leaks(wants: list[tuple[int, bool]], random: object) -> None:
    total = 100

    async def play() -> None:
        budget, held, most = ByteBudget(total), 0, 0

        async def use(size: int) -> None:
            nonlocal held, most
            got = await budget.take(size)
            held, most = held + got, max(most, held + got)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            held -= got
            budget.give(got)

        tasks = []
        for size, cancel in wants:
            tasks.append(asyncio.create_task(use(size)))
            await asyncio.sleep(0)
            if cancel and not tasks[-1].done() and budget._waiting:
                tasks[-1].cancel()
        async with asyncio.timeout(5):
            await asyncio.gather(*tasks, return_exceptions=True)
        assert most <= total
        # Whoever was cancelled while it held something is out of this game: only waiting ones were.
        assert budget._free + held == total

    asyncio.run(play())


async def test_a_cancelled_large_request_does_not_block_small_ones() -> None:
    budget = ByteBudget(10)
    held = await budget.take(6)
    large = asyncio.create_task(budget.take(9))
    small = asyncio.create_task(budget.take(2))
    await asyncio.sleep(0)
    large.cancel()
    async with asyncio.timeout(1):
        assert await small == 2
    budget.give(held)


async def test_more_than_the_whole_budget_is_served_alone() -> None:
    budget = ByteBudget(10)
    assert await budget.take(1000) == 10
    waiting = asyncio.create_task(budget.take(1))
    await asyncio.sleep(0)
    assert not waiting.done()
    budget.give(10)
    assert await waiting == 1


# --- the pace


async def test_pace_halves_once_for_what_was_under_way_together() -> None:
    pace = Pace(32)
    for _ in range(8):
        await pace.enter()
    for _ in range(3):
        pace.was_throttled(None)
        pace.leave()
    assert pace.allowed == 16 and not pace.closed and pace.throttled == 3


async def test_pace_rises_again_and_never_over_its_limit() -> None:
    pace = Pace(8)
    await pace.enter()
    pace.was_throttled(None)
    pace.leave()
    assert pace.allowed == 4
    for _ in range(200):
        await pace.enter()
        pace.went_through()
        pace.leave()
    assert pace.allowed == 8 and not pace.heavy


async def test_pace_closes_where_most_is_refused_or_a_wait_is_asked_for() -> None:
    closed = Pace(8)
    for _ in range(20):
        await closed.enter()
        closed.was_throttled(None)
        closed.leave()
    assert closed.closed and closed.heavy
    told = Pace(8)
    await told.enter()
    told.was_throttled(7.0)
    assert told.closed and told.heavy and told.asked_to_wait == 7.0
    light = Pace(8)
    for n in range(200):
        await light.enter()
        if n % 10:
            light.went_through()
        else:
            light.was_throttled(None)
        light.leave()
    assert light.throttled == 20 and not light.closed and not light.heavy


async def test_pace_holds_back_what_is_over_it() -> None:
    pace = Pace(2)
    await pace.enter()
    await pace.enter()
    third = asyncio.create_task(pace.enter())
    await asyncio.sleep(0)
    assert not third.done()
    pace.leave()
    async with asyncio.timeout(1):
        await third


# --- the books

_outcomes = st.sampled_from(["stored", "updated", "failed", "skipped:gone", "skipped:filtered_metadata"])


@given(st.dictionaries(st.text(max_size=3), st.tuples(_outcomes, st.integers(0, 99)), max_size=30))
def test_a_book_counts_each_object_once_however_often_it_is_entered(entries: dict[str, tuple[str, int]]) -> None:
    book = ChunkBook()
    for _ in range(2):
        for source_id, (outcome, size) in entries.items():
            book.done(source_id, outcome, size, None, (1, size))
    tally = book.tally()
    assert sum(tally[name] for name in ("stored", "updated", "failed", "skipped")) == len(entries)
    assert tally["bytes"] == sum(size for _, size in entries.values()) == tally["size_delta"]
    assert tally["added"] == len(entries)
    assert sum(book.skipped().values()) == tally["skipped"]


_COUNTS = Counts(seen=10, stored=3, updated=2, unchanged=1, skipped=3, failed=1, bytes=9, skipped_by_reason={"gone": 3})
_TALLY = {"stored": 3, "updated": 2, "failed": 1, "bytes": 9}


def test_books_that_agree() -> None:
    assert discrepancy(_COUNTS, _TALLY, {"gone": 2}) == ""


@pytest.mark.parametrize("name", ["stored", "updated", "failed", "bytes"])
def test_books_that_differ_are_told(name: str) -> None:
    assert name in discrepancy(_COUNTS, {**_TALLY, name: 7}, {})


def test_books_that_do_not_balance_are_told() -> None:
    assert "balance" in discrepancy(replace(_COUNTS, seen=11), _TALLY, {})
    assert "gone" in discrepancy(_COUNTS, _TALLY, {"gone": 4})


@given(seen=st.integers(0, 50), unchanged=st.integers(0, 50), done=st.lists(st.integers(0, 20), min_size=3, max_size=3))
def test_a_run_cut_short_balances(seen: int, unchanged: int, done: list[int]) -> None:
    stored, updated, failed = done
    tally = {"stored": stored, "updated": updated, "failed": failed, "bytes": 0}
    history = Counts(seen=seen, unchanged=unchanged, skipped_by_reason={"archived": 2})
    counts = counted(history, tally, {"gone": 1, NOT_REACHED: 99})
    assert counts.balanced and counts.skipped == sum(counts.skipped_by_reason.values())
    assert counts.seen >= seen and counts.skipped_by_reason["gone"] == 1
    rest = seen - unchanged - stored - updated - failed - 3
    assert counts.skipped_by_reason.get(NOT_REACHED, 0) == max(0, rest)
