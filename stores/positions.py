"""Places in change feeds, one document per sync and key (a drive, a table), kept once a run is durable."""

from __future__ import annotations

from collections.abc import Mapping

from pymongo import UpdateOne

from stores.database import Database

__all__ = ["PositionStore", "SyncPositions"]


class SyncPositions:
    """The kept places of one sync, read when a provider asks."""

    def __init__(self, store: PositionStore, sync_config_id: str) -> None:
        self._store = store
        self._sync = sync_config_id

    async def get(self, key: str) -> str | None:
        """The place kept under `key`, None if there is none."""
        return await self._store.get(self._sync, key)

    async def all(self) -> Mapping[str, str]:
        """All of them."""
        return await self._store.all(self._sync)


class PositionStore:
    """The `positions` collection; `_id` is `{sync config id}/{key}`."""

    def __init__(self, database: Database) -> None:
        self._positions = database["positions"]

    async def get(self, sync_config_id: str, key: str) -> str | None:
        """One place."""
        doc = await self._positions.find_one({"_id": f"{sync_config_id}/{key}"})
        return None if doc is None else str(doc["place"])

    async def all(self, sync_config_id: str) -> dict[str, str]:
        """Key -> place."""
        return {doc["key"]: doc["place"] async for doc in self._positions.find({"sync_config_id": sync_config_id})}

    async def keep(self, sync_config_id: str, positions: Mapping[str, str], *, run_no: int) -> None:
        """Keep places reached by a run; a place kept by a later run stays."""
        operations = [
            UpdateOne(
                {"_id": f"{sync_config_id}/{key}"},
                [
                    {
                        "$replaceWith": {
                            "$cond": [
                                {"$gt": [{"$ifNull": ["$run_no", -1]}, run_no]},
                                "$$ROOT",
                                {
                                    "_id": {"$literal": f"{sync_config_id}/{key}"},
                                    "sync_config_id": {"$literal": sync_config_id},
                                    "key": {"$literal": key},
                                    "place": {"$literal": place},
                                    "run_no": run_no,
                                },
                            ]
                        }
                    }
                ],
                upsert=True,
            )
            for key, place in positions.items()
        ]
        if operations:
            await self._positions.bulk_write(operations, ordered=False)

    async def forget(self, sync_config_id: str) -> None:
        """Drop all places of a sync."""
        await self._positions.delete_many({"sync_config_id": sync_config_id})
