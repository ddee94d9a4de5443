"""Batch and connection workflows."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import pytest
from temporalio import workflow
from temporalio.client import WorkflowFailureError
from temporalio.exceptions import ApplicationError, CancelledError
from temporalio.worker import Worker

from activities.contracts import BatchInput, ConnectionInput
from activities.run_contracts import BatchPlan, HealthResult
from tests.workflow_model.rig import Rig, check_history


def name(prefix: str) -> str:
    return f"{prefix}_{uuid.uuid4().hex[:10]}"


@pytest.mark.parametrize("how", ["builtin", "webhook"])
async def test_a_batch_is_processed_and_settled(rig: Rig, how: str) -> None:
    batch = name("btch")
    rig.model.plans[batch] = BatchPlan(how=how, objects=3)
    handle = await rig.start("BatchWorkflow", BatchInput(batch), f"batch/{batch}")
    assert await handle.result() == "COMPLETED"
    assert rig.model.batches == {batch: "COMPLETED"}
    check_history(await handle.fetch_history())


async def test_a_batch_that_is_gone_is_left_alone(rig: Rig) -> None:
    batch = name("btch")
    rig.model.plans[batch] = BatchPlan(gone=True)
    handle = await rig.start("BatchWorkflow", BatchInput(batch), f"batch/{batch}")
    assert await handle.result() == "GONE"
    assert rig.model.batches == {}


@pytest.mark.parametrize("plan", [BatchPlan(how="webhook"), BatchPlan(how="workflow")])
async def test_a_batch_that_fails_shows_as_failed(rig: Rig, plan: BatchPlan) -> None:
    batch = name("btch")
    rig.model.plans[batch] = plan
    rig.model.script["post_batch"].append("denied")
    handle = await rig.start("BatchWorkflow", BatchInput(batch), f"batch/{batch}")
    with pytest.raises(WorkflowFailureError) as failure:
        await handle.result()
    assert isinstance(failure.value.cause, ApplicationError)
    assert failure.value.cause.type == "FAILED"
    assert rig.model.batches == {batch: "FAILED"}


@pytest.mark.parametrize("held", ["begin_batch", "post_batch", "finish_batch"])
async def test_a_canceled_batch_is_settled(rig: Rig, held: str) -> None:
    batch = name("btch")
    rig.model.plans[batch] = BatchPlan(how="webhook")
    rig.model.hold(held)
    handle = await rig.start("BatchWorkflow", BatchInput(batch), f"batch/{batch}")
    await rig.until(lambda: rig.model.in_flight[held] == 1)
    await handle.cancel()
    await asyncio.sleep(0.2)
    rig.model.release(held)
    if held == "finish_batch":
        assert await handle.result() == "COMPLETED"  # too late: it is settled as what it was
    else:
        with pytest.raises(WorkflowFailureError) as failure:
            await handle.result()
        assert isinstance(failure.value.cause, CancelledError)
    assert rig.model.batches == {batch: "COMPLETED" if held == "finish_batch" else "CANCELED"}
    check_history(await handle.fetch_history())


@workflow.defn(name="ProcessBatch", sandboxed=False)
class Process:
    @workflow.run
    async def run(self, args: dict[str, Any]) -> dict[str, Any]:
        if args["batch_id"].startswith("bad"):
            raise ApplicationError("no", non_retryable=True)
        if args["batch_id"].startswith("slow"):
            await workflow.wait_condition(lambda: False)
        return {"failed_object_ids": ["obj_1"]}


@pytest.mark.parametrize(("prefix", "status"), [("btch", "COMPLETED"), ("bad", "FAILED"), ("slow", "CANCELED")])
async def test_a_batch_is_processed_by_the_users_workflow(rig: Rig, prefix: str, status: str) -> None:
    batch = name(prefix)
    queue = name("users")
    rig.model.plans[batch] = BatchPlan(how="workflow", task_queue=queue)
    async with Worker(rig.client, task_queue=queue, workflows=[Process]):
        handle = await rig.start("BatchWorkflow", BatchInput(batch), f"batch/{batch}")
        if status == "CANCELED":
            async with asyncio.timeout(10):
                while (await rig.client.count_workflows(f"WorkflowId = 'process/{batch}'")).count == 0:
                    await asyncio.sleep(0.1)
            await handle.cancel()
        if status == "COMPLETED":
            assert await handle.result() == status
        else:
            with pytest.raises(WorkflowFailureError):
                await handle.result()
    assert rig.model.batches == {batch: status}


async def test_a_connection_is_checked_every_interval_and_when_asked(skip_rig: Rig) -> None:
    rig = skip_rig
    handle = await rig.start("ConnectionWorkflow", ConnectionInput("conn_1"), "connection/conn_1")
    await rig.skip(800)
    assert rig.model.checks == 0
    await rig.skip(900 * 4)
    assert rig.model.checks == 4
    for args in ([], ["text"], [1, 2], [None]):
        await handle.signal("check", args=args)
    await rig.until(lambda: rig.model.checks >= 5)
    rig.model.health = HealthResult(status="ACTIVE", interval_seconds=60)
    await rig.skip(960)
    before = rig.model.checks
    await rig.skip(600)
    assert rig.model.checks - before in {9, 10}
    rig.model.health = HealthResult(gone=True)
    assert await handle.result() == "archived"
    check_history(await handle.fetch_history())


async def test_a_check_that_cannot_be_made_is_made_again(skip_rig: Rig) -> None:
    rig = skip_rig
    rig.model.script["check_connection"].extend(["bug"] * 3)
    handle = await rig.start("ConnectionWorkflow", ConnectionInput("conn_2"), "connection/conn_2")
    await rig.skip(900 * 2 + 60)
    assert rig.model.checks == 1
    check_history(await handle.fetch_history())


@pytest.mark.parametrize("held", [True, False])
async def test_a_canceled_connection_workflow_ends(rig: Rig, held: bool) -> None:
    connection = name("conn")
    if held:
        rig.model.hold("check_connection")
    handle = await rig.start("ConnectionWorkflow", ConnectionInput(connection), f"connection/{connection}")
    if held:
        await handle.signal("check")
        await rig.until(lambda: rig.model.in_flight["check_connection"] == 1)
    await handle.cancel()
    with pytest.raises(WorkflowFailureError) as failure:
        async with asyncio.timeout(20):
            await handle.result()
    assert isinstance(failure.value.cause, CancelledError)
