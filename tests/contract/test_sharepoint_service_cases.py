"""The hard cases of Graph as a service: throttling, tokens, downloads, files that are not what they are listed as."""

from __future__ import annotations

import asyncio
import random
import re
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from providers.base import SourceObject, content_part
from providers.errors import Changed, Denied, Permanent, Throttled, Transient
from providers.sharepoint.quickxor import QuickXorHash
from tests.contract.provider_suite import read
from tests.contract.sharepoint_rig import Rig
from tests.simulators.graph import Answer
from tests.simulators.graph_json import error_json

BODY = random.Random(7).randbytes(5_000_000)
OFFICE = "report.docx"


async def one(tenant: Rig, name: str = "f.bin", body: bytes = BODY) -> SourceObject:
    tenant.graph.tree.put(tenant.library, name, body)
    return (await tenant.full()).rows[0]


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("form", ["seconds", "date"])
async def test_m19_every_task_waits_as_long_as_it_is_told(tenant: Rig, status: int, form: str) -> None:
    row = await one(tenant)
    when = "30" if form == "seconds" else format_datetime(datetime.now(UTC) + timedelta(seconds=31), usegmt=True)
    provider = tenant.provider()
    tenant.graph.script("delta", Answer(status, error_json("activityLimitReached"), {"Retry-After": when}))
    with pytest.raises(Throttled) as error:
        await tenant.full(provider)
    assert 28 < (error.value.retry_after or 0) <= 31
    tenant.graph.clear()
    # Others of the same application, also of another connection, do not even ask meanwhile.
    for other in (provider, tenant.provider()):
        with pytest.raises(Throttled):
            await other.open(row)
    assert tenant.graph.counts["item"] == 0


async def test_m20_a_low_budget_on_a_success_slows_before_the_refusal(tenant: Rig) -> None:
    for i in range(6):
        tenant.graph.tree.put(tenant.library, f"{i}", b"x")
    provider = tenant.provider()
    first = await provider.list_page(tenant.path, None, 2)
    tenant.graph.faults.headers = {"RateLimit-Limit": "1200", "RateLimit-Remaining": "40", "RateLimit-Reset": "7"}
    second = await provider.list_page(tenant.path, first.next_cursor, 2)
    assert len(second.ids) == 2  # what was answered is not lost
    tenant.graph.clear()
    with pytest.raises(Throttled) as error:
        await provider.list_page(tenant.path, second.next_cursor, 2)
    assert 6 < (error.value.retry_after or 0) <= 7 and not tenant.graph.counts


async def test_m20_the_larger_of_retry_after_and_reset_counts(tenant: Rig) -> None:
    headers = {"Retry-After": "3", "RateLimit-Reset": "20"}
    tenant.graph.script("delta", Answer(429, error_json("activityLimitReached"), headers))
    with pytest.raises(Throttled) as error:
        await tenant.full()
    assert 19 < (error.value.retry_after or 0) <= 20


async def test_m22_a_used_up_budget_waits_long_and_says_why(tenant: Rig) -> None:
    provider = tenant.provider()
    tenant.graph.script("delta", Answer(429, error_json("activityLimitReached"), {"Retry-After": "40000"}))
    with pytest.raises(Throttled, match="resource units are used up until the next window") as error:
        await tenant.full(provider)
    assert (error.value.retry_after or 0) > 39_000


async def test_m22_a_blocked_application_is_not_asked_for_ever(tenant: Rig) -> None:
    from providers.sharepoint.gate import Gate  # noqa: PLC0415 - the gate alone, so that no test waits

    gate = Gate()
    waits = [gate.refused(503, "serviceNotAvailable", {}, path="p") for _ in range(8)]
    assert [error.retry_after for error in waits[:7]] == [10.0] * 7
    assert waits[7].retry_after == 3600 and "blocked" in str(waits[7])


async def test_m23_no_permission_is_ever_asked_for(tenant: Rig) -> None:
    row = await one(tenant)
    await read(await tenant.provider().open(row))
    await tenant.changes()
    assert tenant.graph.counts["permissions"] == 0
    assert not [raw for _, raw, _ in tenant.graph.requests if "permission" in raw]
    last = [raw for kind, raw, _ in tenant.graph.requests if kind == "delta"][-1]
    assert "token=" in last


async def test_m24_every_call_has_the_user_agent_that_microsoft_asks_for(tenant: Rig) -> None:
    await read(await tenant.provider().open(await one(tenant)))
    agents = {headers["user-agent"] for kind, _, headers in tenant.graph.requests if kind not in {"token", "openid"}}
    assert len(agents) == 1 and re.fullmatch(r"ISV\|\w+\|\w+/[\d.]+", agents.pop())


async def test_m26_a_token_that_dies_is_renewed_without_a_storm(tenant: Rig) -> None:
    row = await one(tenant)
    provider = tenant.provider()
    await read(await provider.open(row))
    tenant.graph.tokens.revoke()
    tenant.graph.clear()
    bodies = await asyncio.gather(*(provider.open(row) for _ in range(20)))
    assert [len(await read(body)) for body in bodies] == [len(BODY)] * 20
    assert tenant.graph.counts["token"] == 1
    assert tenant.graph.counts["item"] <= 40


