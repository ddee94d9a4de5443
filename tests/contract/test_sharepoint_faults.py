"""The fault matrix: each call with each fault has the outcome it must have, and the error names what it was about."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from providers.base import SourceObject
from providers.errors import Denied, Gone, Misconfigured, Permanent, ProviderError, Throttled, Transient
from tests.contract.faults import in_an_hour
from tests.contract.provider_suite import read
from tests.contract.sharepoint_rig import Rig
from tests.simulators.graph import Answer
from tests.simulators.graph_json import error_json

BODY = bytes(range(251)) * 400

FAULTS: dict[str, Answer] = {
    "timeout": Answer(slow=2.0, body=b"{}"),
    "reset": Answer(drop=True),
    "401": Answer(401, error_json("InvalidAuthenticationToken")),
    "403": Answer(403, error_json("accessDenied")),
    "404": Answer(404, error_json("itemNotFound")),
    "410": Answer(410, error_json("gone")),
    "429 seconds": Answer(429, error_json("activityLimitReached"), {"Retry-After": "17"}),
    "429 date": Answer(429, error_json("activityLimitReached")),  # its date is set when the test runs
    "500": Answer(500, error_json("generalException")),
    "503": Answer(503, error_json("serviceNotAvailable"), {"Retry-After": "17"}),
    "truncated": Answer(200, b'{"value": [' + b" " * 5000, cut=2000),
    "malformed": Answer(200, b"<html>busy</html>"),
}
# What each call's fault must be. A download has no body that could be malformed: other bytes are found by hash.
OUTCOMES: dict[str, dict[str, tuple[type[ProviderError], ...]]] = {
    fault: {
        "site": (Transient,),
        "drives": (Transient,),
        "delta": (Transient,),
        "item": (Transient,),
        "download": (Transient,),
    }
    for fault in FAULTS
}
for _call in ("site", "drives", "delta", "item"):
    OUTCOMES["401"][_call] = (Denied,)
    for _fault in ("429 seconds", "429 date", "503"):
        OUTCOMES[_fault][_call] = (Throttled,)
for _fault in ("429 seconds", "429 date", "503"):
    OUTCOMES[_fault]["download"] = (Throttled,)
OUTCOMES["403"] |= {"site": (Denied,), "drives": (Denied,), "delta": (Denied,), "item": (Permanent,)}
OUTCOMES["404"] |= {"site": (Misconfigured,), "drives": (Misconfigured,), "delta": (Misconfigured,), "item": (Gone,)}
OUTCOMES["410"] |= {"site": (Misconfigured,), "drives": (Misconfigured,), "item": (Gone,)}
OUTCOMES["401"]["download"] = (Transient,)
OUTCOMES["403"]["download"] = (Permanent,)
OUTCOMES["404"]["download"] = OUTCOMES["410"]["download"] = (Gone,)

Act = Callable[[Rig, SourceObject], Awaitable[Any]]


async def listing(tenant: Rig, row: SourceObject) -> None:
    del row
    await tenant.full()


async def polling(tenant: Rig, row: SourceObject) -> None:
    del row
    await tenant.changes()


async def opening(tenant: Rig, row: SourceObject) -> None:
    await read(await tenant.provider().open(row))


CALLS: list[tuple[str, Act]] = [
    ("site", listing),
    ("drives", listing),
    ("delta", listing),
    ("site", polling),
    ("drives", polling),
    ("delta", polling),
    ("item", opening),
    ("download", opening),
]


@pytest.mark.parametrize("fault", list(FAULTS))
@pytest.mark.parametrize(("call", "act"), CALLS, ids=[f"{call}-{act.__name__}" for call, act in CALLS])
async def test_a_fault_has_its_outcome_and_leaves_nothing_behind(tenant: Rig, call: str, act: Act, fault: str) -> None:
    tenant.settings = {"read_timeout": 0.5} if fault == "timeout" else {}
    tenant.graph.tree.put(tenant.library, "f.bin", BODY)
    [row] = (await tenant.full()).rows
    kept = dict(tenant.positions.kept)
    tenant.graph.clear()
    answer = FAULTS[fault]
    if fault == "429 date":
        answer = replace(answer, headers={"Retry-After": in_an_hour()})
    tenant.graph.script(call, answer, times=3)
    expected = OUTCOMES[fault][call]
    with pytest.raises(ProviderError) as error:
        await act(tenant, row)
    assert isinstance(error.value, expected), error.value
    text = str(error.value)
    assert text.startswith("sharepoint ") and "tempauth" not in text
    if FAULTS[fault].status >= 400 and error.value.reason != "download_refused":
        assert str(FAULTS[fault].status) in text
    if isinstance(error.value, Throttled):
        assert (error.value.retry_after or 0) > 15
    assert not error.value.stops_run or isinstance(error.value, Denied | Misconfigured)
    assert tenant.positions.kept == kept  # no place moves with a failure
    # Once the fault is over, everything is there, once.
    tenant.graph.clear()
    for provider in tenant.opened:
        provider._graph.gate._closed_until = 0.0  # type: ignore[attr-defined]
    again = await tenant.full()
    assert [one.id for one in again.rows] == [row.id] and again.complete
    assert await read(await tenant.provider().open(row)) == BODY


async def test_slow_body_is_read_to_its_end(tenant: Rig) -> None:
    tenant.graph.tree.put(tenant.library, "f.bin", BODY)
    [row] = (await tenant.full()).rows
    tenant.graph.script("download", Answer(200, BODY, slow=0.3))
    assert await read(await tenant.provider().open(row)) == BODY


async def test_a_token_service_in_trouble_is_transient(tenant: Rig) -> None:
    for answer in (Answer(500, b"oops"), Answer(503, b""), Answer(drop=True), Answer(200, b"<html>")):
        for kind in ("openid", "token"):
            tenant.graph.script(kind, answer)
            with pytest.raises(Transient):
                await tenant.full()
            tenant.graph.clear()


async def test_repeated_page_is_no_progress(tenant: Rig) -> None:
    for i in range(6):
        tenant.graph.tree.put(tenant.library, f"{i}", b"x")
    provider = tenant.provider()
    first = await provider.list_page(tenant.path, None, 2)
    second = await provider.list_page(tenant.path, first.next_cursor, 2)
    here = next(raw for kind, raw, _ in reversed(tenant.graph.requests) if kind == "delta")
    # The page before, again: it leads to where we are.
    again = json.dumps({"value": [], "@odata.nextLink": f"{tenant.graph.authority}{here}"}).encode()
    tenant.graph.script("delta", Answer(200, again))
    with pytest.raises(Transient, match="leads to itself"):
        await provider.list_page(tenant.path, first.next_cursor, 2)
    ids, cursor = [*first.ids, *second.ids], second.next_cursor
    while cursor is not None:
        page = await provider.list_page(tenant.path, cursor, 2)
        ids += list(page.ids)
        cursor = page.next_cursor
    assert len(ids) == len(set(ids)) == 6


async def test_missing_page_is_not_the_end(tenant: Rig) -> None:
    for i in range(6):
        tenant.graph.tree.put(tenant.library, f"{i}", b"x")
    provider = tenant.provider()
    first = await provider.list_page(tenant.path, None, 2)
    tenant.graph.script("delta", Answer(404, error_json("itemNotFound")))
    with pytest.raises(Misconfigured):
        await provider.list_page(tenant.path, first.next_cursor, 2)
    rest, cursor = [], first.next_cursor
    while cursor is not None:
        page = await provider.list_page(tenant.path, cursor, 2)
        rest += list(page.ids)
        cursor = page.next_cursor
    assert len({*first.ids, *rest}) == 6
