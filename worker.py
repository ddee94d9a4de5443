"""The worker: wires settings to stores and providers, those to activities, and these to Temporal workers.

`python worker.py [--processes N]`. Nothing else constructs things, and nothing here decides anything.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import structlog
import typer
import uvloop
from temporalio.client import Client
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.envconfig import ClientConfig
from temporalio.runtime import PrometheusConfig, Runtime, TelemetryConfig
from temporalio.worker import Worker

from activities.batches import BatchActivities
from activities.bucket_deletion import BucketDeletionActivities
from activities.engine import Engine
from activities.errors import ErrorInterceptor
from activities.health import HealthActivities
from activities.ingest import IngestActivities
from activities.list_pages import PageActivities
from activities.maintenance import MaintenanceActivities
from activities.reconcile import ReconcileActivities
from activities.runs import RunActivities
from models.logs import configure_logging
from models.settings import Settings
from stores.blobs import open_blob_store
from stores.database import connect, ensure_indexes
from stores.vault import Vault
from workflows.batch import BatchWorkflow
from workflows.bucket_deletion import BucketDeletionWorkflow
from workflows.connection import ConnectionWorkflow
from workflows.draft import DraftWorkflow
from workflows.guard import GuardInterceptor
from workflows.maintenance import MaintenanceArgs, MaintenanceWorkflow
from workflows.sync import SyncWorkflow

LOG = structlog.get_logger("worker")
# Cancellation reaches an activity with its next heartbeat, so heartbeats must not be held back for long.
HEARTBEAT_THROTTLE = timedelta(seconds=1)
PR_SET_PDEATHSIG = 1
# glibc: (parameter of mallopt, value). Buffers of large files come from memory that is kept, not mapped and zeroed
# for each: that halved the kernel's share of the work. Two arenas, or every thread keeps memory of its own.
MALLOC_OPTIONS = ((-3, 32 << 20), (-1, 64 << 20), (-8, 2))


@dataclass
class Wired:
    """Everything of one process that has to be closed."""

    engine: Engine
    workers: list[Worker]


async def wire(settings: Settings, client: Client) -> Wired:
    """Construct one process's engine and its three workers."""
    mongo, database = connect(settings)
    await ensure_indexes(database)
    vault = await Vault.open(mongo, settings)
    engine = Engine(settings, database, vault, open_blob_store(settings))
    batches, health = BatchActivities(engine, client), HealthActivities(engine, client)
    runs, pages, ingest = RunActivities(engine, batches), PageActivities(engine), IngestActivities(engine)
    reconcile = ReconcileActivities(engine)
    maintenance = MaintenanceActivities(engine, client)
    deletion = BucketDeletionActivities(engine, client)
    interceptors = [ErrorInterceptor(), GuardInterceptor()]
    grace = timedelta(seconds=settings.shutdown_grace_seconds)
    workflows = Worker(
        client,
        task_queue=settings.workflow_queue,
        workflows=[
            SyncWorkflow,
            BatchWorkflow,
            ConnectionWorkflow,
            MaintenanceWorkflow,
            BucketDeletionWorkflow,
            DraftWorkflow,
        ],
        max_concurrent_workflow_task_polls=2,
        interceptors=interceptors,
    )
    control = Worker(
        client,
        task_queue=settings.control_queue,
        activities=[
            runs.load_state,
            runs.begin_run,
            runs.finish_run,
            runs.project,
            runs.requeue,
            pages.list_pages,
            reconcile.reconcile,
            batches.make_batches,
            batches.begin_batch,
            batches.post_batch,
            batches.finish_batch,
            deletion.stop_work,
            deletion.purge_objects,
            deletion.finish,
            deletion.reap_draft,
            health.check,
            maintenance.start_missing,
            maintenance.purge_blobs,
        ],
        max_concurrent_activities=settings.worker_control_slots,
        max_heartbeat_throttle_interval=HEARTBEAT_THROTTLE,
        default_heartbeat_throttle_interval=HEARTBEAT_THROTTLE,
        graceful_shutdown_timeout=grace,
        interceptors=interceptors,
    )
    ingestion = Worker(
        client,
        task_queue=settings.ingest_queue,
        activities=[ingest.ingest_chunk],
        max_concurrent_activities=settings.worker_ingest_slots,
        max_heartbeat_throttle_interval=HEARTBEAT_THROTTLE,
        default_heartbeat_throttle_interval=HEARTBEAT_THROTTLE,
        graceful_shutdown_timeout=grace,
        interceptors=interceptors,
    )
    return Wired(engine, [workflows, control, ingestion])


