"""Runs: staged chunks, their outcomes, and the job documents that the API shows."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from pymongo.errors import DuplicateKeyError

from stores.database import Database, Document

__all__ = ["RunStore"]

# A paused sync keeps its place for months; what it staged and has seen must not expire before it resumes:
# an id whose stamp has expired would pass for absent.
_CHUNK_LIFE = _SEEN_LIFE = timedelta(days=400)
_TALLIES = ("stored", "updated", "unchanged", "skipped", "failed", "bytes")


class RunStore:
    """The `chunks`, `progress`, `seen` and `jobs` collections."""

    def __init__(self, database: Database) -> None:
        self._chunks = database["chunks"]
        self._progress = database["progress"]
        self._seen = database["seen"]
        self._jobs = database["jobs"]

    # --- chunks

    async def stage(
        self,
        chunk_id: str,
        *,
        run_id: str,
        sync_config_id: str,
        kind: str,
        items: Sequence[Any],
        more: Mapping[str, Any] | None = None,
    ) -> None:
        """Keep `items` under an id that no other attempt uses; a repeated call writes the same again."""
        await self._chunks.replace_one(
            {"_id": chunk_id},
            {
                "run_id": run_id,
                "sync_config_id": sync_config_id,
                "kind": kind,
                "size": len(items),
                "items": list(items),
                **(more or {}),
                "expire_at": datetime.now(UTC) + _CHUNK_LIFE,
            },
            upsert=True,
        )

    async def chunk(self, chunk_id: str) -> Document | None:
        """A staged chunk with its items."""
        return await self._chunks.find_one({"_id": chunk_id})

    async def record_failures(self, chunk_id: str, failures: Sequence[Mapping[str, Any]]) -> None:
        """Remember, per object, how often it was tried and why it failed: survives the attempt."""
        await self._chunks.update_one({"_id": chunk_id}, {"$set": {"failures": list(failures)}})

    async def progress(self, chunk_id: str, tally: Mapping[str, int]) -> None:
        """Show how far a chunk is. Set, never added, so a repeated attempt cannot count twice."""
        run_id = chunk_id.partition(":")[0]
        await self._progress.update_one(
            {"_id": chunk_id},
            {"$set": {"run_id": run_id, "tally": dict(tally), "expire_at": datetime.now(UTC) + _CHUNK_LIFE}},
            upsert=True,
        )

    async def complete(
        self, chunk_id: str, *, tally: Mapping[str, int], skipped: Mapping[str, int], accepted: Sequence[str]
    ) -> None:
        """The chunk is done: its items give way to its outcome and the ids of accepted objects."""
        await self._chunks.update_one(
            {"_id": chunk_id},
            {
                "$set": {"done": True, "tally": dict(tally), "skipped": dict(skipped), "accepted": list(accepted)},
                "$unset": {"items": ""},
            },
        )
        await self.progress(chunk_id, tally)

    async def recount(self, run_id: str) -> tuple[dict[str, int], dict[str, int], int]:
        """Sums over the chunks of a run, from their documents: (tally, skipped by reason, chunks not done).

        Chunks that are not done do not count: an attempt that died may have left one that nobody works on.
        """
        tally = dict.fromkeys(_TALLIES, 0)
        skipped: dict[str, int] = {}
        undone = 0
        async for doc in self._chunks.find({"run_id": run_id, "kind": "work"}, {"tally": 1, "skipped": 1, "done": 1}):
            if not doc.get("done"):
                undone += 1
                continue
            for name, n in (doc.get("tally") or {}).items():
                tally[name] = tally.get(name, 0) + n
            for reason, n in (doc.get("skipped") or {}).items():
                skipped[reason] = skipped.get(reason, 0) + n
        return tally, skipped, undone

    async def open_chunks(self, run_id: str) -> AsyncIterator[Document]:
        """Chunks of work that are not done, one after the other, with their items."""
        async for doc in self._chunks.find({"run_id": run_id, "kind": "work", "done": {"$ne": True}}).batch_size(2):
            yield doc

    async def accepted(self, run_id: str) -> AsyncIterator[list[str]]:
        """Ids of the objects a run accepted, chunk by chunk, in a stable order."""
        async for doc in self._chunks.find({"run_id": run_id, "kind": "work", "done": True}, {"accepted": 1}).sort(
            "_id"
        ):
            if doc.get("accepted"):
                yield doc["accepted"]

    async def marks(self, run_id: str) -> tuple[list[str], float]:
        """Keys at which the walk may be split, ascending, and the largest median time a page took, in seconds."""
        keys: list[str] = []
        seconds = 0.0
        async for doc in self._chunks.find({"run_id": run_id, "kind": "marks"}):
            keys += doc["items"]
            seconds = max(seconds, doc.get("page_seconds", 0.0))
        return sorted(keys), seconds

    async def discard(self, run_id: str, chunk_ids: Sequence[str] | None = None) -> None:
        """Forget staged chunks: all of a run, or the named ones."""
        query: dict[str, Any] = {"run_id": run_id}
        if chunk_ids is not None:
            query["_id"] = {"$in": list(chunk_ids)}
        await self._chunks.delete_many(query)
        if chunk_ids is None:
            await self._seen.delete_many({"run_id": run_id})
            await self._progress.delete_many({"run_id": run_id})

    # --- removals

    async def removal(self, run_id: str) -> Document | None:
        """The removal that a run has begun: {owned, chunks}, and {removed, size} once it has ended."""
        job = await self._jobs.find_one({"_id": run_id}, {"removal": 1})
        return (job or {}).get("removal")

    async def begin_removal(self, run_id: str, *, owned: int, chunks: Sequence[str]) -> Document:
        """Put on record that the gate let this removal pass, so that a later attempt goes on with the same."""
        removal: Document = {"owned": owned, "chunks": list(chunks)}
        await self._jobs.update_one({"_id": run_id}, {"$set": {"removal": removal}})
        return removal

    async def end_removal(self, run_id: str, *, removed: int, size: int) -> None:
        """Record what was removed."""
        await self._jobs.update_one(
            {"_id": run_id},
            {"$set": {"removal.removed": removed, "removal.size": size, "updated_at": datetime.now(UTC)}},
        )

    # --- seen set of unordered passes

    async def mark_seen(self, run_id: str, ids: Sequence[str], ordinal: int = 0) -> None:
        """Stamp ids as seen in this run, at this place of it. Stamping twice is harmless."""
        expire_at = datetime.now(UTC) + _SEEN_LIFE
        await self._seen.insert_many(
            [{"run_id": run_id, "id": i, "n": ordinal, "expire_at": expire_at} for i in ids], ordered=False
        )

    async def seen_after(self, run_id: str, ids: Sequence[str], ordinal: int) -> set[str]:
        """Those of `ids` that this run has seen later than `ordinal`."""
        query = {"run_id": run_id, "id": {"$in": list(ids)}, "n": {"$gt": ordinal}}
        return {doc["id"] async for doc in self._seen.find(query, {"id": 1})}

    async def not_seen(self, run_id: str, ids: Sequence[str]) -> list[str]:
        """Those of `ids` that this run has not stamped."""
        seen = {doc["id"] async for doc in self._seen.find({"run_id": run_id, "id": {"$in": list(ids)}}, {"id": 1})}
        return [i for i in ids if i not in seen]

    # --- jobs

    async def open_job(self, job_id: str, fields: Mapping[str, Any], *, running: Mapping[str, Any]) -> bool:
        """Record a job once (`fields`) and set what is true now (`running`); False when it is already finished.

        A finished job is left as it is: the call that finished it may be repeated because its answer was lost.
        """
        now = datetime.now(UTC)
        unfinished = {"_id": job_id, "completed_at": None}
        change: dict[str, Any] = {"$set": {**running, "updated_at": now}, "$unset": {"expire_at": ""}}
        try:
            await self._jobs.update_one(
                unfinished, {**change, "$setOnInsert": {**fields, "created_at": now}}, upsert=True
            )
        except DuplicateKeyError:
            # It is finished, or was being recorded by another call at the same moment.
            return bool((await self._jobs.update_one(unfinished, change)).matched_count)
        return True

    async def job(self, job_id: str) -> Document | None:
        """One job."""
        return await self._jobs.find_one({"_id": job_id})

    async def set_job(self, job_id: str, fields: Mapping[str, Any]) -> None:
        """Set fields of a job; one that is finished is left as it is."""
        await self._jobs.update_one(
            {"_id": job_id, "completed_at": None}, {"$set": {**fields, "updated_at": datetime.now(UTC)}}
        )

    async def close_job(self, job_id: str, fields: Mapping[str, Any], *, keep: timedelta) -> None:
        """End a job; it is kept for `keep`."""
        now = datetime.now(UTC)
        await self._jobs.update_one({"_id": job_id}, {"$set": {**fields, "updated_at": now, "expire_at": now + keep}})
