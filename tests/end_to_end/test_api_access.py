"""Who may call what: every operation with no key, a weak key and a stranger's key; and what the log says."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from typing import Any

import mixpeek
import pytest
import pytest_asyncio
import structlog
from temporalio.client import Client

from api.operations import Operation
from api.server import OPERATIONS
from models.scope import Role, Scope
from models.settings import Settings
from tests.api_rig import Key, Rig, RunningRig, call

GUARDED = [one for one in OPERATIONS if one.role is not None]
SECRETS = {"type": "access_key", "access_key_id": "AKIAPLANTED", "secret_access_key": "planted-secret"}
BODIES: dict[str, Any] = {
    "bulk_mark_dlq_permanently_failed_buckets_id_syncs_config": {"error_types": ["x"]},
    "add_objects_to_batch_buckets_batches": {"object_ids": ["obj_x"]},
    "create_bucket": {"bucket_name": "x", "bucket_schema": {"properties": {}}},
    "create_sync_configuration_buckets": {"connection_id": "conn_x", "source_path": "s"},
    "create_storage_connection_organizations": {
        "name": "x", "provider_type": "s3", "provider_config": {"credentials": SECRETS}, "test_before_save": False,
    },
}  # fmt: skip


@pytest_asyncio.fixture(loop_scope="session")
async def rig(settings: Settings, temporal_client: Client) -> AsyncIterator[Rig]:
    async with RunningRig(settings, temporal_client) as running:
        yield running


def body_of(operation: Operation) -> Any:
    return BODIES.get(operation.operation_id, {} if operation.method in {"PATCH", "PUT", "POST"} else None)


async def owned(rig: Rig, key: Key) -> dict[str, str]:
    """One of everything, of one organization."""
    _, bucket, _ = await rig.ask("POST", "/v1/buckets", key, body=BODIES["create_bucket"])
    _, connection, _ = await rig.ask(
        "POST", "/v1/organizations/connections", key, body=BODIES["create_storage_connection_organizations"]
    )
    scope = {"internal_id": key.internal_id, "namespace_id": key.namespace_id, "bucket_id": bucket["bucket_id"]}
    fields = {"connection_id": connection["connection_id"], "source_path": "s", "source_type": "s3"}
    sync = await rig.services.syncs.create(
        Scope(key.internal_id, key.namespace_id), bucket["bucket_id"], fields, user_id="usr_x"
    )
    now = sync["created_at"]
    await rig.database["jobs"].insert_one(
        {"_id": "job_1", **scope, "sync_config_id": sync["_id"], "status": "completed", "created_at": now}
    )
    await rig.database["objects"].insert_one({"_id": "obj_1", **scope, "created_at": now, "blobs": []})
    await rig.database["batches"].insert_one(
        {"_id": "btch_1", **scope, "status": "COMPLETED", "object_ids": [], "created_at": now}
    )
    return {
        "bucket_id": bucket["bucket_id"], "bucket_identifier": bucket["bucket_id"], "sync_config_id": sync["_id"],
        "sync_job_id": "job_1", "object_identifier": "obj_1", "batch_id": "btch_1", "task_id": "batch%2Fbtch_1",
        "connection_identifier": connection["connection_id"],
    }  # fmt: skip


def address(operation: Operation, ids: dict[str, str]) -> str:
    return re.sub(r"\{(\w+)\}", lambda found: ids[found[1]], operation.path)


async def test_every_operation_by_role_and_tenant(rig: Rig) -> None:
    key = await rig.key(Role.ADMIN)
    ids = await owned(rig, key)
    weak = {Role.WRITE: await rig.key(Role.READ, of=key), Role.ADMIN: await rig.key(Role.WRITE, of=key)}
    stranger = await rig.key(Role.ADMIN)
    unknown = {name: f"{value[:4]}_unknown" if value[:5] != "batch" else "batch%2Fno" for name, value in ids.items()}
    # Under a bucket of one's own, too, nothing of another organization is reached.
    _, other, _ = await rig.ask("POST", "/v1/buckets", stranger, body=BODIES["create_bucket"])
    mixed = ids | {"bucket_id": other["bucket_id"], "bucket_identifier": other["bucket_id"]}
    for operation in GUARDED:
        method, body = operation.method, body_of(operation)
        where = address(operation, ids)
        assert (await rig.ask(method, where, body=body))[0] == 401, operation.operation_id
        if operation.role in weak:
            status, reply, _ = await rig.ask(method, where, weak[operation.role], body=body)
            assert status == 403 and reply["error"]["code"] == "role_too_low", operation.operation_id
        if "{" not in operation.path:
            continue
        foreign = await rig.ask(method, where, stranger, body=body)
        nothing = await rig.ask(method, address(operation, unknown), stranger, body=body)
        assert foreign[0] == nothing[0] == 404, (operation.operation_id, foreign, nothing)
        assert foreign[1]["error"]["type"] == nothing[1]["error"]["type"]
        if operation.path.count("{") > 1:
            assert (await rig.ask(method, address(operation, mixed), stranger, body=body))[0] == 404
    assert await rig.database["syncs"].count_documents({"deleted_at": None, "internal_id": key.internal_id}) == 1
    assert await rig.database["objects"].count_documents({"_id": "obj_1", "bucket_id": ids["bucket_id"]}) == 1


async def test_a_revoked_key_is_no_key(rig: Rig) -> None:
    key = await rig.key()
    assert (await rig.ask("GET", "/v1/buckets", key))[0] == 200
    (document,) = await rig.services.organizations.keys(key.internal_id)
    await rig.services.organizations.revoke_key(document["_id"])
    assert (await rig.ask("GET", "/v1/buckets", key))[0] == 401
    for header in ("", "Bearer", "Bearer ", "Basic abc", "Bearer \xe9"):
        assert (await rig.ask("GET", "/v1/buckets", headers={"Authorization": header}))[0] == 401


async def test_nothing_secret_is_logged_audited_or_kept_in_clear(rig: Rig) -> None:
    with structlog.testing.capture_logs() as lines:
        key = await rig.key()
        await owned(rig, key)
        await rig.ask("GET", "/v1/blobs/obj_1/0?expires=1&signature=planted-signature")
        bad = {**BODIES["create_storage_connection_organizations"], "provider_type": "tigris", "extra": SECRETS}
        await rig.ask("POST", "/v1/organizations/connections", key, body=bad)
    text = json.dumps(lines, default=str)
    assert len(lines) >= 4 and all(line["request_id"] for line in lines if line["event"] == "request")
    for secret in ("planted-secret", "AKIAPLANTED", "planted-signature", key.key):
        assert secret not in text
    for name in await rig.database.list_collection_names():
        documents = await rig.database[name].find({}, {"credentials": 0}).to_list()
        assert not any(secret in str(documents) for secret in ("planted-secret", "AKIAPLANTED", key.key))


async def test_a_key_that_asks_too_often_is_told_when_to_come_back(settings: Settings, temporal_client: Client) -> None:
    settings = settings.model_copy(update={"api_rate_limits": "search=2 metadata=60"})
    async with RunningRig(settings, temporal_client) as rig:
        key = await rig.key()
        other = await rig.key(of=key)
        statuses = [(await rig.ask("POST", "/v1/buckets/list", key))[0] for _ in range(2)]
        status, reply, headers = await rig.ask("POST", "/v1/buckets/list", key)
        assert statuses == [200, 200] and status == 429 and reply["error"]["type"] == "rate_limited"
        assert int(headers["Retry-After"]) == reply["error"]["details"]["retry_after_seconds"] == 30
        assert (await rig.ask("POST", "/v1/buckets/list", other))[0] == 200
        assert (await rig.ask("GET", "/v1/buckets/none", key))[0] == 404
        # The public client waits for as long as it is told, and then succeeds.
        client = mixpeek.Mixpeek(key.key, namespace=key.namespace_id, base_url=f"{rig.url}/v1")
        for _ in range(60):
            status, reply, _ = await rig.ask("GET", "/v1/buckets/none", key)
        assert status == 429 and reply["error"]["details"]["retry_after_seconds"] == 1
        with pytest.raises(mixpeek._client.client.MixpeekAPIError) as gone:
            await call(client.buckets.get, "none")
        assert gone.value.status == 404
