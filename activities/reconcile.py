"""Removing what a complete full pass did not see, behind a gate.

The gate: a pass that would remove everything, or more than max(objects, percent) of what the sync
owns, removes nothing and asks a person. Approval lifts the gate for what was proposed and is used by
a fresh pass, so that only what is still absent then is removed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

from temporalio import activity

from activities.engine import Engine, SyncContext
from activities.hand_back import Stop, run_until_handed_back
from activities.run_contracts import ReconcileArgs, ReconcileResult
from models.ids import object_id
from stores.objects import fence_of

__all__ = ["ReconcileActivities", "outside", "over_gate"]

# Why an object is removed that a pass did not show, where nobody said more.
_UNSEEN = "source_gone"
_STEP = 1000
# One request each at the source; between two steps a hand-back is noticed.
_CONFIRM_STEP = 100
_SAMPLE = 20
_ABSENT_PER_CHUNK = 20_000


def over_gate(absent: int, owned: int, *, objects: int, percent: float) -> bool:
    """Whether removing `absent` of `owned` objects needs a person's word."""
    return absent > 0 and (absent >= owned or absent > max(objects, owned * percent / 100))


def outside(unproven: list[list[str]]) -> list[tuple[str, str]]:
    """What is left of all ids without some ranges `[low, high, …]`; an empty high is unbounded."""
    left, begin = [], ""
    for low, high, *_ in sorted(unproven):
        if low > begin:
            left.append((begin, low))
        if not high:
            return left
        begin = max(begin, high)
    return [*left, (begin, "")]