async def serve(settings: Settings, index: int) -> None:
    """Run one process until SIGTERM or SIGINT, then hand back and end."""
    metrics = (
        PrometheusConfig(bind_address=f"127.0.0.1:{settings.metrics_port + index}") if settings.metrics_port else None
    )
    runtime = Runtime(telemetry=TelemetryConfig(metrics=metrics) if metrics else TelemetryConfig())
    client = await Client.connect(**ClientConfig.load_client_connect_config(), runtime=runtime)
    wired = await wire(settings, client)
    await client.start_workflow(
        "MaintenanceWorkflow",
        MaintenanceArgs(),
        id=f"{settings.task_queue}-maintenance",
        task_queue=settings.workflow_queue,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
    )
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    running = [asyncio.create_task(worker.run()) for worker in wired.workers]
    stopping = asyncio.create_task(stop.wait())
    LOG.info("worker started", index=index, pid=os.getpid(), queues=settings.task_queue)
    await asyncio.wait([*running, stopping], return_when=asyncio.FIRST_COMPLETED)
    await asyncio.gather(*(worker.shutdown() for worker in wired.workers))
    await asyncio.gather(*running)
    await wired.engine.close()
    LOG.info("worker stopped", index=index, pid=os.getpid())


def run_one(settings: Settings, index: int) -> None:
    """One process. Ends by `os._exit`: at interpreter exit the SDK's threads may abort it (sdk-python issue 300)."""
    status = 0
    tune_allocator()
    try:
        uvloop.run(serve(settings, index))
    except Exception:
        LOG.exception("worker failed", index=index)
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def tune_allocator() -> None:
    """Set glibc's allocator up for large buffers; other C libraries are left alone."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for option, value in MALLOC_OPTIONS:
            mallopt(option, value)


def die_with_parent() -> None:
    """A child must not outlive a killed parent: nobody would stop it."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def supervise(processes: int) -> int:
    """Start the children, pass SIGTERM on, start anew what dies; returns the worst exit status."""
    stopping = False

    def start(index: int) -> subprocess.Popen[bytes]:
        command = [sys.executable, str(Path(__file__).resolve()), "--processes", "1", "--index", str(index)]
        # Nothing of the parent runs threads at this point, which is what makes preexec_fn safe.
        return subprocess.Popen(command, preexec_fn=die_with_parent)  # noqa: PLW1509, S603 - our own command line

    children = {index: start(index) for index in range(processes)}

    def pass_on(number: int, _frame: object) -> None:
        nonlocal stopping
        stopping = True
        for child in children.values():
            child.send_signal(number)

    signal.signal(signal.SIGTERM, pass_on)
    signal.signal(signal.SIGINT, pass_on)
    worst = 0
    while children:
        pid, raw = os.wait()
        status = os.waitstatus_to_exitcode(raw)
        index = next(i for i, child in children.items() if child.pid == pid)
        if stopping:
            worst = max(worst, abs(status))
            del children[index]
        else:
            LOG.error("worker process died, starting it anew", index=index, status=status)
            children[index] = start(index)
    return worst


def main(
    processes: Annotated[int, typer.Option(help="worker processes; 0: TIDEMARK_WORKER_PROCESSES, or one per core")] = 0,
    index: Annotated[int, typer.Option(hidden=True)] = 0,
) -> None:
    """Run Tidemark's workers."""
    settings = Settings()
    configure_logging(settings)
    wanted = processes or settings.worker_processes or os.cpu_count() or 1
    if wanted == 1:
        run_one(settings, index)
    sys.exit(supervise(wanted))


# The SDK's sandbox runs the main module again; without the guard it would start a second worker inside.
if __name__ == "__main__":
    typer.run(main)
