"""Our own counters, on the Prometheus endpoint of the SDK's runtime. Labels are bounded: no ids of objects or syncs."""

from __future__ import annotations

from temporalio import activity

from activities.contracts import Counts

__all__ = ["count_proposal", "count_run", "count_throttle"]


def count_run(status: str, counts: Counts, *, partial: bool) -> None:
    """A finished run."""
    meter = activity.metric_meter()
    labels = {"status": status, "partial": str(partial).lower()}
    meter.create_counter("tidemark_runs", "Finished runs").add(1, labels)
    objects = meter.create_counter("tidemark_objects", "Source objects of finished runs, by outcome")
    for outcome in ("stored", "updated", "unchanged", "failed", "removed"):
        if n := getattr(counts, outcome):
            objects.add(n, {"outcome": outcome})
    skipped = meter.create_counter("tidemark_objects_skipped", "Skipped source objects, by reason")
    for reason, n in counts.skipped_by_reason.items():
        skipped.add(n, {"reason": reason})
    meter.create_counter("tidemark_bytes", "Bytes fetched from sources", "bytes").add(counts.bytes)
    meter.create_counter("tidemark_source_requests", "Requests sent to sources").add(counts.requests)


def count_proposal(count: int) -> None:
    """Removals that wait for a person."""
    activity.metric_meter().create_counter("tidemark_removals_proposed", "Removals that were put to a person").add(
        count
    )


def count_throttle(provider: str) -> None:
    """A source asked to slow down."""
    activity.metric_meter().create_counter("tidemark_throttled", "Times a source asked to slow down").add(
        1, {"provider": provider}
    )
