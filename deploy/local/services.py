"""How each part of the local stack is started, and when it answers.

A `Service` is data: command, environment, ports, and a readiness check that returns False until the
part really answers its own protocol (not merely listens).
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import http.client
import sys
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pymongo
from pymongo.errors import OperationFailure, PyMongoError
from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client
from temporalio.service import RPCError

from deploy.local import tools
from deploy.local.paths import CHECKOUT
from deploy.local.processes import Processes

__all__ = [
    "S3_ACCESS_KEY_ID",
    "S3_SECRET_ACCESS_KEY",
    "Service",
    "api",
    "mongod",
    "python_environment",
    "run",
    "s3",
    "temporal",
    "wait_ready",
    "worker",
]

_POLL_SECONDS = 0.1

S3_ACCESS_KEY_ID = "tidemark-local"
S3_SECRET_ACCESS_KEY = "tidemark-local-secret"  # noqa: S105 - of a server on loopback with sample data

SEARCH_ATTRIBUTES = {
    "SyncState": "Keyword",
    "SyncProvider": "Keyword",
    "SyncBucketId": "Keyword",
    "SyncConnectionId": "Keyword",
    "SyncOrganization": "Keyword",
    "SyncNeedsAttention": "Bool",
}

# The development server has one shard, whose default of 20 polls a second makes every activity
# round trip 95 ms instead of 20 (design.md, "Local stack").
DYNAMIC_CONFIG = {
    "history.transferProcessorMaxPollRPS": 2000,
    "history.timerProcessorMaxPollRPS": 2000,
    "history.visibilityProcessorMaxPollRPS": 500,
    "history.outboundProcessorMaxPollRPS": 500,
}

_T = TypeVar("_T")


@dataclass(frozen=True)
class Service:
    """One process of the stack."""

    name: str
    argv: list[str]
    ready: Callable[[int], bool]
    """Called with the pid until it answers True."""
    environment: Mapping[str, str] = field(default_factory=dict)
    ports: Mapping[str, int] = field(default_factory=dict)
    """Field of `Ports` to port number: what must be free before it can start."""
    start_seconds: float = 60
    stop_seconds: float = 15


def wait_ready(service: Service, pid: int, processes: Processes) -> None:
    """Wait until the service answers. Raises ToolError with the end of its log if it never does."""
    started = time.monotonic()
    while not service.ready(pid):
        gone = processes.pid(service.name) is None
        if gone or time.monotonic() - started > service.start_seconds:
            what = "ended at once" if gone else f"does not answer after {service.start_seconds:.0f} s"
            tail, log = processes.log_tail(service.name), processes.log_file(service.name)
            raise tools.ToolError(f"{service.name} {what}\n{tail}", f"Its log is {log}; when mended, run it again.")
        time.sleep(_POLL_SECONDS)


def mongod(data: Path, port: int) -> Service:
    """A one-node replica set; about 0.6 s to its first write."""
    binary = tools.find_mongod()
    if binary is None:
        raise tools.ToolError("there is no mongod", "Run `make up`, which sets everything up.")
    data.mkdir(parents=True, exist_ok=True)
    argv = [
        *(str(binary), "--dbpath", str(data), "--port", str(port), "--bind_ip", "127.0.0.1"),
        *("--replSet", "rs0", "--nounixsocket", "--wiredTigerCacheSizeGB", "0.25"),
        *("--setParameter", "ttlMonitorSleepSecs=1", "--setParameter", "diagnosticDataCollectionEnabled=false"),
        *("--wiredTigerEngineConfigString", "log=(file_max=4MB,prealloc=false)"),
    ]
    return Service("mongod", argv, lambda _pid: _is_primary(port), ports={"mongod": port}, stop_seconds=30)


def _is_primary(port: int) -> bool:
    uri = f"mongodb://127.0.0.1:{port}/?directConnection=true"
    with pymongo.MongoClient[dict[str, Any]](uri, serverSelectionTimeoutMS=500) as client:
        try:
            hello = client.admin.command("hello")
            if hello.get("isWritablePrimary"):
                return True
            if not hello.get("setName"):
                member = {"_id": 0, "host": f"127.0.0.1:{port}"}
                client.admin.command({"replSetInitiate": {"_id": "rs0", "members": [member]}})
        except OperationFailure as error:
            if error.code != 23:  # AlreadyInitialized: it was asked for a moment ago
                raise
        except PyMongoError:
            return False
    return False


def temporal(database: Path | None, port: int, ui_port: int | None) -> Service:
    """The development server; in memory without a database file, headless without a UI port."""
    binary = tools.find_temporal()
    if binary is None:
        raise tools.ToolError("there is no temporal", "Run `make up`, which sets everything up.")
    argv = [str(binary), "server", "start-dev", "--ip", "127.0.0.1", "--port", str(port), "--log-level", "warn"]
    argv += ["--ui-port", str(ui_port)] if ui_port else ["--headless"]
    if database:
        database.parent.mkdir(parents=True, exist_ok=True)
        argv += ["--db-filename", str(database)]
    for name, kind in SEARCH_ATTRIBUTES.items():
        argv += ["--search-attribute", f"{name}={kind}"]
    for key, value in DYNAMIC_CONFIG.items():
        argv += ["--dynamic-config-value", f"{key}={value}"]
    ports = {"temporal": port} | ({"temporal_ui": ui_port} if ui_port else {})
    return Service("temporal", argv, lambda _pid: _temporal_answers(port), ports=ports)


def _temporal_answers(port: int) -> bool:
    async def ask() -> bool:
        client = await Client.connect(f"127.0.0.1:{port}")
        known = await client.operator_service.list_search_attributes(ListSearchAttributesRequest(namespace="default"))
        return SEARCH_ATTRIBUTES.keys() <= known.custom_attributes.keys()

    try:
        return run(ask())
    except (RuntimeError, RPCError):  # the SDK's ways to say: not yet
        return False


def s3(kind: str, data: Path, port: int) -> Service:
    """`versitygw` (fast, checks signatures, keeps its data) or `moto` (exact about odd keys, in memory)."""
    if kind == "moto":
        argv = [sys.executable, "-W", "ignore", "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
        return Service("s3", argv, lambda _pid: _http_answers(port, "/"), ports={"s3": port})
    binary = tools.find_versitygw()
    if binary is None:
        raise tools.ToolError("there is no versitygw", "Run `make up`, which sets everything up, or use S3=moto.")
    data.mkdir(parents=True, exist_ok=True)
    argv = [str(binary), "--port", f"127.0.0.1:{port}", "--region", "us-east-1", "--quiet", "--health", "/health"]
    argv += ["--keep-alive", "posix", str(data)]
    keys = {"ROOT_ACCESS_KEY_ID": S3_ACCESS_KEY_ID, "ROOT_SECRET_ACCESS_KEY": S3_SECRET_ACCESS_KEY}
    return Service("s3", argv, lambda _pid: _http_answers(port, "/health"), keys, ports={"s3": port})


def api(port: int) -> Service:
    """The HTTP API."""
    argv = [sys.executable, "starter.py", "serve"]
    return Service("api", argv, lambda _pid: _http_answers(port, "/v1/health"), ports={"api": port})


def worker(number: int, temporal_port: int, task_queue: str, metrics_port: int) -> Service:
    """One worker process, so that a killed one is seen and replaced."""
    argv = [sys.executable, "worker.py", "--processes", "1"]
    environment = {"TIDEMARK_METRICS_PORT": str(metrics_port)}
    return Service(
        f"worker-{number}",
        argv,
        lambda pid: _worker_polls(pid, temporal_port, task_queue),
        environment,
        ports={"metrics": metrics_port} if metrics_port else {},
    )


def _worker_polls(pid: int, port: int, task_queue: str) -> bool:
    """Whether this very process (or a child of it) polls the workflow queue: the SDK's identity is `pid@host`."""
    pids = {pid, *_children(pid)}

    async def ask() -> bool:
        client = await Client.connect(f"127.0.0.1:{port}")
        answer = await client.workflow_service.describe_task_queue(
            DescribeTaskQueueRequest(
                namespace="default",
                task_queue=TaskQueue(name=f"{task_queue}-workflows"),
                task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
            )
        )
        return any(poller.identity.partition("@")[0] in map(str, pids) for poller in answer.pollers)

    try:
        return run(ask())
    except (RuntimeError, RPCError):
        return False


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _http_answers(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", path)
        return connection.getresponse().status < 500
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def run(work: Coroutine[Any, Any, _T]) -> _T:
    """Run a coroutine from synchronous code, even where an event loop runs already (tests)."""
    with concurrent.futures.ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


def python_environment() -> dict[str, str]:
    """What every Python process of ours is given."""
    return {"PYTHONPATH": str(CHECKOUT), "PYTHONUNBUFFERED": "1"}
