"""What a person sees of a sync in the Temporal Web UI: Markdown, short summaries, search attributes. No secrets."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from temporalio.common import SearchAttributeKey, SearchAttributeUpdate

from activities.contracts import Counts, SyncInput
from workflows.state import Run, State

__all__ = ["chunk_summary", "markdown", "search_attributes"]

STATE = SearchAttributeKey.for_keyword("SyncState")
PROVIDER = SearchAttributeKey.for_keyword("SyncProvider")
BUCKET = SearchAttributeKey.for_keyword("SyncBucketId")
CONNECTION = SearchAttributeKey.for_keyword("SyncConnectionId")
ORGANIZATION = SearchAttributeKey.for_keyword("SyncOrganization")
ATTENTION = SearchAttributeKey.for_bool("SyncNeedsAttention")


def search_attributes(state: State, ids: SyncInput) -> list[SearchAttributeUpdate[Any]]:
    """The six search attributes; empty ids are left out."""
    updates: list[SearchAttributeUpdate[Any]] = [
        STATE.value_set(state.name),
        ATTENTION.value_set(state.needs_attention),
    ]
    for key, value in (
        (PROVIDER, ids.provider),
        (BUCKET, ids.bucket_id),
        (CONNECTION, ids.connection_id),
        (ORGANIZATION, ids.organization_id),
    ):
        if value:
            updates.append(key.value_set(value))
    return updates


def chunk_summary(size: int, number: int) -> str:
    """Summary of an ingestion activity."""
    return f"run {number}: ingest {size} objects"


def markdown(state: State, ids: SyncInput, now: float) -> str:
    """Current details: where it stands, what went wrong, what to do next."""
    workflow_id = f"sync/{ids.sync_config_id}"
    lines = [f"### {state.name.replace('_', ' ')}"]
    if state.run is not None:
        lines += _run_lines(state.run, now)
    if state.last_status:
        lines.append(f"Last run **{state.last_status}** at {_time(state.last_run_at)}: {_counts(state.last_counts)}")
    if state.name == "idle" and state.next_poll_at:
        lines.append(f"Next poll at {_time(state.next_poll_at)} (every {state.polling_interval_seconds} s)")
    if state.last_error:
        lines.append(f"Last error: {state.last_error[:500]}")
    if state.dead_letters:
        lines.append(f"Dead letters: **{state.dead_letters}**; requeue: `{_command(workflow_id, 'requeue')}`")
    if state.proposal_id:
        lines.append(
            f"**{state.proposed} removals wait for a decision** ({state.proposal_id}): "
            f"`{_command(workflow_id, 'approve_deletes')}` or `{_command(workflow_id, 'reject_deletes')}`"
        )
    lines += _hold_lines(state, workflow_id)
    return "\n\n".join(lines)


def _hold_lines(state: State, workflow_id: str) -> list[str]:
    """What holds the sync up, and the command that goes on."""
    lines = [f"**Needs attention**: {state.attention[:500]}"] if state.attention else []
    if state.paused:
        reason = f" ({state.pause_reason[:200]})" if state.pause_reason else ""
        lines.append(f"Paused{reason}; go on: `{_command(workflow_id, 'resume')}`")
    elif state.suspended:
        lines.append(f"Suspended: {state.suspended[:500]}; when mended: `{_command(workflow_id, 'resume')}`")
    elif state.blocked:
        lines.append(f"Waiting: {state.blocked[:500]}")
    return lines


def _run_lines(run: Run, now: float) -> list[str]:
    done = run.counts.stored + run.counts.updated
    seconds = max(1.0, now - run.started_at) if run.started_at else 1.0
    kind = f"{run.trigger}{', full sync' if run.full_sync else ''}"
    lines = [
        f"Run `{run.id}` ({kind}), phase **{run.phase}**, {len(run.chunks)} chunks open, {done / seconds:.0f} files/s",
        _counts(run.counts),
    ]
    if run.slow or run.wait_until > now:
        lines.append(f"The source is throttling: waiting until {_time(run.wait_until)}")
    if run.partial_reason:
        lines.append(f"Partial: {run.partial_reason}")
    return lines


def _counts(counts: Counts) -> str:
    parts = [
        f"{getattr(counts, name)} {name}"
        for name in ("seen", "stored", "updated", "unchanged", "skipped", "failed", "removed")
        if getattr(counts, name)
    ]
    return ", ".join(parts) or "nothing seen"


def _command(workflow_id: str, name: str) -> str:
    return f"temporal workflow signal --workflow-id {workflow_id} --name {name}"


def _time(timestamp: float) -> str:
    return datetime.fromtimestamp(timestamp, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
