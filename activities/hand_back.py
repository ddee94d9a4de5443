"""How an activity stops early without losing anything: it hands back at its next object.

Two things ask for it: the workflow cancels the activity (pause, unlock, stop), or the worker shuts
down. Both set `Stop`; the work sees it, finishes what is in flight, commits, and returns a value.
An attempt that the server has given up on is cut short instead: its successor is already running.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from temporalio import activity

__all__ = ["Stop", "run_until_handed_back"]

T = TypeVar("T")
# The SDK sends at most one heartbeat per throttle interval; beating once a second keeps cancellation prompt.
_BEAT_SECONDS = 1.0


class Stop:
    """Whether the work should hand back."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    @property
    def requested(self) -> bool:
        """True once somebody asked."""
        return self._event.is_set()

    def request(self) -> None:
        """Ask."""
        self._event.set()

    async def wait(self) -> None:
        """Wait until somebody asks."""
        await self._event.wait()


async def run_until_handed_back(
    work: Coroutine[Any, Any, T], stop: Stop, *, beat: Callable[[], Awaitable[None]] | None = None
) -> T:
    """Run `work` with heartbeats; turn cancellation and shutdown into `stop`.

    `beat` is awaited about once a second, for progress. Raises CancelledError where the attempt is dead.
    """
    task = asyncio.create_task(work)
    beats = asyncio.create_task(_beat(beat))
    shutdown = asyncio.create_task(activity.wait_for_worker_shutdown())
    try:
        while not task.done():
            try:
                await asyncio.wait(
                    {task, beats} | (set() if stop.requested else {shutdown}), return_when="FIRST_COMPLETED"
                )
            except asyncio.CancelledError:
                details = activity.cancellation_details()
                dead = details is None or details.not_found or details.timed_out
                if dead or (stop.requested and details is not None and details.worker_shutdown):
                    raise
                stop.request()
            if shutdown.done():
                stop.request()
            if beats.done():
                beats.result()  # a failing progress write is a failing activity
        return task.result()
    finally:
        for helper in (task, beats, shutdown):
            helper.cancel()
        await asyncio.gather(task, beats, shutdown, return_exceptions=True)


async def _beat(beat: Callable[[], Awaitable[None]] | None) -> None:
    while True:
        activity.heartbeat()
        if beat is not None:
            await beat()
        await asyncio.sleep(_BEAT_SECONDS)
