"""What a sync does by itself: load, run, poll, and what that costs in events."""

from __future__ import annotations

from tests.workflow_model.rig import Rig, kinds


async def test_an_idle_poll_costs_eleven_events(skip_rig: Rig) -> None:
    books = skip_rig.model.books
    books.source, books.stored = set(range(1000)), set(range(1000))
    await skip_rig.start()
    await skip_rig.until_state(lambda s: s["last_status"] == "completed")
    await skip_rig.skip(10)
    before = (await skip_rig.check())[-1]
    await skip_rig.skip(300 * 20)
    after = (await skip_rig.check())[-1]
    assert books.calls["begin_run"] == 21
    assert (len(after.events) - len(before.events)) / 20 == 11, kinds(after)


async def test_a_first_run_costs_few_events_and_stores_everything_once(rig: Rig) -> None:
    books = rig.model.books
    books.source = set(range(20_000))
    await rig.start()
    state = await rig.until_state(lambda s: s["last_status"] == "completed")
    (history,) = await rig.check()
    assert books.stored == books.source
    assert state["last_counts"]["stored"] == state["last_counts"]["seen"] == 20_000
    assert books.calls["ingest_chunk"] == 20
    assert len(history.events) / 20 <= 10, kinds(history)


async def test_changes_are_found_by_the_next_poll(skip_rig: Rig) -> None:
    books = skip_rig.model.books
    books.source = set(range(100))
    await skip_rig.start()
    await skip_rig.until_state(lambda s: s["last_status"] == "completed")
    books.source = set(range(10, 150))
    await skip_rig.skip(301)
    state = await skip_rig.until_state(lambda s: s["last_counts"]["stored"] == 50)
    assert books.stored == books.source
    assert state["last_counts"]["removed"] == 0  # counted by the books, which the model leaves out
    assert books.calls["reconcile"] == 1
    await skip_rig.check()


async def test_initial_only_completes_after_one_run(rig: Rig) -> None:
    rig.model.books.continuous = False
    rig.model.books.source = set(range(10))
    handle = await rig.start()
    assert await handle.result() == "completed"
    assert rig.model.books.stored == set(range(10))
    await rig.check()


async def test_a_deleted_sync_ends_at_once(rig: Rig) -> None:
    rig.model.books.deleted = True
    handle = await rig.start()
    assert await handle.result() == "deleted"
    assert not rig.model.books.calls
    await rig.check()


async def test_without_batches_none_are_made(rig: Rig) -> None:
    rig.model.books.source, rig.model.books.make_batches = set(range(10)), False
    await rig.start()
    await rig.until_state(lambda s: s["last_status"] == "completed")
    assert rig.model.books.calls["make_batches"] == 0
    await rig.check()
