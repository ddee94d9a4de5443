"""The situations whose histories are kept: each brings a rig's workflow there and says which histories to take."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from temporalio.client import WorkflowHistory

from activities.contracts import BatchInput, ConnectionInput, DecisionArgs, PauseArgs, TriggerArgs
from activities.run_contracts import BatchPlan
from tests.workflow_model.books import Books
from tests.workflow_model.model import Model
from tests.workflow_model.rig import Rig

__all__ = ["DRAINING", "SCENARIOS", "Scenario", "model_for"]

Scenario = Callable[[Rig], Awaitable[WorkflowHistory]]


def model_for(name: str) -> Model:
    """A small source; draining needs one that outlasts a history."""
    return Model(Books(source=set(range(8_000 if name in DRAINING else 2_500)), interval=1 if name == "idle" else 300))


async def _now(rig: Rig) -> WorkflowHistory:
    return (await rig.histories())[-1]


async def idle(rig: Rig) -> WorkflowHistory:
    await rig.start()
    await rig.until(lambda: rig.model.books.calls["begin_run"] >= 4)
    await rig.until_state(lambda s: s["run"] is None)
    return await _now(rig)


async def paused(rig: Rig) -> WorkflowHistory:
    rig.model.hold("ingest_chunk")
    await rig.start()
    await rig.until(lambda: rig.model.in_flight["ingest_chunk"] >= 1)
    await rig.update("pause", PauseArgs(by="usr_1", reason="recorded"))
    await rig.until_state(lambda s: s["run"]["parked"])
    return await _now(rig)


async def resumed(rig: Rig) -> WorkflowHistory:
    await paused(rig)
    rig.model.release("ingest_chunk")
    await rig.handle.signal("resume")
    await rig.until_state(lambda s: s["last_status"] == "completed")
    return await _now(rig)


async def mid_page(rig: Rig) -> WorkflowHistory:
    rig.model.hold("list_pages")
    await rig.start()
    await rig.until(lambda: rig.model.in_flight["list_pages"] == 1)
    return await _now(rig)


async def mid_chunk(rig: Rig) -> WorkflowHistory:
    await rig.start()
    rig.model.hold("ingest_chunk")
    await rig.until(lambda: rig.model.in_flight["ingest_chunk"] >= 2)
    return await _now(rig)


async def throttled(rig: Rig) -> WorkflowHistory:
    rig.model.script["ingest_chunk"].extend(["throttle"] * 3)
    await rig.start()
    await rig.until_state(lambda s: s["run"] and s["run"]["slow"] >= 3)
    return await _now(rig)


async def removals(rig: Rig) -> WorkflowHistory:
    """Proposed, rejected, proposed again by a larger loss, approved."""
    books = rig.model.books
    books.stored, books.source = set(range(100)), set(range(60))
    await rig.start()
    await rig.until_state(lambda s: s["proposal_id"] and s["run"] is None)
    await rig.update("reject_deletes", DecisionArgs(by="usr_1"))
    books.source = set(range(10))
    await rig.update("trigger", TriggerArgs(by="usr_1"))
    await rig.until_state(lambda s: s["proposal_id"] and s["run"] is None)
    await rig.handle.signal("approve_deletes")
    await rig.until(lambda: books.stored == books.source)
    await rig.until_state(lambda s: s["run"] is None)
    return await _now(rig)


async def commands(rig: Rig) -> WorkflowHistory:
    """Unlock, full sync while active, a failing run, reload, signals nobody knows, stop."""
    rig.model.hold("ingest_chunk")
    await rig.start()
    await rig.until(lambda: rig.model.in_flight["ingest_chunk"] >= 1)
    await rig.update("trigger", TriggerArgs(full_sync=True))
    await rig.update("unlock")
    rig.model.release("ingest_chunk")
    await rig.until_state(lambda s: s["last_status"] == "completed")
    rig.model.script["begin_run"].append("denied")
    await rig.update("reload")
    await rig.until_state(lambda s: s["last_status"] == "failed")
    await rig.handle.signal("puase", args=[1, 2])
    await rig.update("stop")
    await rig.handle.result()
    return await _now(rig)


async def canceled(rig: Rig) -> WorkflowHistory:
    rig.model.hold("ingest_chunk")
    await rig.start()
    await rig.until(lambda: rig.model.in_flight["ingest_chunk"] >= 1)
    await rig.handle.cancel()
    await rig.until(lambda: not rig.model.books.open_jobs())
    while (await rig.handle.describe()).close_time is None:
        await asyncio.sleep(0.05)
    return await _now(rig)


async def draining(rig: Rig) -> WorkflowHistory:
    """An execution that goes into the next one mid-run. Needs a server that suggests it early."""
    await rig.start()
    await rig.until_state(lambda s: s["executions"] >= 1)
    return (await rig.histories())[0]


async def after_continue_as_new(rig: Rig) -> WorkflowHistory:
    """Needs a server that suggests it early."""
    await rig.start()
    await rig.until_state(lambda s: s["last_status"] == "completed" and s["executions"] >= 1)
    return await _now(rig)


async def batch(rig: Rig) -> WorkflowHistory:
    rig.model.plans["btch_1"] = BatchPlan(how="webhook", objects=3)
    handle = await rig.start("BatchWorkflow", BatchInput("btch_1"), "batch/btch_1")
    await handle.result()
    return await handle.fetch_history()


async def mid_batch(rig: Rig) -> WorkflowHistory:
    rig.model.plans["btch_2"] = BatchPlan(how="webhook", objects=3)
    rig.model.hold("post_batch")
    handle = await rig.start("BatchWorkflow", BatchInput("btch_2"), "batch/btch_2")
    await rig.until(lambda: rig.model.in_flight["post_batch"] == 1)
    return await handle.fetch_history()


async def connection(rig: Rig) -> WorkflowHistory:
    rig.model.script["check_connection"].extend(["", "fatal"])
    handle = await rig.start("ConnectionWorkflow", ConnectionInput("conn_1"), "connection/conn_1")
    for n in range(1, 4):
        await handle.signal("check")
        await rig.until(lambda n=n: rig.model.checks + (n > 1) >= n)  # type: ignore[misc]  # the second fails
        await asyncio.sleep(0.2)
    return await handle.fetch_history()


DRAINING: dict[str, Scenario] = {"draining": draining, "after_continue_as_new": after_continue_as_new}
SCENARIOS: dict[str, Scenario] = {
    "idle": idle,
    "paused": paused,
    "resumed": resumed,
    "mid_page": mid_page,
    "mid_chunk": mid_chunk,
    "throttled": throttled,
    "removals": removals,
    "commands": commands,
    "canceled": canceled,
    "batch": batch,
    "mid_batch": mid_batch,
    "connection": connection,
    **DRAINING,
}
