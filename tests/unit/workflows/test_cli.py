"""An operator at the `temporal` CLI: every command as a signal and as an update, and the state query."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from deploy.local import tools
from tests.workflow_model.rig import Rig

NAMES = ["pause", "resume", "trigger", "unlock", "reload", "approve_deletes", "reject_deletes", "requeue"]
FINAL = {"stop": "stopped", "delete": "deleted"}


class Cli:
    """The binary, pointed at the test's server and sync."""

    def __init__(self, address: str, rig: Rig) -> None:
        binary = tools.find_temporal()
        assert binary is not None
        self._binary, self._address, self._rig = str(binary), address, rig

    async def ask(self, *command: str) -> tuple[int, str]:
        argv = ["workflow", *command, "--workflow-id", self._rig.handle.id, "--address", self._address]
        process = await asyncio.create_subprocess_exec(
            self._binary, *argv, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        out, _ = await process.communicate()
        return process.returncode or 0, out.decode()

    async def signal(self, name: str, *inputs: str) -> None:
        status, out = await self.ask("signal", "--name", name, *(f"--input={value}" for value in inputs))
        assert status == 0, out

    async def update(self, name: str, *inputs: str) -> dict[str, Any]:
        given = [f"--input={value}" for value in inputs]
        status, out = await self.ask("update", "execute", "--name", name, "--output", "json", *given)
        assert status == 0, out
        found: dict[str, Any] = json.loads(out)["result"]
        return found

    async def state(self) -> dict[str, Any]:
        status, out = await self.ask("query", "--type", "state", "--output", "json")
        assert status == 0, out
        found: dict[str, Any] = json.loads(out)["queryResult"][0]
        return found


@pytest.fixture
def cli(temporal_address: str, rig: Rig) -> Cli:
    return Cli(temporal_address, rig)


async def test_every_command_as_an_update(cli: Cli, rig: Rig) -> None:
    await rig.start()
    await rig.until_state(lambda s: s["last_status"] == "completed")
    asked = [cli.update(name, *(['{"by": "usr_1"}'] if n % 2 else [])) for n, name in enumerate(NAMES)]
    outcomes = [(await answer)["outcome"] for answer in asked]
    assert outcomes[0] == "paused"
    assert outcomes[1] == "resumed"
    assert outcomes[2] in {"started", "skipped_already_running"}  # resuming polls at once
    assert outcomes[3] in {"nothing_to_unlock", "unlocked"}
    assert outcomes[4:] == ["reloaded", "no_open_proposal", "no_open_proposal", "requeued"]
    assert (await cli.state())["paused"] is False
    await rig.check()


async def test_every_command_as_a_signal(cli: Cli, rig: Rig) -> None:
    await rig.start()
    await rig.until_state(lambda s: s["last_status"] == "completed")
    await cli.signal("pause", '{"reason": "by hand"}')
    state = await rig.until_state(lambda s: s["paused"])
    assert state["pause_reason"] == "by hand"
    for name in NAMES[1:]:
        await cli.signal(name)
    await cli.signal("trigger", "17")
    await cli.signal("trigger", "null", "null")
    await rig.until_state(lambda s: not s["paused"] and s["run"] is None and s["requested"] is None)
    assert rig.model.books.calls["begin_run"] >= 2
    await rig.check()


@pytest.mark.parametrize("way", ["signal", "update"])
@pytest.mark.parametrize("name", FINAL)
async def test_the_commands_that_end_it(cli: Cli, rig: Rig, way: str, name: str) -> None:
    await rig.start()
    await rig.until_state(lambda s: s["last_status"] == "completed")
    if way == "signal":
        await cli.signal(name)
    else:
        assert (await cli.update(name))["outcome"] == FINAL[name]
    assert await rig.handle.result() == FINAL[name]
    await rig.check()


async def test_the_state_query_and_a_refused_update(cli: Cli, rig: Rig) -> None:
    await rig.start()
    await rig.until_state(lambda s: s["last_status"] == "completed")
    state = await cli.state()
    assert (state["name"], state["run"]) == ("idle", None)
    status, out = await cli.ask("update", "execute", "--name", "pause", "--input", "7")
    assert status != 0, out
    assert (await cli.state())["paused"] is False
    await rig.check()
