"""The real workflows on a real or time-skipping server, with the model's activities and workers as in worker.py."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, Self

from temporalio.api.enums.v1 import EventType, IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest
from temporalio.client import Client, WorkflowHandle, WorkflowHistory
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.service import RPCError, RPCStatusCode
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner, Worker
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

from activities.contracts import CommandResult, SyncInput
from deploy.local.services import SEARCH_ATTRIBUTES
from tests.workflow_model.model import Model
from tests.workflow_model.short import WatchedSyncWorkflow
from workflows.batch import BatchWorkflow
from workflows.connection import ConnectionWorkflow
from workflows.guard import GuardInterceptor
from workflows.sync import SyncWorkflow

WORKFLOWS = (SyncWorkflow, BatchWorkflow, ConnectionWorkflow)
BEAT = timedelta(milliseconds=50)
LIMIT = 20.0
# The API waits for an answer this long, then says 503; a command may be given again.
_ANSWER = 30.0


class Rig:
    """Workers, the model, and one sync's handle."""

    def __init__(
        self,
        server: Client | WorkflowEnvironment,
        model: Model,
        *,
        workflows: Sequence[type] = WORKFLOWS,
        sandbox: bool = True,
        cache: int = 100,
    ) -> None:
        self._env = None if isinstance(server, Client) else server
        self.client = server if isinstance(server, Client) else server.client
        self.model = model
        self.queue = f"model-{uuid.uuid4().hex[:10]}"
        self.sync_config_id = f"sync_{uuid.uuid4().hex[:12]}"
        self._workflows = workflows
        self._runner = SandboxedWorkflowRunner() if sandbox else UnsandboxedWorkflowRunner()
        self._cache = cache
        self._running: list[tuple[Worker, asyncio.Task[None]]] = []
        self.started: list[str] = []
        self.task_timeout: timedelta | None = None

    @property
    def handle(self) -> WorkflowHandle[Any, Any]:
        return self.client.get_workflow_handle(f"sync/{self.sync_config_id}")

    @property
    def input(self) -> SyncInput:
        return SyncInput(self.sync_config_id, "int_1", "bkt_1", "conn_1", "s3")

    async def __aenter__(self) -> Self:
        await self.start_workers()
        return self

    async def __aexit__(self, *_: object) -> None:
        for workflow_id in self.started:
            try:
                await self.client.get_workflow_handle(workflow_id).terminate("end of test")
            except RPCError as error:
                if error.status is not RPCStatusCode.NOT_FOUND:
                    raise
        await self.stop_workers()

    async def start_workers(self) -> None:
        shared: dict[str, Any] = {
            "graceful_shutdown_timeout": timedelta(seconds=0),
            "interceptors": [GuardInterceptor()],
        }
        beats: dict[str, Any] = {"max_heartbeat_throttle_interval": BEAT, "default_heartbeat_throttle_interval": BEAT}
        workers = [
            Worker(
                self.client,
                task_queue=f"{self.queue}-workflows",
                workflows=self._workflows,
                workflow_runner=self._runner,
                max_cached_workflows=self._cache,
                sticky_queue_schedule_to_start_timeout=timedelta(seconds=1),
                **shared,
            ),
            Worker(
                self.client, task_queue=f"{self.queue}-control", activities=self.model.activities, **beats, **shared
            ),
            Worker(
                self.client, task_queue=f"{self.queue}-ingest", activities=[self.model.ingest_chunk], **beats, **shared
            ),
        ]
        self._running = [(worker, asyncio.create_task(worker.run())) for worker in workers]

    async def stop_workers(self) -> None:
        running, self._running = self._running, []
        await asyncio.gather(*(worker.shutdown() for worker, _ in running))
        await asyncio.gather(*(task for _, task in running))

    async def restart_workers(self) -> None:
        """As a deploy does: what runs is cut, everything in memory is lost."""
        await self.stop_workers()
        await self.start_workers()

    @property
    def skips(self) -> bool:
        return self._env is not None

    async def skip(self, seconds: float) -> None:
        """Let time pass on the time-skipping server."""
        assert self._env is not None
        await self._env.sleep(seconds)

    # --- workflows

    async def start(
        self, name: str = "SyncWorkflow", args: Any = None, workflow_id: str = ""
    ) -> WorkflowHandle[Any, Any]:
        workflow_id = workflow_id or self.handle.id
        self.started.append(workflow_id)
        return await self.client.start_workflow(
            name,
            args if args is not None else self.input,
            id=workflow_id,
            task_queue=f"{self.queue}-workflows",
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            task_timeout=self.task_timeout,
        )

    async def mid_run(self, size: int = 3_000) -> str:
        """Start a run over so many objects, held in the middle of its chunks; its job's id."""
        self.model.books.source = set(range(size))
        self.model.hold("ingest_chunk")
        await self.start()
        await self.until(lambda: self.model.in_flight["ingest_chunk"] >= 1)
        job_id: str = (await self.state())["run"]["id"]
        return job_id

    async def update(self, name: str, args: Any = None) -> CommandResult:
        given, books = [] if args is None else [args], self.model.books
        if name == "resume":
            books.paused_since = None
        result: CommandResult
        try:
            async with asyncio.timeout(_ANSWER):
                result = await self.handle.execute_update(name, args=given, result_type=CommandResult)
        except TimeoutError:
            raise AssertionError(f"{name!r} was never answered, of {await self._endings()}") from None
        if result.outcome == "paused":
            books.paused_since = books.noted_at
        return result

    async def state(self) -> dict[str, Any]:
        """The state query. Of a watched workflow what it holds, once that stays: a task replays it from its start."""
        if WatchedSyncWorkflow not in self._workflows:
            found: dict[str, Any] = await self.handle.query("state")
            return found
        watched, state = WatchedSyncWorkflow.latest, None
        while self.handle.id not in watched or state != (state := watched[self.handle.id].state_query()):
            await asyncio.sleep(0.03)
        return state

    async def until(self, condition: Callable[[], object], what: str = "", limit: float = LIMIT) -> None:
        """Wait, in real time, for something in the model."""
        async with asyncio.timeout(limit):
            while not condition():
                if self.model.books.violations:
                    self.check_books()
                await asyncio.sleep(0.01)

    async def until_state(self, condition: Callable[[dict[str, Any]], object], limit: float = LIMIT) -> dict[str, Any]:
        """Wait, in real time, for something in the workflow's state."""
        state: dict[str, Any] = {}
        try:
            async with asyncio.timeout(limit):
                while True:
                    state = await self.state()
                    if condition(state):
                        return state
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise AssertionError(f"never came to be; the state is {json.dumps(state, indent=1)}") from None

    # --- checks

    async def histories(self) -> list[WorkflowHistory]:
        """Histories of the sync's executions, oldest first."""
        found: list[WorkflowHistory] = []
        run_id: str | None = None
        while True:
            history = await self.client.get_workflow_handle(self.handle.id, run_id=run_id).fetch_history()
            found.insert(0, history)
            first = history.events[0].workflow_execution_started_event_attributes
            run_id = first.continued_execution_run_id
            if not run_id:
                return found

    async def _endings(self) -> list[list[str]]:
        """The last events of each execution."""
        return [
            [f"{e.event_id} {EventType.Name(e.event_type).removeprefix('EVENT_TYPE_')}" for e in history.events[-16:]]
            for history in await self.histories()
        ]

    async def check(self) -> list[WorkflowHistory]:
        """Nothing was done that must not be done; no workflow task failed; the state is small; all of it replays."""
        self.check_books()
        found = await self.histories()
        replayer = Replayer(workflows=self._workflows, workflow_runner=self._runner, interceptors=[GuardInterceptor()])
        for history in found:
            # For a second after continue-as-new there is only the first event: the replayer would wait for a task for
            # ever, and not even be cancelled (temporalio 1.35).
            if kinds(history)["WORKFLOW_TASK_SCHEDULED"]:
                await replayer.replay_workflow(history)
            check_history(history, replayed=True)
        return found

    def check_books(self) -> None:
        violations = self.model.books.violations
        assert not violations, violations