async def test_m26_a_token_is_renewed_before_it_ends(tenant: Rig) -> None:
    tenant.graph.tokens.lifetime = 2
    provider = tenant.provider()
    await tenant.full(provider)
    await asyncio.sleep(1.2)
    await tenant.full(provider)
    assert tenant.graph.counts["token"] == 2
    unauthorised = [1 for kind, _, _ in tenant.graph.requests if kind == "delta"]
    assert len(unauthorised) == 2  # each was accepted at once


async def test_m26_a_token_that_is_always_refused_ends_in_a_refusal(tenant: Rig) -> None:
    provider = tenant.provider()
    refusal = Answer(401, error_json("InvalidAuthenticationToken", "Lifetime validation failed"))
    tenant.graph.script("delta", refusal, times=9)
    for _ in range(2):
        with pytest.raises(Denied):
            await tenant.full(provider)
    assert tenant.graph.counts["token"] <= 2 and tenant.graph.counts["delta"] <= 4


@pytest.mark.parametrize("name", [OFFICE, "photo.HEIC"])
@pytest.mark.parametrize("large", [False, True])
async def test_m29_bytes_that_differ_are_taken_once_and_flagged(tenant: Rig, name: str, large: bool) -> None:
    listed = BODY if large else BODY[:5000]
    row = await one(tenant, name, listed)
    item = tenant.library.find(name)
    assert item is not None
    tenant.graph.faults.serve[item.id] = listed + b"with properties written in"
    content = await tenant.provider().open(row)
    assert await read(content) == listed + b"with properties written in"
    assert content.attributes is not None and content.attributes.metadata["bytes_differ_from_listing"] == "true"
    assert content.source.fingerprint == row.fingerprint
    assert (await tenant.full()).rows[0].fingerprint == row.fingerprint  # not fetched again


@pytest.mark.parametrize("served", [BODY[:-1] + b"!", BODY + b"x", BODY[:-7]])
async def test_bytes_of_other_files_have_to_be_those_listed(tenant: Rig, served: bytes) -> None:
    row = await one(tenant)
    tenant.graph.faults.serve[row.locator["item"]] = served
    with pytest.raises(Transient) as error:
        await read(await tenant.provider().open(row))
    assert error.value.reason in {"hash_differs", "size_differs"}


async def test_m31_a_notebook_is_skipped_with_its_parts(tenant: Rig) -> None:
    tenant.graph.tree.put(tenant.library, "Notes", kind="package")
    tenant.graph.tree.put(tenant.library, "Notes/section.one", b"x")
    tenant.graph.tree.put(tenant.library, "a.txt", b"x")
    seen = await tenant.full()
    assert seen.paths == ["a.txt"]
    assert sorted(seen.skips.values()) == ["onenote_notebook", "package_part"]
    assert (await tenant.full(limit=1)).paths == ["a.txt"]


async def test_m31_a_file_that_alone_answers_503_is_not_waited_for_without_end(tenant: Rig) -> None:
    row = await one(tenant)
    provider = tenant.provider()
    tenant.graph.script("download", Answer(503, b"", {"Retry-After": "0"}), times=9)
    outcomes = []
    for _ in range(5):
        with pytest.raises((Throttled, Transient)) as error:
            await provider.open(row)
        outcomes.append(error.type)
        provider._graph.gate._closed_until = 0.0  # type: ignore[attr-defined]
    assert outcomes == [Throttled] * 4 + [Transient]


async def test_m32_malware_is_quarantined_unless_it_is_asked_for(tenant: Rig) -> None:
    shown = {"malware": {"description": "EICAR"}}
    tenant.graph.tree.put(tenant.library, "bad.exe", b"x", shown=shown)
    [row] = (await tenant.full()).rows
    tenant.graph.clear()
    with pytest.raises(Permanent) as error:
        await tenant.provider().open(row)
    assert error.value.reason == "quarantined" and not tenant.graph.counts
    path = tenant.provider().narrow(tenant.path, {"allow_malware": True})
    [row] = (await tenant.full(path=path)).rows
    assert await read(await tenant.provider().open(row)) == b"x"
    clean = (await one(tenant, "bad.exe", b"y")).fingerprint
    assert content_part(clean) != content_part(row.fingerprint)


async def test_m32_malware_found_after_listing_is_quarantined(tenant: Rig) -> None:
    row = await one(tenant)
    tenant.graph.tree.show(tenant.library, "f.bin", malware={})
    with pytest.raises(Permanent) as error:
        await tenant.provider().open(row)
    assert error.value.reason == "quarantined"
    tenant.graph.script("item", Answer(403, error_json("accessDenied", "no", "malwareDetected")))
    with pytest.raises(Permanent) as error:
        await tenant.provider().open(row)
    assert error.value.reason == "quarantined"


