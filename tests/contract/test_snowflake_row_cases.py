"""Snowflake: the hard cases of rows, keys, watermarks and types. Names are those of `cases.md` (W lines).

They run on fakesnow behind the gate. Where fakesnow cannot be made to (it enforces primary keys, keeps no offsets, has
few types, and no table is ever older than another), the gate answers that one statement, as each test says.
"""

from __future__ import annotations

import orjson
import pytest

from providers.errors import Misconfigured
from tests.contract.provider_suite import Places, read
from tests.contract.snowflake_rig import Account, changes, full_pass, shown
from tests.simulators.snowflake_gate import rows_answer

pytest_plugins = ["tests.contract.snowflake_fixtures"]

ALWAYS = 1_000_000
EVENTS = "CREATE TABLE EVENTS (ID NUMBER(38,0), NAME VARCHAR, SEEN TIMESTAMP_NTZ)"
NUMBERED = "INSERT INTO EVENTS SELECT SEQ4(), 'n' || SEQ4(), {at} FROM TABLE(GENERATOR(ROWCOUNT => {rows}))"
SAME_TIME = "'2026-01-01 00:00:00'::TIMESTAMP"


def declare_key(account: Account, table: str, column: str) -> None:
    """A declared key that nothing enforces: fakesnow would."""
    columns = [(name, "TEXT", 0) for name in ("a", "b", "c", "d", "column_name", "key_sequence")]
    rows = [["", account.database, "S", table, column, "1"]]
    account.gate.script("query", rows_answer(columns, rows), sql=f'SHOW PRIMARY KEYS .*"{table}"', times=ALWAYS)


async def test_w01_duplicates_under_a_declared_key_stay_apart(account: Account) -> None:
    account.run(EVENTS, NUMBERED.format(at=SAME_TIME, rows=10))
    account.run(*[f"INSERT INTO EVENTS SELECT 4, 'twin {i}', {SAME_TIME}" for i in range(3)])
    account.run(*[f"INSERT INTO EVENTS SELECT 7, 'n7', {SAME_TIME}" for _ in range(2)])
    declare_key(account, "EVENTS", "ID")
    provider, kept, rows = account.open(incremental_column="seen"), Places(), []
    for limit in (1, 2, 3, 4, 1000):  # within groups, at their ends, over more than a page
        rows = shown(await full_pass(provider, "events", kept, limit))
        assert len(rows) == len({row.id for row in rows}) == 15
        plain = {row.id.partition("/")[2] for row in rows if not row.locator["shared"]}
        assert plain == {f"[{i}]" for i in (0, 1, 2, 3, 5, 6, 8, 9)}
    names = sorted([orjson.loads(await read(await provider.open(row)))["NAME"] for row in rows])
    assert names == sorted([f"n{i}" for i in range(10)] + ["twin 0", "twin 1", "twin 2", "n7", "n7"])

    account.run("INSERT INTO EVENTS SELECT 9, 'late twin', '2026-01-02'::TIMESTAMP")
    found = shown(await changes(provider, "events", kept, 1000))
    [late] = [row for row in found if '"late twin"' in row.locator["row"]]
    assert late.id != f"{account.database}.S.EVENTS/[9]"  # never over the row that had the key before
    await provider.close()


async def test_w01_a_crowd_under_one_key_is_paged_by_hash(account: Account) -> None:
    account.run(EVENTS, NUMBERED.format(at=SAME_TIME, rows=40), "UPDATE EVENTS SET ID = 5 WHERE ID < 30")
    account.run(*[f"INSERT INTO EVENTS SELECT 5, 'same', {SAME_TIME}" for _ in range(12)])
    provider = account.open(primary_key_columns=["id"])
    once = shown(await full_pass(provider, "events", limit=7))
    again = shown(await full_pass(provider, "events", limit=5))
    assert len(once) == len({row.id for row in once}) == 52
    assert {row.id for row in once} == {row.id for row in again}
    await provider.close()


async def test_rows_without_a_key_are_told_by_hash_and_ordinal(account: Account) -> None:
    account.run(EVENTS, NUMBERED.format(at=SAME_TIME, rows=20))
    account.run(*[f"INSERT INTO EVENTS SELECT 1, 'twice', {SAME_TIME}" for _ in range(9)])
    provider = account.open()
    ids = [{row.id for row in shown(await full_pass(provider, "events", limit=limit))} for limit in (4, 1000)]
    assert len(ids[0]) == 29 and ids[0] == ids[1]
    await provider.close()


