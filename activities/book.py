"""What became of each object of a chunk. Read back from the documents where an earlier attempt did the work."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from activities.engine import Engine
from models.ids import object_id
from stores.database import Document

__all__ = ["ChunkBook", "recall"]


@dataclass(slots=True)
class ChunkBook:
    """Source id -> outcome (`stored`, `updated`, `failed`, `skipped:reason`). The tally is derived, never added up."""

    outcome: dict[str, str] = field(default_factory=dict)
    size: dict[str, int] = field(default_factory=dict)
    accepted: dict[str, str] = field(default_factory=dict)
    growth: dict[str, tuple[int, int]] = field(default_factory=dict)

    def done(
        self, source_id: str, outcome: str, size: int, accepted: str | None, growth: tuple[int, int] = (0, 0)
    ) -> None:
        """Enter an outcome: bytes fetched, the id of an accepted object, and what it adds to the bucket's totals."""
        self.outcome[source_id] = outcome
        if size:
            self.size[source_id] = size
        if accepted is not None:
            self.accepted[source_id] = accepted
        if growth != (0, 0):
            self.growth[source_id] = growth

    def tally(self) -> dict[str, int]:
        """Counts by outcome, bytes, and growth."""
        counts = {"stored": 0, "updated": 0, "skipped": 0, "failed": 0, "bytes": sum(self.size.values())}
        counts["added"] = sum(added for added, _ in self.growth.values())
        counts["size_delta"] = sum(delta for _, delta in self.growth.values())
        for outcome in self.outcome.values():
            name = outcome.partition(":")[0]
            counts[name] = counts.get(name, 0) + 1
        return counts

    def skipped(self) -> dict[str, int]:
        """Skips by reason."""
        reasons: dict[str, int] = {}
        for outcome in self.outcome.values():
            name, _, reason = outcome.partition(":")
            if name == "skipped":
                reasons[reason] = reasons.get(reason, 0) + 1
        return reasons


async def recall(engine: Engine, sync: Mapping[str, str], chunk: Document, book: ChunkBook) -> list[Document]:
    """Book what earlier attempts at a chunk have finished; returns the items that are left to do."""
    failures = {failure["id"]: failure for failure in chunk.get("failures", [])}
    ids = {item["id"]: object_id(sync["bucket_id"], sync["connection_id"], item["id"]) for item in chunk["items"]}
    standing = await engine.objects.committed(list(ids.values()))
    left = []
    for item in chunk["items"]:
        doc = standing.get(ids[item["id"]], {})
        if doc.get("chunk_id") == chunk["_id"] and doc.get("sync_config_id") == sync["_id"]:
            size = doc["size_bytes"]
            growth = (doc.get("added", 0), size - doc.get("size_before", 0))
            accepted = doc["_id"] if doc.get("accepted") else None
            book.done(item["id"], doc["outcome"], size if doc.get("fetched") else 0, accepted, growth)
        elif failures.get(item["id"], {}).get("dead"):
            book.done(item["id"], "failed", 0, None)
        else:
            left.append(item)
    return left
