"""Fixtures that several provider tests share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from providers.base import Provider
from tests.contract.google_drive_rig import connect
from tests.contract.sharepoint_rig import graph_simulator, tenant
from tests.contract.test_sharepoint_end_to_end import scene
from tests.simulators.google_drive import DriveSimulator
from tests.simulators.s3_faults import FaultyS3

__all__ = ["drive", "graph_simulator", "provider", "s3", "scene", "tenant"]


@pytest.fixture
def drive() -> Iterator[DriveSimulator]:
    """An empty Google Drive."""
    with DriveSimulator.running() as simulator:
        yield simulator


@pytest.fixture
def s3() -> Iterator[FaultyS3]:
    """An empty S3 server whose faults are scripted."""
    with FaultyS3.running() as server:
        yield server


@pytest.fixture
async def provider(drive: DriveSimulator) -> AsyncIterator[Provider]:
    """On that Drive; modules about other sources have their own."""
    made = connect(drive)
    yield made
    await made.close()