class _Removal:
    def __init__(self, engine: Engine, context: SyncContext, args: ReconcileArgs, stop: Stop, attempt: int) -> None:
        self._engine = engine
        self._context = context
        self._args = args
        self._stop = stop
        self._fence = fence_of(args.run_no, attempt)
        self._staged = 0

    async def run(self) -> ReconcileResult:
        """Decide by the gate, then remove in steps; a hand-back goes on where it stopped."""
        begun: ReconcileResult | dict[str, Any] | None = await self._engine.runs.removal(self._args.run_id)
        if begun is None:
            begun = await self._decide()
        if isinstance(begun, ReconcileResult):
            return begun
        return await self._remove(begun["chunks"], begun["owned"])

    async def _decide(self) -> ReconcileResult | dict[str, Any]:
        """What the gate says: a result where nothing is to be removed, else the removal as it was put on record."""
        sync, settings = self._context.sync, self._engine.settings
        chunks = list(self._args.absent_chunks)
        if self._args.incremental:
            chunks += [chunk for low, high in self._args.proven for chunk in await self._stage_unseen(low, high)]
        elif not self._args.ordered:
            chunks += [c for low, high in outside(self._args.unproven) for c in await self._stage_unseen(low, high)]
        owned = await self._engine.objects.owned_count(self._context.id)
        if not self._context.reconcile("on_delete"):
            return ReconcileResult(owned=owned)
        absent = sum([len(ids) async for ids in self._absent(chunks)])
        if absent == 0:
            if not self._args.incremental:
                await self._withdraw(sync)
            return ReconcileResult(owned=owned)
        gated = over_gate(absent, owned, objects=settings.delete_gate_objects, percent=settings.delete_gate_percent)
        if gated and not self._approves(sync, absent, owned):
            if self._is_rejected(sync, absent, owned):
                return ReconcileResult(owned=owned)
            return await self._propose(sync, chunks, absent, owned)
        return await self._engine.runs.begin_removal(self._args.run_id, owned=owned, chunks=chunks)

    async def _remove(self, chunks: list[str], owned: int) -> ReconcileResult:
        sync = self._context.sync
        removed = size = kept = 0
        async for ids, reason in self._absent_with_reason(chunks):
            confirms = self._context.provider.capabilities.confirms and reason == _UNSEEN
            step = _CONFIRM_STEP if confirms else _STEP
            for start in range(0, len(ids), step):
                if self._stop.requested:
                    return ReconcileResult(removed=removed, owned=owned, handed_back=True)
                gone = ids[start : start + step]
                if confirms:
                    there = await self._still_there(gone)
                    gone, kept = [source_id for source_id in gone if source_id not in there], kept + len(there)
                n, freed = await self._engine.objects.remove(
                    self._context.id, self._keys(gone), fence=self._fence, run_id=self._args.run_id, reason=reason
                )
                removed, size = removed + n, size + freed
        await self._engine.runs.end_removal(self._args.run_id, removed=removed, size=size)
        await self._withdraw(sync)
        return ReconcileResult(removed=removed, still_there=kept, owned=owned)

    async def _still_there(self, ids: list[str]) -> set[str]:
        """What the walk left out and the source has; what an earlier attempt has removed is not asked about again."""
        standing = await self._engine.objects.standing(self._keys(ids))
        wanted = [source_id for source_id, key in zip(ids, self._keys(ids), strict=True) if key in standing]
        return await self._context.provider.still_there(self._context.path, wanted) if wanted else set()

    def _keys(self, ids: list[str]) -> list[str]:
        sync = self._context.sync
        return [object_id(sync["bucket_id"], sync["connection_id"], source_id) for source_id in ids]

    async def _absent(self, chunk_ids: list[str]) -> AsyncIterator[list[str]]:
        async for ids, _ in self._absent_with_reason(chunk_ids):
            yield ids

    async def _absent_with_reason(self, chunk_ids: list[str]) -> AsyncIterator[tuple[list[str], str]]:
        for chunk_id in chunk_ids:
            chunk = await self._engine.runs.chunk(chunk_id)
            if chunk is None:
                continue
            ids, ordinal = chunk["items"], chunk.get("ordinal", 0)
            if ordinal:
                # A feed said removed, and later in the same run it showed the object again.
                later = await self._engine.runs.seen_after(self._args.run_id, ids, ordinal)
                ids = [source_id for source_id in ids if source_id not in later]
            if ids:
                yield ids, chunk.get("reason") or _UNSEEN

    async def _stage_unseen(self, low: str, high: str) -> list[str]:
        """What is owned within `[low, high)` but was not stamped as seen; an empty `high` is unbounded."""
        found: list[str] = []
        chunks: list[str] = []
        async for ids in self._engine.objects.all_ids(self._context.id, low=low, high=high, step=_STEP):
            found += await self._engine.runs.not_seen(self._args.run_id, ids)
            if len(found) >= _ABSENT_PER_CHUNK:
                chunks.append(await self._stage(found))
                found = []
        if found:
            chunks.append(await self._stage(found))
        return chunks

    async def _stage(self, ids: list[str]) -> str:
        self._staged += 1
        chunk_id = f"{self._args.run_id}:r{self._fence}:{self._staged}"
        await self._engine.runs.stage(
            chunk_id, run_id=self._args.run_id, sync_config_id=self._context.id, kind="absent", items=ids
        )
        return chunk_id

    def _approves(self, sync: dict[str, Any], absent: int, owned: int) -> bool:
        """An approval holds for about what was proposed; a larger loss asks again."""
        proposal = sync.get("delete_proposal") or {}
        if not self._args.approved or proposal.get("proposal_id") != self._args.approved:
            return False
        return self._about(proposal["count"], absent, owned)

    def _is_rejected(self, sync: dict[str, Any], absent: int, owned: int) -> bool:
        """A rejected loss is kept without asking again until clearly more is missing."""
        rejected = sync.get("delete_rejected") or {}
        return bool(rejected) and self._about(rejected["count"], absent, owned)

    def _about(self, decided: int, absent: int, owned: int) -> bool:
        """Whether a decision about so many holds for what is absent now; one about a part never for everything."""
        settings = self._engine.settings
        if absent <= decided:
            return True
        return absent < owned and not over_gate(
            absent - decided, owned, objects=settings.delete_gate_objects, percent=settings.delete_gate_percent
        )

    async def _propose(self, sync: dict[str, Any], chunks: list[str], absent: int, owned: int) -> ReconcileResult:
        sample: list[str] = []
        async for ids in self._absent(chunks):
            sample += ids[: _SAMPLE - len(sample)]
            if len(sample) >= _SAMPLE:
                break
        standing = sync.get("delete_proposal") or {}
        proposal_id = standing.get("proposal_id") or f"del_{self._args.run_id.removeprefix('job_')}"
        share = 100 * absent / owned if owned else 100.0
        reason = (
            "the source turned up empty of everything this sync owns"
            if absent >= owned
            else f"{absent} of {owned} objects ({share:.1f} %) are absent from the source"
        )
        proposal = {
            "proposal_id": proposal_id,
            "created_at": standing.get("created_at") or datetime.now(UTC),
            "run_id": self._args.run_id,
            "count": absent,
            "owned": owned,
            "sample": sample,
            "reason": reason,
        }
        await self._engine.configs.project(self._context.id, {"delete_proposal": proposal, "delete_rejected": None})
        return ReconcileResult(proposed=absent, owned=owned, proposal_id=proposal_id)

    async def _withdraw(self, sync: dict[str, Any]) -> None:
        """Nothing waits for approval any more."""
        if sync.get("delete_proposal") or sync.get("delete_rejected"):
            await self._engine.configs.project(self._context.id, {"delete_proposal": None, "delete_rejected": None})


class ReconcileActivities:
    """The removal activity."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @activity.defn(name="reconcile")
    async def reconcile(self, args: ReconcileArgs) -> ReconcileResult:
        """Remove or propose; only ever called after a complete full pass."""
        context = await self._engine.open_sync(args.sync_config_id)
        stop = Stop()
        removal = _Removal(self._engine, context, args, stop, activity.info().attempt)
        return await run_until_handed_back(removal.run(), stop)
