"""Dead letters as the API reads them, and gives them up."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from models.scope import Scope
from stores.database import Database, Document

__all__ = ["DeadLetterReader"]


class DeadLetterReader:
    """Dead letters of a sync."""

    def __init__(self, database: Database) -> None:
        self._letters = database["dead_letters"]

    async def find(
        self, scope: Scope, sync_config_id: str, *, exhausted_only: bool, error_types: Sequence[str], limit: int
    ) -> tuple[list[Document], int]:
        """The newest letters, and how many there are in all."""
        query: dict[str, Any] = {"sync_config_id": sync_config_id, **scope.fields}
        if exhausted_only:
            query["max_retries_reached"] = True
        if error_types:
            query["error_type"] = {"$in": list(error_types)}
        found = self._letters.find(query, {"source": 0}, sort=[("last_seen_at", -1), ("_id", -1)], limit=limit)
        return await found.to_list(), await self._letters.count_documents(query)

    async def give_up(self, scope: Scope, sync_config_id: str, error_types: Sequence[str]) -> int:
        """No more attempts for open letters of these types, until the object changes or is requeued. Idempotent."""
        result = await self._letters.update_many(
            {
                "sync_config_id": sync_config_id,
                **scope.fields,
                "error_type": {"$in": list(error_types)},
                "resolved_at": None,
                "given_up_at": None,
            },
            {
                "$set": {
                    "max_retries_reached": True,
                    "given_up_at": datetime.now(UTC),
                    "disposal_reason": "marked_permanently_failed",
                }
            },
        )
        return result.modified_count

    async def by_error(self, scope: Scope, sync_config_id: str) -> dict[str, int]:
        """Open exhausted letters by error type."""
        stages: list[dict[str, Any]] = [
            {
                "$match": {
                    "sync_config_id": sync_config_id, **scope.fields, "max_retries_reached": True, "resolved_at": None
                }
            },
            {"$group": {"_id": "$error_type", "n": {"$sum": 1}}},
            {"$sort": {"n": -1, "_id": 1}},
        ]  # fmt: skip
        found = await self._letters.aggregate(stages)
        return {str(row["_id"]): int(row["n"]) async for row in found}