# What a task may fail with though the workflow is not at fault. It is done again each time.
_TOO_LATE = "UNHANDLED_COMMAND"  # something came while it was being answered
_STALE = "Fatal error in workflow machines"  # of a history that replays: the SDK's copy in memory was not the server's


def check_history(history: WorkflowHistory, *, replayed: bool = False) -> None:
    """No workflow task failed, and what is carried over continue-as-new is at most 64 KiB."""
    tolerated = (_TOO_LATE, _STALE) if replayed else (_TOO_LATE,)
    for event in history.events:
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED:
            failed = event.workflow_task_failed_event_attributes
            if not any(reason in str(failed) for reason in tolerated):
                before = [EventType.Name(e.event_type).removeprefix("EVENT_TYPE_") for e in history.events]
                raise AssertionError(f"a workflow task failed: {failed}, in {before}")
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW:
            size = event.workflow_execution_continued_as_new_event_attributes.input.ByteSize()
            assert size <= 64 * 1024


def kinds(history: WorkflowHistory) -> Counter[str]:
    """How many events of each kind."""
    return Counter(EventType.Name(e.event_type).removeprefix("EVENT_TYPE_") for e in history.events)


async def register(client: Client) -> None:
    """Our search attributes, as set-up registers them."""
    kinds = {
        name: IndexedValueType.Value(f"INDEXED_VALUE_TYPE_{kind.upper()}") for name, kind in SEARCH_ATTRIBUTES.items()
    }
    await client.operator_service.add_search_attributes(
        AddSearchAttributesRequest(namespace="default", search_attributes=kinds)
    )