async def test_w03_equal_cursor_values_are_not_lost_between_pages(account: Account) -> None:
    account.run(EVENTS)
    provider, kept = account.open(incremental_column="seen", primary_key_columns=["id"]), Places()
    await full_pass(provider, "events", kept)
    account.run(NUMBERED.format(at=SAME_TIME, rows=5000))
    pages = await changes(provider, "events", kept)
    assert [len(page.ids) for page in pages] == [1000] * 5
    assert len({id_ for page in pages for id_ in page.ids}) == 5000

    account.run(f"INSERT INTO EVENTS SELECT 5000, 'late', {SAME_TIME}")  # committed late, with the same value
    assert f"{account.database}.S.EVENTS/[5000]" in {row.id for row in shown(await changes(provider, "events", kept))}
    await provider.close()


async def test_w04_nothing_new_is_one_query_of_the_table(account: Account) -> None:
    account.run(EVENTS, NUMBERED.format(at=SAME_TIME, rows=300))
    provider, kept = account.open(incremental_column="seen", primary_key_columns=["id"]), Places()
    await full_pass(provider, "events", kept)
    account.gate.statements.clear()
    [page] = await changes(provider, "events", kept)
    assert (list(page.ids), page.complete, page.rescan) == ([], True, "")
    assert len(account.gate.asked(r'"S"\."EVENTS"')) == 1
    assert page.requests == len(account.gate.statements) == 2  # the other one looks at the columns
    await provider.close()


async def test_w05_the_account_s_time_zone_does_not_matter(account: Account) -> None:
    account.run(EVENTS, f"INSERT INTO EVENTS SELECT 1, 'a', {SAME_TIME}")
    provider, kept = account.open(incremental_column="seen", primary_key_columns=["id"]), Places()
    await full_pass(provider, "events", kept)
    account.run("INSERT INTO EVENTS SELECT 2, 'b', '2026-01-01 00:00:01'::TIMESTAMP")
    assert [row.id[-3:] for row in shown(await changes(provider, "events", kept))] == ["[1]", "[2]"]
    pinned = account.gate.logins[-1]["SESSION_PARAMETERS"]
    assert pinned["TIMEZONE"] == "UTC" and pinned["TIMESTAMP_INPUT_FORMAT"] == "AUTO"
    assert not account.gate.asked("CURRENT_TIMESTAMP|SYSDATE|GETDATE")  # places come from the data, not from a clock
    await provider.close()


async def test_w07_a_lookback_finds_what_is_committed_late(account: Account) -> None:
    account.run(EVENTS, "INSERT INTO EVENTS SELECT 1, 'a', '2026-01-01 12:00:00'::TIMESTAMP")
    provider, kept = account.open(incremental_column="seen", primary_key_columns=["id"]), Places()
    path = provider.narrow("events", {"lookback_seconds": 3600})
    await full_pass(provider, path, kept)
    account.run("INSERT INTO EVENTS SELECT 2, 'late', '2026-01-01 11:30:00'::TIMESTAMP")
    account.run("INSERT INTO EVENTS SELECT 3, 'too late', '2026-01-01 10:30:00'::TIMESTAMP")
    found = {row.id.partition("/")[2] for row in shown(await changes(provider, path, kept))}
    assert found == {"[1]", "[2]"}
    [place] = kept.kept.values()
    assert orjson.loads(place)["top"] == "2026-01-01T12:00:00"
    assert shown(await changes(provider, path, kept)) == []
    await provider.close()


async def test_w08_rows_inserted_while_reading_are_for_the_next_run(account: Account) -> None:
    account.run(EVENTS, NUMBERED.format(at=SAME_TIME, rows=10))
    provider, kept = account.open(incremental_column="seen", primary_key_columns=["id"]), Places()
    first = await provider.list_page("events", None, 4)
    kept.kept.update(first.positions)
    account.run("INSERT INTO EVENTS SELECT 100, 'new', '2026-02-01'::TIMESTAMP")
    rest = await full_pass(provider, "events", limit=4, cursor=first.next_cursor)
    ids = [*first.ids, *[id_ for page in rest for id_ in page.ids]]
    assert len(ids) == len(set(ids)) == 10
    assert any(row.id.endswith("[100]") for row in shown(await changes(provider, "events", kept)))

    account.run("UPDATE EVENTS SET SEEN = '2026-03-01'::TIMESTAMP WHERE ID < 10")
    page = await provider.list_changes("events", kept, None, 4)
    account.run("INSERT INTO EVENTS SELECT 101, 'newer', '2026-04-01'::TIMESTAMP")
    seen = list(page.ids)
    while page.next_cursor:
        page = await provider.list_changes("events", kept, page.next_cursor, 4)
        seen += page.ids
    kept.kept.update(page.positions)
    assert not any(id_.endswith("[101]") for id_ in seen)
    assert any(row.id.endswith("[101]") for row in shown(await changes(provider, "events", kept)))
    await provider.close()


