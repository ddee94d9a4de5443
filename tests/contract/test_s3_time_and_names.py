"""The S cases of cases.md about time and about names that look like paths, at the provider and the blob store."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from models.settings import Settings
from providers import ProviderSettings, open_provider
from providers.base import Provider
from stores.blobs import BlobNotFound, open_blob_store
from tests.contract.blobs import put, sha
from tests.contract.provider_suite import pages, read, walk
from tests.simulators.s3_faults import FaultyS3

KEYS = {"access_key_id": "any", "secret_access_key": "thing"}
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
async def provider(s3: FaultyS3) -> AsyncIterator[Provider]:
    made = open_provider("s3", {"endpoint_url": s3.url}, KEYS, ProviderSettings(allow_private_endpoints=True))
    yield made
    await made.close()


async def test_s01_a_write_with_an_earlier_time_is_listed(s3: FaultyS3, provider: Provider) -> None:
    s3.put("b", "k", b"x", modified=NOW)
    await walk(provider, "b")
    s3.put("b", "late", b"x", modified=NOW - timedelta(days=300))
    assert [row.id for row in await walk(provider, "b")] == ["b/k", "b/late"]


async def test_s02_another_key_in_the_same_second_is_listed_once(s3: FaultyS3, provider: Provider) -> None:
    s3.put("b", "k", b"x", modified=NOW)
    before = {row.id: row.fingerprint for row in await walk(provider, "b")}
    s3.put("b", "a", b"x", modified=NOW)
    after = [(row.id, row.fingerprint) for row in await walk(provider, "b")]
    assert [id_ for id_, _ in after] == ["b/a", "b/k"]
    assert dict(after)["b/k"] == before["b/k"]


async def test_s03_a_place_among_many_keys_is_small_and_forgets_none(s3: FaultyS3, provider: Provider) -> None:
    wanted = [f"b/k{i:05d}" for i in range(10_500)]
    for id_ in wanted:
        s3.put("b", id_.removeprefix("b/"), b"x")
    for _ in range(2):
        seen: list[str] = []
        for page in await pages(provider, "b"):
            seen += page.ids
            assert page.next_cursor is None or len(page.next_cursor) <= 4096
        assert seen == wanted


@pytest.mark.parametrize("key", ["../../home/x", "C:/x", "/etc/x", "..\\x", "a/../../x"])
async def test_s15_a_name_never_becomes_a_place_on_disk(
    s3: FaultyS3, provider: Provider, tmp_path: Path, key: str
) -> None:
    s3.put("b", key, b"body")
    [row] = await walk(provider, "b")
    assert row.id == f"b/{key}"
    home = tmp_path / "deep" / "inside" / "blobs"
    store = open_blob_store(Settings(blob_store=str(home)))
    assert await put(store, await read(await provider.open(row))) == [sha(b"body")]
    for name in (key, f"{sha(b'body')}/../x"):
        with pytest.raises(BlobNotFound):
            await store.size(name)
    await store.close()
    written = files(tmp_path)
    assert [file.name for file, body in written.items() if body == b"body"] == [sha(b"body")]
    assert all(home in file.parents for file in written)


def files(folder: Path) -> dict[Path, bytes]:
    return {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}
