"""Each call of the Drive provider times each fault: the outcome it must have.

Nothing is lost, doubled or removed unproven; throttling is no failure; an error names provider and upstream
code; and when the fault is over, the same place goes on and shows everything once.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from providers.base import Page
from providers.errors import Denied, Gone, Misconfigured, Permanent, ProviderError, Throttled, Transient
from providers.google_drive.exports import FORMATS
from tests.contract.faults import in_an_hour
from tests.contract.google_drive_rig import changes, connect, full_pass
from tests.contract.provider_suite import Places, read
from tests.simulators.google_drive import Answer, DriveSimulator


@pytest.fixture
def drive() -> Iterator[DriveSimulator]:
    with DriveSimulator.running() as simulator:
        for i in range(7):
            simulator.tree.put(f"a/d{i % 2}/f{i}", b"x" * 4000)
        simulator.tree.native("document", "a/doc", {FORMATS["docx"]: b"y" * 4000})
        yield simulator


FAULTS: dict[str, Answer] = {
    "timeout": Answer(delay=5.0, genuine=True),
    "reset": Answer(drop=True),
    "401": Answer.error(401, "authError", "Invalid Credentials"),
    "403": Answer.error(403, "forbidden"),
    "404": Answer.error(404, "notFound"),
    "410": Answer.error(410, "gone"),
    "429 seconds": Answer.error(429, "rateLimitExceeded", Retry_After="9"),
    "429 date": Answer.error(429, "rateLimitExceeded"),  # the date is set when the test runs: _in_an_hour
    "500": Answer.error(500, "backendError"),
    "503": Answer(503, b"<html>unavailable"),
    "truncated": Answer(genuine=True, cut=20),
    "malformed": Answer(200, b"<html>login", {"Content-Type": "text/html"}),
    "blank": Answer(200, b""),
    "foreign": Answer(200, b'{"hello": "world"}'),
}
CALLS = (
    "about.get",
    "files.get",
    "files.list",
    "changes.getStartPageToken",
    "changes.list",
    "files.media",
    "files.export",
)
_STOPS = (Denied, Misconfigured)
_SOURCE: dict[str, type[ProviderError] | tuple[type[ProviderError], ...]] = {
    "401": Denied,
    "403": Denied,
    "404": (*_STOPS, Transient),
    "410": Transient,
    "429 seconds": Throttled,
    "429 date": Throttled,
}
_FILE: dict[str, type[ProviderError] | tuple[type[ProviderError], ...]] = {
    **_SOURCE,
    "403": Permanent,
    "404": Gone,
    "410": Gone,
}


def _in_an_hour(answer: Answer) -> Answer:
    """The answer with a Retry-After that is a date, an hour from now."""
    return replace(answer, headers={**answer.headers, "Retry-After": in_an_hour()})


async def _do(call: str, drive: DriveSimulator, provider: Any, places: Places, row: Any) -> Page | None:
    """The operation in which a call occurs first, by id, so that a scripted answer meets the call that is meant."""
    folder = drive.tree.folder("a")
    if call == "about.get":
        await provider.check()
        return None
    if call == "changes.list":
        changed: Page = await provider.list_changes(folder, places, None, 100)
        return changed
    if call in {"files.media", "files.export"}:
        await read(await provider.open(row[call]))
        return None
    listed: Page = await provider.list_page(folder, None, 100)
    return listed


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("call", CALLS)
async def test_fault(drive: DriveSimulator, call: str, fault: str) -> None:
    provider = connect(drive, read_timeout=0.3)
    places, folder = Places(), drive.tree.folder("a")
    known = await full_pass(provider, folder, places)
    rows = [page.row(i) for page in known for i in range(len(page.ids))]
    row = {
        "files.export": next(one for one in rows if "x" in one.locator),
        "files.media": next(one for one in rows if "x" not in one.locator),
    }
    kept = dict(places.kept)
    before = drive.counts[call]
    # A reset of a kept connection before any byte says nothing of the server: it is met once more on a new one.
    answer = _in_an_hour(FAULTS[fault]) if fault == "429 date" else FAULTS[fault]
    of_file = call in {"files.media", "files.export"}
    # Small content that is cut is asked for once more.
    twice = fault in {"401", "reset"} or (of_file and fault == "truncated")
    drive.script(call, answer, times=2 if twice else 1)
    if (call, fault) == ("files.export", "500"):
        drive.script("exportLink", FAULTS[fault])
    expected = (_FILE if of_file else _SOURCE).get(fault, Transient)
    if call == "files.export" and fault in {"malformed", "foreign"}:
        pass  # any bytes may be a document's: only what was announced and what Drive says of it can be checked
    else:
        with pytest.raises(expected) as caught:
            await _do(call, drive, provider, places, row)
        error = caught.value
        assert error.provider == "google_drive" and str(error).startswith("google_drive")
        if fault[0].isdigit() and not (call == "files.list" and fault == "404"):
            assert error.status == int(fault[:3])
        if isinstance(error, Throttled):
            assert error.retry_after == 9 or 3500 < (error.retry_after or 0) <= 3600
    # A provider asks once: 401 is asked again with a new token, a large export by another way.
    assert drive.counts[call] - before <= 2
    assert places.kept == kept
    drive.clear_scripts()
    again = await full_pass(provider, folder)
    assert sorted(id_ for page in again for id_ in page.ids) == sorted(one.id for one in rows)
    assert again[-1].complete
    assert (await changes(provider, folder, places))[-1].complete
    await provider.close()


async def _in_the_middle(drive: DriveSimulator, answer: Callable[[list[str]], Answer]) -> ProviderError:
    provider = connect(drive)
    folder = drive.tree.folder("a/d0")
    first = await provider.list_page(folder, None, 2)
    drive.script("files.list", answer(list(first.ids)))
    try:
        with pytest.raises(ProviderError) as caught:
            await provider.list_page(folder, first.next_cursor, 2)
        rest: list[str] = []
        cursor = first.next_cursor
        while cursor:
            page = await provider.list_page(folder, cursor, 2)
            rest += page.ids
            cursor = page.next_cursor
        assert len({*first.ids, *rest}) == len([*first.ids, *rest]) == 4
        return caught.value
    finally:
        await provider.close()


def _page(drive: DriveSimulator, ids: list[str], token: str) -> Answer:
    files = ",".join(
        f'{{"id":"{i}","name":"n","mimeType":"text/plain","parents":["{drive.tree.folder("a/d0")}"]}}' for i in ids
    )
    return Answer(200, f'{{"nextPageToken":"{token}","files":[{files}]}}'.encode())


async def test_repeated_page(drive: DriveSimulator) -> None:
    error = await _in_the_middle(drive, lambda ids: _page(drive, ids, "another"))
    assert isinstance(error, Transient) and error.reason == "listing_incomplete"


async def test_page_of_another_folder(drive: DriveSimulator) -> None:
    other = drive.tree.folder("a/d1")
    body = f'{{"files":[{{"id":"z","name":"n","mimeType":"text/plain","parents":["{other}"]}}]}}'.encode()
    error = await _in_the_middle(drive, lambda ids: Answer(200, body))
    assert isinstance(error, Transient) and error.reason == "listing_incomplete"


async def test_missing_page_of_an_old_token_begins_the_folder_again(drive: DriveSimulator) -> None:
    provider = connect(drive)
    folder = drive.tree.folder("a/d0")
    first = await provider.list_page(folder, None, 2)
    drive.script("files.list", Answer.error(400, "invalid", "Invalid Value"))
    seen, cursor, page = set(first.ids), first.next_cursor, first
    while cursor:
        page = await provider.list_page(folder, cursor, 2)
        seen |= set(page.ids)
        cursor = page.next_cursor
    assert len(seen) == 4 and page.complete
    await provider.close()


async def test_a_change_page_without_a_token_is_no_page(drive: DriveSimulator) -> None:
    provider, places = connect(drive), Places()
    await full_pass(provider, drive.tree.folder("a"), places)
    drive.script("changes.list", Answer(200, b'{"changes":[]}'))
    with pytest.raises(Transient):
        await provider.list_changes(drive.tree.folder("a"), places, None, 10)
    await provider.close()


async def test_slow_body_is_given_up_when_nothing_comes(drive: DriveSimulator) -> None:
    provider = connect(drive, read_timeout=0.3)
    [page] = await full_pass(provider, drive.tree.folder("a/d0"))
    drive.script("files.media", Answer(delay=-1))
    with pytest.raises(Transient) as caught:
        await provider.open(page.row(0))
    assert caught.value.reason == "network_timeout"
    await provider.close()


async def test_a_cursor_of_something_else_is_refused(drive: DriveSimulator) -> None:
    provider = connect(drive)
    operations: list[Callable[[], Awaitable[Any]]] = [
        lambda: provider.list_page("/a", "nonsense", 10),
        lambda: provider.list_changes("/a", Places(), '{"unknown":1}', 10),
    ]
    for operation in operations:
        with pytest.raises(Transient) as caught:
            await operation()
        assert caught.value.reason == "cursor_refused"
    await provider.close()