async def test_w09_rows_without_a_cursor_value_are_counted_and_taken_by_full_passes(account: Account) -> None:
    account.run(EVENTS, NUMBERED.format(at=SAME_TIME, rows=5), "UPDATE EVENTS SET SEEN = NULL WHERE ID < 2")
    provider, kept = account.open(incremental_column="seen", primary_key_columns=["id"]), Places()
    report = await provider.check("events")
    assert report.details["rows_without_incremental_value"] == 2
    assert "2 of 5 rows have no SEEN: only full passes see them" in report.message
    assert len(shown(await full_pass(provider, "events", kept))) == 5
    assert shown(await changes(provider, "events", kept)) == []
    await provider.close()


@pytest.mark.parametrize("kind", ["TIMESTAMP_LTZ", "TIMESTAMP_TZ", "TIMESTAMP_NTZ"])
async def test_w12_the_variation_of_a_timestamp_is_looked_up(account: Account, kind: str) -> None:
    account.run(EVENTS.replace("TIMESTAMP_NTZ", kind), NUMBERED.format(at=SAME_TIME, rows=3))
    provider, kept = account.open(incremental_column="seen", primary_key_columns=["id"]), Places()
    await full_pass(provider, "events", kept)
    account.run("UPDATE EVENTS SET SEEN = '2026-01-05'::TIMESTAMP WHERE ID = 1")
    assert any(row.id.endswith("[1]") for row in shown(await changes(provider, "events", kept)))
    # fakesnow stores LTZ as TZ; what it calls the column is what is asked for.
    known = {"TIMESTAMP_LTZ": "TIMESTAMP_L?TZ"}.get(kind, kind)
    assert account.gate.asked(rf"CAST\(\? AS {known}\(9\)\)")
    await provider.close()


async def test_w13_odd_years_arrive_as_text(account: Account) -> None:
    account.run(EVENTS)
    for i, text in enumerate(("9999-12-31 23:59:59.999999", "1500-02-28 00:00:00", "0001-01-01 00:00:00")):
        account.run(f"INSERT INTO EVENTS SELECT {i}, 'a', '{text}'::TIMESTAMP")
    provider = account.open(incremental_column="seen", primary_key_columns=["id"])
    rows = shown(await full_pass(provider, "events"))
    values = [orjson.loads(row.locator["row"])["SEEN"] for row in rows]
    assert values == ["9999-12-31T23:59:59.999999", "1500-02-28T00:00:00", "0001-01-01T00:00:00"]
    await provider.close()


async def test_w15_json_null_is_not_sql_null(account: Account) -> None:
    account.run("CREATE TABLE DOCS (ID NUMBER, V VARIANT)")
    for i, value in enumerate(("PARSE_JSON('null')", "NULL", "PARSE_JSON('{\"a\": [1, null]}')")):
        account.run(f"INSERT INTO DOCS SELECT {i}, {value}")
    provider = account.open(primary_key_columns=["ID"])
    rows = shown(await full_pass(provider, "docs"))
    columns = [(await provider.attributes(row, tags=False, metadata=True)).properties for row in rows]
    assert "v" in columns[0] and columns[0]["v"] is None
    assert "v" not in columns[1] and columns[1].get("v", "left out") == "left out"
    assert columns[2]["V"] == {"a": [1, None]}
    assert [orjson.loads(row.locator["row"]) for row in rows[:2]] == [{"ID": 0, "V": None}, {"ID": 1}]
    await provider.close()


