"""Batches handed to the user: as a workflow of theirs, and to a webhook."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping

import pytest
from aiohttp import web
from temporalio import workflow
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from deploy.local.client import Json
from deploy.local.stack import Stack
from tests.chaos.rig import Landing, World, bodies, resettled, until

pytestmark = pytest.mark.slow

_SEEN: list[Json] = []


@workflow.defn(name="ProcessBatch")
class ProcessBatch:
    """A user's processor: fails the objects it is told to, and one batch as a whole."""

    refuse: Mapping[str, list[str]] = {}

    @workflow.run
    async def run(self, batch: Json) -> Json:
        _SEEN.append(batch)
        return {"failed_object_ids": self.refuse.get(batch["bucket_id"], [])}


async def _ended(landing: Landing, count: int) -> list[Json]:
    found = await landing.batches()
    final = {"COMPLETED", "COMPLETED_WITH_ERRORS", "FAILED", "CANCELED"}
    return found if len(found) == count and {one["status"] for one in found} <= final else []


async def test_a_workflow_of_the_user_processes_batches(here: World, shaken: Stack) -> None:
    queue = here.name("processing")
    async with (
        resettled(shaken, processing="workflow", processing_task_queue=queue),
        Worker(here.temporal, task_queue=queue, workflows=[ProcessBatch], workflow_runner=UnsandboxedWorkflowRunner()),
    ):
        landing = await here.sync(here.fill(bodies(250)))
        await landing.first()
        made = await until(lambda: _ended(landing, 3))
        assert {one["status"] for one in made} == {"COMPLETED"}
        mine = [one for one in _SEEN if one["bucket_id"] == landing.bucket_id]
        assert sorted(one["batch_id"] for one in mine) == sorted(one["batch_id"] for one in made)
        # It names two that failed: they are FAILED, the others are not.
        bad = [one["object_id"] for one in (await landing.objects())[:2]]
        ProcessBatch.refuse = {landing.bucket_id: bad}
        for key in list(here.s3.buckets[landing.source]):
            here.s3.put(landing.source, key, b"changed " + key.encode())
        await landing.again()
        made = await until(lambda: _ended(landing, 6))
        assert (
            sorted(one["status"] for one in made) == ["COMPLETED"] * 5 + ["COMPLETED_WITH_ERRORS"]
            or sorted(one["status"] for one in made) == ["COMPLETED"] * 4 + ["COMPLETED_WITH_ERRORS"] * 2
        )
        statuses = {one["object_id"]: one["status"] for one in await landing.objects()}
        assert {one for one, status in statuses.items() if status == "FAILED"} == set(bad)
        assert set(statuses.values()) == {"COMPLETED", "FAILED"}


async def test_a_webhook_gets_each_batch_signed(here: World, shaken: Stack) -> None:
    got: list[tuple[bytes, Mapping[str, str]]] = []
    refusals = [503]

    async def receive(request: web.Request) -> web.Response:
        if refusals:
            return web.Response(status=refusals.pop())
        got.append((await request.read(), dict(request.headers)))
        return web.Response()

    app = web.Application()
    app.router.add_post("/batches", receive)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/batches"
    key = "webhook-secret"
    async with resettled(shaken, processing="webhook", processing_webhook_url=url, processing_webhook_secret=key):
        landing = await here.sync(here.fill(bodies(150)))
        await landing.first()
        made = await until(lambda: _ended(landing, 2), seconds=40)
    await runner.cleanup()
    assert {one["status"] for one in made} == {"COMPLETED"}
    assert len(got) == 2
    for body, headers in got:
        stamp, _, signature = headers["X-Tidemark-Signature"].partition(", v1=")
        digest = hmac.new(key.encode(), stamp.removeprefix("t=").encode() + b"." + body, hashlib.sha256).hexdigest()
        assert hmac.compare_digest(signature, digest)
        assert headers["Idempotency-Key"] == json.loads(body)["batch_id"]
    posted = {one for body, _ in got for one in json.loads(body)["object_ids"]}
    assert posted == {one["object_id"] for one in await landing.objects()}
    assert {one["status"] for one in await landing.objects()} == {"COMPLETED"}
