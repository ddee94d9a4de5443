"""The main path as a user of the public client walks it: unmodified `mixpeek`, real workflows, a real S3 server."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any

import mixpeek
import pytest
import pytest_asyncio
from temporalio.client import Client

from activities.health import check_connection
from deploy.local.paths import CHECKOUT
from models.scope import Role
from models.settings import Settings
from stores.database import connect
from stores.vault import Vault
from tests.api_rig import Key, Rig, RunningRig, call, environment
from tests.s3_server import S3Server


@pytest_asyncio.fixture(loop_scope="session")
async def rig(settings: Settings, temporal_address: str, temporal_client: Client) -> AsyncIterator[Rig]:
    mongo, _ = connect(settings)
    vault = await Vault.open(mongo, settings)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "worker.py", "--processes", "1", cwd=CHECKOUT, env=environment(settings, temporal_address)
    )
    try:
        async with RunningRig(settings, temporal_client, vault=vault, check=check_connection) as running:
            yield running
    finally:
        process.terminate()
        status = await asyncio.wait_for(process.wait(), 30)
        await vault.close()
        await mongo.close()
    assert status == 0


async def until(ask: Callable[[], Any], good: Callable[[Any], bool], *, seconds: float = 30) -> Any:
    async with asyncio.timeout(seconds):
        while not good(answer := await call(ask)):
            await asyncio.sleep(0.2)
    return answer


class User:
    """The generated classes of the public client."""

    def __init__(self, rig: Rig, key: Any) -> None:
        client = rig.client(key)
        self.connections = mixpeek.OrganizationConnectionsApi(client)
        self.buckets = mixpeek.BucketsApi(client)
        self.objects = mixpeek.BucketObjectsApi(client)
        self.syncs = mixpeek.BucketSyncsApi(client)
        self.batches = mixpeek.BucketBatchesApi(client)
        self.tasks = mixpeek.TasksApi(client)
        self.health = mixpeek.HealthApi(client)


def s3_config(server: S3Server) -> dict[str, Any]:
    return {
        "endpoint_url": server.endpoint_url,
        "use_ssl": False,
        "credentials": {
            "type": "access_key",
            "access_key_id": server.access_key_id,
            "secret_access_key": server.secret_access_key,
        },
    }


async def setting(rig: Rig, server: S3Server, files: dict[str, bytes]) -> tuple[User, Any, Any, str]:
    """(user, connection, bucket, source path) with files at the source."""
    user = User(rig, await rig.key(Role.ADMIN))
    source = server.make_bucket()
    server.put(source, **files)
    connection = await call(
        user.connections.create_storage_connection_organizations,
        mixpeek.StorageConnectionCreateRequest(
            name="store/with slash", provider_type=mixpeek.StorageProvider.S3, provider_config=s3_config(server)
        ),
    )
    schema = mixpeek.BucketSchemaInput(
        properties={"content": mixpeek.BucketSchemaFieldInput(type=mixpeek.BucketSchemaFieldType.TEXT)}
    )
    bucket = await call(
        user.buckets.create_bucket, mixpeek.BucketCreateRequest(bucket_name="docs", bucket_schema=schema)
    )
    return user, connection, bucket, f"{source}/in"


async def test_from_connection_to_bytes_by_the_public_client(rig: Rig, moto_s3: S3Server) -> None:
    files = {f"in/f{number}.txt": b"x" * number for number in range(1, 26)}
    user, connection, bucket, path = await setting(rig, moto_s3, files)
    named = await call(user.connections.get_storage_connection_organizations, "store/with slash")
    assert named.connection_id == connection.connection_id
    tested = await call(user.connections.test_storage_connection_organizations, connection.connection_id)
    assert tested.success is True
    b = bucket.bucket_id
    mapping = mixpeek.SchemaMappingInput(
        mappings={
            "content": mixpeek.MappingsValue(
                mixpeek.BlobMappingEntry(source=mixpeek.Source(mixpeek.FileSource()), blob_property="content")
            ),
            "number": mixpeek.MappingsValue(
                mixpeek.FieldMappingEntry(
                    source=mixpeek.Source1(mixpeek.FilenameRegexSource(pattern=r"f(\d+)\.txt")), transform="trim"
                )
            ),
        }
    )
    sync = await call(
        user.syncs.create_sync_configuration_buckets,
        b,
        mixpeek.SyncCreateRequest(
            connection_id=connection.connection_id, source_path=path, schema_mapping=mapping,
            polling_interval_seconds=3600, metadata={"team": "a"},
        ),
    )  # fmt: skip
    s = sync.sync_config_id
    assert sync.status == "PENDING" and sync.source_type == "s3" and sync.locked is False
    jobs = await until(
        lambda: user.syncs.list_sync_jobs_buckets_id_config(b, s),
        lambda found: bool(found.results) and found.results[0].status == "completed",
    )
    assert jobs.total == 1
    counts = jobs.results[0].metadata["counts"]
    assert (counts["seen"], counts["stored"], counts["failed"]) == (25, 25, 0)
    job = await call(user.syncs.get_sync_job_buckets_id_config, b, s, jobs.results[0].sync_job_id)
    assert job.files_synced == 25 and job.progress_percent == 100
    listed = await call(
        user.objects.list_objects_buckets, b, limit=30,
        list_objects_request=mixpeek.ListObjectsRequest(return_presigned_urls=True),
    )  # fmt: skip
    assert len(listed.results) == 25
    for one in listed.results:
        async with rig.session.get(one.blobs[0].presigned_url) as reply:
            body = await reply.read()
        assert body == b"x" * int(one.additional_properties["number"])
    found = await call(
        user.objects.list_objects_buckets, b,
        list_objects_request=mixpeek.ListObjectsRequest.from_dict(
            {"filters": {"AND": [{"field": "number", "operator": "eq", "value": "7"}]}}
        ),
    )  # fmt: skip
    assert [one.source_details[0].source_id for one in found.results] == [f"{path}/f7.txt"]
    read = await call(user.buckets.get_bucket, b)
    assert read.object_count == 25 and read.total_size_bytes == sum(range(1, 26))

    # Settings, commands, the numbers.
    changed = await call(
        user.syncs.update_sync_configuration_buckets_id_config, b, s,
        mixpeek.SyncUpdateRequest(description="mine", batch_size=10),
    )  # fmt: skip
    assert changed.description == "mine" and changed.batch_size == 10 and changed.metadata == {"team": "a"}
    paused = await call(user.syncs.pause_sync_configuration_buckets_id_config, b, s)
    assert paused.paused is True and paused.status == "SUSPENDED" and paused.is_active is False
    assert (await call(user.syncs.list_sync_configurations_buckets, b,
                       list_sync_configurations_request=mixpeek.ListSyncConfigurationsRequest(is_active=False))
            ).total == 1  # fmt: skip
    resumed = await call(user.syncs.resume_sync_configuration_buckets_id_config, b, s)
    assert resumed.paused is False and resumed.status == "ACTIVE" and resumed.is_active is True
    moto_s3.put(path.partition("/")[0], **{"in/new.txt": b"new"})
    triggered = await call(user.syncs.trigger_sync_configuration_buckets_id_config, b, s, full_sync=True)
    assert triggered["sync_config_id"] == s and triggered["status"] in {"running", "skipped"}
    await until(lambda: user.buckets.get_bucket(b), lambda found: found.object_count == 26)
    metrics = await call(user.syncs.get_sync_metrics_buckets_id_config, b, s)
    assert metrics.sync_config_id == s and metrics.dlq_total == 0 and metrics.last_job["status"] == "completed"
    assert (await call(user.syncs.list_dlq_entries_buckets_id_syncs_config, b, s)).total == 0
    assert (await call(user.syncs.requeue_dlq_entries_buckets_id_syncs_config, b, s)).requeued == 0
    unlocked = await call(user.syncs.force_unlock_sync_configuration_buckets_id_config, b, s)
    assert unlocked["outcome"] in {"unlocked", "nothing_to_unlock"}

    # Batches and their tasks end.
    batches = await until(
        lambda: user.batches.list_batches_buckets(b),
        lambda found: found.total_count >= 2 and all(one.status == "COMPLETED" for one in found.results),
    )
    task = await call(user.tasks.get_task, batches.results[0].task_id)
    assert task.status == "COMPLETED" and task.task_id == f"batch/{batches.results[0].batch_id}"
    one = await call(user.objects.get_object_buckets, b, listed.results[0].object_id, return_presigned_urls=True)
    assert one.status == "COMPLETED"

    # Endings.
    with pytest.raises(mixpeek.exceptions.ConflictException) as refused:
        await call(user.connections.delete_storage_connection_organizations, connection.connection_id)
    assert s in str(refused.value.body)
    assert await call(user.objects.delete_object_buckets, b, one.object_id) is None
    await call(user.syncs.delete_sync_configuration_buckets_id_config, b, s)
    with pytest.raises(mixpeek.exceptions.NotFoundException) as gone:
        await call(user.syncs.get_sync_configuration_buckets_id_config, b, s)
    assert gone.value.data is not None and gone.value.data.error.type == "not_found"
    archived = await call(user.connections.delete_storage_connection_organizations, connection.connection_id)
    assert archived["status"] == "ARCHIVED"
    assert (await call(user.buckets.get_bucket, b)).object_count == 25
    assert (await call(user.health.liveness_health))["status"] == "alive"


async def test_syncs_are_validated_before_anything_is_written(rig: Rig, moto_s3: S3Server) -> None:
    _, connection, bucket, path = await setting(rig, moto_s3, {})
    base = f"/v1/buckets/{bucket.bucket_id}/syncs"
    owner = await _owner(rig, bucket.bucket_id)

    async def refuse(status: int, word: str, **body: Any) -> None:
        whole = {"connection_id": connection.connection_id, "source_path": path, **body}
        got, reply, _ = await rig.ask("POST", base, owner, body=whole)
        assert got == status and word in str(reply), reply

    await refuse(404, "conn_unknown", connection_id="conn_unknown")
    await refuse(422, "source_path", source_path=None)
    await refuse(422, "bucket[/prefix]", source_path="/x")
    await refuse(422, "polling_interval_seconds", polling_interval_seconds=29)
    await refuse(422, "integer", batch_size=1.0)
    await refuse(422, "integer", batch_size=True)
    await refuse(422, "retrievers", ingest_filter={"retriever_id": "r"})
    await refuse(422, "mappings.content", schema_mapping={"mappings": {"content": None}})
    tag = {"target_type": "field", "source": {"type": "column", "name": "x"}}
    await refuse(422, "snowflake", schema_mapping={"mappings": {"a": tag}})
    regex = {"target_type": "field", "source": {"type": "filename_regex", "pattern": "(a)(b)"}}
    await refuse(422, "exactly one capture group", schema_mapping={"mappings": {"a": regex}})
    file = {"target_type": "field", "source": {"type": "file"}}
    await refuse(422, "blob", schema_mapping={"mappings": {"a": file}})
    await refuse(422, "accepted", reconcile={"on_rename": True})
    await refuse(422, "nothing could ever match", file_filters={"min_size_bytes": 5, "max_size_bytes": 1})
    assert await rig.database["syncs"].count_documents({}) == 0

    body = {
        "connection_id": connection.connection_id, "source_path": path, "sync_mode": "one_time", "colour": "blue",
        "file_filters": {"extensions": ["txt"], "modified_after": "2026-01-01T00:00:00"},
        "reconcile": {"on_delete": False}, "batch_collection_ids": ["col_1"],
    }  # fmt: skip
    status, made, _ = await rig.ask("POST", base, owner, body=body)
    assert status == 200, made
    assert made["sync_mode"] == "initial_only" and made["file_filters"]["extensions"] == ["txt"]
    assert made["reconcile"]["on_delete"] is False and made["reconcile"]["on_update"] is True
    assert made["warnings"][0]["id"] == "colour" and made["batch_collection_ids"] == ["col_1"]
    address = f"{base}/{made['sync_config_id']}"
    back = {name: value for name, value in made.items() if name in {"source_path", "file_filters", "sync_mode"}}
    assert (await rig.ask("PATCH", address, owner, body=back))[0] == 200
    status, reply, _ = await rig.ask("PATCH", address, owner, body={"source_path": "elsewhere"})
    assert status == 422 and reply["error"]["code"] == "immutable"
    _, reply, _ = await rig.ask("PATCH", address, owner, body={"batch_collection_ids": [], "batch_size": None})
    assert reply["batch_collection_ids"] == [] and reply["batch_size"] == 50
    assert (await rig.ask("PATCH", address, owner, body={"status": "COMPLETED"}))[0] == 422
    assert (await rig.ask("POST", f"{address}/deletes/approve", owner))[0] == 409


async def _owner(rig: Rig, bucket_id: str) -> Any:
    found = await rig.database["buckets"].find_one({"_id": bucket_id})
    assert found is not None
    return await rig.key(Role.ADMIN, of=Key("", found["internal_id"], found["namespace_id"]))


async def test_a_shrunken_source_asks_before_anything_is_removed(rig: Rig, moto_s3: S3Server) -> None:
    files = {f"in/f{number:02}.txt": b"x" for number in range(40)}
    user, connection, bucket, path = await setting(rig, moto_s3, files)
    b = bucket.bucket_id
    sync = await call(
        user.syncs.create_sync_configuration_buckets, b,
        mixpeek.SyncCreateRequest(
            connection_id=connection.connection_id, source_path=path, polling_interval_seconds=3600,
            skip_batch_submission=True,
        ),
    )  # fmt: skip
    s = sync.sync_config_id
    await until(lambda: user.buckets.get_bucket(b), lambda found: found.object_count == 40)
    for name in list(files)[:30]:
        moto_s3.client.delete_object(Bucket=path.partition("/")[0], Key=name)
    owner = await _owner(rig, b)
    address = f"/v1/buckets/{b}/syncs/{s}"

    async def step(path: str, good: Callable[[Any], bool], method: str = "GET") -> Any:
        async with asyncio.timeout(30):
            while not good(reply := (await rig.ask(method, path, owner))[1]):
                await asyncio.sleep(0.2)
        return reply

    await step(f"{address}/trigger?full_sync=true", lambda reply: reply["outcome"] == "started", "POST")
    found = await step(address, lambda reply: not reply["locked"] and reply["sync_run_counter"] == 2)
    assert found["delete_proposal"]["count"] == 30 and found["delete_proposal"]["owned"] == 40
    assert (await call(user.buckets.get_bucket, b)).object_count == 40
    _, metrics, _ = await rig.ask("GET", f"{address}/metrics", owner)
    assert metrics["delete_proposal"]["count"] == 30
    wrong = await rig.ask("POST", f"{address}/deletes/approve?proposal_id=other", owner)
    assert wrong[0] == 409
    identifier = found["delete_proposal"]["proposal_id"]
    status, reply, _ = await rig.ask("POST", f"{address}/deletes/approve?proposal_id={identifier}", owner)
    assert status == 200 and reply["outcome"] == "approved" and reply["count"] == 30
    await until(lambda: user.buckets.get_bucket(b), lambda found: found.object_count == 10)
    _, found, _ = await rig.ask("GET", address, owner)
    assert found["delete_proposal"] is None
