"""What every provider must do: inherit `ProviderContract`, give it a `Source`, declare tolerances by capabilities.

A test that a provider cannot pass is not skipped: its capabilities say what it does not promise.
"""

from __future__ import annotations

import asyncio
import itertools
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from providers.base import Content, Page, Provider, SourceObject, content_part
from providers.errors import Changed, Gone, Misconfigured

__all__ = ["Places", "ProviderContract", "Source", "read", "walk"]

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
    assert [content.body, content.chunks, content.fills].count(None) == 2
    if content.body is not None:
        return content.body
    found = bytearray()
    # No multiple of anything, so that portions end anywhere.
    target = memoryview(bytearray(50_021))
    async for count in content.into(lambda: target):
        assert 0 < count <= len(target)
        found += target[:count]
    return bytes(found)


@dataclass
class Poll:
    """What an incremental pass has shown."""

    rows: dict[str, SourceObject] = field(default_factory=dict)
    removed: dict[str, str] = field(default_factory=dict)
    rescan: str = ""


class Places:
    """Kept places, as the engine keeps them: only once a pass is over."""

    def __init__(self) -> None:
        self.kept: dict[str, str] = {}

    async def get(self, key: str) -> str | None:
        return self.kept.get(key)

    async def all(self) -> Mapping[str, str]:
        return dict(self.kept)

    async def full_pass(self, provider: Provider, path: str) -> dict[str, SourceObject]:
        """A full pass; its rows by id."""
        found = await pages(provider, path, 4)
        for page in found:
            self.kept |= page.positions
        assert found[-1].complete and all(len(place.encode()) <= 4096 for place in self.kept.values())
        return {row.id: row for page in found for row in map(page.row, range(len(page.ids)))}

    async def poll(self, provider: Provider, path: str) -> Poll:
        """An incremental pass: later pages win over earlier ones."""
        seen, gained, cursor = Poll(), dict[str, str](), None
        while True:
            page = await provider.list_changes(path, self, cursor, 4)
            for i, id_ in enumerate(page.ids):
                seen.rows[id_] = page.row(i)
                seen.removed.pop(id_, None)
            for id_, reason in page.removed.items():
                seen.rows.pop(id_, None)
                seen.removed[id_] = reason
            seen.rescan = seen.rescan or page.rescan
            gained |= page.positions
            cursor = page.next_cursor
            if cursor is None or seen.rescan:
                break
        if not seen.rescan:
            self.kept |= gained
        return seen


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
        target = memoryview(bytearray(10_000))
        async with aclosing(content.into(lambda: target)) as counts:
            async for _ in counts:
                break
        assert len(await self._body(provider, row)) == LARGE

    # --- absence

    async def test_what_is_asked_by_id_is_there_or_not(self, source: Source, provider: Provider) -> None:
        if not provider.capabilities_for(source.path).confirms:
            return
        for i in range(12):
            source.put(f"d{i % 3}/f{i}", b"%d" % i)
        rows = {row.path: row.id for row in await walk(provider, source.path)}
        source.remove("d1/f1")
        there = await provider.still_there(source.path, [*rows.values(), "nobody-ever-had-this-id"])
        assert there == set(rows.values()) - {rows["d1/f1"]}

    # --- change feeds

    async def test_a_poll_shows_what_a_full_pass_would(self, source: Source, provider: Provider) -> None:
        if not provider.capabilities_for(source.path).change_feed:
            return
        for i in range(6):
            source.put(f"d{i % 2}/f{i}", b"old %d" % i)
        places = Places()
        before = await places.full_pass(provider, source.path)
        quiet = await places.poll(provider, source.path)
        assert not quiet.rescan and not quiet.removed and quiet.rows == {}
        source.put("d0/f0", b"changed")
        source.put("d2/new", b"new")
        source.remove("d1/f1")
        seen = await places.poll(provider, source.path)
        assert not seen.rescan
        now = {row.id: row for row in await walk(provider, source.path)}
        fresh = {id_: row for id_, row in now.items() if before.get(id_) != row}
        assert fresh.keys() <= seen.rows.keys() <= now.keys()
        assert all(seen.rows[id_] == now[id_] for id_ in seen.rows)
        gone = before.keys() - now.keys()
        assert seen.removed.keys() <= gone  # a watermark does not tell; what is told is true
        assert all(seen.removed.values())

    async def test_a_poll_goes_on_in_another_process_and_may_be_repeated(
        self, source: Source, provider: Provider
    ) -> None:
        if not provider.capabilities_for(source.path).change_feed:
            return
        source.put("first", b"x")
        places = Places()
        await places.full_pass(provider, source.path)
        for i in range(9):
            source.put(f"f{i}", b"%d" % i)
        wanted = {row.id for row in await walk(provider, source.path) if row.path != "first"}
        # The first attempt is lost after a page: nothing of it was kept, so the next one shows all of it again.
        lost = await provider.list_changes(source.path, places, None, 4)
        assert lost.next_cursor is not None and len(lost.next_cursor.encode()) <= 4096
        kept = dict(places.kept)
        shown: list[str] = []
        cursor: str | None = None
        while True:
            other = source.open()
            page = await other.list_changes(source.path, places, cursor, 4)
            await other.close()
            assert not page.rescan and len(page.ids) <= 4
            shown += page.ids
            cursor = page.next_cursor
            if cursor is None:
                break
        assert places.kept == kept
        assert wanted <= set(shown)

    async def test_without_a_place_a_feed_shows_all_or_asks_for_a_full_pass(
        self, source: Source, provider: Provider
    ) -> None:
        if not provider.capabilities_for(source.path).change_feed:
            return
        for i in range(6):
            source.put(f"f{i}", b"x")
        places = Places()
        seen = await places.poll(provider, source.path)
        assert not seen.removed
        if seen.rescan:
            assert seen.rows == {} and places.kept == {}
        else:
            assert seen.rows == {row.id: row for row in await walk(provider, source.path)}

    async def test_a_full_pass_gives_a_place_from_before_its_listing(self, source: Source, provider: Provider) -> None:
        if not provider.capabilities_for(source.path).change_feed:
            return
        for i in range(6):
            source.put(f"f{i}", b"old")
        places = Places()
        before = {row.id: row for row in await walk(provider, source.path)}
        page = await provider.list_page(source.path, None, 3)
        source.put("f0", b"behind the listing")
        source.put("g", b"new")
        gained = dict(page.positions)
        while page.next_cursor is not None:
            page = await provider.list_page(source.path, page.next_cursor, 3)
            gained |= page.positions
        places.kept |= gained
        seen = await places.poll(provider, source.path)
        late = {row.id for row in await walk(provider, source.path) if before.get(row.id) != row}
        assert len(late) >= 2 and not seen.rescan
        assert late <= seen.rows.keys()

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