@pytest.mark.parametrize("kind", ["item", "download"])
async def test_m33_a_label_encrypted_file_is_skipped_with_the_reason(tenant: Rig, kind: str) -> None:
    row = await one(tenant)
    tenant.graph.script(kind, Answer(423, error_json("resourceLocked", "The file is locked")))
    with pytest.raises(Permanent) as error:
        await tenant.provider().open(row)
    assert error.value.reason == "locked_or_label_encrypted"


async def test_m33_labels_can_be_excluded(tenant: Rig) -> None:
    tenant.graph.tree.put(tenant.library, "a", b"x", shown={"sensitivityLabel": {"id": "LABEL-1"}})
    tenant.graph.tree.put(tenant.library, "b", b"x", shown={"sensitivityLabel": {"id": "label-2"}})
    path = tenant.provider().narrow(tenant.path, {"exclude_sensitivity_labels": ["label-1"]})
    seen = await tenant.full(path=path)
    assert (seen.paths, list(seen.skips.values())) == (["b"], ["label_excluded"])


@pytest.mark.parametrize("cuts", [1, 2, 3])
async def test_a_cut_download_goes_on_where_it_stopped(tenant: Rig, cuts: int) -> None:
    row = await one(tenant)
    tenant.graph.faults.cut_at[row.locator["item"]] = [1_200_000] * cuts
    assert await read(await tenant.provider().open(row)) == BODY
    ranges = [headers.get("range") for kind, _, headers in tenant.graph.requests if kind == "download"]
    assert len(ranges) == cuts + 1 and all(ranges[1:]) and len(set(ranges)) == cuts + 1


async def test_a_download_that_is_cut_time_and_again_is_given_up(tenant: Rig) -> None:
    row = await one(tenant)
    tenant.graph.faults.cut_at[row.locator["item"]] = [100_000] * 9
    with pytest.raises(Transient) as error:
        await read(await tenant.provider().open(row))
    assert error.value.reason == "cut"


async def test_a_file_that_changes_while_it_is_read_is_changed(tenant: Rig) -> None:
    row = await one(tenant)
    tenant.graph.faults.cut_at[row.locator["item"]] = [2_000_000]
    content = await tenant.provider().open(row)
    tenant.graph.tree.put(tenant.library, "f.bin", b"y" * len(BODY))
    with pytest.raises(Changed):
        await read(content)


async def test_an_expired_download_address_is_replaced(tenant: Rig) -> None:
    row = await one(tenant)
    for status in (401, 403, 404, 410):
        tenant.graph.script("download", Answer(status))
        assert await read(await tenant.provider().open(row)) == BODY


async def test_an_item_without_an_address_is_read_by_its_content(tenant: Rig) -> None:
    row = await one(tenant)
    tenant.graph.faults.no_download_urls = True
    assert await read(await tenant.provider().open(row)) == BODY
    assert not [1 for kind, _, headers in tenant.graph.requests if kind == "download" and "authorization" in headers]


async def test_no_download_address_ever_leaves_the_provider(
    tenant: Rig, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    row = await one(tenant)
    content = await tenant.provider().open(row)
    shown = [repr(row.to_document()), repr(content.attributes), repr(tenant.positions.kept)]
    for answer in (Answer(500), Answer(drop=True), Answer(200, BODY, cut=100), Answer(403), Answer(302)):
        tenant.graph.script("download", answer, answer, answer, answer)
        with pytest.raises((Transient, Permanent)) as error:
            await read(await tenant.provider().open(row))
        shown += [str(error.value), repr(error.value.__cause__)]
        tenant.graph.clear()
    text = "\n".join([*shown, caplog.text, *capsys.readouterr()])
    assert "tempauth" not in text and "/download/" not in text


async def test_m40_a_dead_refresh_token_asks_to_authorise_again(tenant: Rig) -> None:
    tenant.credentials |= {"type": "delegated", "refresh_token": "refresh"}
    tenant.graph.tree.put(tenant.library, "a", b"x")
    assert (await tenant.full()).paths == ["a"]
    for code in ("50076", "700082"):
        tenant.graph.tokens.refuse = code
        with pytest.raises(Denied, match="re-authorise") as error:
            await tenant.full()
        assert (error.value.code, error.value.status, error.value.reason) == (f"AADSTS{code}", 400, "reauthorise")
        assert "not found" not in str(error.value)


def test_quick_xor_hash_is_that_of_others() -> None:
    """Known values of Microsoft's own code (as in rclone's tests)."""
    for text, known in ((b"", "AAAAAAAAAAAAAAAAAAAAAAAAAAA="), (b"hello", "aCgDG9jwBgAAAAAABQAAAAAAAAA=")):
        made = QuickXorHash()
        made.update(text)
        assert made.digest() == known


def test_quick_xor_hash_does_not_mind_how_bytes_come() -> None:
    whole, parts = QuickXorHash(), QuickXorHash()
    whole.update(BODY)
    began, step = time.monotonic(), 1
    position = 0
    while position < len(BODY):
        parts.update(BODY[position : position + step])
        position, step = position + step, step * 3 % 70_001 + 1
    assert parts.digest() == whole.digest() and time.monotonic() - began < 5
