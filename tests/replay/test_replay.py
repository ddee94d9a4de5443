"""Recorded histories replay on today's workflows, and would not on changed ones."""

from __future__ import annotations

import asyncio
import json

import pytest
from temporalio import workflow
from temporalio.client import Client, WorkflowHistory
from temporalio.worker import Replayer
from temporalio.workflow import NondeterminismError

from activities.contracts import BatchInput
from tests.replay.record import HISTORIES, record
from tests.replay.scenarios import DRAINING, SCENARIOS
from tests.workflow_model.rig import WORKFLOWS
from workflows.batch import BatchWorkflow
from workflows.guard import GuardInterceptor
from workflows.pump import Pump
from workflows.state import Run, SyncArgs
from workflows.sync import SyncWorkflow

FILES = sorted(HISTORIES.glob("*.json"))
NOT_SYNC = {"batch", "mid_batch", "connection"}
NAMES = [file.stem for file in FILES]


def recorded(name: str) -> WorkflowHistory:
    return load((HISTORIES / f"{name}.json").read_text())


def load(text: str) -> WorkflowHistory:
    document = json.loads(text)
    return WorkflowHistory.from_json(document.pop("workflow_id"), document)


async def replay(history: WorkflowHistory, *workflows: type) -> None:
    await Replayer(workflows=workflows or WORKFLOWS, interceptors=[GuardInterceptor()]).replay_workflow(history)


def test_every_situation_is_recorded() -> None:
    assert {file.stem for file in FILES} == set(SCENARIOS)
    assert {file.stem: file.stat().st_size for file in FILES if file.stat().st_size > 200_000} == {}


@pytest.mark.parametrize("name", NAMES)
async def test_a_recorded_history_replays(name: str) -> None:
    await replay(recorded(name))


@pytest.mark.parametrize("name", ["mid_chunk", "connection"])
async def test_what_is_recorded_now_replays(temporal_client: Client, name: str) -> None:
    assert name not in DRAINING
    await replay(load(await record(temporal_client, name)))


@workflow.defn(name="SyncWorkflow", sandboxed=False)
class SleepsFirst(SyncWorkflow):
    """What somebody might add in good faith."""

    @workflow.init
    def __init__(self, args: SyncArgs) -> None:
        super().__init__(args)

    @workflow.run
    async def run(self, args: SyncArgs) -> str:
        await asyncio.sleep(1)
        return await super().run(args)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in NOT_SYNC])
async def test_a_changed_sync_workflow_is_found(name: str) -> None:
    with pytest.raises(NondeterminismError):
        await replay(recorded(name), SleepsFirst)


@workflow.defn(name="SyncWorkflow", sandboxed=False)
class Unchanged(SyncWorkflow):
    """Without the sandbox, so that a test can patch what it uses."""

    @workflow.init
    def __init__(self, args: SyncArgs) -> None:
        super().__init__(args)

    @workflow.run
    async def run(self, args: SyncArgs) -> str:
        return await super().run(args)


async def test_a_changed_order_in_the_window_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    await replay(recorded("mid_chunk"), Unchanged)
    start = Pump._start

    def chunks_before_listing(self: Pump, run: Run) -> None:
        if run.begun and run.chunks and not self._tasks:
            self._start_chunk(run, run.chunks[0])
        start(self, run)

    monkeypatch.setattr(Pump, "_start", chunks_before_listing)
    with pytest.raises(NondeterminismError):
        await replay(recorded("mid_chunk"), Unchanged)


@workflow.defn(name="BatchWorkflow", sandboxed=False)
class SettlesOnly:
    @workflow.run
    async def run(self, args: BatchInput) -> str:
        await workflow.sleep(1)
        return "COMPLETED"


@pytest.mark.parametrize("name", ["batch", "mid_batch"])
async def test_a_changed_batch_workflow_is_found(name: str) -> None:
    await replay(recorded(name), BatchWorkflow)
    with pytest.raises(NondeterminismError):
        await replay(recorded(name), SettlesOnly)
