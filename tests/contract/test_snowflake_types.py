"""Snowflake: types, names, places and errors, as pure functions and by answers that the gate gives.

Types that fakesnow lacks (offsets, nanoseconds, GEOGRAPHY, VECTOR, MAP, FILE, DECFLOAT, UUID, 38 digits) are tested by
the statement that is asked and by what becomes of an answer as Snowflake writes it.
"""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.errors import Denied, Misconfigured, Throttled, Transient
from providers.snowflake.columns import Column, iso_time, json_value, to_json
from providers.snowflake.credentials import account_identifier
from providers.snowflake.errors import Who, translate
from providers.snowflake.identifiers import find_name, parse_name, quote, shown
from providers.snowflake.keyset import after, at, up_to
from providers.snowflake.table import narrow, read_scope
from providers.snowflake.watermark import since
from tests.contract.snowflake_rig import Account, full_pass
from tests.contract.snowflake_rig import shown as rows_of
from tests.simulators.snowflake_gate import rows_answer

pytest_plugins = ["tests.contract.snowflake_fixtures"]

BIG = "99999999999999999999999999999999999999"


def column(kind: str, scale: int = 0, *, nullable: bool = True, collation: str | None = None) -> Column:
    return Column.of("C", kind, nullable, scale, collation)


@pytest.mark.parametrize(
    ("kind", "scale", "fetched", "written"),
    [
        ("NUMBER", 0, "42", "42"),
        ("NUMBER", 0, "-9223372036854775808", "-9223372036854775808"),
        ("NUMBER", 0, "9223372036854775808", '"9223372036854775808"'),
        ("NUMBER", 0, BIG, f'"{BIG}"'),
        ("NUMBER", 2, "1.50", '"1.50"'),
        ("NUMBER", 37, "0.0000000000000000000000000000000000001", '"0.0000000000000000000000000000000000001"'),
        ("DECFLOAT", 0, "1.23E+400", '"1.23E+400"'),
        ("FLOAT", 0, 0.1, "0.1"),
        ("FLOAT", 0, float("nan"), '"NaN"'),
        ("FLOAT", 0, float("-inf"), '"-inf"'),
        ("BOOLEAN", 0, False, "false"),
        ("TEXT", 0, 'é"\n\0', '"é\\"\\n\\u0000"'),
        ("BINARY", 0, "00FF", '"00FF"'),
        ("DATE", 0, "0001-01-01", '"0001-01-01"'),
        ("TIME", 0, "01:02:03.120000000", '"01:02:03.12"'),
        ("TIMESTAMP_NTZ", 9, "2026-01-01T00:00:00.123456789", '"2026-01-01T00:00:00.123456789"'),
        ("TIMESTAMP_NTZ", 9, "9999-12-31T23:59:59.999999999", '"9999-12-31T23:59:59.999999999"'),
        ("TIMESTAMP_NTZ", 9, "-4712-01-01T00:00:00.000000000", '"-4712-01-01T00:00:00.000000000"'),
        ("TIMESTAMP_LTZ", 9, "2026-01-01T00:00:00.000000000+00:00", '"2026-01-01T00:00:00+00:00"'),
        ("TIMESTAMP_TZ", 9, "2026-01-01T00:00:00.000000001-08:30", '"2026-01-01T00:00:00.000000001-08:30"'),
        ("VARIANT", 0, '{"a":1.10,"b":12345678901234567890123}', '{"a":1.10,"b":12345678901234567890123}'),
        ("VARIANT", 0, "null", "null"),
        ("VARIANT", 0, None, None),
        ("ARRAY", 0, "[1,undefined]", '"[1,undefined]"'),
        ("MAP", 0, '{"k":1}', '{"k":1}'),
        ("VECTOR(FLOAT, 3)", 0, "[1.1,2.2,3.3]", "[1.1,2.2,3.3]"),
        ("GEOGRAPHY", 0, '{"coordinates":[1,2],"type":"Point"}', '{"coordinates":[1,2],"type":"Point"}'),
        ("FILE", 0, '{"STAGE":"@S"}', '{"STAGE":"@S"}'),
        ("UUID", 0, "7f0c9e2a-0000-4000-8000-000000000000", '"7f0c9e2a-0000-4000-8000-000000000000"'),
        ("INTERVAL YEAR TO MONTH", 0, "+1-02", '"+1-02"'),
        ("SOMETHING_NEW", 0, "x", '"x"'),
        ("NUMBER", 0, None, "null"),
    ],
)
def test_w13_w15_w16_every_type_becomes_exact_json(kind: str, scale: int, fetched: Any, written: str | None) -> None:
    got = to_json(column(kind, scale), fetched)
    assert got == written
    if got is not None:
        json.loads(got)


