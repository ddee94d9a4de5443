"""Housekeeping: missing workflows are started, blobs without a reference go, and the rounds come by themselves."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta

from temporalio import activity
from temporalio.client import Client
from temporalio.testing import ActivityEnvironment, WorkflowEnvironment
from temporalio.worker import Worker

from activities.engine import Engine
from activities.maintenance import MaintenanceActivities
from activities.run_contracts import MaintenanceResult
from models.settings import Settings
from stores.blobs import open_blob_store
from stores.database import connect, ensure_indexes
from stores.vault import Vault
from workflows.maintenance import MaintenanceArgs, MaintenanceWorkflow


async def test_missing_workflows_are_started_and_blobs_purged(settings: Settings, temporal_client: Client) -> None:
    settings = settings.model_copy(update={"blob_purge_grace_seconds": 0})
    mongo, database = connect(settings)
    try:
        await ensure_indexes(database)
        blobs = open_blob_store(settings)
        engine = Engine(settings, database, await Vault.open(mongo, settings), blobs)
        common = {"internal_id": "int_1", "bucket_id": "bkt_1", "connection_id": "conn_1", "deleted_at": None}
        name = settings.task_queue  # unique to this test
        await database["syncs"].insert_many(
            [
                {"_id": f"sync_{name}_active", "is_active": True, "status": "ACTIVE", **common},
                {"_id": f"sync_{name}_paused", "is_active": False, "status": "SUSPENDED", **common},
            ]
        )
        await database["connections"].insert_one({"_id": f"conn_{name}", "internal_id": "int_1", "status": "ACTIVE"})
        [kept, lost] = await asyncio.to_thread(blobs.put_many_small, [b"kept", b"lost"])
        await database["objects"].insert_one({"_id": "obj_1", "blobs": [{"sha256": kept}]})
        work = MaintenanceActivities(engine, temporal_client)

        first = await ActivityEnvironment().run(work.start_missing)
        again = await ActivityEnvironment().run(work.start_missing)
        assert first == again == MaintenanceResult(syncs=1, connections=1)
        for workflow_id in (f"sync/sync_{name}_active", f"connection/conn_{name}"):
            handle = temporal_client.get_workflow_handle(workflow_id)
            assert (await handle.describe()).status is not None
            await handle.terminate()

        reports = [await ActivityEnvironment().run(work.purge_blobs) for _ in range(2)]
        assert [report.purged for report in reports] == [0, 1]
        assert await blobs.exists(kept)
        assert not await blobs.exists(lost)
    finally:
        await mongo.close()


async def test_drafts_end_and_late_writes_of_deleted_buckets_go(settings: Settings, temporal_client: Client) -> None:
    mongo, database = connect(settings)
    try:
        await ensure_indexes(database)
        engine = Engine(settings, database, await Vault.open(mongo, settings), open_blob_store(settings))
        work, name, now = MaintenanceActivities(engine, temporal_client), settings.task_queue, datetime.now(UTC)
        # Made while Temporal was away: nothing watches over it.
        old, new = f"btch_{name}_old", f"btch_{name}_new"
        await database["batches"].insert_many(
            [
                {"_id": old, "status": "DRAFT", "bucket_id": "bkt_live", "created_at": now - timedelta(days=1)},
                {"_id": new, "status": "DRAFT", "bucket_id": "bkt_live", "created_at": now},
                {"_id": f"btch_{name}_done", "status": "COMPLETED", "bucket_id": "bkt_live", "created_at": now},
            ]
        )
        assert await ActivityEnvironment().run(work.start_missing) == MaintenanceResult(drafts=2)

        async def left(batch_id: str) -> int:
            handle = temporal_client.get_workflow_handle(f"draft/{batch_id}")
            started = await anext(handle.fetch_history_events().__aiter__())
            await handle.terminate()
            payload = started.workflow_execution_started_event_attributes.input.payloads[0]
            return int(json.loads(payload.data)["keep_seconds"])

        assert await left(old) == 0
        assert settings.draft_keep_seconds - 60 < await left(new) <= settings.draft_keep_seconds

        tasks = [
            {"_id": f"bucket-deletion/{bucket}", "bucket_id": bucket, "status": status, "updated_at": at}
            for bucket, status, at in (
                ("bkt_gone", "COMPLETED", now),
                ("bkt_going", "PROCESSING", now),
                ("bkt_live", "COMPLETED", now),
                ("bkt_long_gone", "COMPLETED", now - timedelta(days=30)),
            )
        ]
        await database["tasks"].insert_many(tasks)
        await database["buckets"].insert_one({"_id": "bkt_live", "bucket_name": "live"})
        for bucket in ("bkt_gone", "bkt_going", "bkt_live", "bkt_long_gone"):
            await database["objects"].insert_one({"_id": f"obj_{bucket}", "bucket_id": bucket, "blobs": []})
            await database["dead_letters"].insert_one(
                {"_id": f"dlq_{bucket}", "bucket_id": bucket, "sync_config_id": bucket}
            )
        report = await ActivityEnvironment().run(work.purge_blobs)
        assert report.swept == 2
        for kind in ("objects", "dead_letters"):
            kept = {one["bucket_id"] async for one in database[kind].find()}
            assert kept == {"bkt_going", "bkt_live", "bkt_long_gone"}
    finally:
        await mongo.close()


async def test_rounds_come_every_hour_and_outlive_a_failing_one(time_skipping_env: WorkflowEnvironment) -> None:
    calls: list[str] = []

    @activity.defn(name="start_missing")
    async def start_missing() -> MaintenanceResult:
        calls.append("start_missing")
        if len(calls) <= 3:
            raise RuntimeError("MongoDB is away")
        return MaintenanceResult(syncs=1)

    @activity.defn(name="purge_blobs")
    async def purge_blobs() -> MaintenanceResult:
        calls.append("purge_blobs")
        return MaintenanceResult(purged=1)

    client = time_skipping_env.client
    async with (
        Worker(client, task_queue="m-workflows", workflows=[MaintenanceWorkflow]),
        Worker(client, task_queue="m-control", activities=[start_missing, purge_blobs]),
    ):
        handle = await client.start_workflow(
            "MaintenanceWorkflow", MaintenanceArgs(), id="maintenance", task_queue="m-workflows"
        )
        await time_skipping_env.sleep(timedelta(hours=25))
        await handle.terminate()
    assert calls.count("purge_blobs") == 1
    assert calls.count("start_missing") >= 24
