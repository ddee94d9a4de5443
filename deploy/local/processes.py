"""Detached processes known by name: pid files, logs, and the question whether a pid is still the one we started.

`run/NAME.pid` holds the pid alone, so that `kill $(cat …)` works; `run/NAME.started` beside it holds
the process's start time, because a pid is reused sooner or later.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

__all__ = ["Processes", "start_time"]

_POLL_SECONDS = 0.05


def start_time(pid: int) -> str | None:
    """A stamp that tells this process from a later one with the same pid; None if it is gone or a zombie."""
    stat = Path(f"/proc/{pid}/stat")
    if Path("/proc/self/stat").exists():
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return None
        return None if fields[0] in "ZX" else fields[19]
    shown = subprocess.run(["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    state, _, started = shown.stdout.strip().partition(" ")
    return started.strip() if state and not state.startswith("Z") else None


class Processes:
    """The named processes under one home folder (`home/run`, `home/log`)."""

    def __init__(self, home: Path) -> None:
        self._run = home / "run"
        self._log = home / "log"

    def log_file(self, name: str) -> Path:
        """Where the process's output goes."""
        return self._log / f"{name}.log"

    def pid_file(self, name: str) -> Path:
        """The file that holds the pid."""
        return self._run / f"{name}.pid"

    def pid(self, name: str) -> int | None:
        """The pid if the process we started still runs; a stale pid file is removed."""
        file, stamp = self.pid_file(name), self._run / f"{name}.started"
        try:
            pid = int(file.read_text())
            started = stamp.read_text()
        except (FileNotFoundError, ValueError):
            return None
        if start_time(pid) == started:
            return pid
        with contextlib.suppress(ChildProcessError):  # ours only if this very process started it
            os.waitpid(pid, os.WNOHANG)
        self._forget(name)
        return None

    def running(self) -> list[str]:
        """Names of all that run."""
        names = sorted(file.stem for file in self._run.glob("*.pid"))
        return [name for name in names if self.pid(name) is not None]

    def spawn(self, name: str, argv: Sequence[str], *, env: Mapping[str, str], cwd: Path) -> int:
        """Start a process in a session of its own; its output is appended to its log."""
        self._run.mkdir(parents=True, exist_ok=True)
        self._log.mkdir(parents=True, exist_ok=True)
        with self.log_file(name).open("ab") as log:
            child = subprocess.Popen(
                list(argv),
                env=dict(env),
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        # Detached on purpose: nobody waits for it, so Popen must not complain when it is collected.
        child.returncode = 0
        started = start_time(child.pid)
        (self._run / f"{name}.started").write_text(started or "gone")
        self.pid_file(name).write_text(f"{child.pid}\n")
        return child.pid

    def signal(self, name: str, number: int) -> bool:
        """Send a signal; False if the process does not run."""
        pid = self.pid(name)
        if pid is None:
            return False
        os.kill(pid, number)
        return True

    def wait_gone(self, names: Iterable[str], seconds: float) -> list[str]:
        """Wait until the processes are gone; the names of those that are not by then."""
        deadline = time.monotonic() + seconds
        left = list(names)
        while True:
            left = [name for name in left if self.pid(name) is not None]
            if not left or time.monotonic() > deadline:
                return left
            time.sleep(_POLL_SECONDS)

    def stop(self, names: Sequence[str], seconds: float) -> list[str]:
        """SIGTERM all, wait, SIGKILL (with their process group) what is left; the names that had to be killed."""
        for name in names:
            self.signal(name, signal.SIGTERM)
        stubborn = self.wait_gone(names, seconds)
        for name in stubborn:
            pid = self.pid(name)
            if pid is not None:
                os.killpg(pid, signal.SIGKILL)
        self.wait_gone(stubborn, 5)
        return stubborn

    def log_tail(self, name: str, lines: int = 15) -> str:
        """The end of the log, for an error message."""
        try:
            content = self.log_file(name).read_bytes()[-20_000:]
        except FileNotFoundError:
            return ""
        return "\n".join(content.decode(errors="replace").splitlines()[-lines:])

    def _forget(self, name: str) -> None:
        self.pid_file(name).unlink(missing_ok=True)
        (self._run / f"{name}.started").unlink(missing_ok=True)
