"""Authorization, whole: every operation × role × own, foreign and unknown resource."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from temporalio.client import Client

from api.operations import Operation
from api.server import OPERATIONS
from models.scope import Role, Scope
from models.settings import Settings
from tests.api_rig import Key, Rig, RunningRig

GUARDED = [one for one in OPERATIONS if one.role is not None]
CONFIG = {"credentials": {"type": "access_key", "access_key_id": "a", "secret_access_key": "b"}}
BODIES: dict[str, Any] = {
    "bulk_mark_dlq_permanently_failed_buckets_id_syncs_config": {"error_types": ["x"]},
    "add_objects_to_batch_buckets_batches": {"object_ids": ["obj_x"]},
    "create_bucket": {"bucket_name": "another", "bucket_schema": {"properties": {}}},
    "create_sync_configuration_buckets": {"connection_id": "conn_x", "source_path": "s/x"},
    "create_storage_connection_organizations": {"name": "another", "provider_type": "s3", "provider_config": CONFIG},
}


@pytest_asyncio.fixture(loop_scope="session")
async def rig(settings: Settings, temporal_client: Client) -> AsyncIterator[Rig]:
    # No worker answers commands here: what matters is that they were let through.
    settings = settings.model_copy(update={"api_request_timeout_seconds": 0.2})
    async with RunningRig(settings, temporal_client) as running:
        yield running


async def owned(rig: Rig, key: Key, tag: str) -> dict[str, str]:
    """One of everything, written down directly."""
    base = {"internal_id": key.internal_id, "namespace_id": key.namespace_id}
    now = (await rig.database["namespaces"].find_one({"_id": key.namespace_id}) or {})["created_at"]
    bucket = {**base, "bucket_id": f"bkt_{tag}"}
    made: dict[str, dict[str, Any]] = {
        "buckets": {"_id": f"bkt_{tag}", **base, "bucket_name": tag, "status": "ACTIVE", "object_count": 1,
                    "total_size_bytes": 0, "bucket_schema": {"properties": {}}},
        "connections": {"_id": f"conn_{tag}", "internal_id": key.internal_id, "name": tag, "provider_type": "s3",
                        "provider_config": {}, "credentials_type": "access_key", "status": "ACTIVE", "is_active": True,
                        "credentials": await rig.services.vault.encrypt(key.internal_id, CONFIG["credentials"]),
                        "created_by_user_id": "usr_1", "consecutive_failures": 0},
        "jobs": {"_id": f"job_{tag}", **bucket, "sync_config_id": "", "status": "completed"},
        "objects": {"_id": f"obj_{tag}", **bucket, "blobs": [], "status": "PENDING"},
        "batches": {"_id": f"btch_{tag}", **bucket, "status": "COMPLETED", "object_ids": []},
    }  # fmt: skip
    fields = {"connection_id": f"conn_{tag}", "source_path": "s", "source_type": "s3"}
    scope = Scope(key.internal_id, key.namespace_id)
    sync = await rig.services.syncs.create(scope, f"bkt_{tag}", fields, user_id="usr_1")
    made["jobs"]["sync_config_id"] = sync["_id"]
    for name, document in made.items():
        await rig.database[name].insert_one({**document, "created_at": now, "updated_at": now})
    return {
        "bucket_id": f"bkt_{tag}", "bucket_identifier": f"bkt_{tag}", "sync_config_id": sync["_id"],
        "sync_job_id": f"job_{tag}", "object_identifier": f"obj_{tag}", "batch_id": f"btch_{tag}",
        "task_id": f"batch%2Fbtch_{tag}", "connection_identifier": f"conn_{tag}",
    }  # fmt: skip


async def _outcome(rig: Rig, operation: Operation, ids: dict[str, str], key: Key | None) -> tuple[int, Any]:
    body = BODIES.get(operation.operation_id, {} if operation.method in {"PATCH", "PUT", "POST"} else None)
    where = re.sub(r"\{(\w+)\}", lambda found: ids[found[1]], operation.path)
    status, reply, _ = await rig.ask(operation.method, where, key, body=body)
    return status, (reply or {}).get("error")


@pytest.mark.slow
@pytest.mark.parametrize("role", list(Role))
async def test_every_operation_with_every_resource(rig: Rig, role: Role) -> None:
    owner, stranger = await rig.key(Role.ADMIN), await rig.key(Role.ADMIN)
    key = await rig.key(role, of=owner)
    unknown = {
        "bucket_id": "bkt_none", "bucket_identifier": "bkt_none", "sync_config_id": "sync_none",
        "sync_job_id": "job_none", "object_identifier": "obj_none", "batch_id": "btch_none",
        "task_id": "batch%2Fbtch_none", "connection_identifier": "conn_none",
    }  # fmt: skip
    foreign = await owned(rig, stranger, f"foreign{role}")
    seen: Counter[str] = Counter()
    for number, operation in enumerate(GUARDED):
        name = operation.operation_id
        own = await owned(rig, owner, f"own{role}{number}")
        places = {"own": own, "foreign": foreign, "unknown": unknown} if "{" in operation.path else {"own": own}
        told = {place: await _outcome(rig, operation, ids, key) for place, ids in places.items()}
        if role < (operation.role or Role.READ):
            # Whoever may not ask learns nothing of what there is.
            assert {status for status, _ in told.values()} == {403}, (name, told)
            assert all(error["code"] == "role_too_low" for _, error in told.values())
            seen["refused"] += 1
            continue
        status, error = told["own"]
        # A sync to be made names a connection that is not there; that is its 404.
        named = name == "create_sync_configuration_buckets" and "conn_x" in str(error)
        assert status not in {401, 403} and (status != 404 or named), (name, told)
        if len(told) > 1:
            assert told["foreign"][0] == told["unknown"][0] == 404, (name, told)
            alike = [
                re.sub(r"(bkt|sync|job|obj|conn)_\w+|btch_\w+", "…", str(told[one][1]))
                for one in places
                if one != "own"
            ]
            assert alike[0] == alike[1], (name, alike)
        seen["let through"] += 1
    assert sum(seen.values()) == len(GUARDED) == 45
    assert seen["refused"] == sum(role < (one.role or Role.READ) for one in GUARDED)


async def test_nothing_is_told_without_a_key(rig: Rig) -> None:
    owner = await rig.key(Role.ADMIN)
    own = await owned(rig, owner, "mine")
    for operation in GUARDED:
        for ids in (own, dict.fromkeys(own, "none")):
            status, error = await _outcome(rig, operation, ids, None)
            assert status == 401 and error["type"] == "unauthorized", operation.operation_id
    bad = Key("tm_not_a_key", owner.internal_id, owner.namespace_id)
    assert {(await _outcome(rig, operation, own, bad))[0] for operation in GUARDED} == {401}
