"""Fixtures: real servers, each started when a test first asks for it and ended with the session.

- `mongo_uri` (session): address of a private one-node replica set
- `mongo_name` (function): a database name of the test's own, dropped afterwards
- `settings` (function): `Settings` with that database, a blob folder, master key, port and task queue of its own
- `temporal_address` (session): a real development server with our search attributes
- `temporal_client` (session): a client of it
- `temporal_env` (session): the same as a `WorkflowEnvironment` (real time)
- `time_skipping_env` (function): a `WorkflowEnvironment` that skips time, a server of the test's own (0.6 s)
- `test_server_path` (session): the time-skipping server's program
- `moto_s3` (session): `S3Server`: moto (exact about odd keys, checks no signature)
- `versitygw_s3` (session): `S3Server`: versitygw (checks signatures, folds `a//b`); skipped where it cannot be
- `s3_server` (session): each of the two in turn
- `stack` (session): the whole stack of `make up`, on ports of its own: `stack.env`, `.kill()`, `.start()`
- `make_stack` (function), `make_module_stack` (module): make further stacks: `make_stack(workers=2, settings={…}).up()`

Servers listen below 32768, keep their data in a temporary folder and are ended even when the
session dies: what a killed session left behind is ended by the next one. A skip fails the session
when CI is set.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hypothesis
import pymongo
import pytest
import pytest_asyncio
from pydantic import SecretStr
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment

from deploy.local import services, setup, tools
from deploy.local.paths import CHECKOUT
from deploy.local.ports import Ports
from deploy.local.processes import Processes, start_time
from deploy.local.services import Service
from deploy.local.stack import Stack
from models.settings import Settings
from tests.s3_server import S3Server

# A machine that halts for a moment is no counterexample; one that is found must be shown so that it can be met again.
hypothesis.settings.register_profile(
    "tidemark", deadline=None, print_blob=True, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("tidemark")

_ALL_SESSIONS = Path(tempfile.gettempdir()) / f"tidemark-tests-{os.getuid()}"


class Servers:
    """The server processes of this test session, under one temporary folder."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.ports = Ports.pick()
        self.processes = Processes(home)

    def start(self, service: Service) -> None:
        pid = self.processes.spawn(
            service.name,
            service.argv,
            env={**os.environ, **services.python_environment(), **service.environment},
            cwd=CHECKOUT,
        )
        services.wait_ready(service, pid, self.processes)

    def close(self) -> None:
        self.processes.stop(self.processes.running(), 10)
        shutil.rmtree(self.home, ignore_errors=True)


def _end_leftovers() -> None:
    """End the servers of sessions that were killed."""
    for session in _ALL_SESSIONS.glob("*"):
        pid, _, started = session.name.partition("-")
        if start_time(int(pid)) == started:
            continue
        for run in (*session.glob("*/run"), *session.glob("*/.local/run")):
            processes = Processes(run.parent)
            processes.stop(processes.running(), 5)
        shutil.rmtree(session, ignore_errors=True)


@pytest.fixture(scope="session")
def session_home() -> Iterator[Path]:
    _end_leftovers()
    home = _ALL_SESSIONS / f"{os.getpid()}-{start_time(os.getpid())}"
    home.mkdir(parents=True)
    yield home
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="session")
def servers(session_home: Path) -> Iterator[Servers]:
    started = Servers(session_home / "servers")
    yield started
    started.close()


@pytest.fixture(scope="session")
def mongo_uri(servers: Servers) -> str:
    port = servers.ports.mongod
    servers.start(services.mongod(servers.home / "mongod", port))
    return f"mongodb://127.0.0.1:{port}/?replicaSet=rs0"


@pytest.fixture
def mongo_name(mongo_uri: str) -> Iterator[str]:
    name = f"test_{uuid.uuid4().hex[:12]}"
    yield name
    with pymongo.MongoClient[dict[str, Any]](mongo_uri) as client:
        client.drop_database(name)


