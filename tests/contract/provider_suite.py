"""What every provider must do: inherit `ProviderContract`, give it a `Source`, declare tolerances by capabilities.

A test that a provider cannot pass is not skipped: its capabilities say what it does not promise.
"""

from __future__ import annotations

import asyncio
import itertools
from abc import ABC, abstractmethod
from dataclasses import replace
from typing import Any

import pytest

from providers.base import Content, Page, Provider, SourceObject, content_part
from providers.errors import Changed, Gone, Misconfigured

__all__ = ["ProviderContract", "Source", "read", "walk"]

LARGE = 3 * 1024 * 1024 + 17


class Source(ABC):
    """A source account under test: `path` is its source path, empty at the start of each test."""

    path: str

    @abstractmethod
    def open(self) -> Provider:
        """A new provider on the account, as another process would have."""

    @abstractmethod
    def put(self, name: str, body: bytes) -> None:
        """Write a file below `path`."""

    @abstractmethod
    def remove(self, name: str) -> None:
        """Remove a file."""


async def pages(provider: Provider, path: str, limit: int = 1000, cursor: str | None = None) -> list[Page]:
    found = []
    while True:
        found.append(await provider.list_page(path, cursor, limit))
        cursor = found[-1].next_cursor
        if cursor is None:
            return found


async def walk(provider: Provider, path: str, limit: int = 1000, cursor: str | None = None) -> list[SourceObject]:
    """Every row of a walk that is not to be skipped."""
    return [
        page.row(i)
        for page in await pages(provider, path, limit, cursor)
        for i in range(len(page.ids))
        if i not in page.skips
    ]


async def read(content: Content) -> bytes:
    """The bytes of an opened object."""
    if content.body is not None:
        assert content.chunks is None
        return content.body
    assert content.chunks is not None
    return b"".join([chunk async for chunk in content.chunks])


