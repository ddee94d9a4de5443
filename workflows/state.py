"""The state of a sync workflow: one dataclass, every field defaulted, carried over continue-as-new.

Ids, cursors, counts and settings of the run in progress; 64 KiB at most, whatever the source's size.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from activities.contracts import Counts, SyncInput
from activities.run_contracts import ChunkRef, RunPlan, Segment

__all__ = ["QUEUED", "Request", "Run", "State", "SyncArgs"]

# Who asked for a full sync that waited for another run to end; a word of the HTTP contract.
QUEUED = "queued_full_sync"


@dataclass
class Request:
    """A run somebody asked for."""

    job_id: str = ""
    by: str = ""
    full_sync: bool = False


@dataclass
class Run:
    """The run in progress."""

    id: str = ""
    number: int = 0
    trigger: str = "scheduled"
    by: str = ""
    full_sync: bool = False
    begun: bool = False
    parked: bool = False
    phase: str = "queued"
    plan: RunPlan = field(default_factory=RunPlan)
    segments: list[Segment] = field(default_factory=list)
    seq: int = 0
    at_end: bool = False
    complete: bool = False
    partial_reason: str = ""
    out_of_order: bool = False
    rescan: str = ""
    proven: list[list[str]] = field(default_factory=list)
    unproven: list[list[str]] = field(default_factory=list)
    position_chunks: list[str] = field(default_factory=list)
    chunks: list[ChunkRef] = field(default_factory=list)
    absent_chunks: list[str] = field(default_factory=list)
    absent: int = 0
    taken: int = 0
    counts: Counts = field(default_factory=Counts)
    slow: int = 0
    wait_until: float = 0.0
    reconciled: bool = False
    removed: int = 0
    proposed: int = 0
    proposal_id: str = ""
    batched: bool = False
    batches: int = 0
    error: str = ""
    connection_fault: bool = False
    started_at: float = 0.0

    @property
    def unusable(self) -> str:
        """Why what was listed cannot be relied on and a full walk has to follow; empty when it can."""
        if self.out_of_order:
            return "the source does not list in key order; the next pass compares without relying on it"
        return f"a full pass follows: {self.rescan}" if self.rescan else ""


@dataclass
class State:
    """Everything a sync workflow knows."""

    loaded: bool = False
    paused: bool = False
    pause_reason: str = ""
    suspended: str = ""
    blocked: str = ""
    attention: str = ""
    stopped: bool = False
    deleted: bool = False
    unlock: bool = False
    pending_full_sync: bool = False
    full_pass_next: bool = False
    requested: Request | None = None
    run: Run | None = None
    next_poll_at: float = 0.0
    soon: bool = False
    """Another run is to follow the one in progress at once."""
    polling_interval_seconds: int = 300
    continuous: bool = True
    completed: bool = False
    consecutive_failures: int = 0
    last_error: str = ""
    last_run_at: float = 0.0
    last_status: str = ""
    last_counts: Counts = field(default_factory=Counts)
    dead_letters: int = 0
    proposal_id: str = ""
    proposed: int = 0
    approved: str = ""
    executions: int = 0
    ignored_signals: int = 0

    @property
    def name(self) -> str:
        """The state in one word, as shown in the search attribute SyncState."""
        if self.deleted:
            return "deleted"
        if self.stopped:
            return "stopped"
        if self.paused:
            return "paused"
        if self.suspended:
            return "suspended"
        if self.blocked:
            return "waiting_for_connection"
        if self.run is not None:
            return "running"
        return "completed" if self.completed else "idle"

    @property
    def needs_attention(self) -> bool:
        """Whether a person should look."""
        return bool(self.suspended or self.blocked or self.attention or self.proposal_id or self.dead_letters)


@dataclass
class SyncArgs(SyncInput):
    """The workflow's one argument: what it is started with, and the state when it continues as new.

    One argument, because the SDK decodes by type only when their number is the declared one.
    """

    state: State | None = None
