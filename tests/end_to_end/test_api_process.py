"""`starter.py serve` as a process, and the API when what it needs is away."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from typing import Any

import aiohttp
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowHandle
from temporalio.service import RPCError

from deploy.local.paths import CHECKOUT
from models.scope import Role, Scope
from models.settings import Settings
from tests.api_rig import Key, Rig, RunningRig, environment

SCHEMA: dict[str, Any] = {"properties": {}}
CONFIG = {"credentials": {"type": "access_key", "access_key_id": "a", "secret_access_key": "b"}}


async def bucket_and_connection(rig: Rig, key: Key) -> tuple[str, str]:
    _, bucket, _ = await rig.ask("POST", "/v1/buckets", key, body={"bucket_name": "b", "bucket_schema": SCHEMA})
    body = {"name": "c", "provider_type": "s3", "provider_config": CONFIG}
    _, connection, _ = await rig.ask("POST", "/v1/organizations/connections", key, body=body)
    return bucket["bucket_id"], connection["connection_id"]


async def runs(handle: WorkflowHandle[Any, Any]) -> bool:
    try:
        return (await handle.describe()).status == WorkflowExecutionStatus.RUNNING
    except RPCError:
        return False


async def test_without_a_worker_a_command_is_answered_503_in_time(settings: Settings, temporal_client: Client) -> None:
    hasty = settings.model_copy(update={"api_request_timeout_seconds": 1.0})
    async with RunningRig(hasty, temporal_client) as rig:
        key = await rig.key()
        bucket_id, connection_id = await bucket_and_connection(rig, key)
        base = f"/v1/buckets/{bucket_id}/syncs"
        body = {"connection_id": connection_id, "source_path": "source"}
        status, sync, _ = await rig.ask("POST", base, key, body=body)
        assert status == 200 and sync["status"] == "PENDING"
        began = time.monotonic()
        status, reply, headers = await rig.ask("POST", f"{base}/{sync['sync_config_id']}/pause", key)
        assert status == 503 and time.monotonic() - began < 5
        assert reply["error"]["code"] == "no_worker" and hasty.workflow_queue in reply["error"]["message"]
        assert headers["Retry-After"] == "5" and reply["error"]["details"]["retry_after_seconds"] == 5
        for name in ("sync", "connection"):
            identifier = sync["sync_config_id"] if name == "sync" else connection_id
            await temporal_client.get_workflow_handle(f"{name}/{identifier}").terminate()


async def test_without_temporal_nothing_is_left_behind(settings: Settings) -> None:
    nowhere = await Client.connect("127.0.0.1:9", lazy=True)
    hasty = settings.model_copy(update={"api_request_timeout_seconds": 1.0})
    async with RunningRig(hasty, nowhere) as rig:
        key = await rig.key()
        bucket_id, connection_id = await bucket_and_connection(rig, key)
        body = {"connection_id": connection_id, "source_path": "source"}
        status, _, headers = await rig.ask("POST", f"/v1/buckets/{bucket_id}/syncs", key, body=body)
        assert status == 503 and "Retry-After" in headers
        assert await rig.database["syncs"].count_documents({}) == 0
        status, reply, _ = await rig.ask("GET", "/v1/health")
        assert status == 503 and reply["error"]["details"]["components"]["temporal"] == "unreachable"
        assert (await rig.ask("GET", "/v1/health/liveness"))[0] == 200


async def test_serve_starts_missing_workflows_and_stops_on_sigterm(
    settings: Settings, temporal_address: str, temporal_client: Client
) -> None:
    async with RunningRig(settings, temporal_client) as rig:
        key = await rig.key(Role.ADMIN)
        scope = Scope(key.internal_id, key.namespace_id)
        fields = {"connection_id": "conn_x", "source_type": "s3", "source_path": "source"}
        alive = await rig.services.syncs.create(scope, "bkt_x", fields, user_id="usr_x")
        deleted = await rig.services.syncs.create(scope, "bkt_x", fields, user_id="usr_x")
        await rig.services.syncs.delete(scope, deleted["_id"])
        paused = await rig.services.syncs.create(scope, "bkt_x", fields, user_id="usr_x")
        await rig.services.syncs.configure(scope, paused["_id"], {"is_active": False, "paused": True})
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "starter.py",
        "serve",
        cwd=CHECKOUT,
        env=environment(settings, temporal_address),
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with aiohttp.ClientSession() as session, asyncio.timeout(30):
            while True:
                try:
                    async with session.get(f"{settings.public_url}/v1/health") as reply:
                        assert reply.status == 200
                        break
                except aiohttp.ClientConnectionError:
                    await asyncio.sleep(0.2)
        handle = temporal_client.get_workflow_handle(f"sync/{alive['_id']}")
        async with asyncio.timeout(15):
            while not await runs(handle):
                await asyncio.sleep(0.2)
        for other in (deleted, paused):
            assert not await runs(temporal_client.get_workflow_handle(f"sync/{other['_id']}"))
    finally:
        process.send_signal(signal.SIGTERM)
        _, log = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 0, log.decode()
    assert b"listening" in log and b"Traceback" not in log
    await handle.terminate()
