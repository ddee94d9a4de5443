"""Each call of the Snowflake provider times each fault: the outcome it must have. See `tests.contract.faults`."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from providers.base import Provider
from providers.errors import Misconfigured, ProviderError, Throttled, Transient
from tests.contract.faults import in_an_hour
from tests.contract.provider_suite import Places
from tests.contract.snowflake_rig import PASSWORD, Account, changes, full_pass, shown
from tests.simulators.snowflake_gate import GateAnswer

pytest_plugins = ["tests.contract.snowflake_fixtures"]

ALWAYS = 1_000_000
Body = dict[str, Any]


def filled(account: Account, rows: int = 30) -> None:
    account.run("CREATE TABLE T (ID NUMBER, NAME VARCHAR)")
    account.run(f"INSERT INTO T SELECT SEQ4(), 'n' || SEQ4() FROM TABLE(GENERATOR(ROWCOUNT => {rows}))")


# Fault -> the answer, and what a query and a login that meet it become (None: the connector asks again by itself).
FAULTS: dict[str, tuple[GateAnswer, type[ProviderError] | None, type[ProviderError]]] = {
    "timeout": (GateAnswer(delay=3), Transient, Transient),
    "reset": (GateAnswer(drop=True), Transient, Transient),
    "401": (GateAnswer(401, b"{}"), None, Transient),  # the connector renews its session and asks again
    "403": (GateAnswer(403, b"{}"), Transient, Misconfigured),
    "404": (GateAnswer(404, b"{}"), Transient, Misconfigured),
    "410": (GateAnswer(410, b"{}"), Transient, Transient),
    "429 seconds": (GateAnswer(429, b"{}", {"Retry-After": "3"}), Throttled, Throttled),
    "429 date": (GateAnswer(429, b"{}"), Throttled, Throttled),
    "500": (GateAnswer(500, b"{}"), Transient, Transient),
    "503": (GateAnswer(503, b"{}"), Transient, Transient),
    "truncated": (
        GateAnswer(200, b'{"data": {"rowtype": [', {"Content-Length": "5000"}, cut=True),
        Transient,
        Transient,
    ),
    "malformed": (GateAnswer(200, b"<html>proxy</html>"), Transient, Transient),
    "blank": (GateAnswer(200, b""), Transient, Transient),
}


@contextlib.contextmanager
def impatient(provider: Any) -> Iterator[None]:
    """While inside, answers are waited for half a second only."""
    session = provider._session
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("providers.snowflake.session._GRACE_SECONDS", 0.5)
        patch.setattr("providers.snowflake.session._LOGIN_SECONDS", 0)
        patch.setattr(session, "_timeout", 0)
        yield


async def meets(provider: Provider, fault: str, act: Callable[[], Awaitable[Any]], outcome: Any) -> None:
    """The operation under a fault has its outcome."""
    with impatient(provider) if fault == "timeout" else contextlib.nullcontext():
        if outcome is None:
            await act()
            return
        with pytest.raises(outcome) as raised:
            await act()
    error = raised.value
    assert str(error).startswith("snowflake") and error.provider == "snowflake" and PASSWORD not in str(error)
    if fault == "timeout":
        assert error.reason == "network_timeout"


def answer_of(fault: str) -> GateAnswer:
    """The fault's answer."""
    answer = FAULTS[fault][0]
    return replace(answer, headers={"Retry-After": in_an_hour()}) if fault == "429 date" else answer


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("call", ["check", "list", "open"])
async def test_fault_of_a_query(account: Account, call: str, fault: str) -> None:
    filled(account)
    account.run("CREATE TABLE BIG (ID NUMBER, BODY VARCHAR)", "INSERT INTO BIG SELECT 1, REPEAT('x', 300000)")
    provider = account.open(primary_key_columns=["id"])
    first = await provider.list_page("t", None, 10)
    [big] = shown(await full_pass(provider, "big"))

    async def act() -> Any:
        if call == "check":
            return await provider.check("t")
        if call == "list":
            return await provider.list_page("t", first.next_cursor, 100)
        return await provider.open(big)

    account.gate.script("query", answer_of(fault))
    asked = account.gate.counts["query"]
    await meets(provider, fault, act, FAULTS[fault][1])
    assert call == "check" or account.gate.counts["query"] - asked <= 2  # nothing is tried again by itself
    await act()
    if call == "list":
        assert len((await act()).ids) == 20
    await provider.close()


@pytest.mark.parametrize("fault", FAULTS)
async def test_fault_of_a_login(account: Account, fault: str) -> None:
    account.gate.script("login", answer_of(fault))
    provider = account.open()
    await meets(provider, fault, provider.check, FAULTS[fault][2])
    assert (await provider.check()).message
    await provider.close()


