"""A sync under random commands, outcomes, restarts and waiting times, beside the little that has to hold of it."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

from temporalio.client import WorkflowUpdateRPCTimeoutOrCancelledError
from temporalio.service import RPCError, RPCStatusCode

from activities.contracts import CommandResult, TriggerArgs
from tests.workflow_model.rig import Rig

COMMANDS = (
    "pause",
    "resume",
    "trigger",
    "full_sync",
    "unlock",
    "reload",
    "approve_deletes",
    "reject_deletes",
    "requeue",
)
OUTCOMES = ("throttle", "hand_back", "transient", "bug", "denied", "waits", "store", "block", "unordered")
STATE_LIMIT = 64 * 1024
_HAND_BACK_SECONDS = 15.0
_ANSWER_SECONDS = 2.0
_NOT_TAKEN = {RPCStatusCode.NOT_FOUND, RPCStatusCode.ABORTED, RPCStatusCode.FAILED_PRECONDITION}


@dataclass
class Episode:
    """What was commanded and answered. A command is judged by its answer, so it may be sent while others run."""

    rig: Rig
    paused: bool = False
    promised: list[str] = field(default_factory=list)
    """Job ids of triggers answered `started`."""
    full_after: list[int] = field(default_factory=list)
    """For each answer `pending_full_sync`: how many runs had begun before."""

    async def command(self, name: str, *, signal: bool = False) -> None:
        """Send one; as an update, its answer is a promise."""
        update = "trigger" if name == "full_sync" else name
        args = TriggerArgs(full_sync=True) if name == "full_sync" else None
        begun = len(self.rig.model.books.begun)
        if signal:
            if name == "resume":
                self.rig.model.books.paused_since = None
            await self.rig.handle.signal(update, args=[] if args is None else [args])
            # An update behind it: signals are handled first.
            await self._update("approve_deletes", None)
        else:
            self._promise(await self._update(update, args), begun)
        if name in {"pause", "resume"}:
            self.paused = name == "pause"

    async def _update(self, name: str, args: Any) -> CommandResult:
        """Ask until there is an answer: what came while the execution went into the next one was not taken."""
        while True:
            try:
                async with asyncio.timeout(_ANSWER_SECONDS if self.rig.skips else None):
                    return await self.rig.update(name, args)
            except (TimeoutError, WorkflowUpdateRPCTimeoutOrCancelledError):
                continue  # the time-skipping server forgets it
            except RPCError as error:
                if error.status not in _NOT_TAKEN:
                    raise

    def _promise(self, answer: CommandResult, begun: int) -> None:
        if answer.outcome == "started":
            self.promised.append(answer.sync_job_id)
        elif answer.outcome == "pending_full_sync":
            self.full_after.append(begun)

    async def settle(self) -> None:
        """What holds after every step once things have calmed down."""
        model = self.rig.model
        # A signal may still be on its way on a slow machine; what nobody has asked for does not go away by waiting.
        patience = 50
        while (state := await self.rig.state())["paused"] != self.paused and patience:
            patience -= 1
            await asyncio.sleep(0.1)
        assert state["paused"] == self.paused, "desired state was changed by nobody"
        assert len(json.dumps(state)) <= STATE_LIMIT
        if self.paused:
            await self.rig.until(lambda: not model.waiting, limit=_HAND_BACK_SECONDS)
        self.rig.check_books()

    async def finish(self) -> None:
        """Let everything succeed from now on, and see that all that was promised comes true."""
        rig, model, books = self.rig, self.rig.model, self.rig.model.books
        model.choose = lambda _name: ""
        model.manual, books.blocked = False, ""
        model.script.clear()
        await self.command("resume")
        await self.command("reload")
        state: dict[str, Any] = {}
        for _ in range(200):
            state = await rig.state()
            if state["run"] is None and not (state["requested"] or state["pending_full_sync"] or state["soon"]):
                break
            await self._pass_time()
        else:
            raise AssertionError(f"it never came to rest: {json.dumps(state, indent=1)}")
        last = books.calls["begin_run"]
        await self.command("trigger")
        for _ in range(200):
            if books.calls["begin_run"] > last and (await rig.state())["run"] is None and not books.open_jobs():
                break
            await self._pass_time()
        assert not books.open_jobs()
        assert [i for i in self.promised if not (i in books.jobs and books.jobs[i].closed)] == []
        for begun in self.full_after:
            assert any(books.jobs[i].full_sync for i in books.begun[begun:]), "a full sync was promised and never begun"
        assert books.source <= books.stored
        await self.settle()
        await rig.check()

    async def _pass_time(self) -> None:
        if self.rig.skips:
            await self.rig.skip(20)
        else:
            await asyncio.sleep(0.05)