@pytest.fixture
def settings(mongo_uri: str, mongo_name: str, tmp_path: Path) -> Settings:
    return Settings(
        mongodb_uri=SecretStr(mongo_uri),
        mongodb_database=mongo_name,
        blob_store=str(tmp_path / "blobs"),
        kms_local_key_file=setup.make_master_key(tmp_path / "master.key"),
        allow_private_endpoints=True,
        api_rate_limits="off",
        task_queue=f"test-{uuid.uuid4().hex[:8]}",
        api_port=Ports.pick(metrics=0).api,
    )


@pytest.fixture(scope="session")
def temporal_address(servers: Servers) -> str:
    servers.start(services.temporal(None, servers.ports.temporal, None))
    return f"127.0.0.1:{servers.ports.temporal}"


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def temporal_client(temporal_address: str) -> Client:
    return await Client.connect(temporal_address)


@pytest.fixture(scope="session")
def temporal_env(temporal_client: Client) -> WorkflowEnvironment:
    return WorkflowEnvironment.from_client(temporal_client)


@pytest.fixture(scope="session")
def test_server_path() -> str:
    found = tools.find_test_server()
    if found is None:
        pytest.skip("no time-skipping test server: `make test` installs it")
    return str(found)


@pytest_asyncio.fixture(loop_scope="session")
async def time_skipping_env(test_server_path: str) -> AsyncIterator[WorkflowEnvironment]:
    port = Ports.pick(metrics=0).temporal
    async with await WorkflowEnvironment.start_time_skipping(
        test_server_existing_path=test_server_path, port=port
    ) as env:
        yield env


@pytest.fixture(scope="session")
def moto_s3(servers: Servers) -> Iterator[S3Server]:
    port = servers.ports.s3
    servers.start(services.s3("moto", servers.home / "moto", port))
    with S3Server("moto", port) as server:
        yield server


@pytest.fixture(scope="session")
def versitygw_s3(session_home: Path) -> Iterator[S3Server]:
    if tools.find_versitygw() is None:
        pytest.skip("no versitygw: `make test` builds it where Go is installed")
    gateway = Servers(session_home / "versitygw")
    gateway.start(services.s3("versitygw", gateway.home / "s3", gateway.ports.s3))
    with S3Server("versitygw", gateway.ports.s3) as server:
        yield server
    gateway.close()


@pytest.fixture(scope="session", params=("moto", "versitygw"))
def s3_server(request: pytest.FixtureRequest) -> S3Server:
    server = request.getfixturevalue(f"{request.param}_s3")
    assert isinstance(server, S3Server)
    return server


MakeStack = Callable[..., Stack]


@pytest.fixture(scope="session")
def stack(session_home: Path) -> Iterator[Stack]:
    whole = Stack(session_home / "stack", ports=Ports.pick(), workers=2, say=print)
    try:
        whole.up()
        yield whole
    finally:
        whole.down()


@contextmanager
def _making(session_home: Path) -> Iterator[MakeStack]:
    made: list[Stack] = []

    def make(**options: Any) -> Stack:
        root = session_home / f"stack-{uuid.uuid4().hex[:8]}"
        made.append(Stack(root, **{"ports": Ports.pick(), "workers": 2, "say": print, **options}))
        return made[-1]

    yield make
    for one in made:
        one.down(wipe=True)


@pytest.fixture
def make_stack(session_home: Path) -> Iterator[MakeStack]:
    with _making(session_home) as make:
        yield make


@pytest.fixture(scope="module")
def make_module_stack(session_home: Path) -> Iterator[MakeStack]:
    with _making(session_home) as make:
        yield make


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """A skipped test fails CI: there, everything can be installed."""
    reporter: Any = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("CI") and exitstatus == pytest.ExitCode.OK and reporter and reporter.stats.get("skipped"):
        reporter.write_line("CI: a skipped test counts as a failure", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
