"""Secrets of a connection appear nowhere: histories, logs, metrics, errors, API replies, the raw database."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import pytest

from deploy.local.client import ApiError, Json
from deploy.local.stack import Stack
from tests.chaos.rig import Landing, World, bodies, settled
from tests.end_to_end.leaks import database, files, histories, leaks, needles
from tests.simulators.s3_faults import Answer
from tests.simulators.s3_xml import error_xml

pytestmark = pytest.mark.slow

_PLANTED = {
    "access_key_id": "AKIAPLANTEDKEY7Q2ZX9",
    "secret_access_key": "planted/secret+Jx81mmQe55vTz0Lr",
    "session_token": "plantedSessionTokenWq83hhZy77Bn",
}


def _leaks(place: str, data: bytes) -> list[str]:
    return leaks(place, data, needles(_PLANTED.values()))


async def _failing_runs(here: World) -> list[Json]:
    """Runs that fail in every way that has a secret at hand; what the API said on the way."""
    said: list[Json] = []
    denied = Answer(403, error_xml("AccessDenied", f"not for {_PLANTED['access_key_id']}"))
    landing = await here.sync(here.fill(bodies(20)), connection_id=await here.connection(credentials=_credentials()))
    settled(await landing.first(), stored=20)
    here.s3.script("list", denied)
    said.append(await landing.again())
    here.s3.put(landing.source, "cut", b"x" * 100)
    here.s3.script("get", Answer(200, b"x" * 100, cut=10), times=3)
    said.append(await landing.again())
    here.s3.put(landing.source, "denied", b"y")
    here.s3.script("get", Answer(403, error_xml("SignatureDoesNotMatch", _PLANTED["session_token"])))
    said.append(await landing.again())
    # A server that checks signatures, and an endpoint that is none.
    for endpoint in (here.env["S3_ENDPOINT_URL"], "http://127.0.0.1:9"):
        body: Json = {
            "name": here.name("planted"), "provider_type": "s3",
            "provider_config": {"endpoint_url": endpoint, "use_ssl": False, "credentials": _credentials()},
        }  # fmt: skip
        with pytest.raises(ApiError) as refused:
            await here.api.call("POST", "/organizations/connections", body)
        said.append({"refused": str(refused.value)})
        made = await here.api.call("POST", "/organizations/connections", {**body, "test_before_save": False})
        said += [made, await here.api.call("POST", f"/organizations/connections/{made['connection_id']}/test")]
        wrong = await here.sync("no-such-bucket", connection_id=made["connection_id"])
        said += [await wrong.first(), *await _replies(here, wrong)]
    return said + await _replies(here, landing)


async def _replies(here: World, landing: Landing) -> list[Json]:
    said = [await here.api.call("GET", f"/organizations/connections/{landing.connection_id}")]
    said.append(await here.api.call("POST", "/organizations/connections/list", {}))
    patch = {"provider_config": {"endpoint_url": here.s3.url, "use_ssl": False, "credentials": {"type": "access_key"}}}
    said.append(await here.api.call("PATCH", f"/organizations/connections/{landing.connection_id}", patch))
    said += [await landing.sync.get(), await here.api.call("GET", f"{landing.path}/metrics")]
    said += [*await landing.jobs(), *await landing.letters(), *await landing.objects()]
    return said


def _credentials() -> dict[str, str]:
    return {"type": "access_key", **_PLANTED}


@pytest.mark.timeout(180)
async def test_planted_secrets_appear_nowhere(here: World, stack: Stack) -> None:
    said = await _failing_runs(here)
    found = [leak for reply in said for leak in _leaks("API reply", json.dumps(reply, ensure_ascii=False).encode())]
    told = [one async for one in histories(here.temporal)]
    assert len(told) > 5
    for name, data in told:
        found += _leaks(f"history of {name}", data)
    seen: dict[str, Any] = {}
    for name, dump in database(here.env["MONGODB_URI"]):
        seen[name] = len(dump)
        found += _leaks(f"MongoDB {name}", dump)
    assert seen["tidemark.connections"] > 0 and seen["local.oplog.rs"] > 0
    for name, data in await asyncio.to_thread(lambda: list(files(stack))):
        found += _leaks(name, data)
    async with aiohttp.ClientSession() as session:
        for number in range(stack.workers):
            async with session.get(f"http://127.0.0.1:{stack.ports.metrics + number}/metrics") as reply:
                text = await reply.read()
            assert b"tidemark_runs" in text or number
            found += _leaks(f"metrics of worker {number + 1}", text)
    assert found == []
    # The search is no blind one: what is not secret is found in the same places.
    names = [name for name, data in told if b"AccessDenied" in data]
    assert names, "the failure is in no history"
