"""Many reads a second while a sync runs: every one is answered, and the sync loses nothing by it.

The whole measurement is `python -m deploy.bench.reads`; its figures are in `api/README.md`.
"""

from __future__ import annotations

import asyncio

import pytest

from deploy.bench.reads import Load, Target, put_files, reads_of, send
from deploy.local.client import Api
from deploy.local.stack import Stack

FILES = 1_000
# Far below what an idle machine does, so that a busy one keeps up.
RATE = 60
SECONDS = 8


@pytest.mark.slow
async def test_reads_are_answered_while_a_sync_runs_and_it_takes_every_file(stack: Stack) -> None:
    env = dict(stack.env)
    await asyncio.to_thread(put_files, env, "load", FILES)
    async with Api(env) as api:
        connection = await api.create_source("load")
        bucket = await api.create_bucket("load", {"content": {"type": "text"}})
        made = [(await api.call("POST", f"/buckets/{bucket}/objects", {"n": n}))["object_id"] for n in range(10)]
        sync = await api.create_sync(bucket, connection, "load/in", polling_interval_seconds=86_400)
        target = Target(bucket, sync.id, connection, made)
        load = asyncio.create_task(send(env, reads_of(target), rate=RATE, seconds=SECONDS))
        job = await sync.watch(await sync.newest_job(), seconds=100)
        again = await sync.watch(await sync.trigger(), seconds=100)
        answered = await load
        print(answered)
        counts, recount = job["metadata"]["counts"], again["metadata"]["counts"]
        objects = {one["object_id"]: one async for one in api.objects(bucket)}
        await sync.delete()
    assert answered.statuses == {200: RATE * SECONDS}
    assert job["status"] == again["status"] == "completed"
    assert (counts["seen"], counts["stored"], counts["failed"]) == (FILES, FILES, 0)
    assert (recount["seen"], recount["unchanged"], recount["removed"]) == (FILES, FILES, 0)
    synced = {one["source_details"][0]["source_id"] for one in objects.values() if one["source_details"]}
    assert synced == {f"load/in/{number:06}.txt" for number in range(FILES)} and len(objects) == FILES + len(made)


def test_a_quantile_is_one_of_the_times_and_a_late_answer_shows() -> None:
    load = Load(seconds=2.0, times=[0.01] * 98 + [0.5, 0.7])
    assert (load.rate, load.quantile(0.5), load.quantile(0.99)) == (50, 10.0, 700.0)