async def test_w20_the_key_is_added_to_a_column_subset(account: Account) -> None:
    account.run(EVENTS, NUMBERED.format(at=SAME_TIME, rows=2))
    provider = account.open(primary_key_columns=["id"], incremental_column="seen")
    path = provider.narrow("events", {"columns": ["name"]})
    rows = shown(await full_pass(provider, path))
    assert [row.id.partition("/")[2] for row in rows] == ["[0]", "[1]"]
    assert orjson.loads(rows[0].locator["row"]) == {"ID": 0, "NAME": "n0", "SEEN": "2026-01-01T00:00:00"}
    with pytest.raises(Misconfigured, match=r"provider_filters.columns names column nope"):
        await provider.list_page(provider.narrow("events", {"columns": ["nope"]}), None, 10)
    await provider.close()


async def test_w21_a_text_cursor_is_refused(account: Account) -> None:
    account.run("CREATE TABLE EVENTS (ID NUMBER, SEEN VARCHAR)")
    provider = account.open(incremental_column="seen")
    for call in (provider.check("events"), provider.list_page("events", None, 10)):
        with pytest.raises(Misconfigured, match=r"incremental_column SEEN is text, which compares '9' as greater"):
            await call
    await provider.close()


async def test_w23_a_pause_of_a_day_goes_on_from_the_key(account: Account) -> None:
    account.run(EVENTS, NUMBERED.format(at=SAME_TIME, rows=30))
    provider = account.open(primary_key_columns=["id"])
    first = await provider.list_page("events", None, 10)
    account.gate.expire_sessions("390114")
    other = account.open(primary_key_columns=["id"])
    for later in (provider, other):
        rest = shown(await full_pass(later, "events", limit=10, cursor=first.next_cursor))
        assert [row.id.partition("/")[2] for row in rest] == [f"[{i}]" for i in range(10, 30)]
        await later.close()


async def test_w32_deletes_show_in_a_full_pass_only_and_the_check_says_so(account: Account) -> None:
    account.run(EVENTS, NUMBERED.format(at=SAME_TIME, rows=5))
    provider, kept = account.open(primary_key_columns=["id"], incremental_column="seen"), Places()
    await full_pass(provider, "events", kept)
    account.run("DELETE FROM EVENTS WHERE ID = 3")
    for page in await changes(provider, "events", kept):
        assert not page.removed and not page.rescan
    assert len(shown(await full_pass(provider, "events", kept))) == 4
    assert "deleted rows are found by full passes only" in (await provider.check("events")).message
    await provider.close()


async def test_w36_an_emptied_table_removes_nothing_by_itself(account: Account) -> None:
    """The gate before mass deletions is the engine's: tests/end_to_end/test_snowflake.py."""
    account.run(EVENTS, NUMBERED.format(at=SAME_TIME, rows=5))
    provider, kept = account.open(primary_key_columns=["id"], incremental_column="seen"), Places()
    await full_pass(provider, "events", kept)
    account.run("DELETE FROM EVENTS")
    for page in await changes(provider, "events", kept):
        assert not page.removed and not page.rescan and page.complete
    [page] = await full_pass(provider, "events", kept)
    assert (list(page.ids), page.complete) == ([], True)
    await provider.close()


async def test_w33_an_update_is_one_row_and_what_came_and_went_is_none(account: Account) -> None:
    """There is no CHANGES mode: the incremental pass compares the rows as they are."""
    account.run(EVENTS, NUMBERED.format(at=SAME_TIME, rows=3))
    provider, kept = account.open(primary_key_columns=["id"], incremental_column="seen"), Places()
    await full_pass(provider, "events", kept)
    account.run("INSERT INTO EVENTS SELECT 8, 'x', '2026-01-02'::TIMESTAMP", "DELETE FROM EVENTS WHERE ID = 8")
    assert shown(await changes(provider, "events", kept)) == []
    account.run("UPDATE EVENTS SET NAME = 'y', SEEN = '2026-01-03'::TIMESTAMP WHERE ID = 1")
    found = [row for row in shown(await changes(provider, "events", kept)) if '"y"' in row.locator["row"]]
    assert [row.id.partition("/")[2] for row in found] == ["[1]"]
    await provider.close()


async def test_w34_nothing_depends_on_change_tracking_or_retention(account: Account) -> None:
    account.run(EVENTS, NUMBERED.format(at=SAME_TIME, rows=3))
    provider, kept = account.open(primary_key_columns=["id"], incremental_column="seen"), Places()
    await full_pass(provider, "events", kept)
    account.run("UPDATE EVENTS SET SEEN = '2027-01-01'::TIMESTAMP WHERE ID = 1")  # a watermark of any age is good
    assert any(row.id.endswith("[1]") for row in shown(await changes(provider, "events", kept)))
    assert not account.gate.asked(r"\bCHANGES\b|\bAT\s*\(|\bSTREAM\b")
    await provider.close()