class ProviderContract:
    """The suite. A subclass has a fixture `source` that gives a `Source`."""

    @pytest.fixture
    async def provider(self, source: Source) -> Any:
        provider = source.open()
        yield provider
        await provider.close()

    async def test_an_empty_source_is_one_complete_empty_page(self, source: Source, provider: Provider) -> None:
        page = await provider.list_page(source.path, None, 100)
        assert (list(page.ids), page.next_cursor, page.complete) == ([], None, True)

    async def test_a_walk_shows_every_file_once(self, source: Source, provider: Provider) -> None:
        names = {f"d{i % 3}/f{i}.txt": b"x" * i for i in range(1, 12)}
        for name, body in names.items():
            source.put(name, body)
        found = await pages(provider, source.path, limit=4)
        rows = [page.row(i) for page in found for i in range(len(page.ids))]
        assert sorted(row.path for row in rows) == sorted(names)
        assert all(row.size == len(names[row.path]) for row in rows)
        assert all(row.modified_at is not None and row.modified_at.tzinfo for row in rows)
        assert len({row.id for row in rows}) == len(rows)
        assert all(len(page.ids) == len(page.fingerprints) <= 4 for page in found)
        assert [page.complete for page in found] == [False] * (len(found) - 1) + [True]

    async def test_rows_agree_with_columns(self, source: Source, provider: Provider) -> None:
        source.put("a", b"1")
        source.put("b", b"2")
        page = await provider.list_page(source.path, None, 100)
        rows = [page.row(i) for i in range(2)]
        assert [row.id for row in rows] == list(page.ids)
        assert [row.fingerprint for row in rows] == list(page.fingerprints)

    async def test_a_cursor_is_small_and_goes_on_in_another_process(self, source: Source, provider: Provider) -> None:
        for i in range(7):
            source.put(f"f{i}", b"x")
        first = await provider.list_page(source.path, None, 3)
        assert first.next_cursor is not None and len(first.next_cursor.encode()) <= 4096
        other = source.open()
        rest = await walk(other, source.path, 3, first.next_cursor)
        await other.close()
        assert [*first.ids, *[row.id for row in rest]] == [row.id for row in await walk(provider, source.path)]

    async def test_order_is_what_the_capabilities_say(self, source: Source, provider: Provider) -> None:
        for name in ("b", "a", "ä", "Z", "a.b", "a-b/c", "é", "\uff61x", "😀"):
            source.put(name, b"x")
        found = await pages(provider, source.path, limit=2)
        ids = [id_ for page in found for id_ in page.ids]
        assert len(set(ids)) == 9
        if provider.capabilities_for(source.path).ordered and all(page.in_order for page in found):
            assert ids == sorted(ids, key=str.encode)

    async def test_ranges_cut_a_walk_into_parts(self, source: Source, provider: Provider) -> None:
        if not provider.capabilities_for(source.path).ranges:
            return
        for i in range(20):
            source.put(f"f{i:02d}", b"x")
        whole = [row.id for row in await walk(provider, source.path)]
        low, high = provider.scope(source.path)
        assert all(low <= id_ and (high is None or id_ < high) for id_ in whole)
        cuts = [None, whole[4], whole[4] + "x", whole[15], None]
        parts = []
        for after, until in itertools.pairwise(cuts):
            found = await pages(provider, source.path, 3, provider.range_cursor(source.path, after, until))
            assert found[-1].complete
            parts += [id_ for page in found for id_ in page.ids]
        assert parts == whole

    @pytest.mark.parametrize("size", [0, 1, 4096, 1024 * 1024, LARGE])
    async def test_open_gives_the_bytes(self, source: Source, provider: Provider, size: int) -> None:
        body = bytes(i * 7 % 251 for i in range(1000)) * (size // 1000 + 1)
        source.put("file.bin", body[:size])
        [row] = await walk(provider, source.path)
        content = await provider.open(row)
        assert content.size in {size, None}
        assert await read(content) == body[:size]
        assert content.source == row

    async def test_a_stored_row_opens(self, source: Source, provider: Provider) -> None:
        source.put("a b/ü+%.txt", b"hello")
        [row] = await walk(provider, source.path)
        restored = SourceObject.from_document(row.to_document())
        assert restored == row
        assert await read(await provider.open(restored)) == b"hello"

    async def test_a_changed_file_is_changed(self, source: Source, provider: Provider) -> None:
        source.put("f", b"old")
        [row] = await walk(provider, source.path)
        source.put("f", b"new")
        with pytest.raises(Changed):
            await provider.open(row)
        content = await provider.open(row, any_version=True)
        assert await read(content) == b"new"
        [now] = await walk(provider, source.path)
        served = content.source
        # A GET tells the time in seconds, a listing may tell it finer.
        assert served == replace(now, modified_at=served.modified_at, fingerprint=served.fingerprint)
        assert content_part(served.fingerprint) == content_part(now.fingerprint) != content_part(row.fingerprint)

    async def test_a_removed_file_is_gone(self, source: Source, provider: Provider) -> None:
        source.put("f", b"x")
        [row] = await walk(provider, source.path)
        source.remove("f")
        for any_version in (False, True):
            with pytest.raises(Gone):
                await provider.open(row, any_version=any_version)
        assert await walk(provider, source.path) == []

    async def test_an_unchanged_file_keeps_its_fingerprint(self, source: Source, provider: Provider) -> None:
        source.put("f", b"x")
        assert await walk(provider, source.path) == await walk(provider, source.path)

    async def test_many_tasks_share_a_provider(self, source: Source, provider: Provider) -> None:
        for i in range(40):
            source.put(f"f{i:02d}", f"{i}".encode())
        rows = await walk(provider, source.path)
        bodies = await asyncio.gather(*(self._body(provider, row) for row in rows))
        assert sorted(bodies) == sorted(f"{i}".encode() for i in range(40))

    async def _body(self, provider: Provider, row: SourceObject) -> bytes:
        return await read(await provider.open(row))

    async def test_a_reader_may_stop_in_the_middle(self, source: Source, provider: Provider) -> None:
        source.put("f", b"x" * LARGE)
        [row] = await walk(provider, source.path)
        content = await provider.open(row)
        if content.chunks is not None:
            async for _ in content.chunks:
                break
        assert len(await self._body(provider, row)) == LARGE

    async def test_check_tells_something(self, source: Source, provider: Provider) -> None:
        source.put("f", b"x")
        assert (await provider.check()).message
        assert (await provider.check(source.path)).message

    async def test_an_unknown_filter_is_refused(self, source: Source, provider: Provider) -> None:
        assert provider.narrow(source.path, {}) == source.path
        with pytest.raises(Misconfigured):
            provider.narrow(source.path, {"no_such_filter": 1})

    async def test_close_twice(self, source: Source) -> None:
        provider = source.open()
        await provider.close()
        await provider.close()