@pytest.mark.parametrize(
    ("kind", "asked"),
    [
        ("NUMBER", 'TO_VARCHAR(T."C")'),
        ("FLOAT", 'T."C"'),
        ("TEXT", 'T."C"'),
        ("BINARY", 'HEX_ENCODE(T."C")'),
        ("TIMESTAMP_TZ", 'TO_VARCHAR(T."C")'),
        ("OBJECT", 'TO_JSON(CAST(T."C" AS VARIANT))'),
        ("VECTOR(INT, 2)", 'TO_JSON(CAST(CAST(T."C" AS ARRAY) AS VARIANT))'),
        ("GEOMETRY", 'TO_JSON(CAST(ST_ASGEOJSON(T."C") AS VARIANT))'),
        ("DECFLOAT", 'TO_VARCHAR(T."C")'),
    ],
)
def test_w16_every_type_is_asked_for_as_text_that_loses_nothing(kind: str, asked: str) -> None:
    assert column(kind).select == asked


def test_w10_timestamps_with_zones_are_ordered_by_instant() -> None:
    term = column("TIMESTAMP_TZ", nullable=False).term
    assert term.order == "CONVERT_TIMEZONE('UTC', T.\"C\")"
    sql, binds = after([term], ["2026-01-01T00:00:00+00:00"])
    assert sql == "((CONVERT_TIMEZONE('UTC', T.\"C\") > CAST(? AS TIMESTAMP_TZ(9))))"
    assert binds == ["2026-01-01T00:00:00+00:00"]


async def test_w10_w16_odd_types_through_the_connector(account: Account) -> None:
    """The table and its rows are the gate's: fakesnow has no offsets, no 38 digits and few of these types."""
    types = [
        ("ID", "NUMBER", "0", "7", "7"),
        ("Amount €", "NUMBER", "0", BIG, f'"{BIG}"'),
        ("AT", "TIMESTAMP_TZ", None, "2026-01-01T08:00:00.123456789+08:00", '"2026-01-01T08:00:00.123456789+08:00"'),
        ("V", "VECTOR(FLOAT, 2)", None, "[1.5,2.5]", "[1.5,2.5]"),
        ("G", "GEOGRAPHY", None, '{"type":"Point","coordinates":[1.0,2.0]}', None),
        ("U", "UUID", None, "7f0c9e2a-0000-4000-8000-000000000000", None),
        ("F", "FILE", None, '{"STAGE":"@S"}', None),
        ("M", "MAP", None, '{"k":1}', None),
    ]
    described = [[name, kind, "YES", scale, None, "2026-11-11", "TABLE"] for name, kind, scale, _, _ in types]
    names = [(name, "TEXT", 0) for name in "abcdefg"]
    gate = account.gate
    gate.script("query", rows_answer(names, described), sql="INFORMATION_SCHEMA")
    gate.script("query", rows_answer(names[:1], [["7"]]), sql="LIMIT 1$")
    values = [*[value for *_, value, _ in types], "7"]
    columns = [(f"C{i}", "TEXT", 0) for i in range(len(values))]
    gate.script("query", rows_answer(columns, [values]), sql="LIMIT 11$")
    provider = account.open(primary_key_columns=["id"])
    [row] = rows_of(await full_pass(provider, '"odd ""name"', limit=10))
    assert row.id == f'{account.database}.S."odd ""name"/[7]'
    assert gate.asked(r'FROM "\w+"\."S"\."odd ""name" T')
    text = row.locator["row"]
    for name, _, _, value, written in types:
        assert (
            f"{orjson.dumps(name).decode()}:{written or value if name != 'U' else orjson.dumps(value).decode()}" in text
        )
    found = (await provider.attributes(row, tags=False, metadata=True)).properties
    assert (found["amount €"], found["at"], found["M"]) == (BIG, types[2][3], {"k": 1})
    await provider.close()


