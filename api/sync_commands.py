"""Commands to a sync: trigger, pause, resume, unlock, and the answer to a removal proposal."""

from __future__ import annotations

from typing import Any

from activities.contracts import CommandArgs, CommandResult, DecisionArgs, PauseArgs, TriggerArgs
from api.errors import conflict
from api.operations import Call, NoBody, NoQuery, Operations
from api.syncs import shown, sync_of
from models.scope import Role
from models.syncs import DecisionQuery, SyncCommandResponse, SyncConfigurationModel, TriggerQuery

__all__ = ["operations"]

operations = Operations("BucketSyncsApi", "/v1/buckets/{bucket_id}/syncs/{sync_config_id}", namespaced=True)

_RUNNING = {"started", "pending_full_sync", "resumed"}


@operations.add(
    "POST", "/trigger", "trigger_sync_configuration_buckets_id_config",
    role=Role.WRITE, query=TriggerQuery, answers=SyncCommandResponse,
)  # fmt: skip
async def trigger(call: Call[NoBody, TriggerQuery]) -> SyncCommandResponse:
    """Run now. While a run is on, an incremental trigger is skipped and a full one is kept for right after it."""
    full = bool(call.query.full_sync)
    result, sync_config_id = await _command(
        call, "trigger", TriggerArgs(by=call.caller.user_id, full_sync=full), full_sync=full
    )
    return _answer(sync_config_id, result, "running" if result.outcome in _RUNNING else "skipped")


@operations.add(
    "POST", "/pause", "pause_sync_configuration_buckets_id_config", role=Role.WRITE, answers=SyncConfigurationModel
)
async def pause(call: Call[NoBody, NoQuery]) -> SyncConfigurationModel:
    """Stop within seconds and keep the place. A paused sync stays paused."""
    await _command(call, "pause", PauseArgs(by=call.caller.user_id, reason="paused by API"))
    return shown(await sync_of(call))


@operations.add(
    "POST", "/resume", "resume_sync_configuration_buckets_id_config", role=Role.WRITE, answers=SyncConfigurationModel
)
async def resume(call: Call[NoBody, NoQuery]) -> SyncConfigurationModel:
    """Go on where the sync was paused, with its settings as they are now."""
    await _command(call, "resume", CommandArgs(by=call.caller.user_id))
    return shown(await sync_of(call))


@operations.add(
    "POST", "/unlock", "force_unlock_sync_configuration_buckets_id_config",
    role=Role.WRITE, answers=SyncCommandResponse,
)  # fmt: skip
async def unlock(call: Call[NoBody, NoQuery]) -> SyncCommandResponse:
    """End the current run at once, as interrupted. Nothing to end is no error."""
    result, sync_config_id = await _command(call, "unlock", CommandArgs(by=call.caller.user_id))
    return _answer(sync_config_id, result, "unlocked")


@operations.add(
    "POST", "/deletes/approve", "approve_sync_deletes",
    role=Role.WRITE, query=DecisionQuery, answers=SyncCommandResponse,
)  # fmt: skip
async def approve(call: Call[NoBody, DecisionQuery]) -> SyncCommandResponse:
    """Let the removals that were stopped at the gate happen (not of the contract)."""
    return await _decide(call, "approve_deletes", "approved")


@operations.add(
    "POST", "/deletes/reject", "reject_sync_deletes",
    role=Role.WRITE, query=DecisionQuery, answers=SyncCommandResponse,
)  # fmt: skip
async def reject(call: Call[NoBody, DecisionQuery]) -> SyncCommandResponse:
    """Keep the objects whose removal was stopped at the gate (not of the contract)."""
    return await _decide(call, "reject_deletes", "rejected")


async def _decide(call: Call[NoBody, DecisionQuery], command: str, status: str) -> SyncCommandResponse:
    args = DecisionArgs(by=call.caller.user_id, proposal_id=call.query.proposal_id or "")
    result, sync_config_id = await _command(call, command, args)
    if result.outcome == "no_open_proposal":
        raise conflict(result.message or "no removal waits for a decision", code="no_open_proposal")
    return _answer(sync_config_id, result, status)


async def _command(call: Call[Any, Any], command: str, args: Any, **facts: Any) -> tuple[CommandResult, str]:
    sync = await sync_of(call)
    result = await call.services.commands.sync(sync, command, args)
    await call.audit(command, "sync", sync["_id"], outcome=result.outcome, **facts)
    return result, sync["_id"]


def _answer(sync_config_id: str, result: CommandResult, status: str) -> SyncCommandResponse:
    return SyncCommandResponse(
        sync_config_id=sync_config_id,
        sync_job_id=result.sync_job_id or None,
        status=status,
        outcome=result.outcome,
        state=result.state or None,
        message=result.message or result.outcome.replace("_", " "),
        count=result.count or None,
    )
