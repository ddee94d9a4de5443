"""The S cases of cases.md that are about listing, on the fault server."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from providers import ProviderSettings, open_provider
from providers.base import Provider, content_part
from providers.errors import Denied, Misconfigured, ProviderError, Throttled, Transient
from tests.contract.provider_suite import pages, read, walk
from tests.simulators.s3_faults import Answer, FaultyS3
from tests.simulators.s3_xml import error_xml, listing_xml

KEYS = {"access_key_id": "any", "secret_access_key": "thing"}


@pytest.fixture
async def provider(s3: FaultyS3) -> AsyncIterator[Provider]:
    provider = open_provider(
        "s3", {"endpoint_url": s3.url}, KEYS, ProviderSettings(allow_private_endpoints=True, read_timeout=2)
    )
    yield provider
    await provider.close()


async def test_s04_same_size_same_second(s3: FaultyS3, provider: Provider) -> None:
    s3.put("b", "k", b"one")
    [before] = await walk(provider, "b")
    s3.put("b", "k", b"two")
    [after] = await walk(provider, "b")
    assert (before.size, before.modified_at) == (after.size, after.modified_at)
    assert content_part(before.fingerprint) != content_part(after.fingerprint)


async def test_s06_self_copy_changes_the_stamp_only(s3: FaultyS3, provider: Provider) -> None:
    s3.put("b", "k", b"one")
    [before] = await walk(provider, "b")
    s3.change("b", "k", modified=datetime(2026, 2, 1, tzinfo=UTC))
    [after] = await walk(provider, "b")
    assert before.fingerprint != after.fingerprint
    assert content_part(before.fingerprint) == content_part(after.fingerprint)
    assert s3.counts["get"] == 0


async def test_s07_a_listing_makes_no_request_per_object(s3: FaultyS3, provider: Provider) -> None:
    for i in range(2500):
        s3.put("b", f"k{i}", b"x")
    assert len(await walk(provider, "b")) == 2500
    assert s3.counts == {"list": 3}


async def test_an_object_without_etag_is_told_by_its_time(s3: FaultyS3, provider: Provider) -> None:
    s3.put("b", "k", b"one", etag="")
    [before] = await walk(provider, "b")
    s3.put("b", "k", b"two", etag="", modified=datetime(2026, 2, 1, tzinfo=UTC))
    [after] = await walk(provider, "b")
    assert content_part(before.fingerprint) != content_part(after.fingerprint)
    assert await read(await provider.open(after)) == b"two"


async def test_s09_directory_bucket(s3: FaultyS3, provider: Provider) -> None:
    bucket, s3.faults.directory_bucket = "data--use1-az5--x-s3", True
    for i in range(30):
        s3.put(bucket, f"d/{i}", b"x")
    s3.put(bucket, "dx", b"x")
    capabilities = provider.capabilities_for(f"{bucket}/d")
    assert not (capabilities.ordered or capabilities.ranges)
    assert provider.capabilities_for("plain").ranges
    found = await pages(provider, f"{bucket}/d", 7)
    assert sorted(id_ for page in found for id_ in page.ids) == sorted(f"{bucket}/d/{i}" for i in range(30))
    assert found[-1].complete and not all(page.in_order for page in found)
    narrowed = provider.narrow(f"{bucket}/d", {"prefix": "2"})
    assert {row.path for row in await walk(provider, narrowed, 7)} == {"2", *(f"2{i}" for i in range(10))}


@pytest.mark.parametrize("order", ["utf16", "none"])
async def test_s11_foreign_order(s3: FaultyS3, provider: Provider, order: str) -> None:
    s3.faults.order = order
    keys = [f"k{c}{i}" for c in ("a", "é", "\uff61", "😀") for i in range(5)]
    for key in keys:
        s3.put("b", key, b"x")
    found = await pages(provider, "b", 6)
    assert sorted(id_ for page in found for id_ in page.ids) == sorted(f"b/{key}" for key in keys)
    assert found[-1].complete
    assert not all(page.in_order for page in found)


async def test_s11_disorder_between_pages_is_seen(s3: FaultyS3, provider: Provider) -> None:
    rows = [(key, s3.put("b", key, b"x")) for key in ("a", "m", "b", "n")]
    s3.script("list", Answer(body=listing_xml("b", "", rows[:2], "t1", encoded=True)))
    s3.script("list", Answer(body=listing_xml("b", "", rows[2:], None, encoded=True)))
    assert [page.in_order for page in await pages(provider, "b")] == [True, False]


async def test_a_store_without_start_after_is_out_of_order(s3: FaultyS3, provider: Provider) -> None:
    s3.faults.ignore_start_after = True
    for i in range(4):
        s3.put("b", f"k{i}", b"x")
    page = await provider.list_page("b", provider.range_cursor("b", "b/k1", None), 100)
    assert not page.in_order


async def test_s14_odd_keys_are_their_own_identity(s3: FaultyS3, provider: Provider) -> None:
    keys = [
        "a//b",
        "/a",
        "a/./b",
        "a/../b",
        "..",
        "../../etc/x",
        "C:/x",
        "a\x01b",
        "a\nb",
        "a\tb",
        " a ",
        "a+b%20&<c>",
        "a?b#c",
    ]
    for key in keys:
        s3.put("b", key, key.encode())
    rows = await walk(provider, "b")
    assert sorted(row.id for row in rows) == sorted(f"b/{key}" for key in keys)
    for row in rows:
        assert f"b/{(await read(await provider.open(row))).decode()}" == row.id


async def test_s16_markers_and_data(s3: FaultyS3, provider: Provider) -> None:
    s3.put("b", "empty/", b"")
    s3.put("b", "data/", b"full")
    s3.put("b", "zero", b"")
    [page] = await pages(provider, "b")
    assert {page.ids[i]: why for i, why in page.skips.items()} == {"b/empty/": "folder_marker"}
    row = next(page.row(i) for i in range(3) if page.ids[i] == "b/data/")
    assert await read(await provider.open(row)) == b"full"


@pytest.mark.parametrize(
    ("storage_class", "archived"),
    [
        ("GLACIER", True),
        ("DEEP_ARCHIVE", True),
        ("FROZEN_ARCHIVE_2031", True),
        ("GLACIER_IR", False),
        ("STANDARD_IA", False),
        ("EXPRESS_ONEZONE", False),
        ("NEARLINE", False),
    ],
)
async def test_s19_archived_is_parked(s3: FaultyS3, provider: Provider, storage_class: str, archived: bool) -> None:
    s3.put("b", "k", b"x", storage_class=storage_class)
    [page] = await pages(provider, "b")
    assert dict(page.skips) == ({0: "archived"} if archived else {})
    assert s3.counts["get"] == 0


@pytest.mark.parametrize(("restore", "archived"), [(None, True), ("ongoing", True), ("done", False)])
async def test_s20_restored_is_read(s3: FaultyS3, provider: Provider, restore: str | None, archived: bool) -> None:
    s3.put("b", "j", b"y")
    s3.put("b", "k", b"x", storage_class="GLACIER", restore=restore)
    [page] = await pages(provider, "b")
    assert dict(page.skips) == ({1: "archived"} if archived else {})
    assert s3.requests[-1][2]["x-amz-optional-object-attributes"] == "RestoreStatus"
    if not archived:
        assert await read(await provider.open(page.row(1))) == b"x"


async def test_s25_requester_pays(s3: FaultyS3, provider: Provider) -> None:
    s3.put("b", "k", b"x", metadata={"a": "1"}, tags={"t": "2"})
    s3.faults.requester_pays = True
    with pytest.raises(Denied, match="request_payer"):
        await provider.list_page("b", None, 10)
    narrowed = provider.narrow("b", {"request_payer": "requester"})
    [row] = await walk(provider, narrowed)
    assert await read(await provider.open(row)) == b"x"
    attributes = await provider.attributes(row, tags=True, metadata=True)
    assert (attributes.tags, attributes.metadata) == ({"t": "2"}, {"a": "1"})
    assert {kind for kind, _, headers in s3.requests if headers.get("x-amz-request-payer")} == {
        "list", "get", "head", "tagging",
    }  # fmt: skip
    with pytest.raises(Misconfigured):
        provider.narrow("b", {"request_payer": "me"})


_WHOLE = listing_xml("b", "", [], None, encoded=True)
NOT_A_LISTING = {
    "blank": b"",
    "space": b"  \n",
    "html": b"<!DOCTYPE html><html><body>Sign in to the network</body></html>",
    "xhtml": b"<html><body/></html>",
    "cut": _WHOLE[:-30],
    "foreign": b"<ListAllMyBucketsResult><Buckets/></ListAllMyBucketsResult>",
    "error in a 200": error_xml("InternalError"),
    "no IsTruncated": b"<ListBucketResult><Name>b</Name></ListBucketResult>",
    "no token": b"<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>",
    "wrong count": b"<ListBucketResult><KeyCount>3</KeyCount><IsTruncated>false</IsTruncated></ListBucketResult>",
    "json": b"{}",
}


@pytest.mark.parametrize("body", NOT_A_LISTING.values(), ids=NOT_A_LISTING.keys())
async def test_s35_what_is_no_listing_is_no_empty_page(s3: FaultyS3, provider: Provider, body: bytes) -> None:
    s3.put("b", "k", b"x")
    s3.script("list", Answer(body=body))
    with pytest.raises(Transient) as error:
        await provider.list_page("b", None, 10)
    assert error.value.reason == "listing_incomplete"
    assert len(await walk(provider, "b")) == 1


async def test_s35_a_listing_that_breaks_off(s3: FaultyS3, provider: Provider) -> None:
    s3.put("b", "k", b"x")
    s3.script("list", Answer(body=_WHOLE, cut=50))
    with pytest.raises(Transient, match="middle"):
        await provider.list_page("b", None, 10)


async def test_s35_a_key_outside_the_prefix(s3: FaultyS3, provider: Provider) -> None:
    rows = [(key, s3.put("b", key, b"x")) for key in ("a/x", "b/x")]
    s3.script("list", Answer(body=listing_xml("b", "a/", rows, None, encoded=True)))
    with pytest.raises(Transient, match="outside"):
        await provider.list_page("b/a", None, 10)


async def test_s35_an_empty_bucket_is_complete_and_a_lost_one_is_not(s3: FaultyS3, provider: Provider) -> None:
    s3.buckets["b"] = {}
    page = await provider.list_page("b", None, 10)
    assert (list(page.ids), page.complete) == ([], True)
    with pytest.raises(Misconfigured, match="does not exist"):
        await provider.list_page("gone", None, 10)
    s3.script("list", Answer(403, error_xml("AccessDenied")))
    with pytest.raises(Denied):
        await provider.list_page("b", None, 10)


@pytest.mark.parametrize("fault", ["loop_tokens", "same_page"])
async def test_a_listing_in_circles_ends(s3: FaultyS3, provider: Provider, fault: str) -> None:
    setattr(s3.faults, fault, True)
    for i in range(20):
        s3.put("b", f"k{i:02d}", b"x")
    with pytest.raises(Transient):
        await pages(provider, "b", 3)
    assert s3.counts["list"] < 20


async def test_a_long_cycle_of_tokens_ends(s3: FaultyS3, provider: Provider) -> None:
    stored = s3.put("b", "k", b"x")
    for i in range(100):
        s3.script("list", Answer(body=listing_xml("b", "", [(f"k{i:03d}", stored)], f"t{i % 7}", encoded=True)))
    with pytest.raises(Transient, match="token"):
        await pages(provider, "b")
    assert s3.counts["list"] < 30


async def test_a_refused_token_starts_over(s3: FaultyS3, provider: Provider) -> None:
    s3.put("b", "k", b"x")
    with pytest.raises(Transient) as error:
        await provider.list_page("b", json.dumps({"token": "stale"}), 10)
    assert error.value.reason == "cursor_refused"


async def test_a_key_that_is_no_utf8_is_shown_and_skipped(s3: FaultyS3, provider: Provider) -> None:
    s3.put("b", "bad\udcff", b"x")
    s3.put("b", "good", b"x")
    [page] = await pages(provider, "b")
    assert list(page.ids) == ["b/bad\\xff", "b/good"]
    assert dict(page.skips) == {0: "invalid_key"}


async def test_prefix_filter_narrows(s3: FaultyS3, provider: Provider) -> None:
    for key in ("d/2024-1", "d/2024/x", "d/2025", "e/2024"):
        s3.put("b", key, b"x")
    for filters in ({"prefix": "2024"}, {"prefix": "d/2024"}):
        narrowed = provider.narrow("b/d", filters)
        assert [row.path for row in await walk(provider, narrowed)] == ["2024-1", "2024/x"]
        assert provider.scope(narrowed) == ("b/d/2024", "b/d/2025")
    assert [row.path for row in await walk(provider, provider.narrow("b", {"prefix": "e/"}))] == ["e/2024"]


FAILURES: list[tuple[Answer, type[ProviderError], str]] = [
    (Answer(503, error_xml("SlowDown"), {"Retry-After": "7"}), Throttled, "throttled"),
    (Answer(429), Throttled, "throttled"),
    (Answer(500, error_xml("InternalError")), Transient, "transient"),
    (Answer(503), Transient, "transient"),
    (Answer(403, error_xml("InvalidAccessKeyId")), Denied, "denied"),
    (Answer(403, error_xml("SignatureDoesNotMatch")), Denied, "denied"),
    (Answer(403, error_xml("RequestTimeTooSkewed")), Denied, "denied"),
    (Answer(400, error_xml("ExpiredToken")), Denied, "denied"),
    (Answer(401), Denied, "denied"),
    (Answer(404, error_xml("NoSuchBucket")), Misconfigured, "misconfigured"),
    (Answer(301, error_xml("PermanentRedirect")), Misconfigured, "misconfigured"),
    (Answer(302, headers={"Location": "http://169.254.169.254/"}), Misconfigured, "misconfigured"),
    (Answer(drop=True), Transient, "network_reset"),
]


@pytest.mark.parametrize(("answer", "error", "reason"), FAILURES, ids=lambda value: getattr(value, "status", ""))
async def test_failures_of_a_listing(
    s3: FaultyS3, provider: Provider, answer: Answer, error: type[ProviderError], reason: str
) -> None:
    s3.put("b", "k", b"x")
    s3.script("list", answer)
    with pytest.raises(error) as caught:
        await provider.list_page("b", None, 10)
    assert caught.value.reason == reason
    if answer.headers.get("Retry-After"):
        assert isinstance(caught.value, Throttled) and caught.value.retry_after == 7
    assert s3.counts["list"] == 1
