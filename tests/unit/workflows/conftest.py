"""Rigs: `rig` on the real development server, `skip_rig` on one that skips time."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment

from deploy.local.ports import Ports
from deploy.local.services import SEARCH_ATTRIBUTES
from tests.workflow_model.books import Books
from tests.workflow_model.model import Model
from tests.workflow_model.rig import Rig
from tests.workflow_model.short import ShortSyncWorkflow


@pytest_asyncio.fixture(loop_scope="session")
async def skipping(test_server_path: str) -> AsyncIterator[WorkflowEnvironment]:
    port = Ports.pick(metrics=0).temporal
    async with await WorkflowEnvironment.start_time_skipping(
        test_server_existing_path=test_server_path, port=port
    ) as env:
        await register(env.client)
        yield env


async def register(client: Client) -> None:
    """Our search attributes, as set-up registers them."""
    kinds = {
        name: IndexedValueType.Value(f"INDEXED_VALUE_TYPE_{kind.upper()}") for name, kind in SEARCH_ATTRIBUTES.items()
    }
    await client.operator_service.add_search_attributes(
        AddSearchAttributesRequest(namespace="default", search_attributes=kinds)
    )


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
async def short_rig(skipping: WorkflowEnvironment, model: Model) -> AsyncIterator[Rig]:
    """Skips time, and continues as new after 40 events."""
    async with Rig(skipping, model, workflows=[ShortSyncWorkflow]) as made:
        yield made
        made.check_books()
