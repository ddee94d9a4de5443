"""Health: whether this process lives, and whether what it needs answers."""

from __future__ import annotations

import asyncio
from typing import Any

from api.errors import ApiError
from api.operations import Call, NoBody, NoQuery, Operations
from models.common import Reply
from stores.failures import UNAVAILABLE

__all__ = ["operations"]

operations = Operations("HealthApi", "/v1/health", namespaced=False)

_PATIENCE_SECONDS = 2.0
_SILENT: tuple[type[Exception], ...] = (TimeoutError, *UNAVAILABLE)


class HealthResponse(Reply):
    """Whether this process, and what it needs, answers."""

    status: str
    components: dict[str, str]


class LivenessResponse(Reply):
    """Whether this process answers."""

    status: str


@operations.add("GET", "", "healthcheck_health", role=None, answers=HealthResponse)
async def health(call: Call[NoBody, NoQuery]) -> HealthResponse:
    """Say whether the database and Temporal answer; 503 names the one that does not."""
    database, temporal = await asyncio.gather(_database(call), call.services.commands.reachable())
    parts = {"mongodb": "ok" if database else "unreachable", "temporal": "ok" if temporal else "unreachable"}
    if not (database and temporal):
        broken = ", ".join(name for name, state in parts.items() if state != "ok")
        raise ApiError(503, "unavailable", f"not answering: {broken}", code="unhealthy", details={"components": parts})
    return HealthResponse(status="ok", components=parts)


@operations.add("GET", "/liveness", "liveness_health", role=None, answers=LivenessResponse)
async def liveness(call: Call[NoBody, NoQuery]) -> LivenessResponse:
    """Say that this process answers."""
    del call
    return LivenessResponse(status="alive")


async def _database(call: Call[Any, Any]) -> bool:
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            await call.services.database.command("ping")
    except _SILENT:
        return False
    return True