def test_exact_numbers_in_json() -> None:
    value = json_value(
        '{"a": 12345678901234567890, "b": 0.1, "c": 1.10, "d": 0.10000000000000000001, "e": 1e999, "f": 5}'
    )
    assert value == {
        "a": "12345678901234567890",
        "b": 0.1,
        "c": 1.1,
        "d": "0.10000000000000000001",
        "e": "1e999",
        "f": 5,
    }


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_float_s_own_text_is_exact(number: float) -> None:
    assert json_value(repr(number)) == number


@given(st.text())
def test_iso_time_never_fails(text: str) -> None:
    iso_time(text)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("t", ["T"]),
        ("db.s.t", ["DB", "S", "T"]),
        ('db."My Schema"."a.b""c"', ["DB", "My Schema", 'a.b"c']),
        (" DB.S.T$1 ", ["DB", "S", "T$1"]),
        ('"t"', ["t"]),
    ],
)
def test_names_are_read_as_snowflake_does(text: str, parts: list[str]) -> None:
    assert parse_name(text) == parts
    assert parse_name(shown(parts)) == parts


@pytest.mark.parametrize("text", ["", ".", "a..b", "a.", 'a."b', "my-table", "a b", '"a"b', "1a", "a;drop table b"])
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(Misconfigured, match="double quotes"):
        parse_name(text)


@given(st.text(min_size=1))
def test_any_name_survives_quoting(name: str) -> None:
    assert parse_name(quote(name)) == [name] if name else True


def test_columns_are_found_in_any_case() -> None:
    names = ["ID", "id", "Name", "A B"]
    assert [find_name(name, names) for name in ("ID", "id", "Id", "name", "NAME", '"A B"', "a b", "x")] == [
        *("ID", "id", "ID", "Name", "Name", "A B", "A B", None),
    ]


@pytest.mark.parametrize(
    ("path", "database", "schema", "parts"),
    [
        ("t", "d", "s", ("D", "S", "T")),
        ("t", None, "d.s", ("D", "S", "T")),
        ("s2.t", "d", None, ("D", "S2", "T")),
        ("d2.s2.t", "d", "s", ("D2", "S2", "T")),
        ("t", '"d"', '"s s"', ("d", "s s", "T")),
    ],
)
def test_source_paths(path: str, database: str | None, schema: str | None, parts: tuple[str, ...]) -> None:
    assert read_scope(path, database, schema).parts == parts


@pytest.mark.parametrize(("path", "database", "schema"), [("t", None, None), ("t", "d", None), ("a.b.c.d", "d", "s")])
def test_source_paths_that_name_no_table(path: str, database: str | None, schema: str | None) -> None:
    with pytest.raises(Misconfigured, match=r"DB\.SCHEMA\.TABLE"):
        read_scope(path, database, schema)


@pytest.mark.parametrize(
    "filters",
    [
        {"where": "1=1"},
        {"columns": "id"},
        {"columns": []},
        {"columns": [1]},
        {"lookback_seconds": -1},
        {"lookback_seconds": True},
        {"lookback_seconds": "60"},
    ],
)
def test_bad_filters_are_refused(filters: dict[str, Any]) -> None:
    with pytest.raises(Misconfigured, match="provider_filters"):
        narrow("t", filters)


