"""Answers that may be a little old: what every request asks for again, asked once in a while."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["Remembered"]

T = TypeVar("T")


class Remembered(Generic[T]):
    """Values for `seconds`, at most `most` of them. Only what was found is remembered: what is new counts at once."""

    def __init__(self, seconds: float, most: int = 10_000, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds, self._most, self._clock = seconds, most, clock
        self._values: dict[object, tuple[float, T]] = {}

    def get(self, key: object) -> T | None:
        """The value, unless it is unknown or too old."""
        found = self._values.get(key)
        if found is None:
            return None
        if found[0] < self._clock():
            del self._values[key]
            return None
        return found[1]

    def put(self, key: object, value: T) -> None:
        """Remember a value from now on. When there are too many, the oldest goes."""
        self._values.pop(key, None)
        if len(self._values) >= self._most:
            del self._values[next(iter(self._values))]
        self._values[key] = (self._clock() + self._seconds, value)

    def clear(self) -> None:
        """Forget everything."""
        self._values.clear()
