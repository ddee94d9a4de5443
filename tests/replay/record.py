"""Records the histories that CI replays: `python -m tests.replay.record [NAME ...]`, from a real server.

Run it from the code that is deployed, before changing a workflow: a history made by the changed code proves nothing.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment

from deploy.local import tools
from tests.replay.scenarios import DRAINING, SCENARIOS, model_for
from tests.workflow_model.rig import Rig, register

HISTORIES = Path(__file__).parent / "histories"
# What the server takes for a long history when it is to suggest continuing as new.
_SHORT = ("--dynamic-config-value", "limit.historyCount.suggestContinueAsNew=40")


async def record(client: Client, name: str) -> str:
    """One scenario's history as JSON."""
    async with Rig(client, model_for(name)) as rig:
        history = await SCENARIOS[name](rig)
        return json.dumps({"workflow_id": history.workflow_id, **json.loads(history.to_json())}, indent=1) + "\n"


async def record_all(names: list[str], *extra_args: str) -> None:
    """Start a server, record these scenarios one after the other, write them."""
    if not names:
        return
    binary = tools.find_temporal()
    assert binary is not None, "there is no temporal: `make test` installs it"
    async with await WorkflowEnvironment.start_local(
        dev_server_existing_path=str(binary), dev_server_extra_args=extra_args, identity="recorder"
    ) as env:
        await register(env.client)
        for name in names:
            text = await record(env.client, name)
            (HISTORIES / f"{name}.json").write_text(text)
            print(f"{name}: {len(text)} bytes")


async def main(names: list[str]) -> None:
    """Those named, or all."""
    wanted = names or list(SCENARIOS)
    HISTORIES.mkdir(exist_ok=True)
    await record_all([name for name in wanted if name not in DRAINING])
    await record_all([name for name in wanted if name in DRAINING], *_SHORT)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