async def test_w35_a_table_created_anew_asks_for_a_full_pass(account: Account) -> None:
    """fakesnow gives every table the same date: the gate tells another one."""
    account.run(EVENTS, NUMBERED.format(at=SAME_TIME, rows=3))
    provider, kept = account.open(primary_key_columns=["id"], incremental_column="seen"), Places()
    await full_pass(provider, "events", kept)
    names = [(name, "TEXT", 0) for name in ("n", "t", "u", "s", "c", "created", "type")]
    rows = [
        [name, kind, "YES", scale, None, "2026-11-11T00:00:00Z", "BASE TABLE"]
        for name, kind, scale in (("ID", "NUMBER", "0"), ("NAME", "TEXT", None), ("SEEN", "TIMESTAMP_NTZ", None))
    ]
    account.gate.script("query", rows_answer(names, rows), sql="INFORMATION_SCHEMA.*COLUMNS")
    [page] = await changes(provider, "events", kept)
    assert page.rescan.endswith("EVENTS was created anew")
    await provider.close()


async def test_w37_columns_that_come_and_go(account: Account) -> None:
    account.run(EVENTS, NUMBERED.format(at=SAME_TIME, rows=3))
    provider, kept = account.open(primary_key_columns=["id"], incremental_column="seen"), Places()
    await full_pass(provider, "events", kept)
    account.run("ALTER TABLE EVENTS ADD COLUMN COLOUR VARCHAR")
    [page] = await changes(provider, "events", kept)
    assert "new: COLOUR" in page.rescan
    account.run("ALTER TABLE EVENTS DROP COLUMN NAME")
    [page] = await changes(provider, "events", kept)
    assert "gone: NAME" in page.rescan
    rows = shown(await full_pass(provider, "events", kept))
    columns = (await provider.open(rows[0])).attributes
    assert columns is not None and columns.properties["colour"] is None
    with pytest.raises(Misconfigured, match=r"column NAME is mapped, but .*EVENTS has no such column"):
        columns.properties.get("NAME")
    account.run("ALTER TABLE EVENTS DROP COLUMN SEEN")
    with pytest.raises(Misconfigured, match=r"incremental_column names column seen, but there is none"):
        await provider.list_changes("events", kept, None, 10)
    await provider.close()


async def test_a_lost_watermark_or_another_column_asks_for_a_full_pass(account: Account) -> None:
    account.run(EVENTS, NUMBERED.format(at=SAME_TIME, rows=3))
    provider, kept = account.open(primary_key_columns=["id"], incremental_column="seen"), Places()
    [page] = await changes(provider, "events", kept)
    assert page.rescan == "no watermark is kept yet"
    await full_pass(provider, "events", kept)
    other = account.open(primary_key_columns=["id"], incremental_column="id")
    [page] = await changes(other, "events", kept)
    assert "incremental column" in page.rescan
    await other.close()
    await provider.close()


async def test_requests_per_1000_rows(account: Account) -> None:
    account.run(EVENTS, NUMBERED.format(at="DATEADD(second, SEQ4(), '2026-01-01'::TIMESTAMP)", rows=3000))
    provider, kept = account.open(primary_key_columns=["id"], incremental_column="seen"), Places()
    account.gate.counts.clear()
    pages = await full_pass(provider, "events", kept)
    for row in shown(pages):
        await provider.open(row)
    full = account.gate.counts["query"]
    assert full == sum(page.requests for page in pages) == 3 + 4  # a query a page; columns, watermark (2), last key
    await changes(provider, "events", kept)
    account.gate.counts.clear()
    [page] = await changes(provider, "events", kept)
    idle = account.gate.counts["query"]
    account.run("UPDATE EVENTS SET SEEN = DATEADD(day, 1, SEEN) WHERE ID < 1000")
    account.gate.counts.clear()
    pages = await changes(provider, "events", kept)
    changed = account.gate.counts["query"]
    print(f"\nsnowflake, queries per 1,000 rows: full pass {full / 3:.1f}, idle poll {idle}, all changed {changed}")
    assert (idle, page.requests) == (2, 2)
    assert changed == sum(page.requests for page in pages) <= 5
    await provider.close()
