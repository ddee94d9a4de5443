"""Content that is cut on its way: it goes on where it ended, of the same version, or nothing is given as whole."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from typing import Any

import pytest

from providers import ProviderSettings, open_provider
from providers.base import Provider
from providers.errors import Changed, ProviderError, Throttled, Transient
from tests.contract.google_drive_rig import connect
from tests.contract.provider_suite import read, walk
from tests.simulators import google_drive, s3_faults
from tests.simulators.google_drive import DriveSimulator
from tests.simulators.s3_faults import FaultyS3
from tests.simulators.s3_xml import error_xml

KEYS = {"access_key_id": "any", "secret_access_key": "thing"}
SMALL = random.Random(1).randbytes(1000)
BIG = random.Random(2).randbytes(3_000_000)
OTHER = random.Random(3).randbytes(3_000_000)


@pytest.fixture
async def store(s3: FaultyS3) -> AsyncIterator[Provider]:
    settings = ProviderSettings(allow_private_endpoints=True, read_timeout=1)
    provider = open_provider("s3", {"endpoint_url": s3.url}, KEYS, settings)
    yield provider
    await provider.close()


@pytest.fixture
async def files(drive: DriveSimulator) -> AsyncIterator[Any]:
    provider = connect(drive, read_timeout=1)
    yield provider
    await provider.close()


def _s3_cuts(s3: FaultyS3, body: bytes, *ends: int, **headers: str) -> None:
    """The next answers bring the bytes from where the one before ended, and end at these."""
    etag = f'"{s3.buckets["b"]["k"].etag}"'
    start = 0
    for end in ends:
        ranged = {"Content-Range": f"bytes {start}-{len(body) - 1}/{len(body)}"} if start else {}
        s3.script(
            "get",
            s3_faults.Answer(206 if start else 200, body[start:], {"ETag": etag, **ranged, **headers}, cut=end - start),
        )
        start = end


@pytest.mark.parametrize("body", [SMALL, BIG], ids=["small", "big"])
async def test_s3_goes_on(s3: FaultyS3, store: Provider, body: bytes) -> None:
    s3.put("b", "k", body)
    [row] = await walk(store, "b")
    _s3_cuts(s3, body, len(body) // 3)
    assert await read(await store.open(row)) == body
    assert s3.counts["get"] == 2
    assert s3.bytes_sent < 2 * len(body) + 10_000


async def test_s3_goes_on_again_and_again_but_not_for_ever(s3: FaultyS3, store: Provider) -> None:
    s3.put("b", "k", BIG)
    [row] = await walk(store, "b")
    _s3_cuts(s3, BIG, 2_000_000, 2_000_001, 2_500_000)
    assert await read(await store.open(row)) == BIG
    assert s3.counts["get"] == 4
    _s3_cuts(s3, BIG, 2_000_000, 2_100_000, 2_200_000, 2_300_000)
    with pytest.raises(Transient) as error:
        await read(await store.open(row))
    assert (error.value.reason, s3.counts["get"]) == ("network_cut", 8)


async def test_s3_a_silent_body_goes_on(s3: FaultyS3, store: Provider) -> None:
    s3.put("b", "k", BIG)
    [row] = await walk(store, "b")
    etag = {"ETag": f'"{s3.buckets["b"]["k"].etag}"'}
    s3.script("get", s3_faults.Answer(200, BIG, etag, slow=10))
    assert await read(await store.open(row)) == BIG
    assert s3.counts["get"] == 2


async def test_s3_replaced_in_the_middle(s3: FaultyS3, store: Provider) -> None:
    s3.put("b", "k", BIG)
    [row] = await walk(store, "b")
    _s3_cuts(s3, BIG, 2_000_000)
    content = await store.open(row)
    s3.put("b", "k", OTHER)
    with pytest.raises(Changed):
        await read(content)
    # The same in a store that knows no If-Match.
    [row] = await walk(store, "b")
    _s3_cuts(s3, OTHER, 2_000_000)
    content = await store.open(row)
    s3.put("b", "k", BIG)
    s3.faults.ignore_if_match = True
    with pytest.raises(Changed):
        await read(content)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (s3_faults.Answer(503, error_xml("SlowDown")), Throttled),
        (s3_faults.Answer(500, error_xml("InternalError")), Transient),
        (s3_faults.Answer(200, BIG), Transient),  # a store that knows no Range
        (s3_faults.Answer(206, BIG[1_999_000:], {"Content-Range": "bytes 1999000-2999999/3000000"}), Transient),
        (s3_faults.Answer(206, BIG[2_000_000:]), Transient),
        (s3_faults.Answer(206, BIG[2_000_000:], {"Content-Range": "bytes 2000000-2999999/*"}), Transient),
    ],
    ids=["slow down", "500", "from the start", "another range", "no range", "no total"],
)
async def test_s3_does_not_go_on(
    s3: FaultyS3, store: Provider, answer: s3_faults.Answer, expected: type[ProviderError]
) -> None:
    s3.put("b", "k", BIG)
    [row] = await walk(store, "b")
    _s3_cuts(s3, BIG, 2_000_000)
    s3.script("get", answer)
    with pytest.raises(expected):
        await read(await store.open(row))
    assert s3.counts["get"] == 2
    assert await read(await store.open(row)) == BIG


async def test_s3_a_body_that_is_packed_on_the_way_does_not_go_on(s3: FaultyS3, store: Provider) -> None:
    s3.put("b", "k", BIG)
    [row] = await walk(store, "b")
    _s3_cuts(s3, BIG, 2_000_000, **{"Content-Encoding": "gzip"})
    with pytest.raises(Transient):
        await read(await store.open(row))
    assert s3.counts["get"] == 1


@pytest.mark.parametrize("body", [SMALL, BIG], ids=["small", "big"])
async def test_drive_goes_on(drive: DriveSimulator, files: Any, body: bytes) -> None:
    drive.tree.put("a/f", body)
    [row] = await walk(files, "/a")
    drive.script("files.media", google_drive.Answer(genuine=True, cut=len(body) // 3))
    assert await read(await files.open(row)) == body
    assert drive.counts["files.media"] == 2
    asked = [headers.get("range") for call, _, headers in drive.requests if call == "files.media"]
    assert asked == [None, f"bytes={len(body) // 3}-" if body is BIG else None]


@pytest.mark.parametrize("digest", [True, False], ids=["md5", "no md5"])
async def test_drive_replaced_in_the_middle(drive: DriveSimulator, files: Any, digest: bool) -> None:
    file = drive.tree.put("a/f", BIG)
    if not digest:
        drive.tree.show(file.id, md5Checksum=None, sha1Checksum=None)
    [row] = await walk(files, "/a")
    assert bool(row.locator.get("m")) is digest
    drive.script("files.media", google_drive.Answer(genuine=True, cut=2_000_000))
    content = await files.open(row)
    drive.tree.write(file.id, OTHER)
    with pytest.raises(Changed):
        await read(content)


async def test_drive_gone_and_throttled_in_the_middle(drive: DriveSimulator, files: Any) -> None:
    drive.tree.put("a/f", BIG)
    [row] = await walk(files, "/a")
    drive.script("files.media", google_drive.Answer(genuine=True, cut=2_000_000))
    drive.script("files.media", google_drive.Answer.error(429, "rateLimitExceeded", Retry_After="9"))
    with pytest.raises(Throttled):
        await read(await files.open(row))
    drive.script("files.media", google_drive.Answer(genuine=True, cut=2_000_000))
    drive.script("files.media", google_drive.Answer(200, BIG))  # from the start
    with pytest.raises(Transient) as error:
        await read(await files.open(row))
    assert error.value.reason == "body_cut"
    assert await read(await files.open(row)) == BIG