@pytest.mark.parametrize(
    ("account", "identifier"),
    [
        ("acme-main", "acme-main"),
        ("ACME-my_account", "ACME-my_account"),
        ("xy12345.eu-central-1", "xy12345.eu-central-1"),
        ("https://acme-main.snowflakecomputing.com/console", "acme-main"),
        ("acme-main.privatelink.snowflakecomputing.com", "acme-main.privatelink"),
    ],
)
def test_account_identifiers(account: str, identifier: str) -> None:
    assert account_identifier(account, provider="snowflake")[0] == identifier


@pytest.mark.parametrize("account", ["", "evil.example#", "a@b", "a b", "127.0.0.1:8080", "acme?x", "-a"])
def test_accounts_that_lead_elsewhere_are_refused(account: str) -> None:
    with pytest.raises(Misconfigured):
        account_identifier(account, provider="snowflake")


def test_keyset_predicates() -> None:
    a, b = column("NUMBER", nullable=False).term, Column.of("D", "TEXT", True, None, None).term
    sql, binds = after([a, b], ["5", "x"])
    assert sql == (
        'T."C" >= CAST(? AS NUMBER(38, 0)) AND ((T."C" > CAST(? AS NUMBER(38, 0)))'
        ' OR (T."C" = CAST(? AS NUMBER(38, 0)) AND (T."D" > ? OR T."D" IS NULL)))'
    )
    assert binds == ["5", "5", "5", "x"]
    assert after([b], [None]) == ("FALSE", [])
    assert at([a, b], ["5", None]) == ('T."C" = CAST(? AS NUMBER(38, 0)) AND T."D" IS NULL', ["5"])
    assert up_to([b], [None]) == ('(((T."D" IS NOT NULL)) OR (T."D" IS NULL))', [])


def test_collated_keys_are_compared_by_value() -> None:
    term = column("TEXT", collation="en-ci").term
    assert term.order == term.select == "COLLATE(T.\"C\", 'utf8')"


def test_lookbacks() -> None:
    bound = {
        "NUMBER": 'T."C" >= (CAST(? AS NUMBER(38, 0)) - 90)',
        "DATE": 'T."C" >= DATEADD(day, -1, CAST(? AS DATE))',
        "TIMESTAMP_NTZ": 'T."C" >= DATEADD(second, -90, CAST(? AS TIMESTAMP_NTZ(9)))',
    }
    for kind, sql in bound.items():
        assert since(column(kind), "x", 90) == (sql, ["x"])
    assert since(column("DATE"), None, 0) == ('T."C" IS NOT NULL', [])


WHO = Who("acme-main", "loader", "READER", "WH")


@pytest.mark.parametrize(
    ("errno", "said", "kind", "reason"),
    [
        (
            4,
            "HTTP request failed after retries: max attempts (1) reached; last status 429 Too Many",
            Throttled,
            "throttled",
        ),
        (4, "connection closed before message completed", Transient, "network"),
        (4, "error trying to connect: dns error: failed to lookup address information", Transient, "network_name"),
        (4, "invalid peer certificate: UnknownIssuer", Misconfigured, "certificate"),
        (250001, "Failed to login: Login error: JWT token is invalid.", Denied, "key_refused"),
        (2003, "SQL compilation error: Object 'T' does not exist or not authorized.", Misconfigured, "not_found"),
        (904, "SQL compilation error: invalid identifier 'T.\"NAME\"'", Misconfigured, "column_missing"),
        (100038, "Numeric value 'x' is not recognized", Misconfigured, "query_refused"),
        (390114, "Authentication token has expired.", Transient, "session_lost"),
        (604, "SQL execution canceled", Transient, "query_cancelled"),
        (300005, "Incident", Transient, "query_failed"),
    ],
)
def test_errors_are_translated(errno: int, said: str, kind: type[Exception], reason: str) -> None:
    class Error(Exception):
        raw_msg = said

    error: Any = Error(said)
    error.errno = errno
    got = translate(error, WHO, provider="snowflake", path="D.S.T")
    assert type(got) is kind and got.reason == reason
    assert "D.S.T" in str(got) and len(str(got)) < 900