@pytest.mark.parametrize(
    "answer",
    [
        GateAnswer(403, b"x"),
        GateAnswer(404, b"x"),
        GateAnswer(cut=True),
        GateAnswer(200, b"garbage"),
        GateAnswer(200, b""),
    ],
)
async def test_faults_of_result_chunks(account: Account, answer: GateAnswer) -> None:
    filled(account)
    account.gate.chunk_rows = 5
    provider = account.open(primary_key_columns=["id"])
    account.gate.script("chunk", answer, times=ALWAYS)
    with pytest.raises(Transient):
        await provider.list_page("t", None, 10)
    account.gate.reset_scripts()
    assert len(shown(await full_pass(provider, "t", limit=10))) == 30
    await provider.close()


async def test_slow_body(account: Account) -> None:
    filled(account)
    provider = account.open(primary_key_columns=["id"])
    first = await provider.list_page("t", None, 10)
    account.gate.script("query", GateAnswer(slow=0.3))
    assert len((await provider.list_page("t", first.next_cursor, 10)).ids) == 10
    account.gate.script("query", GateAnswer(slow=3))
    with impatient(provider), pytest.raises(Transient) as raised:
        await provider.list_page("t", first.next_cursor, 10)
    assert raised.value.reason == "network_timeout"
    assert len((await provider.list_page("t", first.next_cursor, 100)).ids) == 20
    await provider.close()


def seen(account: Account) -> Account:
    """A table with a watermark."""
    account.run(
        "CREATE TABLE S (ID NUMBER, STAMP NUMBER)",
        "INSERT INTO S SELECT SEQ4(), SEQ4() FROM TABLE(GENERATOR(ROWCOUNT => 30))",
    )
    return account


async def test_repeated_page(account: Account) -> None:
    provider = seen(account).open(primary_key_columns=["id"], incremental_column="stamp")
    kept = Places()
    first = await provider.list_page("s", None, 10)
    account.gate.script("query", GateAnswer(200, account.gate.latest), sql="LIMIT 11")
    with pytest.raises(Transient) as raised:
        await provider.list_page("s", first.next_cursor, 10)
    assert raised.value.reason == "listing_incomplete"
    rest = shown(await full_pass(provider, "s", limit=10, cursor=first.next_cursor))
    assert [*first.ids, *(row.id for row in rest)] == [f"{account.database}.S.S/[{i}]" for i in range(30)]

    await full_pass(provider, "s", kept)
    account.run("UPDATE S SET STAMP = STAMP + 100")
    first = await provider.list_changes("s", kept, None, 10)
    account.gate.script("query", GateAnswer(200, account.gate.latest), sql="LIMIT 11")
    with pytest.raises(Transient) as raised:
        await provider.list_changes("s", kept, first.next_cursor, 10)
    assert raised.value.reason == "listing_incomplete"
    await provider.close()


def emptied(answer: Body) -> Body:
    """The same result without its rows, as if there were none."""
    data = {**answer["data"], "rowsetBase64": "", "total": 0, "returned": 0}
    return {**answer, "data": data}


def promised(answer: Body) -> Body:
    """The same result, with more rows promised than it has: a part of it is missing."""
    data = {**answer["data"], "total": answer["data"]["total"] + 5}
    return {**answer, "data": data}


@pytest.mark.parametrize("lost", [emptied, promised])
async def test_missing_page(account: Account, lost: Callable[[Body], Body]) -> None:
    """Rows that do not come are noticed: nothing is taken for absent, and no watermark passes them."""
    provider = seen(account).open(primary_key_columns=["id"], incremental_column="stamp")
    kept = Places()
    first = await provider.list_page("s", None, 10)
    account.gate.script("query", GateAnswer(200, lost(account.gate.latest)), sql="LIMIT 11")
    with pytest.raises(Transient) as raised:
        await provider.list_page("s", first.next_cursor, 10)
    assert raised.value.reason == "listing_incomplete"
    assert len(shown(await full_pass(provider, "s", kept, limit=10, cursor=first.next_cursor))) == 20
    await full_pass(provider, "s", kept)

    account.run("UPDATE S SET STAMP = STAMP + 100")
    before = dict(kept.kept)
    first = await provider.list_changes("s", kept, None, 10)
    account.gate.script("query", GateAnswer(200, lost(account.gate.latest)), sql="LIMIT 11")
    with pytest.raises(Transient) as raised:
        await provider.list_changes("s", kept, first.next_cursor, 10)
    assert raised.value.reason == "listing_incomplete" and kept.kept == before
    assert len(shown(await changes(provider, "s", kept))) == 30
    await provider.close()


async def test_the_last_row_may_go_while_the_table_is_read(account: Account) -> None:
    provider = seen(account).open(primary_key_columns=["id"])
    first = await provider.list_page("s", None, 10)
    account.run("DELETE FROM S WHERE ID > 27")
    assert len(shown(await full_pass(provider, "s", limit=10, cursor=first.next_cursor))) == 18
    await provider.close()
