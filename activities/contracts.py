"""Everything that crosses Temporal: ids, cursors, counts and settings of a command. Never objects, configs or secrets.

Every field has a default and unknown fields are ignored on the way in, so that an older or newer
worker, or a person at the CLI, can talk to a running workflow.
"""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = [
    "BatchInput",
    "BucketDeletionInput",
    "CommandArgs",
    "CommandResult",
    "ConnectionInput",
    "Counts",
    "DecisionArgs",
    "DraftInput",
    "PauseArgs",
    "RequeueArgs",
    "SyncInput",
    "TriggerArgs",
]


@dataclass
class SyncInput:
    """Starts a SyncWorkflow. Everything but the first id is only for search attributes and the UI summary."""

    sync_config_id: str = ""
    organization_id: str = ""
    bucket_id: str = ""
    connection_id: str = ""
    provider: str = ""


@dataclass
class BatchInput:
    """Starts a BatchWorkflow."""

    batch_id: str = ""


@dataclass
class DraftInput:
    """Starts a DraftWorkflow, which removes the batch if it is still a draft then."""

    batch_id: str = ""
    keep_seconds: int = 1800


@dataclass
class BucketDeletionInput:
    """Starts a BucketDeletionWorkflow. `at_once`: syncs are cancelled instead of being let end in order."""

    bucket_id: str = ""
    at_once: bool = False


@dataclass
class ConnectionInput:
    """Starts a ConnectionWorkflow."""

    connection_id: str = ""


@dataclass
class CommandArgs:
    """A command without settings. `by` is the user id of whoever asked, for the record."""

    by: str = ""


@dataclass
class PauseArgs:
    """Pause until resumed."""

    by: str = ""
    reason: str = ""


@dataclass
class TriggerArgs:
    """Run now. `full_sync` under a running run is kept and runs right after it."""

    by: str = ""
    full_sync: bool = False


@dataclass
class DecisionArgs:
    """Answer to a removal proposal; an empty id means the one that is open."""

    by: str = ""
    proposal_id: str = ""


@dataclass
class RequeueArgs:
    """Give exhausted dead letters another three tries; empty `error_types` means all of them."""

    by: str = ""
    error_types: list[str] = field(default_factory=list)


@dataclass
class CommandResult:
    """What a command did: `outcome` is one snake_case word, `state` the workflow's state after it.

    Outcomes: `started`, `skipped_already_running`, `pending_full_sync`, `paused`, `resumed`, `unlocked`,
    `nothing_to_unlock`, `reloaded`, `stopped`, `deleted`, `approved`, `rejected`, `no_open_proposal`,
    `requeued`, `unchanged`.
    """

    outcome: str = ""
    state: str = ""
    sync_job_id: str = ""
    message: str = ""
    count: int = 0


@dataclass
class Counts:
    """What became of the source objects of a run. seen = stored + updated + unchanged + skipped + failed."""

    seen: int = 0
    stored: int = 0
    updated: int = 0
    unchanged: int = 0
    skipped: int = 0
    failed: int = 0
    removed: int = 0
    bytes: int = 0
    requests: int = 0
    throttle_waits: int = 0
    skipped_by_reason: dict[str, int] = field(default_factory=dict)

    def add(self, other: Counts) -> None:
        """Add another part of the same run."""
        for name in ("seen", "stored", "updated", "unchanged", "skipped", "failed", "removed"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.bytes += other.bytes
        self.requests += other.requests
        self.throttle_waits += other.throttle_waits
        for reason, n in other.skipped_by_reason.items():
            self.skipped_by_reason[reason] = self.skipped_by_reason.get(reason, 0) + n

    @property
    def balanced(self) -> bool:
        """Whether every seen object has exactly one outcome."""
        return self.seen == self.stored + self.updated + self.unchanged + self.skipped + self.failed
