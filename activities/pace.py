"""How many objects a chunk asks for at once while its source throttles.

Halved when the source throttles, at most once for the requests that were under way together; one more
for every round that went well. What was throttled is put aside, not asked for again: the chunk goes
on with the others and is handed back at its end, so that the waiting is the workflow's. It stops
early where the source refuses most of what it is asked for, or says itself how long to wait.
"""

from __future__ import annotations

import asyncio
from collections import deque

__all__ = ["Pace"]

# So many answers tell whether a source only grumbles or is closed.
_JUDGED = 20


class Pace:
    """The pace of one attempt at a chunk. `limit` is where it starts and the most it rises to."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._allowed = float(limit)
        self._running = 0
        self._settling = 0
        self._answers: deque[bool] = deque(maxlen=_JUDGED)
        self._room = asyncio.Event()
        self.passed = 0
        self.throttled = 0
        self.asked_to_wait = 0.0
        """Seconds the source itself asked for; 0 when it did not say."""

    @property
    def allowed(self) -> int:
        """How many may run at once now."""
        return max(1, int(self._allowed))

    @property
    def closed(self) -> bool:
        """Whether to stop asking."""
        refused = len(self._answers) - sum(self._answers)
        return self.asked_to_wait > 0 or (len(self._answers) == _JUDGED and 2 * refused >= _JUDGED)

    @property
    def heavy(self) -> bool:
        """Whether the source needs a pause, rather than only to be asked once more for what it refused."""
        return self.throttled > 0 and (self.closed or self.passed == 0)

    async def enter(self) -> None:
        """Wait for a place."""
        while self._running >= self.allowed:
            self._room.clear()
            await self._room.wait()
        self._running += 1

    def leave(self) -> None:
        """Give the place back."""
        self._running -= 1
        self._room.set()

    def went_through(self) -> None:
        """An answer that was no throttling."""
        self.passed += 1
        self._answers.append(True)
        self._settling = max(0, self._settling - 1)
        self._allowed = min(self._limit, self._allowed + 1 / self.allowed)

    def was_throttled(self, retry_after: float | None) -> None:
        """The source asked to slow down."""
        self.throttled += 1
        self._answers.append(False)
        self.asked_to_wait = max(self.asked_to_wait, retry_after or 0.0)
        if self._settling:
            # These were under way before it slowed down.
            self._settling -= 1
            return
        self._settling = self._running
        self._allowed = max(1.0, self._allowed / 2)
