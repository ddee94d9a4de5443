"""A stack of the chaos tests' own, because they kill its parts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from deploy.local.ports import Ports
from deploy.local.stack import Stack
from tests.chaos.rig import World, source_server, world
from tests.simulators.s3_faults import FaultyS3


@pytest.fixture(scope="session")
def shaken(session_home: Path) -> Iterator[Stack]:
    stack = Stack(session_home / "shaken", ports=Ports.pick(), workers=2, say=print)
    try:
        stack.up()
        yield stack
    finally:
        stack.down(wipe=True)


@pytest.fixture
def s3() -> Iterator[FaultyS3]:
    with source_server() as server:
        yield server


@pytest_asyncio.fixture(loop_scope="session")
async def here(shaken: Stack, s3: FaultyS3) -> AsyncIterator[World]:
    shaken.up()  # whatever the test before has left dead
    async with world(shaken, s3) as found:
        yield found
