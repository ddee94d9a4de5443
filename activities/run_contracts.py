"""What the sync workflow and its activities say to each other during a run: ids, cursors and counts."""

from __future__ import annotations

from dataclasses import dataclass, field

from activities.contracts import Counts

__all__ = [
    "BatchOutcome",
    "BatchPlan",
    "BatchesArgs",
    "BatchesResult",
    "BeginArgs",
    "BeginResult",
    "ChunkRef",
    "FinishArgs",
    "FinishResult",
    "HealthResult",
    "IngestArgs",
    "IngestResult",
    "ListArgs",
    "ListResult",
    "LoadedState",
    "MaintenanceResult",
    "ProjectArgs",
    "ReconcileArgs",
    "ReconcileResult",
    "RequeueResult",
    "RunPlan",
    "Segment",
]


@dataclass
class Segment:
    """One range of the walk: ids in (after, until]. `cursor` is the provider's place in it, empty at its start.

    `after` moves along with the listing: everything up to it has been compared.
    """

    after: str = ""
    until: str = ""
    cursor: str = ""


@dataclass
class ChunkRef:
    """A staged chunk waiting for ingestion. `tried` once an attempt may have committed part of it."""

    id: str = ""
    size: int = 0
    tried: bool = False


@dataclass
class RunPlan:
    """What `begin_run` froze for the run. Counts and limits only."""

    polling_interval_seconds: int = 300
    continuous: bool = True
    window: int = 4
    object_cap: int = 100_000
    ordered: bool = True
    make_batches: bool = True
    incremental: bool = False


@dataclass
class BeginArgs:
    """Begin (or, with `resumed`, take up again) a run."""

    sync_config_id: str = ""
    run_id: str = ""
    trigger: str = "scheduled"
    triggered_by: str = ""
    full_sync: bool = False
    full_pass: bool = False
    """Walk everything even where there is a change feed, without fetching anew what is unchanged."""
    pending_full_sync: bool = False


@dataclass
class ListArgs:
    """List on from `segments` until there is work for a chunk or two, or the listing ends."""

    sync_config_id: str = ""
    run_id: str = ""
    seq: int = 0
    segments: list[Segment] = field(default_factory=list)
    room: int = 0
    """How many more objects this run may take."""
    max_chunks: int = 1
    full_sync: bool = False
    incremental: bool = False


@dataclass
class ListResult:
    """What was listed, as counts; what is to be done, as chunk ids; where to go on, as segments (none: at the end).

    Only `seen`, `unchanged`, `skipped`, `requests` and `throttle_waits` of `counts` are filled.
    """

    segments: list[Segment] = field(default_factory=list)
    chunks: list[ChunkRef] = field(default_factory=list)
    counts: Counts = field(default_factory=Counts)
    absent: int = 0
    absent_chunks: list[str] = field(default_factory=list)
    position_chunks: list[str] = field(default_factory=list)
    proven: list[list[str]] = field(default_factory=list)
    """Id ranges [low, high] that were enumerated wholly; an empty high is unbounded."""
    unproven: list[list[str]] = field(default_factory=list)
    """Id ranges [low, high, reason] that could not be enumerated: a partial pass, complete for all the rest."""
    rescan: str = ""
    at_end: bool = False
    complete: bool = False
    partial_reason: str = ""
    out_of_order: bool = False
    retry_after: float = 0.0
    """Seconds to wait before going on: the source is throttling."""
    handed_back: bool = False


@dataclass
class BeginResult:
    """`blocked` says why no run was begun (its connection is not active); else there are `plan` and a first listing.

    `finished` is set when the pass turned out to be idle and was finished in the same activity.
    """

    plan: RunPlan = field(default_factory=RunPlan)
    run_no: int = 0
    listing: ListResult = field(default_factory=ListResult)
    finished: FinishResult | None = None
    blocked: str = ""
    gone: bool = False


@dataclass
class IngestArgs:
    """Ingest one staged chunk. `slow` halves the concurrency as often as it says (throttled source)."""

    sync_config_id: str = ""
    run_id: str = ""
    run_no: int = 0
    chunk_id: str = ""
    resumed: bool = False
    slow: int = 0


