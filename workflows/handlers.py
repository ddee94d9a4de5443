"""How commands reach a sync: each as an Update, answered with the new state, and as a signal of the same name.

Signals take one optional argument of any shape and never raise: a malformed one that raised would
wedge the workflow for ever. Updates take one optional object; a malformed one is rejected.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, TypeVar

from temporalio import workflow
from temporalio.common import RawValue

with workflow.unsafe.imports_passed_through():
    from activities.contracts import CommandArgs, CommandResult, DecisionArgs, PauseArgs, RequeueArgs, TriggerArgs
    from workflows.commands import SyncCommands

__all__ = ["SyncHandlers"]

A = TypeVar("A")


def _tolerant(cls: type[A], value: Any) -> A:
    """Whatever came with a signal, as arguments: known keys of the right kind are taken, the rest is left."""
    if not isinstance(value, Mapping):
        return cls()
    defaults = cls()
    known = {
        f.name: value[f.name]
        for f in fields(cls)  # type: ignore[arg-type]  # only ever called with dataclasses
        if f.name in value and isinstance(value[f.name], type(getattr(defaults, f.name)))
    }
    return cls(**known)


def _guarded(update: Any) -> None:
    """Have the guard asked about this update: the SDK asks only where there is a validator."""

    def accept(self: SyncHandlers, args: Any = None) -> None:
        """Nothing to add: the SDK's decoding and the guard refuse what is malformed."""

    accept.__signature__ = inspect.signature(update)  # type: ignore[attr-defined]  # the SDK compares the two
    update.validator(accept)


class SyncHandlers(SyncCommands):
    """Updates and signals of SyncWorkflow."""

    @workflow.update
    async def pause(self, args: PauseArgs | None = None) -> CommandResult:
        """Stop within seconds, keep the place, park until resumed."""
        return await self.do_pause(args or PauseArgs())

    @workflow.update
    async def resume(self, args: CommandArgs | None = None) -> CommandResult:
        """Go on where it stopped; also lifts a suspension."""
        return await self.do_resume(args or CommandArgs())

    @workflow.update
    async def trigger(self, args: TriggerArgs | None = None) -> CommandResult:
        """Run now; under a running run a full sync is kept for right after it."""
        return await self.do_trigger(args or TriggerArgs())

    @workflow.update
    async def unlock(self, args: CommandArgs | None = None) -> CommandResult:
        """Give up the current run: cancel its activities, mark its job interrupted, free the sync. Idempotent."""
        return await self.do_unlock(args or CommandArgs())

    @workflow.update
    async def reload(self, args: CommandArgs | None = None) -> CommandResult:
        """The configuration was changed: re-read it with the next run, which comes at once. Lifts a suspension."""
        return await self.do_reload(args or CommandArgs())

    @workflow.update
    async def stop(self, args: CommandArgs | None = None) -> CommandResult:
        """End the workflow after handing back what runs; a later trigger starts it again."""
        return await self.do_stop(args or CommandArgs())

    @workflow.update
    async def delete(self, args: CommandArgs | None = None) -> CommandResult:
        """Delete the sync config: what runs is handed back, the objects stay."""
        return await self.do_delete(args or CommandArgs())

    @workflow.update
    async def approve_deletes(self, args: DecisionArgs | None = None) -> CommandResult:
        """Let the proposed removals happen: a fresh pass removes what is still absent."""
        return await self.do_approve_deletes(args or DecisionArgs())

    @workflow.update
    async def reject_deletes(self, args: DecisionArgs | None = None) -> CommandResult:
        """Keep the objects; the same loss is not proposed again until clearly more is missing."""
        return await self.do_reject_deletes(args or DecisionArgs())

    @workflow.update
    async def requeue(self, args: RequeueArgs | None = None) -> CommandResult:
        """Give exhausted dead letters three new tries in a run that comes at once."""
        return await self.do_requeue(args or RequeueArgs())

    for _update in (pause, resume, trigger, unlock, reload, stop, delete, approve_deletes, reject_deletes, requeue):
        _guarded(_update)
    del _update

    @workflow.signal(name="pause")
    async def pause_signal(self, args: Any = None) -> None:
        """As the update."""
        await self.do_pause(_tolerant(PauseArgs, args))

    @workflow.signal(name="resume")
    async def resume_signal(self, args: Any = None) -> None:
        """As the update."""
        await self.do_resume(_tolerant(CommandArgs, args))

    @workflow.signal(name="trigger")
    async def trigger_signal(self, args: Any = None) -> None:
        """As the update."""
        await self.do_trigger(_tolerant(TriggerArgs, args))

    @workflow.signal(name="unlock")
    async def unlock_signal(self, args: Any = None) -> None:
        """As the update."""
        await self.do_unlock(_tolerant(CommandArgs, args))

    @workflow.signal(name="reload")
    async def reload_signal(self, args: Any = None) -> None:
        """As the update."""
        await self.do_reload(_tolerant(CommandArgs, args))

    @workflow.signal(name="stop")
    async def stop_signal(self, args: Any = None) -> None:
        """As the update."""
        await self.do_stop(_tolerant(CommandArgs, args))

    @workflow.signal(name="delete")
    async def delete_signal(self, args: Any = None) -> None:
        """As the update."""
        await self.do_delete(_tolerant(CommandArgs, args))

    @workflow.signal(name="approve_deletes")
    async def approve_deletes_signal(self, args: Any = None) -> None:
        """As the update."""
        await self.do_approve_deletes(_tolerant(DecisionArgs, args))

    @workflow.signal(name="reject_deletes")
    async def reject_deletes_signal(self, args: Any = None) -> None:
        """As the update."""
        await self.do_reject_deletes(_tolerant(DecisionArgs, args))

    @workflow.signal(name="requeue")
    async def requeue_signal(self, args: Any = None) -> None:
        """As the update."""
        await self.do_requeue(_tolerant(RequeueArgs, args))

    @workflow.signal(dynamic=True)
    async def unknown_signal(self, name: str, args: Sequence[RawValue]) -> None:
        """A signal nobody knows is counted and shown, not fatal."""
        del args
        self.state.ignored_signals += 1
        workflow.logger.warning("unknown signal ignored", extra={"signal": name[:100]})
