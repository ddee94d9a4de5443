"""S3 cases of cases.md that need the whole engine; what the provider alone can show is in tests/contract."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from deploy.local.stack import Stack
from tests.chaos.rig import Landing, World, bodies, fetched, gets, settled, until
from tests.simulators.s3_faults import Answer
from tests.simulators.s3_xml import error_xml

_T = datetime(2026, 1, 1, tzinfo=UTC)
_FILE = {"target_type": "blob", "source": {"type": "file"}, "blob_property": "content"}


def mapped(**fields: dict[str, object]) -> dict[str, object]:
    """A schema mapping: the file as `content`, and these field sources."""
    entries = {name: {"target_type": "field", "source": source} for name, source in fields.items()}
    return {"mappings": {"content": _FILE, **entries}}


async def test_s01_a_slow_put_with_an_earlier_time(here: World) -> None:
    landing = await here.sync(here.fill(bodies(5)))
    await landing.first()
    here.s3.put(landing.source, "late.txt", b"late", modified=_T - timedelta(days=300))
    settled(await landing.again(), stored=1, unchanged=5)
    assert await landing.recount() == 6


async def test_s02_another_key_in_the_same_second(here: World) -> None:
    landing = await here.sync(here.fill({"a": b"1", "b": b"2"}))
    await landing.first()
    here.s3.put(landing.source, "aa", b"3", modified=_T)
    settled(await landing.again(), stored=1, unchanged=2)
    settled(await landing.again(), stored=0, unchanged=3)
    assert gets(here.s3, landing.source)["aa"] == 1
    assert await landing.recount() == 3


@pytest.mark.slow
async def test_s03_more_than_ten_thousand_known_keys(here: World) -> None:
    count = 10_500
    landing = await here.sync(here.fill(bodies(count, largest=1)))
    settled(await landing.first(), stored=count)
    for key in ("a-first", "d3/f000003.tx", "z-last"):
        here.s3.put(landing.source, key, b"new")
    settled(await landing.again(), seen=count + 3, stored=3, unchanged=count)
    assert fetched(here.s3, landing.source) == count + 3
    assert len(await landing.keys()) == count + 3


async def test_s04_overwritten_with_the_same_size_in_the_same_second(here: World) -> None:
    landing = await here.sync(here.fill({"a": b"one", "b": b"two"}))
    await landing.first()
    here.s3.put(landing.source, "a", b"eno", modified=_T)
    settled(await landing.again(), updated=1, unchanged=1)
    assert await landing.recount() == 2


async def test_s05_an_etag_is_never_compared_with_an_md5(here: World) -> None:
    source = here.fill({})
    here.s3.put(source, "multipart", b"x" * 100, etag="0123456789abcdef0123456789abcdef-7")
    here.s3.put(source, "kms", b"y" * 100, etag="f" * 32)
    landing = await here.sync(source)
    settled(await landing.first(), stored=2, failed=0)
    settled(await landing.again(), unchanged=2)
    assert await landing.recount() == 2


@pytest.mark.parametrize("metadata", [False, True])
async def test_s06_a_self_copy_reads_no_body(here: World, metadata: bool) -> None:
    source = here.fill({"b": b"other"})
    here.s3.put(source, "a", b"body", metadata={"team": "red"})
    mapping = mapped(team={"type": "metadata", "key": "Team"}) if metadata else None
    landing = await here.sync(source, schema_mapping=mapping)
    await landing.first()
    before, sent = fetched(here.s3, source), here.s3.bytes_sent
    here.s3.change(source, "a", metadata={"team": "blue"}, modified=_T + timedelta(hours=1))
    settled(await landing.again(), updated=1, unchanged=1)
    assert fetched(here.s3, source) == before and here.s3.counts["head"] == int(metadata)
    assert here.s3.bytes_sent - sent < 3000  # the listing
    found = {one["source_details"][0]["source_id"]: one for one in await landing.objects()}[f"{source}/a"]
    assert str(found["source_details"][0]["modified_at"]).startswith("2026-01-01T01:00:00")
    assert found.get("team") == ("blue" if metadata else None)
    settled(await landing.again(), unchanged=2)
    assert await landing.recount() == 2


async def test_s07_unchanged_objects_cost_no_call_each(here: World) -> None:
    source = here.fill({})
    for number in range(30):
        here.s3.put(source, f"f{number}", b"%d" % number, tags={"n": str(number)})
    landing = await here.sync(source, schema_mapping=mapped(n={"type": "tag", "key": "n"}))
    settled(await landing.first(), stored=30)
    assert here.s3.counts["tagging"] == 30
    asked = dict(here.s3.counts)
    here.s3.put(source, "f7", b"changed", tags={"n": "seven"})
    settled(await landing.again(), updated=1, unchanged=29)
    more = {kind: here.s3.counts[kind] - asked.get(kind, 0) for kind in ("tagging", "head", "get", "list")}
    assert more == {"tagging": 1, "head": 0, "get": 1, "list": 1}
    assert {one["n"] for one in await landing.objects()} == {*map(str, range(30)), "seven"} - {"7"}


@pytest.mark.parametrize("order", ["utf16", "none"])
async def test_s11_a_store_with_an_order_of_its_own(here: World, order: str) -> None:
    files = bodies(1500)
    files |= {f"\uff5a{number}": b"wide" for number in range(40)} | {f"😀{number}": b"smile" for number in range(40)}
    here.s3.faults.order = order
    landing = await here.sync(here.fill(files))
    await until(lambda: _completed(landing, 1), seconds=30)
    assert await landing.recount() == len(files)
    for key in ("\uff5a3", "😀7"):
        del here.s3.buckets[landing.source][key]
    here.s3.put(landing.source, "é", b"new")
    settled(await landing.again(), stored=1, unchanged=len(files) - 2, removed=2)
    assert max(gets(here.s3, landing.source).values()) == 1
    assert await landing.recount() == len(files) - 1


async def _completed(landing: Landing, count: int) -> bool:
    return len([job for job in await landing.jobs() if job["status"] == "completed"]) >= count


_ODD_KEYS = ("a//b", "/a", "a/./b", "a/../b", "//", "a b+c%2F&=?#", "é/ü", "e\u0301", ".", "..", "a\tb", "a\\b", " ")


async def test_s14_odd_keys_are_fetched_as_they_are(here: World) -> None:
    files = {key: f"body of {key!r}".encode() for key in _ODD_KEYS}
    landing = await here.sync(here.fill(files))
    settled(await landing.first(), stored=len(files), failed=0)
    settled(await landing.again(), unchanged=len(files))
    assert await landing.recount(files) == len(files)


async def test_s15_no_byte_outside_the_blob_directory(here: World, stack: Stack) -> None:
    files = {key: b"escaped? " + key.encode() for key in ("../../home/x", "C:/x", "../x", "/etc/tidemark-x", "~/x")}
    before = _outside(stack)
    landing = await here.sync(here.fill(files))
    settled(await landing.first(), stored=len(files))
    assert await landing.recount(files) == len(files)
    assert _outside(stack) == before
    names = [path.name for path in (stack.home / "blobs").rglob("*") if path.is_file()]
    assert all(len(name) == 64 and set(name) <= set("0123456789abcdef") for name in names), names


def _outside(stack: Stack) -> set[Path]:
    top = {path for folder in (stack.home.parent, stack.home) for path in folder.iterdir()}
    return {path for path in top if not path.name.startswith("temporal.db")} | {
        path for path in (Path("/etc/tidemark-x"), Path("/home/x"), Path.home() / "x") if path.exists()
    }


async def test_s16_folder_markers_and_data_with_a_slash(here: World) -> None:
    landing = await here.sync(here.fill({"dir/": b"", "dir/file": b"1", "data/": b"not empty"}))
    counts = settled(await landing.first(), seen=3, stored=2, skipped=1)
    assert counts["skipped_by_reason"] == {"folder_marker": 1}
    assert await landing.recount({"dir/file": b"1", "data/": b"not empty"}) == 2
    assert gets(here.s3, landing.source)["dir/"] == 0


async def test_s19_s20_archived_is_parked_and_read_once_restored(here: World) -> None:
    source = here.fill({"warm": b"warm"})
    for storage_class in ("GLACIER", "DEEP_ARCHIVE"):
        here.s3.put(source, storage_class, storage_class.encode(), storage_class=storage_class)
    landing = await here.sync(source)
    counts = settled(await landing.first(), stored=1, skipped=2, failed=0)
    assert counts["skipped_by_reason"] == {"archived": 2}
    assert fetched(here.s3, source) == 1
    here.s3.change(source, "GLACIER", restore="done")
    here.s3.change(source, "DEEP_ARCHIVE", restore="ongoing")
    settled(await landing.again(), stored=1, unchanged=1, skipped=1)
    assert gets(here.s3, source) == {"warm": 1, "GLACIER": 1}
    # What was read stays when the restored copy has gone again.
    here.s3.change(source, "GLACIER", restore=None)
    settled(await landing.again(), unchanged=2, skipped=1, removed=0)
    assert await landing.recount({"warm": b"warm", "GLACIER": b"GLACIER"}) == 2


async def test_s21_an_archive_tier_found_by_get_is_parked_at_once(here: World) -> None:
    landing = await here.sync(here.fill({"a": b"1"}), batch_size=1)
    settled(await landing.first(), stored=1)
    here.s3.put(landing.source, "cold", b"2", storage_class="INTELLIGENT_TIERING")
    here.s3.script("get", Answer(403, error_xml("InvalidObjectState")), times=5)
    settled(await landing.again(), unchanged=1, failed=1)
    assert gets(here.s3, landing.source)["cold"] == 1
    [letter] = await landing.letters()
    assert letter["max_retries_reached"] and letter["source_object_id"] == f"{landing.source}/cold"


async def test_s22_a_customer_key_fails_alone(here: World) -> None:
    source = here.fill(bodies(20))
    here.s3.put(source, "locked", b"secret", customer_key=True)
    landing = await here.sync(source)
    job = await landing.first()
    assert job["status"] == "completed"
    settled(job, stored=20, failed=1)
    [letter] = await landing.letters()
    assert "customer" in letter["error_message"].lower() + letter["error_type"].lower()
    assert gets(here.s3, source)["locked"] <= 2


async def test_s30_a_body_that_ends_early_is_fetched_again(here: World) -> None:
    landing = await here.sync(here.fill({}))
    await landing.first()
    here.s3.put(landing.source, "a", b"the whole body")
    here.s3.script("get", Answer(200, b"the whole body", cut=5))
    settled(await landing.again(), stored=1, failed=0)
    assert gets(here.s3, landing.source)["a"] == 2
    assert await landing.letters() == []
    assert await landing.recount() == 1


async def test_s32_deleted_between_list_and_get(here: World) -> None:
    landing = await here.sync(here.fill({"a": b"1", "b": b"2"}))
    await landing.first()
    here.s3.put(landing.source, "a", b"changed")
    here.s3.script("get", Answer(404, error_xml("NoSuchKey")))
    counts = settled(await landing.again(), skipped=1, failed=0, unchanged=1)
    assert counts["skipped_by_reason"] == {"gone": 1}
    assert await landing.letters() == []
    del here.s3.buckets[landing.source]["a"]
    settled(await landing.again(), unchanged=1, removed=1)
    assert await landing.recount() == 1


async def test_s33_packed_bodies_are_no_corruption(here: World) -> None:
    source = here.fill({"plain": b"plain"})
    here.s3.put(source, "packed.gz", b"\x1f\x8b not really", content_encoding="gzip")
    here.s3.put(source, "listed", b"twelve bytes", listed_size=5, content_encoding="gzip")
    landing = await here.sync(source)
    settled(await landing.first(), stored=3, failed=0)
    settled(await landing.again(), unchanged=3)
    assert fetched(here.s3, source) == 3
