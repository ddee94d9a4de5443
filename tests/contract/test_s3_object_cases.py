"""The S cases of cases.md that are about one object's bytes and attributes, on the fault server."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from providers import ProviderSettings, open_provider
from providers.base import Provider, SourceObject
from providers.errors import Changed, Denied, Gone, Misconfigured, Permanent, ProviderError, Throttled, Transient
from tests.contract.provider_suite import read, walk
from tests.simulators.s3_faults import Answer, FaultyS3
from tests.simulators.s3_xml import error_xml

KEYS = {"access_key_id": "any", "secret_access_key": "thing"}
BIG = b"0123456789abcdef" * 200_000


@pytest.fixture
async def provider(s3: FaultyS3) -> AsyncIterator[Provider]:
    settings = ProviderSettings(allow_private_endpoints=True, read_timeout=1, max_object_bytes=10_000_000)
    provider = open_provider("s3", {"endpoint_url": s3.url}, KEYS, settings)
    yield provider
    await provider.close()


async def only(provider: Provider) -> SourceObject:
    [row] = await walk(provider, "b")
    return row


async def test_s05_an_etag_that_is_no_md5_is_no_corruption(s3: FaultyS3, provider: Provider) -> None:
    s3.put("b", "multipart", b"x" * 100, etag="d41d8cd98f00b204e9800998ecf8427e-3")
    assert await read(await provider.open(await only(provider))) == b"x" * 100


async def test_s21_archive_tier_of_intelligent_tiering(s3: FaultyS3, provider: Provider) -> None:
    s3.put("b", "k", b"x", storage_class="INTELLIGENT_TIERING")
    row = await only(provider)
    s3.script("get", Answer(403, error_xml("InvalidObjectState")))
    with pytest.raises(Permanent) as error:
        await provider.open(row)
    assert (error.value.reason, s3.counts["get"]) == ("archived", 1)


async def test_s22_customer_key(s3: FaultyS3, provider: Provider) -> None:
    s3.put("b", "k", b"x", customer_key=True)
    s3.put("b", "other", b"y")
    locked, free = await walk(provider, "b")
    with pytest.raises(Permanent) as error:
        await provider.open(locked)
    assert error.value.reason == "needs_customer_key"
    with pytest.raises(Permanent) as error:
        await provider.attributes(locked, tags=False, metadata=True)
    assert error.value.reason == "needs_customer_key"
    assert await read(await provider.open(free)) == b"y"


@pytest.mark.parametrize("status", [400, 403, 404])
@pytest.mark.parametrize("body", [b"x", b""])
async def test_s23_a_bare_head_is_decided_by_a_ranged_get(
    s3: FaultyS3, provider: Provider, status: int, body: bytes
) -> None:
    s3.put("b", "k", body, metadata={"owner": "anna"})
    row = await only(provider)
    s3.faults.bare_head = status
    assert (await provider.attributes(row, tags=False, metadata=True)).metadata == {"owner": "anna"}
    assert s3.counts["get"] == 1
    for shown, reason in (({"customer_key": True}, "needs_customer_key"), ({"denied": True}, "access_denied")):
        s3.change("b", "k", customer_key=False)
        s3.change("b", "k", **shown)
        with pytest.raises(Permanent) as error:
            await provider.attributes(row, tags=False, metadata=True)
        assert error.value.reason == reason
    del s3.buckets["b"]["k"]
    with pytest.raises(Gone):
        await provider.attributes(row, tags=False, metadata=True)


async def test_s28_slow_down_is_throttled_never_permanent(s3: FaultyS3, provider: Provider) -> None:
    for i in range(50):
        s3.put("b", f"k{i}", b"x")
    rows = await walk(provider, "b")
    s3.faults.slow_down, s3.faults.retry_after = 0.3, "2"
    results = await asyncio.gather(*(provider.open(row) for row in rows), return_exceptions=True)
    throttled = [result for result in results if isinstance(result, BaseException)]
    assert throttled and all(isinstance(e, Throttled) and e.retry_after == 2 for e in throttled)
    assert s3.counts["get"] == 50


async def test_retry_after_as_a_date(s3: FaultyS3, provider: Provider) -> None:
    s3.put("b", "k", b"x")
    row = await only(provider)
    when = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    s3.script("get", Answer(503, error_xml("SlowDown"), {"Retry-After": when}))
    with pytest.raises(Throttled) as error:
        await provider.open(row)
    assert error.value.retry_after is not None and 25 < error.value.retry_after <= 30


@pytest.mark.parametrize("body", [b"x" * 1000, BIG], ids=["small", "big"])
async def test_s30_a_body_that_ends_early(s3: FaultyS3, provider: Provider, body: bytes) -> None:
    s3.put("b", "k", body)
    row = await only(provider)
    s3.faults.cut_bodies = 1.0
    with pytest.raises(Transient) as error:
        await read(await provider.open(row))
    assert error.value.reason == "network_cut"
    s3.faults.cut_bodies = 0.0
    assert await read(await provider.open(row)) == body


async def test_s30_fewer_bytes_than_listed(s3: FaultyS3, provider: Provider) -> None:
    s3.put("b", "k", b"x" * 1000)
    row = await only(provider)
    s3.script("get", Answer(body=b"x" * 999, headers={"ETag": f'"{row.locator["e"]}"'}))
    with pytest.raises(Transient) as error:
        await provider.open(row)
    assert error.value.reason == "size_mismatch"


async def test_s32_deleted_between_list_and_get(s3: FaultyS3, provider: Provider) -> None:
    s3.put("b", "k", b"x")
    row = await only(provider)
    s3.buckets["b"].clear()
    with pytest.raises(Gone):
        await provider.open(row)
    s3.buckets.clear()
    with pytest.raises(Misconfigured):
        await provider.open(row)


async def test_s33_stored_gzip_is_given_as_it_is(s3: FaultyS3, provider: Provider) -> None:
    packed = gzip.compress(b"hello " * 1000)
    s3.put("b", "k", packed, content_encoding="gzip")
    content = await provider.open(await only(provider))
    assert (content.size, await read(content)) == (len(packed), packed)


async def test_s33_listed_size_is_that_of_the_unpacked_bytes(s3: FaultyS3, provider: Provider) -> None:
    packed = gzip.compress(b"hello " * 1000)
    s3.put("b", "k", packed, content_encoding="gzip", listed_size=6000)
    content = await provider.open(await only(provider))
    assert (content.size, await read(content)) == (len(packed), packed)


async def test_s33_a_store_that_packs_on_the_fly(s3: FaultyS3, provider: Provider) -> None:
    s3.put("b", "k", b"as served", listed_size=6000)
    s3.faults.gzip_on_the_fly = True
    content = await provider.open(await only(provider))
    assert content.size is None
    assert await read(content) == b"as served"


async def test_a_store_that_knows_no_if_match(s3: FaultyS3, provider: Provider) -> None:
    s3.put("b", "k", b"old")
    row = await only(provider)
    s3.put("b", "k", b"new")
    s3.faults.ignore_if_match = True
    with pytest.raises(Changed):
        await provider.open(row)
    assert await read(await provider.open(row, any_version=True)) == b"new"


async def test_user_metadata_comes_with_the_bytes(s3: FaultyS3, provider: Provider) -> None:
    s3.put("b", "k", b"x", metadata={"a": "1", "city": "=?UTF-8?B?WsO8cmljaA==?="}, content_type="text/plain")
    content = await provider.open(await only(provider))
    assert content.mime_type == "text/plain"
    assert content.attributes is not None
    assert content.attributes.metadata == {"a": "1", "city": "Zürich"}


async def test_too_large_is_permanent(s3: FaultyS3, provider: Provider) -> None:
    s3.put("b", "k", b"x", listed_size=11_000_000)
    row = await only(provider)
    with pytest.raises(Permanent) as error:
        await provider.open(row)
    assert (error.value.reason, s3.counts["get"]) == ("too_large", 0)
    s3.script("get", Answer(body=b"x" * 11_000_000, headers={"ETag": '"other"'}))
    with pytest.raises(Permanent) as error:
        await provider.open(row, any_version=True)
    assert error.value.reason == "too_large"


async def test_a_silent_store_is_transient(s3: FaultyS3, provider: Provider) -> None:
    s3.put("b", "k", b"x")
    row = await only(provider)
    s3.faults.get_delay = 3
    with pytest.raises(Transient) as error:
        await provider.open(row)
    assert error.value.reason == "network_timeout"


async def test_a_cancelled_read_leaves_a_clean_pool(s3: FaultyS3, provider: Provider) -> None:
    s3.put("b", "k", BIG)
    row = await only(provider)
    for _ in range(3):
        s3.faults.get_delay = 0.3
        task = asyncio.create_task(provider.open(row))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    s3.faults.get_delay = 0
    assert await read(await provider.open(row)) == BIG


async def test_tags(s3: FaultyS3, provider: Provider) -> None:
    s3.put("b", "k", b"x", tags={"Team": "a&b", "ü": ""})
    row = await only(provider)
    assert (await provider.attributes(row, tags=True, metadata=False)).tags == {"Team": "a&b", "ü": ""}
    s3.script("tagging", Answer(501, error_xml("NotImplemented")))
    assert (await provider.attributes(row, tags=True, metadata=False)).tags == {}
    s3.script("tagging", Answer(200, b"<html/>"))
    with pytest.raises(Transient):
        await provider.attributes(row, tags=True, metadata=False)


OBJECT_FAILURES: list[tuple[Answer, type[ProviderError], str]] = [
    (Answer(403, error_xml("AccessDenied")), Permanent, "access_denied"),
    (Answer(403, error_xml("InvalidAccessKeyId")), Denied, "denied"),
    (Answer(401), Denied, "denied"),
    (Answer(400, error_xml("ExpiredToken")), Denied, "denied"),
    (Answer(400, error_xml("KMS.DisabledException")), Permanent, "kms_key_unusable"),
    (Answer(400, error_xml("InvalidArgument")), Permanent, "http_400"),
    (Answer(404), Gone, "gone"),
    (Answer(405, headers={"x-amz-delete-marker": "true"}), Gone, "gone"),
    (Answer(412), Changed, "changed"),
    (Answer(408, error_xml("RequestTimeout")), Transient, "transient"),
    (Answer(400, error_xml("RequestTimeout")), Transient, "transient"),
    (Answer(500), Transient, "transient"),
    (Answer(502, b"<html>bad gateway</html>"), Transient, "transient"),
    (Answer(503, error_xml("SlowDownRead")), Throttled, "throttled"),
    (Answer(206, b"x"), Transient, "foreign_answer"),
    (Answer(drop=True), Transient, "network_reset"),
]


@pytest.mark.parametrize(("answer", "error", "reason"), OBJECT_FAILURES, ids=lambda value: getattr(value, "status", ""))
async def test_failures_of_an_object(
    s3: FaultyS3, provider: Provider, answer: Answer, error: type[ProviderError], reason: str
) -> None:
    s3.put("b", "k", b"x")
    row = await only(provider)
    s3.script("get", answer, times=2)
    with pytest.raises(error) as caught:
        await provider.open(row)
    assert caught.value.reason == reason
    assert "thing" not in str(caught.value) and "Signature" not in str(caught.value)
