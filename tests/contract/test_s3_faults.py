"""Each call of the S3 and Tigris providers times each fault: the outcome it must have."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from providers import ProviderSettings, open_provider
from providers.base import Provider, SourceObject
from providers.errors import Denied, Gone, Misconfigured, Permanent, ProviderError, Throttled, Transient
from tests.contract.faults import in_an_hour
from tests.contract.provider_suite import pages, read, walk
from tests.simulators.s3_faults import Answer, FaultyS3
from tests.simulators.s3_xml import error_xml, listing_xml

BODY = bytes(range(251)) * 400
FAULTS: dict[str, Answer] = {
    "timeout": Answer(delay=3.0),
    "reset": Answer(drop=True),
    "401": Answer(401),
    "403": Answer(403, error_xml("AccessDenied")),
    "404": Answer(404),
    "410": Answer(410),
    "429 seconds": Answer(429, headers={"Retry-After": "17"}),
    "429 date": Answer(429),
    "500": Answer(500, error_xml("InternalError")),
    "503": Answer(503, error_xml("SlowDown"), {"Retry-After": "17"}),
    "truncated": Answer(200, b"<ListBucketResult>" + b" " * 200_000, {"ETag": '"x"'}, cut=1000),
    "malformed": Answer(200, b"<html>proxy</html>", {"Content-Type": "text/html"}),
}
_SOURCE: dict[str, type[ProviderError] | None] = {
    "401": Denied,
    "403": Denied,
    "404": Misconfigured,
    "410": Misconfigured,
    "429 seconds": Throttled,
    "429 date": Throttled,
    "503": Throttled,
}
# Who may not list the account's buckets has shown that its keys are known; more is not needed.
_ACCOUNT: dict[str, type[ProviderError] | None] = {**_SOURCE, "403": None, "malformed": Misconfigured}
_OBJECT: dict[str, type[ProviderError] | None] = {**_SOURCE, "403": Permanent, "404": Gone, "410": Gone}
CALLS = {"buckets": _ACCOUNT, "list": _SOURCE, "get": _OBJECT, "tagging": _OBJECT, "head": _OBJECT}


@pytest.fixture(params=["s3", "tigris"])
async def provider(s3: FaultyS3, request: Any) -> Any:
    settings = ProviderSettings(allow_private_endpoints=True, read_timeout=0.5)
    keys = {"access_key_id": "any", "secret_access_key": "planted"}
    made = open_provider(request.param, {"endpoint_url": s3.url}, keys, settings)
    yield made
    await made.close()


async def act(call: str, provider: Provider, row: SourceObject) -> None:
    """The operation in which a call occurs."""
    if call == "buckets":
        await provider.check()
    elif call == "list":
        await provider.list_page("b", None, 100)
    elif call == "get":
        await read(await provider.open(row))
    else:
        await provider.attributes(row, tags=call == "tagging", metadata=call == "head")


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("call", CALLS)
async def test_fault(s3: FaultyS3, provider: Provider, call: str, fault: str) -> None:
    for i in range(5):
        s3.put("b", f"d/{i}", BODY)
    rows = await walk(provider, "b")
    answer = FAULTS[fault]
    if fault == "429 date":
        answer = replace(answer, headers={"Retry-After": in_an_hour()})
    if call == "head" and fault in {"truncated", "malformed"}:
        answer = Answer(200)  # it has no body: what is missing is the ETag
    if call == "head" and fault in {"403", "404"}:
        s3.script("get", answer)  # which is asked for the reason
    before = s3.counts[call]
    # A kept connection that is closed before any byte says nothing of the store: it is met once more on a new one.
    # Small content that is cut is asked for once more.
    s3.script(call, answer, times=2 if fault == "reset" or (call, fault) == ("get", "truncated") else 1)
    expected = CALLS[call].get(fault, Transient)
    if expected is None:
        await act(call, provider, rows[0])
        return
    with pytest.raises(expected) as caught:
        await act(call, provider, rows[0])
    error = caught.value
    assert str(error).startswith(provider.name) and error.provider == provider.name
    assert "planted" not in str(error) and "Signature" not in str(error)
    assert call == "buckets" or "b" in error.path
    if fault[0].isdigit():
        assert error.status == int(fault[:3]) and fault[:3] in str(error)
    if isinstance(error, Throttled):
        assert error.retry_after == 17 or 3500 < (error.retry_after or 0) <= 3600
    assert s3.counts[call] - before <= 2  # nothing is tried again by itself
    s3.clear_scripts()
    again = await pages(provider, "b", 2)
    assert [id_ for page in again for id_ in page.ids] == [row.id for row in rows] and again[-1].complete
    assert await read(await provider.open(rows[0])) == BODY


async def test_slow_body(s3: FaultyS3, provider: Provider) -> None:
    s3.put("b", "k", BODY)
    [row] = await walk(provider, "b")
    etag = {"ETag": f'"{s3.buckets["b"]["k"].etag}"'}
    s3.script("get", Answer(200, BODY, etag, slow=0.2))
    assert await read(await provider.open(row)) == BODY
    s3.script("get", Answer(200, BODY, etag, slow=3))  # longer than we wait for the next byte
    with pytest.raises(Transient) as caught:
        await read(await provider.open(row))
    assert caught.value.reason == "network_timeout"
    assert await read(await provider.open(row)) == BODY


async def _in_the_middle(s3: FaultyS3, provider: Provider, answer: Answer) -> ProviderError:
    """What the second page's fault says; the walk then goes on from where it was, and shows everything once."""
    for i in range(7):
        s3.put("b", f"{i}", b"x")
    first = await provider.list_page("b", None, 3)
    s3.script("list", answer)
    with pytest.raises(ProviderError) as caught:
        await provider.list_page("b", first.next_cursor, 3)
    rest = await pages(provider, "b", 3, first.next_cursor)
    assert [*first.ids, *(id_ for page in rest for id_ in page.ids)] == [f"b/{i}" for i in range(7)]
    assert rest[-1].complete
    return caught.value


async def test_repeated_page(s3: FaultyS3, provider: Provider) -> None:
    shown = [(f"{i}", s3.put("b", f"{i}", b"x")) for i in range(3)]
    error = await _in_the_middle(s3, provider, Answer(body=listing_xml("b", "", shown, "3", encoded=True)))
    assert isinstance(error, Transient) and error.reason == "listing_incomplete"


@pytest.mark.parametrize(
    "answer",
    [
        Answer(404, error_xml("NoSuchKey")),
        Answer(200, b""),
        Answer(200, b"<ListBucketResult><KeyCount>3</KeyCount><IsTruncated>true</IsTruncated></ListBucketResult>"),
        Answer(200, b"<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>"),
    ],
)
async def test_missing_page(s3: FaultyS3, provider: Provider, answer: Answer) -> None:
    error = await _in_the_middle(s3, provider, answer)
    assert isinstance(error, Transient | Misconfigured)
