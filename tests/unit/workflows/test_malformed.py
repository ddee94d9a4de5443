"""Whatever arrives at a workflow, it goes on: signals are taken as far as they make sense, updates are refused."""

from __future__ import annotations

from typing import Any

import pytest
from temporalio.client import WorkflowUpdateFailedError

from activities.contracts import CommandResult
from tests.workflow_model.rig import Rig

COMMANDS = (
    "pause resume trigger unlock reload approve_deletes reject_deletes requeue stop delete".split()  # noqa: SIM905 - reads better
)
ODD: list[list[Any]] = [
    [],
    [None],
    ["text"],
    [7],
    [[1, 2]],
    [{"by": 5, "reason": ["x"], "full_sync": "yes", "error_types": "all", "proposal_id": None}],
    [{"unknown": {"deep": [1]}}],
    [{}, {}],
    [None, "two", 3],
]
REFUSED: list[list[Any]] = [["text"], [7], [[1, 2]], [{"by": 5}], [{}, {}], [None, "two", 3]]


@pytest.mark.parametrize("name", COMMANDS)
async def test_malformed_signals_wedge_nothing(rig: Rig, name: str) -> None:
    rig.model.books.paused = True
    await rig.start()
    await rig.until_state(lambda s: s["loaded"])
    final = name in {"stop", "delete"}
    for args in ODD[-1:] if final else ODD:
        await rig.handle.signal(name, args=args)
    if final:
        assert await rig.handle.result() == {"stop": "stopped", "delete": "deleted"}[name]
    else:
        await rig.update("pause")
        assert (await rig.state())["paused"]
    await rig.check()


async def test_unknown_signals_are_counted(rig: Rig) -> None:
    await rig.start()
    for args in ODD:
        await rig.handle.signal("puase", args=args)
    await rig.until_state(lambda s: s["ignored_signals"] == len(ODD))
    await rig.check()


@pytest.mark.parametrize("name", COMMANDS)
async def test_malformed_updates_are_refused(rig: Rig, name: str) -> None:
    rig.model.books.paused = True
    await rig.start()
    await rig.until_state(lambda s: s["loaded"])
    before = await rig.state()
    for args in REFUSED:
        with pytest.raises(WorkflowUpdateFailedError):
            await rig.handle.execute_update(name, args=args)
    assert await rig.state() == before
    await rig.check()


async def test_an_unknown_update_is_refused(rig: Rig) -> None:
    await rig.start()
    with pytest.raises(WorkflowUpdateFailedError):
        await rig.handle.execute_update("puase", args=[])
    await rig.check()


async def test_an_update_takes_unknown_keys_and_null(rig: Rig) -> None:
    await rig.start()
    answer = await rig.handle.execute_update("pause", {"reason": "x", "colour": "red"}, result_type=CommandResult)
    assert answer.outcome == "paused"
    assert (await rig.state())["pause_reason"] == "x"
    assert (await rig.handle.execute_update("resume", args=[None], result_type=CommandResult)).outcome == "resumed"
    await rig.check()


async def test_what_comes_from_outside_is_cut(rig: Rig) -> None:
    rig.model.books.paused = True
    await rig.start()
    long = "x" * 100_000
    await rig.handle.signal("resume", {"by": long})
    await rig.handle.signal("pause", {"by": long, "reason": long})
    await rig.handle.signal("trigger", {"by": long})
    state = await rig.until_state(lambda s: (s["paused"] and s["requested"]) or s["run"])
    assert len(str(state)) < 5_000
    await rig.check()
