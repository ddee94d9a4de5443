"""`make up SIMULATORS=1`: a connection for each provider, with something to sync, and files to change from outside."""

from __future__ import annotations

import ssl
import urllib.request
from collections.abc import Callable

import pytest

from deploy.local.client import Api
from deploy.local.stack import Stack

SAMPLE = {"s3": 20, "tigris": 20, "google_drive": 41, "sharepoint": 41, "snowflake": 200}


@pytest.mark.slow
async def test_each_provider_can_be_tried_at_once(make_stack: Callable[..., Stack]) -> None:
    stack = make_stack(workers=1, simulators=True)
    env = stack.up()
    async with Api(env) as api:
        properties = {"content": {"type": "text"}}
        for provider, count in SAMPLE.items():
            connection = env[f"SIMULATED_{provider.upper()}_CONNECTION"]
            assert (await api.call("POST", f"/organizations/connections/{connection}/test"))["success"], provider
            bucket = await api.create_bucket(f"sample-{provider}", properties)
            sync = await api.create_sync(bucket, connection, env[f"SIMULATED_{provider.upper()}_PATH"])
            job = await sync.watch(await sync.newest_job(), seconds=60)
            assert (job["status"], await sync.object_count()) == ("completed", count), (provider, job)
            if provider == "sharepoint":
                put(env, "Reports/new.txt")
                await sync.watch(await sync.trigger(full=False), seconds=60)
                assert await sync.object_count() == count + 1
    stack.up()  # once more: nothing is started, nothing is made twice
    assert stack.env["SIMULATED_S3_CONNECTION"] == env["SIMULATED_S3_CONNECTION"]


def put(env: dict[str, str], path: str) -> None:
    """As a person would by curl."""
    context = ssl.create_default_context(cafile=env["SIMULATED_SHAREPOINT_CA"])
    target = f"{env['SIMULATED_SHAREPOINT_URL']}/simulator/files/{path}"
    with urllib.request.urlopen(urllib.request.Request(target, b"hello", method="PUT"), context=context) as reply:
        assert reply.status == 200
