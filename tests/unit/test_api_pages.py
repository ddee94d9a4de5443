"""Paging and filtering against a real database, compared with plain Python."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio
from pydantic import TypeAdapter

from models.objects import Filter, SortOption
from models.paging import PageRequest
from models.scope import Scope
from models.settings import Settings
from stores.database import Database, connect, ensure_indexes
from stores.failures import BadCursorError
from stores.object_filters import FilterError, to_query
from stores.objects_read import ObjectReader

SCOPE = Scope("int_1", "ns_1")
START = datetime(2026, 1, 1, tzinfo=UTC)
ODDITIES: list[Any] = [None, 0, 1, -5, 2.5, "a", "Z", "", True, False, [1, 2], {"x": 1}, START, "missing"]


@pytest_asyncio.fixture(loop_scope="session")
async def database(settings: Settings) -> AsyncIterator[Database]:
    client, found = connect(settings)
    await ensure_indexes(found)
    yield found
    await client.close()


async def fill(database: Database, count: int) -> None:
    chance = random.Random(7)
    documents = []
    for number in range(count):
        value = chance.choice(ODDITIES)
        fields = {} if value == "missing" else {"odd": value}
        documents.append(
            {
                "_id": f"obj_{number:03}", **SCOPE.fields, "bucket_id": "bkt_1", "size_bytes": number,
                "created_at": START + timedelta(seconds=number // 4), "fields": {**fields, "n": number},
                "source": {"path": f"dir/F{number}.txt"}, "status": "PENDING",
            }
        )  # fmt: skip
    documents.append({"_id": "obj_grave", "tombstone": {"bucket_id": "bkt_1"}, "fence": 1})
    await database["objects"].insert_many(documents)


@pytest.mark.parametrize("limit", [1, 7, 100])
@pytest.mark.parametrize("direction", ["asc", "desc"])
@pytest.mark.parametrize("field", ["created_at", "odd", "n", "object_id", "source_path"])
async def test_pages_by_cursor_meet_every_object_once_and_in_order(
    database: Database, field: str, direction: Any, limit: int
) -> None:
    count = 40
    await fill(database, count)
    reader, sort = ObjectReader(database), SortOption(field=field, direction=direction)
    whole = await reader.page(SCOPE, "bkt_1", PageRequest(1000), sort=sort)
    met: list[str] = []
    cursor: str | None = None
    while True:
        page = await reader.page(SCOPE, "bkt_1", PageRequest(limit, cursor=cursor), sort=sort)
        met += [document["_id"] for document in page.documents]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert met == [document["_id"] for document in whole.documents]
    assert len(set(met)) == len(met) == count
    if field in {"n", "created_at"}:
        order = sorted(range(count), key=lambda n: (n // 4, n) if field == "created_at" else (n,))
        expected = [f"obj_{number:03}" for number in order]
        assert met == (expected if direction == "asc" else expected[::-1])


async def test_a_page_in_order_of_time_is_found_by_the_index_however_deep(database: Database) -> None:
    await fill(database, 400)
    reader = ObjectReader(database)
    first = await reader.page(SCOPE, "bkt_1", PageRequest(350))
    await database.command({"profile": 2})
    await reader.page(SCOPE, "bkt_1", PageRequest(10, cursor=first.next_cursor))
    await database.command({"profile": 0})
    (seen,) = await database["system.profile"].find({"op": "query", "ns": f"{database.name}.objects"}).to_list()
    assert seen["planSummary"].startswith("IXSCAN") and seen["docsExamined"] <= 16 and not seen.get("hasSortStage")


async def test_cursors_of_elsewhere_are_refused(database: Database) -> None:
    await fill(database, 10)
    reader = ObjectReader(database)
    page = await reader.page(SCOPE, "bkt_1", PageRequest(3))
    for cursor in ("", "x", "AAAA", "x" * 5000, (page.next_cursor or "")[:-4]):
        if cursor:
            with pytest.raises(BadCursorError):
                await reader.page(SCOPE, "bkt_1", PageRequest(3, cursor=cursor))
    sort = SortOption(field="created_at", direction="desc")
    with pytest.raises(BadCursorError, match="another order"):
        await reader.page(SCOPE, "bkt_1", PageRequest(3, cursor=page.next_cursor), sort=sort)
    stranger = await reader.page(Scope("int_2", "ns_1"), "bkt_1", PageRequest(3, cursor=page.next_cursor))
    assert stranger.documents == []


def parsed(tree: Any) -> Filter:
    adapter: TypeAdapter[Filter] = TypeAdapter(Filter)
    return adapter.validate_python(tree)


CASES: list[tuple[Any, Any]] = [
    ({"field": "n", "operator": "in", "value": [3, 4]}, lambda n: n in {3, 4}),
    ({"field": "n", "operator": "nin", "value": list(range(30))}, lambda n: n >= 30),
    ({"field": "n", "operator": "ne", "value": 3}, lambda n: n != 3),
    ({"field": "created_at", "operator": "lt", "value": "2026-01-01T00:00:02Z"}, lambda n: n // 4 < 2),
    ({"field": "source_path", "operator": "contains", "value": "f1"}, lambda n: str(n).startswith("1")),
    ({"field": "source_path", "operator": "ends_with", "value": "9.TXT"}, lambda n: n % 10 == 9),
    ({"field": "source_path", "operator": "ends_with", "value": "9.TXT", "case_sensitive": True}, lambda n: False),
    ({"field": "source_path", "operator": "regex", "value": "F[12]\\.txt$"}, lambda n: n in {1, 2}),
    ({"field": "source_path", "operator": "starts_with", "value": ".*"}, lambda n: False),
    ({"field": "none", "operator": "is_null"}, lambda n: True),
    ({"field": "n", "operator": "exists", "value": False}, lambda n: False),
    ({"AND": []}, lambda n: True),
    ({"OR": [{"field": "n", "value": 1}, {"AND": [{"field": "n", "operator": "gt", "value": 37}]}]},
     lambda n: n == 1 or n > 37),
    ({"NOT": [{"field": "n", "operator": "lte", "value": 35}], "OR": [{"field": "n", "value": 36}]}, lambda n: n == 36),
    ({"field": "object_id", "value": "obj_005"}, lambda n: n == 5),
    ({"field": "n", "value": {"$gt": 1}}, lambda n: False),
]  # fmt: skip


async def test_filters_select_what_they_say(database: Database) -> None:
    await fill(database, 40)
    reader = ObjectReader(database)
    for tree, holds in CASES:
        page = await reader.page(SCOPE, "bkt_1", PageRequest(1000), filters=parsed(tree), count=True)
        expected = [f"obj_{number:03}" for number in range(40) if holds(number)]
        assert [document["_id"] for document in page.documents] == expected, tree
        assert page.total == len(expected)


async def test_patterns_the_database_does_not_know_are_the_askers_fault(database: Database) -> None:
    await fill(database, 3)
    tree = parsed({"field": "source_path", "operator": "regex", "value": "\\u0046"})
    with pytest.raises(FilterError, match="patterns"):
        await ObjectReader(database).page(SCOPE, "bkt_1", PageRequest(3), filters=tree)


def test_filters_have_bounds() -> None:
    deep: Any = {"field": "a", "value": 1}
    for _ in range(20):
        deep = {"AND": [deep]}
    many = {"AND": [{"field": "a", "value": number} for number in range(101)]}
    for tree in (deep, many, {"field": "a..b", "value": 1}, {"field": "$a", "value": 1}):
        with pytest.raises(FilterError):
            to_query(parsed(tree))
