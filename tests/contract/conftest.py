"""Fixtures that several provider tests share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from providers.base import Provider
from tests.contract.google_drive_rig import connect
from tests.contract.sharepoint_rig import graph_simulator, tenant
from tests.contract.test_sharepoint_end_to_end import scene
from tests.simulators.google_drive import DriveSimulator

__all__ = ["drive", "graph_simulator", "provider", "scene", "tenant"]


@pytest.fixture
def drive() -> Iterator[DriveSimulator]:
    """An empty Google Drive."""
    with DriveSimulator.running() as simulator:
        yield simulator


@pytest.fixture
async def provider(drive: DriveSimulator) -> AsyncIterator[Provider]:
    """On that Drive; modules about other sources have their own."""
    made = connect(drive)
    yield made
    await made.close()
