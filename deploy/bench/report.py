"""Rounds to ratios, ratios to a table: in the terminal and in RESULTS.md, which the README shows."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

__all__ = ["Figure", "Row", "write"]

RESULTS = Path(__file__).resolve().parent / "RESULTS.md"

_PAGE = """# Benchmark

Written by `make bench` on {when:%Y-%m-%d}: {rounds} interleaved rounds; {machine}.

Every result was verified: keys, sizes and the SHA-256 of the bytes on disk. Only ratios count: the
machine's speed changes from minute to minute. No batches are made: the peer hands nothing on either.

{table}
"""


@dataclass
class Row:
    """Interleaved rounds of (peer seconds, our seconds), and the ratio to hold."""

    title: str
    hold: float
    peer: list[float] = field(default_factory=list)
    ours: list[float] = field(default_factory=list)

    @property
    def ratios(self) -> list[float]:
        """One per round: only runs next to each other are comparable."""
        return [ours / peer for ours, peer in zip(self.ours, self.peer, strict=True)]

    @property
    def held(self) -> bool:
        """Whether the median ratio is at most what has to be held."""
        return statistics.median(self.ratios) <= self.hold

    def cells(self) -> list[str]:
        """Its line of the table."""
        low, middle, high = min(self.ratios), statistics.median(self.ratios), max(self.ratios)
        return [
            self.title,
            _spread(self.peer, "s"),
            _spread(self.ours, "s"),
            f"**{middle:.2f} ×** ({low:.2f}–{high:.2f})",
            f"≤ {self.hold:g} ×",
            "yes" if self.held else "**no**",
        ]


@dataclass
class Figure:
    """One number that is not a ratio."""

    title: str
    value: float
    limit: float
    unit: str
    peer: str = "–"

    @property
    def held(self) -> bool:
        """Whether it is within its limit."""
        return self.value <= self.limit

    def cells(self) -> list[str]:
        """Its line of the table."""
        limit = f"≤ {self.limit:g} {self.unit}".strip()
        value = f"{self.value:.0f} {self.unit}".strip()
        return [self.title, self.peer, value, "", limit, "yes" if self.held else "**no**"]


def _spread(values: Sequence[float], unit: str) -> str:
    return f"{statistics.median(values):.2f} {unit} ({min(values):.2f}–{max(values):.2f})"


def write(rows: Sequence[Row | Figure], *, rounds: int, scale: float) -> str:
    """Write RESULTS.md (only a full-size benchmark does) and return the table."""
    header = ["work", "rclone 1.76: median (spread)", "Tidemark: median (spread)", "ratio", "hold", "held"]
    lines = [header, ["---"] * len(header), *(row.cells() for row in rows)]
    table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    if scale == 1.0:
        RESULTS.write_text(_PAGE.format(when=datetime.now(UTC), rounds=rounds, machine=_machine(), table=table))
    return table


def _machine() -> str:
    system = f"{platform.machine()}, Linux {platform.release()}, Python {platform.python_version()}"
    return f"{os.cpu_count()} cores, {system}"
