"""The Snowflake provider passes the provider suite: a file is a row with a name, a text and a time.

What a row cannot be: bytes of its own (they are its JSON) or, where it is small, other than as it was listed.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import orjson
import pytest

from providers.base import Provider, content_part
from providers.errors import Changed, Gone
from tests.contract.provider_suite import LARGE, ProviderContract, Source, pages, read, walk
from tests.contract.snowflake_rig import Account

pytest_plugins = ["tests.contract.snowflake_fixtures"]


class TableSource(Source):
    """A table of fakesnow."""

    path = "files"

    def __init__(self, account: Account, key: str) -> None:
        self.account = account
        self.key = key
        self.clock = 0
        self.names: set[str] = set()
        declared = {"declared": "PRIMARY KEY", "configured": "", "none": ""}[key]
        account.run(f"CREATE TABLE FILES (NAME VARCHAR {declared}, BODY VARCHAR, WRITTEN TIMESTAMP_NTZ)")
        account.run("CREATE TABLE OTHER (NAME VARCHAR)", "INSERT INTO OTHER VALUES ('not ours')")

    def open(self) -> Provider:
        keys = ["name"] if self.key == "configured" else None
        return self.account.open(incremental_column="written", primary_key_columns=keys)

    def put(self, name: str, body: bytes) -> None:
        text = body.decode("latin-1").replace("\\", "\\\\").replace("'", "''")
        self._write(name, f"'{text}'")

    def put_repeated(self, name: str, unit: str, size: int) -> None:
        """A text of `size` characters; fakesnow needs seconds to parse a long literal."""
        characters, unit = len(unit), unit.replace("\\", "\\\\").replace("'", "''")
        self._write(name, f"LEFT(REPEAT('{unit}', {size // characters + 1}), {size})")

    def _write(self, name: str, text: str) -> None:
        if name in self.names:
            self.remove(name)
        self.names.add(name)
        self.clock += 1
        at = f"DATEADD(second, {self.clock}, '2026-01-01'::TIMESTAMP)"
        self.account.run(f"INSERT INTO FILES SELECT '{name}', {text}, {at}")

    def remove(self, name: str) -> None:
        self.names.discard(name)
        self.account.run(f"DELETE FROM FILES WHERE NAME = '{name}'")


def body_of(raw: bytes) -> bytes:
    return str(orjson.loads(raw)["BODY"]).encode("latin-1")


class TestSnowflake(ProviderContract):
    @pytest.fixture(params=["declared", "configured", "none"])
    def source(self, account: Account, request: Any) -> TableSource:
        return TableSource(account, request.param)

    async def test_a_walk_shows_every_file_once(self, source: Source, provider: Provider) -> None:
        names = {f"d{i % 3}/f{i}.txt": b"x" * i for i in range(1, 12)}
        for name, body in names.items():
            source.put(name, body)
        found = await pages(provider, source.path, limit=4)
        rows = [page.row(i) for page in found for i in range(len(page.ids))]
        bodies = {row.id: await read(await provider.open(row)) for row in rows}
        assert {orjson.loads(raw)["NAME"]: body_of(raw) for raw in bodies.values()} == names
        assert len(bodies) == len(rows)
        assert all(row.size == len(bodies[row.id]) and row.path.endswith(".json") for row in rows)
        assert all(row.modified_at is not None and row.modified_at.tzinfo for row in rows)
        assert all(len(page.ids) == len(page.fingerprints) <= 4 for page in found)
        assert [page.complete for page in found] == [False] * (len(found) - 1) + [True]

    @pytest.mark.parametrize("size", [0, 1, 4096, 1024 * 1024, LARGE])
    async def test_open_gives_the_bytes(self, source: Source, provider: Provider, size: int) -> None:
        assert isinstance(source, TableSource)
        unit = "a'b\\c\n\"é{}"
        body = (unit * (size // len(unit) + 1))[:size].encode("latin-1")
        source.put_repeated("file.bin", unit, size)
        [row] = await walk(provider, source.path)
        content = await provider.open(row)
        raw = await read(content)
        assert content.size == row.size == len(raw)
        assert body_of(raw) == body
        assert content.source == row
        assert ("row" in row.locator) == (size < 300_000)

    async def test_a_stored_row_opens(self, source: Source, provider: Provider) -> None:
        source.put("a b/ü+%.txt", b"hello")
        [row] = await walk(provider, source.path)
        restored = row.from_document(row.to_document())
        assert replace(restored, weight=row.weight) == row
        assert body_of(await read(await provider.open(restored))) == b"hello"

    async def test_a_changed_file_is_changed(self, source: Source, provider: Provider) -> None:
        """A small row is carried by its listing: what is opened is what was listed. A large one is asked for again."""
        keyed = getattr(source, "key", "") != "none"
        for size in (3, 400_000):
            source.put("f", b"o" * size)
            [row] = await walk(provider, source.path)
            source.put("f", b"n" * size)
            if size == 3:
                assert body_of(await read(await provider.open(row))) == b"ooo"
            else:
                with pytest.raises(Changed if keyed else Gone):
                    await provider.open(row)
            if not keyed:  # without a key, another row is another object
                with pytest.raises(Gone):
                    await provider.open(row, any_version=True)
                continue
            content = await provider.open(row, any_version=True)
            assert body_of(await read(content)) == b"n" * size
            [now] = await walk(provider, source.path)
            assert content.source == now
            assert content_part(now.fingerprint) != content_part(row.fingerprint)

    async def test_a_removed_file_is_gone(self, source: Source, provider: Provider) -> None:
        for size, any_versions in ((3, (True,)), (400_000, (False, True))):
            source.put("f", b"x" * size)
            [row] = await walk(provider, source.path)
            source.remove("f")
            for any_version in any_versions:
                with pytest.raises(Gone):
                    await provider.open(row, any_version=any_version)
            assert await walk(provider, source.path) == []

    async def test_many_tasks_share_a_provider(self, source: Source, provider: Provider) -> None:
        for i in range(6):
            source.put(f"f{i:02d}", f"{i}".encode() * 300_000)
        rows = await walk(provider, source.path)
        bodies = [body_of(raw)[:1] for raw in await asyncio.gather(*(self._body(provider, row) for row in rows))]
        assert sorted(bodies) == [f"{i}".encode() for i in range(6)]

    async def test_a_reader_may_stop_in_the_middle(self, source: Source, provider: Provider) -> None:
        source.put("f", b"x" * LARGE)
        [row] = await walk(provider, source.path)
        content = await provider.open(row)
        assert content.body is None
        target = memoryview(bytearray(10_000))
        async with aclosing(content.into(lambda: target)) as counts:
            async for _ in counts:
                break
        assert len(body_of(await self._body(provider, row))) == LARGE
