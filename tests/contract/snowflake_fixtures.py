"""Fixtures `snowflake_gate` (session) and `account`, by `pytest_plugins = ["tests.contract.snowflake_fixtures"]`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.contract.snowflake_rig import Account
from tests.simulators import snowflake_server
from tests.simulators.snowflake_gate import SnowflakeGate


@pytest.fixture(scope="session")
def snowflake_gate(servers: Any) -> Iterator[SnowflakeGate]:
    port = servers.ports.pick(metrics=0).s3
    servers.start(snowflake_server.service(port))
    with SnowflakeGate.running(f"http://127.0.0.1:{port}") as gate:
        yield gate


@pytest.fixture
def account(snowflake_gate: SnowflakeGate) -> Iterator[Account]:
    yield Account(snowflake_gate)
    snowflake_gate.reset()
