"""What a filter on costly attributes (tags, user metadata) has turned down, so that it is not asked for at every poll.

A verdict holds for one version of a source object, and for a month: tags can change without a new version. The
filters of a sync never change.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import blake2b

from pymongo import ReplaceOne

from stores.database import Database

__all__ = ["RejectStore"]

_LIFE = timedelta(days=30)


class RejectStore:
    """The `rejects` collection."""

    def __init__(self, database: Database) -> None:
        self._rejects = database["rejects"]

    async def among(self, sync_config_id: str, fingerprints: Mapping[str, str]) -> dict[str, str]:
        """Reasons of those source objects (id -> fingerprint) that were turned down in this very version."""
        ids = {_key(sync_config_id, source_id): source_id for source_id in fingerprints}
        found: dict[str, str] = {}
        async for doc in self._rejects.find({"_id": {"$in": list(ids)}}):
            source_id = ids[doc["_id"]]
            if doc["fingerprint"] == fingerprints[source_id]:
                found[source_id] = doc["reason"]
        return found

    async def note(self, sync_config_id: str, rejects: Sequence[tuple[str, str, str]]) -> None:
        """Remember (source id, fingerprint, reason)."""
        expire_at = datetime.now(UTC) + _LIFE
        operations = [
            ReplaceOne(
                {"_id": _key(sync_config_id, source_id)},
                {
                    "sync_config_id": sync_config_id,
                    "source_object_id": source_id,
                    "fingerprint": fingerprint,
                    "reason": reason,
                    "expire_at": expire_at,
                },
                upsert=True,
            )
            for source_id, fingerprint, reason in rejects
        ]
        if operations:
            await self._rejects.bulk_write(operations, ordered=False)


def _key(sync_config_id: str, source_id: str) -> bytes:
    return blake2b(f"{sync_config_id}\0{source_id}".encode("utf-8", "surrogatepass"), digest_size=16).digest()
