"""The session's servers are what their fixtures say."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import pymongo
import pytest
from botocore.exceptions import ClientError
from temporalio import workflow
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from models.settings import Settings
from tests.s3_server import S3Server


@workflow.defn(sandboxed=False)
class HundredDays:
    @workflow.run
    async def run(self) -> str:
        for _ in range(100):
            await workflow.sleep(timedelta(days=1))
        return "done"


def test_mongodb_is_a_replica_set(settings: Settings) -> None:
    with pymongo.MongoClient[dict[str, Any]](settings.mongodb_uri.get_secret_value()) as client:
        with client.start_session() as session, session.start_transaction():
            client[settings.mongodb_database].things.insert_one({"a": 1}, session=session)
        assert client[settings.mongodb_database].things.count_documents({}) == 1


async def test_temporal_knows_our_search_attributes(temporal_client: Client) -> None:
    count = await temporal_client.count_workflows('SyncState = "idle" AND SyncNeedsAttention = true')
    assert count.count == 0


async def test_time_is_skipped(time_skipping_env: WorkflowEnvironment) -> None:
    started = time.monotonic()
    async with Worker(time_skipping_env.client, task_queue="days", workflows=[HundredDays]):
        answer = await time_skipping_env.client.execute_workflow(HundredDays.run, id="days", task_queue="days")
    assert answer == "done"
    assert time.monotonic() - started < 60


def test_s3_keeps_what_is_put(s3_server: S3Server) -> None:
    bucket = s3_server.make_bucket()
    s3_server.put(bucket, **{"a/b.txt": b"hello"})
    assert s3_server.client.get_object(Bucket=bucket, Key="a/b.txt")["Body"].read() == b"hello"


def test_versitygw_checks_signatures(versitygw_s3: S3Server) -> None:
    stranger = S3Server("versitygw", versitygw_s3.port, secret_access_key="wrong")
    with stranger, pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        stranger.client.list_buckets()
