"""What the documents would hold: a source, what is stored of it, jobs and staged chunks; and what must not happen."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime

from activities.contracts import Counts

WORK = ("begin_run", "list_pages", "ingest_chunk", "reconcile", "make_batches")
CLOSED = ("completed", "failed", "interrupted")


@dataclass
class Chunk:
    run_id: str
    members: list[int]
    done: bool = False


@dataclass
class Job:
    trigger: str
    by: str = ""
    status: str = "running"
    begun: bool = False
    closed: bool = False
    full_sync: bool = False
    pending_full_sync: bool = False
    resumed: int = 0
    counts: Counts = field(default_factory=Counts)
    error: str = ""
    new: set[int] = field(default_factory=set)
    """Stored by this run."""


@dataclass
class Books:
    """One sync's documents. `violations` fills when a workflow does what it must not."""

    source: set[int] = field(default_factory=set)
    stored: set[int] = field(default_factory=set)
    continuous: bool = True
    interval: int = 300
    window: int = 4
    chunk_size: int = 1000
    make_batches: bool = True
    gate: int = 25

    paused: bool = False
    pause_reason: str = ""
    noted_at: datetime | None = None
    """When a pause or its end was last written down, by the server's clock."""
    paused_since: datetime | None = None
    """Since when a pause has been promised: from the answer to `pause` until somebody asks to resume."""
    pending_full_sync: bool = False
    deleted: bool = False
    status: str = "PENDING"
    blocked: str = ""
    proposal_id: str = ""
    proposed: int = 0
    rejected: int = 0
    failures: int = 0
    dead_letters: int = 0
    numbered: str = ""
    counter: int = 0
    jobs: dict[str, Job] = field(default_factory=dict)
    chunks: dict[str, Chunk] = field(default_factory=dict)
    absent: dict[str, list[int]] = field(default_factory=dict)

    begun: list[str] = field(default_factory=list)
    calls: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)

    def begin(self, run_id: str) -> None:
        """Note a run's beginning; two at a time are a violation."""
        others = [i for i, job in self.jobs.items() if job.begun and not job.closed and i != run_id]
        if others:
            self.violations.append(f"{run_id} begun while {others} are open")
        if run_id not in self.begun:
            self.begun.append(run_id)

    def work(self, name: str, scheduled: datetime) -> None:
        """Note an activity that touches the source; one scheduled after a pause was promised is a violation."""
        self.calls[name] += 1
        if self.paused and self.paused_since is not None and scheduled > self.paused_since:
            self.violations.append(f"{name} scheduled at {scheduled} though paused since {self.paused_since}")

    def close(self, run_id: str, status: str, counts: Counts, error: str) -> Job:
        """Close a job once; completed counts must balance and agree with the chunks."""
        job = self.jobs.setdefault(run_id, Job("unknown"))
        if not job.closed:
            job.status, job.closed, job.counts, job.error = status, True, counts, error
            if status == "completed":
                if not counts.balanced:
                    self.violations.append(f"{run_id}: counts do not balance: {counts}")
                if counts.stored != len(job.new):
                    self.violations.append(f"{run_id}: {counts.stored} stored by history, {len(job.new)} by documents")
            self.failures = self.failures + 1 if status == "failed" else 0 if status == "completed" else self.failures
        return job

    def drop(self, run_id: str) -> None:
        """Close what is on record of a run that will not begin."""
        if (job := self.jobs.get(run_id)) is not None and not job.closed:
            job.status, job.closed = "interrupted", True

    def open_jobs(self) -> list[str]:
        """Jobs that nobody has closed."""
        return [i for i, job in self.jobs.items() if not job.closed]
