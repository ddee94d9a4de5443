"""What a sync of S3 or Tigris costs in requests, printed and asserted: the figures of docs/s3.md and docs/tigris.md."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from providers import ProviderSettings, open_provider
from providers.base import SourceObject, content_part
from tests.contract.provider_suite import read, walk
from tests.simulators.s3_faults import FaultyS3

FILES = 1000
KEYS = {"access_key_id": "any", "secret_access_key": "thing"}
KINDS = ("list", "get", "head", "tagging")
DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.fixture
def s3() -> Iterator[FaultyS3]:
    with FaultyS3.running() as server:
        for i in range(FILES):
            server.put("b", f"d{i % 20}/{i:04d}", b"x", metadata={"team": "red"}, tags={"a": "b"})
        yield server


@pytest.mark.parametrize("name", ["s3", "tigris"])
async def test_requests_per_1000_files(s3: FaultyS3, name: str) -> None:
    settings = ProviderSettings(allow_private_endpoints=True)
    provider = open_provider(name, {"endpoint_url": s3.url}, KEYS, settings)
    figures: dict[str, list[int]] = {}

    def note(what: str) -> None:
        counts = Counter(s3.counts)
        figures[what] = [counts.pop(kind, 0) for kind in KINDS]
        assert not counts, counts  # no other request at all
        s3.counts.clear()

    rows = await walk(provider, "b")
    note("poll without change")
    await walk(provider, "b")
    for row in rows:
        content = await provider.open(row)
        assert await read(content) == b"x"
        assert content.attributes is not None and content.attributes.metadata == {"team": "red"}
    note("new or changed")

    async def attributes(rows: list[SourceObject], *, tags: bool) -> None:
        for row in rows:
            await provider.attributes(row, tags=tags, metadata=not tags)

    await attributes(rows, tags=True)
    note("with tags")
    for row in rows:
        s3.change("b", row.id.removeprefix("b/"), modified=datetime(2026, 2, 1, tzinfo=UTC))
    copied = await walk(provider, "b")
    assert all(content_part(a.fingerprint) == content_part(b.fingerprint) for a, b in zip(rows, copied, strict=True))
    note("only metadata changed")
    await attributes(copied, tags=False)
    note("with metadata")
    for what, counts in figures.items():
        print(f"{name}, {what}: {dict(zip(KINDS, counts, strict=True))}")
    assert figures == {
        "poll without change": [1, 0, 0, 0],
        "new or changed": [1, FILES, 0, 0],
        "with tags": [0, 0, 0, FILES],
        "only metadata changed": [1, 0, 0, 0],
        "with metadata": [0, 0, FILES, 0],
    }
    await provider.close()


@pytest.mark.parametrize("name", ["s3", "tigris"])
def test_the_page_says_the_same(name: str) -> None:
    page = (DOCS / f"{name}.md").read_text()
    assert "| poll without change | 1 | 0 | 0 | 0 |" in page
    assert "| new or changed | 1 | 1,000 | 0 | 0, or 1,000 if a mapping or filter uses tags |" in page
    assert "| only metadata changed (a self-copy) | 1 | 0 | 0, or 1,000 if metadata is used | as above |" in page
