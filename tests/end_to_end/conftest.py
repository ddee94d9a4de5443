"""The session's stack with a scripted S3 server beside it, for the engine's tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from deploy.local.stack import Stack
from tests.chaos.rig import World, source_server, world
from tests.simulators.s3_faults import FaultyS3


@pytest.fixture
def s3() -> Iterator[FaultyS3]:
    with source_server() as server:
        yield server


@pytest_asyncio.fixture(loop_scope="session")
async def here(stack: Stack, s3: FaultyS3) -> AsyncIterator[World]:
    stack.up()
    async with world(stack, s3) as found:
        yield found
