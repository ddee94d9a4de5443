"""Rigs: `rig` on the real development server, `skip_rig` on one that skips time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest
import pytest_asyncio
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment

from deploy.local.ports import Ports
from tests.workflow_model.books import Books
from tests.workflow_model.model import Model
from tests.workflow_model.rig import Rig, register
from tests.workflow_model.short import ShortSyncWorkflow
from workflows import failures, policies


@pytest_asyncio.fixture(loop_scope="session")
async def skipping(test_server_path: str) -> AsyncIterator[WorkflowEnvironment]:
    port = Ports.pick(metrics=0).temporal
    async with await WorkflowEnvironment.start_time_skipping(
        test_server_existing_path=test_server_path, port=port
    ) as env:
        await register(env.client)
        yield env


@pytest.fixture
def model() -> Model:
    return Model(Books())


@pytest_asyncio.fixture(loop_scope="session")
async def rig(temporal_client: Client, model: Model) -> AsyncIterator[Rig]:
    """On the real development server."""
    async with Rig(temporal_client, model) as made:
        yield made
        made.check_books()


@pytest_asyncio.fixture(loop_scope="session")
async def skip_rig(skipping: WorkflowEnvironment, model: Model) -> AsyncIterator[Rig]:
    """On a time-skipping server of the test's own: a terminated workflow can leave a shared one unable to skip."""
    async with Rig(skipping, model) as made:
        yield made
        made.check_books()


@pytest_asyncio.fixture(loop_scope="session")
async def short_rig(temporal_client: Client, model: Model, hasty: None) -> AsyncIterator[Rig]:
    """On the real server; continues as new after 40 events and waits for nothing."""
    async with Rig(temporal_client, model, workflows=[ShortSyncWorkflow]) as made:
        yield made
        made.check_books()


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries, repetitions and the notice of a lost worker come at once."""
    at_once, soon = timedelta(milliseconds=10), timedelta(seconds=1)
    monkeypatch.setattr(policies, "AGAIN", at_once)
    monkeypatch.setattr(failures, "_AGAIN_SECONDS", at_once.total_seconds())
    monkeypatch.setattr(policies, "_THREE", replace(policies._THREE, initial_interval=at_once, maximum_attempts=1))
    monkeypatch.setattr(policies, "_ENDLESS", replace(policies._ENDLESS, initial_interval=at_once))
    for name in ("_HEARTBEAT", "_RECORD", "_CLOSING"):
        monkeypatch.setattr(policies, name, soon)


@pytest_asyncio.fixture(loop_scope="session")
async def short_skip_rig(skipping: WorkflowEnvironment, model: Model) -> AsyncIterator[Rig]:
    """Skips time, and continues as new after 40 events."""
    async with Rig(skipping, model, workflows=[ShortSyncWorkflow]) as made:
        yield made
        made.check_books()
