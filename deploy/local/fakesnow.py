"""fakesnow's own environment: its server needs another major version of the Snowflake connector than we do."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
from pathlib import Path

from deploy.local.bootstrap import find_uv
from deploy.local.paths import cache_home
from deploy.local.tools import ToolError

__all__ = ["find", "install"]

_PINNED = (
    "fakesnow[server]==0.12.1",
    "snowflake-connector-python==4.8.1",
    "duckdb==2.0.1",
    "sqlglot==30.22.0",
    "starlette==1.10.0",
    "uvicorn==0.54.0",
)
_HINT = "Check that the Python package index can be reached, then run it again."


def _home() -> Path:
    return cache_home().parent / "fakesnow"


def find() -> Path | None:
    """The program, if its environment was made from these very versions."""
    stamp = _home() / "made-of.txt"
    return _home() / "bin" / "fakesnow" if stamp.exists() and stamp.read_text() == "\n".join(_PINNED) else None


def install() -> Path:
    """The program; its environment is made where it is missing (about half a minute), one at a time."""
    home = _home()
    home.parent.mkdir(parents=True, exist_ok=True)
    with home.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if found := find():
            return found
        uv = find_uv()
        if uv is None:
            raise ToolError("there is no uv to make fakesnow's environment with", "Run `make up`, which installs it.")
        shutil.rmtree(home, ignore_errors=True)
        _run(uv, "venv", "--quiet", "--python", "3.11", str(home))
        _run(uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", str(home / "bin" / "python"), *_PINNED)
        (home / "made-of.txt").write_text("\n".join(_PINNED))
    return home / "bin" / "fakesnow"


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ToolError(f"`{' '.join(command[:3])} …` failed\n{done.stderr[-2000:]}", _HINT)
