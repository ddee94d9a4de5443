"""Absence must be proven, and a large loss asks a person: S35 and its kind."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from activities.contracts import CommandResult, DecisionArgs
from deploy.local.client import ApiError, Json
from tests.chaos.rig import Landing, World, bodies, settled, source_server, until
from tests.simulators.s3_faults import Answer
from tests.simulators.s3_xml import error_xml

_COUNT = 40


async def landed(here: World, count: int = _COUNT, **fields: object) -> Landing:
    """A sync whose first run has stored everything."""
    landing = await here.sync(here.fill(bodies(count)), **fields)
    settled(await landing.first(), stored=count)
    return landing


async def proposal(landing: Landing) -> Json | None:
    shown: Json | None = (await landing.sync.get())["delete_proposal"]
    return shown


async def state(landing: Landing) -> Json:
    found: Json = await landing.workflow.query("state")
    return found


async def nothing_lost(landing: Landing, count: int = _COUNT) -> None:
    assert len(await landing.keys()) == count
    bucket = await landing.world.api.call("GET", f"/buckets/{landing.bucket_id}")
    assert bucket["object_count"] == count


async def test_an_emptied_source_asks_and_a_recovered_one_withdraws(here: World) -> None:
    landing = await landed(here)
    kept = dict(here.s3.buckets[landing.source])
    here.s3.buckets[landing.source].clear()
    settled(await landing.again(), seen=0, removed=0)
    first = await proposal(landing)
    assert first is not None and (first["count"], first["owned"]) == (_COUNT, _COUNT), first
    assert len(first["sample"]) == 20 and "empty" in first["reason"]
    # Polling goes on and the proposal stays the same one.
    settled(await landing.again(), seen=0, removed=0)
    second = await proposal(landing)
    assert second is not None and second["proposal_id"] == first["proposal_id"]
    assert second["created_at"] == first["created_at"]
    assert (await state(landing))["proposal_id"] == first["proposal_id"]
    found = await landing.workflow.describe()
    assert [value for pair in found.typed_search_attributes for value in [pair.value] if value is True] == [True]
    metrics = await here.api.call("GET", f"{landing.path}/metrics")
    assert metrics["delete_proposal"]["count"] == _COUNT
    await nothing_lost(landing)
    here.s3.buckets[landing.source].update(kept)
    settled(await landing.again(), unchanged=_COUNT, removed=0)
    assert await proposal(landing) is None and (await state(landing))["proposal_id"] == ""
    await landing.recount()


async def test_a_wrong_prefix_asks(here: World) -> None:
    landing = await landed(here)
    await landing.sync.patch(provider_filters={"prefix": "no-such-folder/"})
    await until(lambda: proposal(landing), seconds=10)
    await nothing_lost(landing)
    await landing.sync.patch(provider_filters={})
    await until(lambda: _gone(landing), seconds=10)
    await landing.recount()


async def _gone(landing: Landing) -> bool:
    return await proposal(landing) is None


_NO_LISTINGS = {
    "blank": Answer(),
    "html": Answer(body=b"<html>maintenance</html>"),
    "error": Answer(500),
    "dropped": Answer(drop=True),
}


async def test_a_source_that_gives_no_listing_removes_nothing(here: World) -> None:
    async def one(answer: Answer) -> None:
        with source_server() as s3:
            other = World(here.env, here.api, s3, here.temporal)
            landing = await landed(other)
            s3.script("list", answer, times=50)
            job = await landing.again()
            assert job["status"] == "failed" and job["metadata"]["partial"], job
            settled(job, removed=0)
            assert await proposal(landing) is None
            await nothing_lost(landing)
            s3._scripts.clear()
            settled(await landing.again(), unchanged=_COUNT)

    async with asyncio.TaskGroup() as group:
        for answer in _NO_LISTINGS.values():
            group.create_task(one(answer))


async def test_a_listing_that_breaks_off_half_way_removes_nothing(here: World) -> None:
    landing = await landed(here, 1200)
    for key in sorted(here.s3.buckets[landing.source])[100:110]:
        del here.s3.buckets[landing.source][key]
    whole = here.s3._list(landing.source, {"encoding-type": "url"})
    denied = Answer(403, error_xml("AccessDenied"))
    for answer in (whole, denied):
        here.s3.script("list", answer)
    job = await landing.again()
    assert job["status"] == "failed" and "AccessDenied" in job["error"], job
    settled(job, removed=0)
    await nothing_lost(landing, 1200)
    settled(await landing.again(), unchanged=1190, removed=10)
    await landing.recount()


async def test_a_revoked_right_stops_the_run(here: World) -> None:
    landing = await landed(here)
    here.s3.script("list", Answer(403, error_xml("AccessDenied")), times=1)
    job = await landing.again()
    assert job["status"] == "failed" and await landing.letters() == []
    settled(job, removed=0)
    connection = await here.api.call("GET", f"/organizations/connections/{landing.connection_id}")
    assert connection["consecutive_failures"] == 1 and "AccessDenied" in connection["last_error"]
    await nothing_lost(landing)
    settled(await landing.again(), unchanged=_COUNT)
    connection = await here.api.call("GET", f"/organizations/connections/{landing.connection_id}")
    assert connection["consecutive_failures"] == 0


async def test_a_capped_run_proposes_and_removes_nothing_and_the_next_goes_on(here: World) -> None:
    source = here.fill(bodies(50))
    landing = await here.sync(source, max_objects_per_run=20)
    job = await landing.first()
    settled(job, stored=20, removed=0)
    assert (job["metadata"]["partial"], job["metadata"]["partial_reason"]) == (True, "max_objects_per_run")
    for key in (await landing.keys())[:5]:
        del here.s3.buckets[source][key]
    job = await landing.again()
    settled(job, stored=20, unchanged=15, removed=0)
    assert job["metadata"]["partial"] and await proposal(landing) is None
    job = await landing.again()
    settled(job, stored=10, unchanged=35, removed=5)
    assert not job["metadata"]["partial"]
    await landing.recount()
    assert (await landing.sync.get())["stats"]["total_objects_synced"] == 50


async def test_small_removals_happen_without_asking(here: World) -> None:
    landing = await landed(here, 100)
    keys = sorted(here.s3.buckets[landing.source])
    for key in keys[:25]:
        del here.s3.buckets[landing.source][key]
    settled(await landing.again(), unchanged=75, removed=25)
    await landing.recount()
    for key in keys[25:51]:
        del here.s3.buckets[landing.source][key]
    settled(await landing.again(), unchanged=49, removed=0)
    asked = await proposal(landing)
    assert asked is not None and asked["count"] == 26
    # One comes back: what is left is small enough.
    here.s3.put(landing.source, keys[25], b"back")
    settled(await landing.again(), unchanged=49, updated=1, removed=25)
    assert await proposal(landing) is None
    await landing.recount()


async def _by_update(landing: Landing, command: str, proposal_id: str) -> None:
    answer = await landing.workflow.execute_update(
        command, DecisionArgs(by="usr_test", proposal_id=proposal_id), result_type=CommandResult
    )
    assert answer.outcome in {"approved", "rejected"} and answer.count == 30, answer


async def _by_signal(landing: Landing, command: str, proposal_id: str) -> None:
    del proposal_id  # a person at the CLI gives none
    await landing.workflow.signal(command)


async def _by_api(landing: Landing, command: str, proposal_id: str) -> None:
    word = command.removesuffix("_deletes")
    answer = await landing.world.api.call("POST", f"{landing.path}/deletes/{word}", None, proposal_id=proposal_id)
    assert answer["count"] == 30, answer


Decide = Callable[[Landing, str, str], Awaitable[None]]
_WAYS = [_by_update, _by_signal, _by_api]


async def proposed(here: World) -> tuple[Landing, str]:
    landing = await landed(here)
    for key in sorted(here.s3.buckets[landing.source])[:30]:
        del here.s3.buckets[landing.source][key]
    settled(await landing.again(), removed=0)
    shown = await proposal(landing)
    assert shown is not None and shown["count"] == 30
    return landing, shown["proposal_id"]


@pytest.mark.parametrize("decide", _WAYS)
async def test_approved_removals_happen(here: World, decide: Decide) -> None:
    landing, proposal_id = await proposed(here)
    if decide is _by_update:
        wrong = await landing.workflow.execute_update(
            "approve_deletes", DecisionArgs(proposal_id="del_other"), result_type=CommandResult
        )
        assert wrong.outcome == "no_open_proposal"
    await decide(landing, "approve_deletes", proposal_id)
    await until(lambda: _gone(landing), seconds=15)
    newest = await landing.first()
    settled(newest, removed=30, unchanged=10)
    await landing.recount()
    with pytest.raises(ApiError, match="409"):
        await here.api.call("POST", f"{landing.path}/deletes/approve")


@pytest.mark.parametrize("decide", _WAYS)
async def test_rejected_removals_are_not_asked_for_again(here: World, decide: Decide) -> None:
    landing, proposal_id = await proposed(here)
    await decide(landing, "reject_deletes", proposal_id)
    await until(lambda: _gone(landing), seconds=15)
    settled(await landing.again(), unchanged=10, removed=0)
    assert await proposal(landing) is None
    await nothing_lost(landing)
    # The rest goes as well: that is another loss.
    here.s3.buckets[landing.source].clear()
    settled(await landing.again(), removed=0)
    assert (await proposal(landing) or {})["count"] == _COUNT
    await nothing_lost(landing)


async def test_an_approval_does_not_hold_for_a_larger_loss(here: World) -> None:
    landing, proposal_id = await proposed(here)
    here.s3.buckets[landing.source].clear()
    await _by_update(landing, "approve_deletes", proposal_id)
    await asyncio.sleep(1)
    await landing.first()
    settled(await landing.again(), seen=0)
    # Ten more are within what a pass may always remove, but nothing at all is left: that asks again.
    await nothing_lost(landing)
    assert (await proposal(landing) or {})["count"] == 40


async def test_on_delete_off_keeps_everything(here: World) -> None:
    landing = await landed(here, reconcile={"on_delete": False})
    here.s3.buckets[landing.source].clear()
    settled(await landing.again(), removed=0)
    assert await proposal(landing) is None
    await nothing_lost(landing)


async def test_out_of_order_pass_removes_nothing_until_walked_without_order(here: World) -> None:
    landing = await landed(here, 60)
    for key in sorted(here.s3.buckets[landing.source])[:5]:
        del here.s3.buckets[landing.source][key]
    here.s3.faults.order = "none"
    job = await landing.again()
    settled(job, removed=0)
    assert job["status"] == "interrupted" and job["metadata"]["partial"]
    await until(lambda: _count(landing, 55), seconds=15)
    await landing.recount()


async def _count(landing: Landing, count: int) -> bool:
    return len(await landing.keys()) == count


async def test_polling_goes_on_while_a_proposal_waits(here: World) -> None:
    landing, _ = await proposed(here)
    here.s3.put(landing.source, "new", b"new")
    settled(await landing.again(), stored=1, unchanged=10, removed=0)
    assert len(await landing.keys()) == _COUNT + 1
