"""Once the API is up: start the workflows that should run and do not. Desired state is never changed here."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import structlog

from api.errors import ApiError
from api.services import Services
from stores.failures import UNAVAILABLE

__all__ = ["start_missing"]

T = TypeVar("T")

log = structlog.get_logger("api.startup")

_NOT_ANSWERING: tuple[type[Exception], ...] = (ApiError, *UNAVAILABLE)
_AT_ONCE = 8
# Temporal or the database may come up after us; each new try waits a little longer.
_PAUSES_SECONDS = (1, 2, 5, 10, 30)


async def start_missing(services: Services) -> None:
    """Have one workflow per live sync and connection; running ones are left alone. Goes on until it has succeeded."""
    attempt = 0
    while True:
        try:
            syncs, connections = await _start_all(services)
        except _NOT_ANSWERING as error:
            pause = _PAUSES_SECONDS[min(attempt, len(_PAUSES_SECONDS) - 1)]
            log.warning("workflows_not_started", error=str(error), again_in_seconds=pause)
            attempt += 1
            await asyncio.sleep(pause)
        else:
            log.info("workflows_present", syncs=syncs, connections=connections)
            return


async def _start_all(services: Services) -> tuple[int, int]:
    syncs = [sync async for sync in services.syncs.all_due()]
    connections = await services.connections.all_live()
    await _each(_go_on_deleting(services), await services.buckets.all_deleting())
    await _each(services.commands.start_sync, syncs)
    await _each(services.commands.start_connection, connections)
    return len(syncs), len(connections)


def _go_on_deleting(services: Services) -> Callable[[str], Awaitable[None]]:
    async def start(bucket_id: str) -> None:
        await services.commands.start_bucket_deletion(bucket_id, at_once=False)

    return start


async def _each(start: Callable[[T], Awaitable[None]], items: Sequence[T]) -> None:
    for begin in range(0, len(items), _AT_ONCE):
        await asyncio.gather(*(start(item) for item in items[begin : begin + _AT_ONCE]))
