"""Committing a group: blobs first, then one insert of the known-new and one update of the known."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from activities.engine import Engine, SyncContext
from activities.fetch import Fetched, Verdict
from activities.mapping import validate_fields
from models.ids import object_id
from providers.errors import Permanent
from stores.database import Document

__all__ = ["GroupWriter", "Written"]


@dataclass(slots=True)
class Written:
    """What became of one object. `accepted` objects go into a batch."""

    source_id: str
    object_id: str
    outcome: str
    size: int
    accepted: bool
    message: str = ""
    added: int = 0
    size_delta: int = 0


class GroupWriter:
    """Writes groups of one chunk under one fence."""

    def __init__(self, engine: Engine, context: SyncContext, *, run_id: str, chunk_id: str, fence: int) -> None:
        self._engine = engine
        self._context = context
        self._run_id = run_id
        self._chunk_id = chunk_id
        self._fence = fence
        sync = context.sync
        self._bucket_id: str = sync["bucket_id"]
        self._connection_id: str = sync["connection_id"]
        self._schema = context.bucket.get("bucket_schema")
        self._re_extract = context.reconcile("re_extract_on_update")
        self._re_extract_fields = (sync.get("reconcile") or {}).get("re_extract_fields")
        self._common = {
            "internal_id": sync["internal_id"],
            "namespace_id": sync["namespace_id"],
            "bucket_id": self._bucket_id,
            "sync_config_id": context.id,
            "connection_id": self._connection_id,
            "provider_type": context.connection["provider_type"],
            "run_id": run_id,
            "chunk_id": chunk_id,
            "fence": fence,
            "batch_id": None,
        }

    async def write(self, group: list[Fetched]) -> list[Written]:
        """Commit the group; every object has exactly one outcome afterwards."""
        if not group:
            return []
        await self._make_durable([f for f in group if f.verdict is Verdict.FETCHED])
        now = datetime.now(UTC)
        new: dict[str, tuple[Fetched, Document]] = {}
        known: list[tuple[Fetched, Document]] = []
        written: list[Written] = []
        for one in group:
            try:
                document = self._document(one, now)
            except Permanent as error:
                written.append(
                    Written(one.source.id, "", f"failed:{error.reason}", 0, accepted=False, message=str(error))
                )
                continue
            if one.operation == "new":
                new[document["_id"]] = (one, document)
            else:
                known.append((one, document))
        taken = await self._engine.objects.insert_new([document for _, document in new.values()])
        collided = [new.pop(document["_id"]) for document in taken]
        written += [
            Written(one.source.id, key, "stored", one.size, accepted=True, added=1, size_delta=one.size)
            for key, (one, _) in new.items()
        ]
        if known:
            written += await self._update(known)
        if collided:
            written += await self._settle_collisions(collided)
        return written

    async def _make_durable(self, fetched: list[Fetched]) -> None:
        small = [f for f in fetched if f.body is not None]
        if small:
            bodies = [f.body for f in small if f.body is not None]
            digests = await asyncio.to_thread(self._engine.blobs.put_many_small, bodies)
            for one, digest in zip(small, digests, strict=True):
                one.sha256, one.body = digest, None
        if fetched:
            await self._engine.blobs.sync()

    def _document(self, one: Fetched, now: datetime) -> Document:
        source, mapped = one.source, one.mapped
        assert mapped is not None  # every fetched or touched object was mapped
        fields = validate_fields(mapped.fields, self._schema, path=source.path, blob_property=mapped.blob_property)
        digest = one.sha256
        document: Document = {
            "_id": object_id(self._bucket_id, self._connection_id, source.id),
            **self._common,
            "source_object_id": source.id,
            "fingerprint": source.fingerprint,
            "status": "PENDING",
            "created_at": now,
            "updated_at": now,
            "outcome": "stored" if one.operation == "new" else "updated",
            "fetched": True,
            "accepted": True,
            "hash": f"sha256:{digest}",
            "size_bytes": one.size,
            "size_before": 0,
            "added": int(one.operation == "new"),
            "source": {
                "path": source.path,
                "version": source.fingerprint.rpartition("|")[0],
                "modified_at": source.modified_at,
                "size_bytes": one.size,
            },
            "blobs": [
                {
                    "blob_id": f"blob_{digest[:24]}",
                    "property": mapped.blob_property,
                    "type": mapped.blob_type,
                    "sha256": digest,
                    "details": {
                        "filename": source.name,
                        "size_bytes": one.size,
                        "mime_type": mapped.mime_type,
                        "hash": f"sha256:{digest}",
                    },
                }
            ],
            "fields": fields,
        }
        return document

    async def _update(self, known: list[tuple[Fetched, Document]]) -> list[Written]:
        """Known objects keep their id, birth and (when only touched) their blobs."""
        before = await self._engine.objects.committed([document["_id"] for _, document in known])
        changes: list[tuple[str, int, dict[str, Any]]] = []
        written: list[Written] = []
        for one, document in known:
            old = before.get(document["_id"], {})
            if old.get("sync_config_id") != self._context.id:
                # Removed by a person since it was listed: the next pass brings it back as something new.
                written.append(Written(one.source.id, document["_id"], "skipped:removed_meanwhile", 0, accepted=False))
                continue
            touched = one.verdict is Verdict.TOUCHED
            differs = not touched or (old.get("fields") or {}) != document["fields"]
            accepted = self._re_extract and differs and self._asks_for_extraction(old, document, touched=touched)
            keep = {"_id", "created_at", "fence"}
            if touched:
                keep |= {"hash", "blobs", "size_bytes", "fetched"}
            if not accepted:
                keep |= {"status", "batch_id"}
            fields = {name: value for name, value in document.items() if name not in keep}
            fields["accepted"] = accepted
            fields["added"], fields["size_before"] = self._growth_base(old)
            size = old.get("size_bytes", 0) if touched else one.size
            if touched:
                fields["fetched"] = False
            changes.append((document["_id"], self._fence, fields))
            written.append(
                Written(
                    one.source.id,
                    document["_id"],
                    "updated",
                    0 if touched else one.size,
                    accepted,
                    added=fields["added"],
                    size_delta=size - fields["size_before"],
                )
            )
        await self._engine.objects.update(self._context.id, changes)
        return written

    def _growth_base(self, old: Document) -> tuple[int, int]:
        """(objects added, size before) by which a write over `old` changes the bucket's totals.

        An attempt that was thought dead may have written it for this very chunk: then what counts is what
        there was before that.
        """
        if old.get("chunk_id") == self._chunk_id:
            return old.get("added", 0), old.get("size_before", 0)
        return int(old.get("sync_config_id") is None), old.get("size_bytes", 0)

    def _asks_for_extraction(self, old: Document, document: Document, *, touched: bool) -> bool:
        """`re_extract_fields` narrows re-processing of metadata changes to some fields; new bytes always count."""
        if not touched or not self._re_extract_fields:
            return True
        before, after = old.get("fields") or {}, document["fields"]
        return any(before.get(name) != after.get(name) for name in self._re_extract_fields)

    async def _settle_collisions(self, collided: list[tuple[Fetched, Document]]) -> list[Written]:
        """An id was taken: by this run's own earlier attempt, a tombstone, a deleted sync, or another live sync."""
        standing = await self._engine.objects.committed([document["_id"] for _, document in collided])
        owners = {doc["sync_config_id"] for doc in standing.values() if doc.get("sync_config_id")}
        live = await self._engine.objects.live_syncs(list(owners))
        replace: list[tuple[Document, list[str]]] = []
        written: list[Written] = []
        for one, document in collided:
            there = standing.get(document["_id"], {})
            owner = there.get("sync_config_id")
            if owner is not None and owner != self._context.id and owner in live:
                written.append(
                    Written(one.source.id, document["_id"], "skipped:owned_by_another_sync", 0, accepted=False)
                )
                continue
            # What a deleted sync has left is adopted; the bucket has counted it already, a tombstone it has not.
            document["added"], document["size_before"] = self._growth_base(there)
            replace.append((document, [owner] if owner and owner != self._context.id else []))
            written.append(
                Written(
                    one.source.id,
                    document["_id"],
                    "stored",
                    one.size,
                    accepted=True,
                    added=document["added"],
                    size_delta=one.size - document["size_before"],
                )
            )
        await self._engine.objects.replace(replace)
        return written
