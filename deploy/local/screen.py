"""What the demonstration shows in a terminal: headings, facts and one live progress line per run."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from deploy.local.client import Json

__all__ = ["RunProgress", "Screen", "bytes_of", "counts_of"]

_PLAIN_SECONDS = 3


def counts_of(job: Json) -> dict[str, int]:
    """The job's own counts."""
    counts: dict[str, int] = (job.get("metadata") or {}).get("counts") or {}
    return counts


def bytes_of(job: Json) -> int | None:
    """Bytes moved so far, if the job says it."""
    return {**(job.get("progress") or {}), **counts_of(job)}.get("bytes")


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:,.0f}/s" if speed else "", style="cyan")


class Screen:
    """Headings and facts."""

    def __init__(self) -> None:
        self.console = Console(highlight=False)
        self.started = time.monotonic()

    def chapter(self, title: str) -> None:
        """Begin a part of the story."""
        self.console.print(f"\n[bold]{escape(title)}[/bold]  [dim]{time.monotonic() - self.started:.0f} s[/dim]")

    def fact(self, text: str, *, good: bool = True) -> None:
        """Say what was seen to be true."""
        shown = escape(text)
        self.console.print(f"  [green]✓[/green] {shown}" if good else f"  [red]✗ {shown}[/red]")

    def note(self, text: str) -> None:
        """Say what is being done."""
        self.console.print(f"  [dim]·[/dim] {escape(text)}", soft_wrap=True)

    def progress(self, title: str, total: int) -> RunProgress:
        """A live line."""
        return RunProgress(self.console, title, total)


class RunProgress:
    """One live line: phase, bar, objects, bytes, rate, time left. On no terminal, a plain line every few seconds."""

    def __init__(self, console: Console, title: str, total: int) -> None:
        self._console = console
        self._title = title
        self._total = total
        self._plain_at = time.monotonic()
        self._bar = Progress(
            TextColumn("  {task.description:<12}"),
            BarColumn(bar_width=32),
            TextColumn("{task.completed:>7,.0f} / {task.total:,.0f} objects"),
            TextColumn("{task.fields[size]}"),
            _Rate(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task(title, total=total, size="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def step(self, done: int, *, size: int | None = None, phase: str | None = None) -> None:
        """Show a new state."""
        shown = f"{size / 1e6:6.1f} MB" if size is not None else ""
        self._bar.update(self._task, completed=done, size=shown)
        if phase:
            self._bar.update(self._task, description=phase)
        now = time.monotonic()
        if not self._console.is_terminal and now - self._plain_at >= _PLAIN_SECONDS:
            self._plain_at = now
            self._console.print(f"  · {phase or self._title} {done:,} / {self._total:,} objects {shown}")
