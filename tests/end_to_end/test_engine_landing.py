"""How objects land: filters, mappings, several syncs on one source, commands in the middle, batches, counters."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from deploy.local.client import Json
from tests.chaos.rig import Landing, World, bodies, fetched, gets, settled, until

_T = datetime(2026, 1, 1, tzinfo=UTC)
_FILE = {"target_type": "blob", "source": {"type": "file"}, "blob_property": "content"}


def field(source: Json, **more: object) -> Json:
    return {"target_type": "field", "source": source, **more}


async def test_filters_are_told_one_by_one(here: World) -> None:
    source = here.fill(
        {
            "in/a.txt": b"ok",
            "in/a.md": b"stays",
            "in/b.log": b"log",
            "in/draft/c.txt": b"draft",
            "in/big.txt": b"x" * 50,
        }
    )
    here.s3.put(source, "in/old.txt", b"old", modified=_T - timedelta(days=400))
    landing = await here.sync(
        source,
        file_filters={
            "include_patterns": ["*.txt", "*.md"],
            "exclude_patterns": ["*/draft/*"],
            "max_size_bytes": 20,
            "modified_after": "2025-06-01T00:00:00Z",
        },
    )
    counts = settled(await landing.first(), seen=6, stored=2, skipped=4)
    assert counts["skipped_by_reason"] == {"filtered_pattern": 2, "filtered_size": 1, "filtered_modified": 1}
    assert fetched(here.s3, source) == 2
    # It drifts out of the filters: it leaves the bucket.
    here.s3.put(source, "in/a.txt", b"y" * 40)
    settled(await landing.again(), seen=6, unchanged=1, skipped=5, removed=1)
    assert await landing.recount({"in/a.md": b"stays"}) == 1


async def test_metadata_filters_ask_once_per_version(here: World) -> None:
    source = here.fill({})
    for number in range(12):
        here.s3.put(source, f"f{number:02}", b"%d" % number, metadata={"team": "red" if number < 4 else "blue"})
    wanted = {"metadata_filters": [{"field": "team", "operator": "equals", "value": "red"}]}
    landing = await here.sync(source, file_filters=wanted)
    counts = settled(await landing.first(), stored=4, skipped=8)
    assert counts["skipped_by_reason"] == {"filtered_metadata": 8} and here.s3.counts["head"] == 12
    settled(await landing.again(), unchanged=4, skipped=8)
    assert here.s3.counts["head"] == 12, "asked again for what has not changed"
    # One turns red, one turns blue.
    here.s3.change(source, "f09", metadata={"team": "red"}, modified=_T + timedelta(hours=1))
    here.s3.change(source, "f00", metadata={"team": "blue"}, modified=_T + timedelta(hours=1))
    settled(await landing.again(), stored=1, skipped=8, unchanged=3)
    settled(await landing.again(), skipped=8, unchanged=4, removed=1)
    assert here.s3.counts["head"] == 14
    assert await landing.keys() == ["f01", "f02", "f03", "f09"]


async def test_mapping_from_everywhere(here: World) -> None:
    source = here.fill({})
    here.s3.put(source, "2026/q3/report-0042.txt", b"text", tags={"owner": "  Ann "}, metadata={"pages": "[1, 2]"})
    mappings = {
        "content": _FILE,
        "owner": field({"type": "tag", "key": "owner"}, transform="trim"),
        "pages": field({"type": "metadata", "key": "Pages"}, transform="json_parse"),
        "number": field({"type": "filename_regex", "pattern": r"report-(\d+)"}),
        "missing": field({"type": "filename_regex", "pattern": r"nothing-(\d+)"}),
        "year": field({"type": "folder_path", "segment": 0}),
        "folder": field({"type": "folder_path"}),
        "whole": field({"type": "folder_path", "full_path": True}, transform="uppercase"),
        "origin": field({"type": "constant", "value": {"system": "s3"}}),
    }
    landing = await here.sync(source, schema_mapping={"mappings": mappings})
    settled(await landing.first(), stored=1)
    [found] = await landing.objects()
    expected = {
        "owner": "Ann", "pages": [1, 2], "number": "0042", "year": "2026", "folder": "q3", "whole": "2026/Q3",
        "origin": {"system": "s3"},
    }  # fmt: skip
    assert {name: found.get(name) for name in expected} == expected and "missing" not in found
    await landing.recount()


async def test_a_missing_required_field_is_that_objects_failure(here: World) -> None:
    source = here.fill({"plain": b"1"})
    here.s3.put(source, "tagged", b"2", tags={"owner": "Ann"})
    mapping = {"mappings": {"content": _FILE, "owner": field({"type": "tag", "key": "owner"}, required=True)}}
    landing = await here.sync(source, schema_mapping=mapping)
    job = await landing.first()
    assert job["status"] == "completed"
    settled(job, stored=1, failed=1)
    [letter] = await landing.letters()
    assert letter["source_path"] == "plain" and "owner" in letter["error_message"]
    assert await landing.recount({"tagged": b"2"}) == 1


async def test_a_full_sync_without_skip_duplicates_replaces_everything(here: World) -> None:
    landing = await here.sync(here.fill(bodies(20)), skip_duplicates=False)
    settled(await landing.first(), stored=20)
    before = {one["object_id"] for one in await landing.objects()}
    settled(await landing.again(), unchanged=20)
    settled(await landing.again(full=True), updated=20, unchanged=0)
    assert {one["object_id"] for one in await landing.objects()} == before
    assert set(gets(here.s3, landing.source).values()) == {2}
    await landing.recount()


async def test_two_syncs_on_one_source_and_bucket(here: World) -> None:
    first = await here.sync(here.fill(bodies(30)))
    settled(await first.first(), stored=30)
    for _ in range(2):  # so that its fences are the higher ones
        await first.again()
    both = {"connection_id": first.connection_id, "bucket_id": first.bucket_id}
    second = await here.sync(first.source, **both)
    counts = settled(await second.first(), stored=0, skipped=30)
    assert counts["skipped_by_reason"] == {"owned_by_another_sync": 30}
    assert fetched(here.s3, first.source) == 30, "fetched what another sync has brought"
    await second.recount()
    # The owner goes: what it has left is adopted, and counted once.
    await first.sync.delete()
    settled(await second.again(), stored=30)
    await second.recount()
    settled(await second.again(), unchanged=30)
    here.s3.put(first.source, "new", b"new")
    settled(await second.again(), unchanged=30, stored=1)
    await second.recount()


async def test_a_sync_made_anew_adopts_what_the_deleted_one_left(here: World) -> None:
    old = await here.sync(here.fill(bodies(20)))
    await old.first()
    for _ in range(3):
        await old.again()
    await old.sync.delete()
    ids = {one["object_id"] for one in await old.objects()}
    new = await here.sync(old.source, connection_id=old.connection_id, bucket_id=old.bucket_id)
    settled(await new.first(), stored=20)
    assert {one["object_id"] for one in await new.objects()} == ids
    owners = {one["source_details"][0]["sync_config_id"] for one in await new.objects()}
    assert owners == {new.sync.id}
    for key in sorted(here.s3.buckets[new.source])[:3]:
        del here.s3.buckets[new.source][key]
    settled(await new.again(), unchanged=17, removed=3)
    await new.recount()


async def test_an_object_deleted_by_hand_comes_back(here: World) -> None:
    landing = await here.sync(here.fill(bodies(5)))
    await landing.first()
    victim = (await landing.objects())[0]
    await here.api.call("DELETE", f"/buckets/{landing.bucket_id}/objects/{victim['object_id']}")
    assert len(await landing.keys()) == 4
    settled(await landing.again(), unchanged=4, stored=1)
    await landing.recount()


@pytest.mark.parametrize("size", [7, 100])
async def test_accepted_objects_are_batched_once(here: World, size: int) -> None:
    # batch_chunk_size is no field of the contract's create request, so it is set where the API keeps it.
    landing = await here.sync(here.fill(bodies(20)), batch_chunk_size=size)
    await landing.first()
    made = await until(lambda: _all_completed(landing), seconds=20)
    sizes = sorted(len(one["object_ids"]) for one in made)
    shown = await landing.sync.get()
    chunk = shown["batch_chunk_size"]
    assert sizes == sorted([chunk] * (20 // chunk) + ([20 % chunk] if 20 % chunk else []))
    members = Counter(one for batch in made for one in batch["object_ids"])
    objects = await landing.objects()
    assert set(members.values()) == {1} and members.keys() == {one["object_id"] for one in objects}
    assert {one["status"] for one in objects} == {"COMPLETED"}
    # What changes is processed again, what does not is not.
    here.s3.put(landing.source, "d0/f000000.txt", b"changed")
    await landing.again()
    await until(lambda: _all_completed(landing), seconds=20)
    assert Counter(len(one["object_ids"]) for one in await landing.batches()) == Counter([*sizes, 1])


async def _all_completed(landing: Landing) -> list[Json]:
    found = await landing.batches()
    return found if found and {one["status"] for one in found} == {"COMPLETED"} else []


async def test_skip_batch_submission_makes_none(here: World) -> None:
    landing = await here.sync(here.fill(bodies(5)), skip_batch_submission=True)
    await landing.first()
    assert await landing.batches() == []
    assert {one["status"] for one in await landing.objects()} == {"PENDING"}


async def _halfway(here: World, count: int = 400) -> Landing:
    landing = await here.sync(here.fill(bodies(count)), batch_size=10, sync_concurrency=5)
    await until(lambda: _reached(here, landing, count // 4))
    return landing


async def _reached(here: World, landing: Landing, count: int) -> bool:
    return fetched(here.s3, landing.source) >= count


async def test_unlock_in_the_middle_keeps_the_books_and_the_batches(here: World) -> None:
    here.s3.faults.get_delay = 0.05
    landing = await _halfway(here)
    await here.api.call("POST", f"{landing.path}/unlock")
    job = (await landing.jobs())[-1]
    assert job["status"] == "interrupted", job
    counts = settled(job, seen=400)
    there = {key: here.s3.buckets[landing.source][key].body for key in await landing.keys()}
    assert 0 < counts["stored"] == len(there) < 400
    assert counts["skipped_by_reason"] == {"not_reached": 400 - len(there)}
    await landing.recount(there)
    batched = {one for batch in await landing.batches() for one in batch["object_ids"]}
    assert batched == {one["object_id"] for one in await landing.objects()}
    here.s3.faults.get_delay = 0
    # Freed, the sync polls when it is due; asked for a run, it does the rest.
    settled(await landing.again(), stored=400 - len(there), unchanged=len(there))
    await landing.recount()
    assert max(gets(here.s3, landing.source).values()) == 1


async def test_delete_in_the_middle_closes_the_job(here: World) -> None:
    here.s3.faults.get_delay = 0.05
    landing = await _halfway(here)
    job_id = await landing.sync.newest_job()
    await landing.sync.delete()
    await until(lambda: _ended(landing), seconds=15)
    there = {key: here.s3.buckets[landing.source][key].body for key in await landing.keys()}
    assert 0 < len(there) < 400
    await landing.recount(there)
    batched = {one for batch in await landing.batches() for one in batch["object_ids"]}
    assert batched == {one["object_id"] for one in await landing.objects()}
    assert job_id


async def _ended(landing: Landing) -> bool:
    return (await landing.workflow.describe()).close_time is not None


async def test_a_terminated_workflow_loses_no_count(here: World) -> None:
    here.s3.faults.get_delay = 0.05
    landing = await _halfway(here)
    await landing.workflow.terminate("the operator's mistake")
    here.s3.faults.get_delay = 0
    await until(lambda: _quiet(here, landing), seconds=20, poll=0.5)
    await here.api.call("POST", f"{landing.path}/trigger")
    await until(lambda: _none_running(landing), seconds=30)
    jobs = await landing.jobs()
    assert jobs[-1]["status"] == "interrupted" and jobs[0]["status"] == "completed", jobs
    stored = [settled(job)["stored"] for job in jobs]
    assert sum(stored) == 400, stored
    await landing.recount()
    assert (await landing.sync.get())["total_files_synced"] == 400


_LAST_SEEN: dict[str, int] = {}


async def _quiet(here: World, landing: Landing) -> bool:
    now, before = fetched(here.s3, landing.source), _LAST_SEEN.get(landing.source, -1)
    _LAST_SEEN[landing.source] = now
    return now == before


async def _none_running(landing: Landing) -> bool:
    jobs = await landing.jobs()
    return len(jobs) > 1 and all(job["status"] != "running" for job in jobs)