@dataclass
class IngestResult:
    """Outcome of a chunk. Not `done`: handed back, to be ingested again later.

    `retry_after` says when; `steady` that the source let most of it through, so nothing has to slow down for it.
    """

    counts: Counts = field(default_factory=Counts)
    done: bool = False
    retry_after: float = 0.0
    steady: bool = False
    handed_back: bool = False


@dataclass
class ReconcileArgs:
    """Remove what a complete full pass did not see. `approved` lifts the gate for the proposal it names."""

    sync_config_id: str = ""
    run_id: str = ""
    run_no: int = 0
    ordered: bool = True
    approved: str = ""
    absent_chunks: list[str] = field(default_factory=list)
    incremental: bool = False
    proven: list[list[str]] = field(default_factory=list)
    unproven: list[list[str]] = field(default_factory=list)


@dataclass
class ReconcileResult:
    """`proposed` removals wait for a person under `proposal_id`; else `removed` says how many are gone.

    `still_there`: how many the walk had not shown and the source has all the same; they were kept.
    """

    removed: int = 0
    still_there: int = 0
    proposed: int = 0
    owned: int = 0
    proposal_id: str = ""
    handed_back: bool = False


@dataclass
class BatchesArgs:
    """Group the accepted objects of a run into batches and submit them."""

    sync_config_id: str = ""
    run_id: str = ""


@dataclass
class BatchesResult:
    """How many batches were made, of how many objects."""

    batches: int = 0
    objects: int = 0


@dataclass
class FinishArgs:
    """End a run: `status` is the job's (completed, failed, interrupted, skipped)."""

    sync_config_id: str = ""
    run_id: str = ""
    run_no: int = 0
    status: str = "completed"
    error: str = ""
    counts: Counts = field(default_factory=Counts)
    complete: bool = False
    partial_reason: str = ""
    removed: int = 0
    proposed: int = 0
    proposal_id: str = ""
    batches: int = 0
    connection_fault: bool = False
    unordered: bool = False
    incremental: bool = False
    position_chunks: list[str] = field(default_factory=list)


@dataclass
class FinishResult:
    """What the books say after the run."""

    counts: Counts = field(default_factory=Counts)
    status: str = ""
    error: str = ""
    polling_interval_seconds: int = 300
    continuous: bool = True
    consecutive_failures: int = 0
    dead_letters: int = 0
    suspended: bool = False


@dataclass
class ProjectArgs:
    """State fields of the sync document that follow the workflow's state; None leaves a field alone."""

    sync_config_id: str = ""
    state: str = ""
    paused: bool | None = None
    by: str = ""
    reason: str = ""
    pending_full_sync: bool | None = None
    job_id: str = ""
    """A job to record: queued when `job_status` is empty."""
    job_status: str = ""
    job_trigger: str = ""
    status: str = ""
    next_poll_at: float = 0.0
    deleted: bool = False
    decision: str = ""
    proposal_id: str = ""


@dataclass
class BatchPlan:
    """How a batch is processed."""

    gone: bool = False
    how: str = "builtin"
    task_queue: str = ""
    objects: int = 0
    bucket_id: str = ""


@dataclass
class BatchOutcome:
    """What processing said; failed ids only where it named any."""

    status: str = "COMPLETED"
    error: str = ""
    failed_object_ids: list[str] = field(default_factory=list)


@dataclass
class HealthResult:
    """One check of a connection."""

    gone: bool = False
    status: str = ""
    error: str = ""
    interval_seconds: int = 900


@dataclass
class MaintenanceResult:
    """What a round of housekeeping looked at or did."""

    syncs: int = 0
    connections: int = 0
    purged: int = 0
    purged_bytes: int = 0
    drafts: int = 0
    swept: int = 0


@dataclass
class LoadedState:
    """Desired state as the documents have it, for a fresh execution."""

    deleted: bool = False
    paused: bool = False
    pause_reason: str = ""
    pending_full_sync: bool = False
    proposal_id: str = ""
    proposed: int = 0
    consecutive_failures: int = 0
    polling_interval_seconds: int = 300
    continuous: bool = True


@dataclass
class RequeueResult:
    """How many dead letters were given another chance."""

    requeued: int = 0
