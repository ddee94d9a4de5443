"""Python programs that need an environment of their own, in the user's cache: made once for this machine."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from deploy.local.bootstrap import find_uv
from deploy.local.paths import cache_home
from deploy.local.tools import ToolError

__all__ = ["FAKESNOW", "GRAPH_SDK", "Apart"]

_HINT = "Check that the Python package index can be reached, then run it again."


@dataclass(frozen=True)
class Apart:
    """An environment called `name` of pinned packages; `program` is what is run in it."""

    name: str
    program: str
    pinned: tuple[str, ...]
    compiled: bool = True
    """Whether to compile all of it at once, which pays for what is started often."""

    @property
    def _home(self) -> Path:
        return cache_home().parent / self.name

    def find(self) -> Path | None:
        """The program, if its environment was made from these very versions."""
        stamp = self._home / "made-of.txt"
        made = stamp.exists() and stamp.read_text() == "\n".join(self.pinned)
        return self._home / "bin" / self.program if made else None

    def install(self) -> Path:
        """The program; its environment is made where it is missing (up to half a minute), one at a time."""
        home = self._home
        home.parent.mkdir(parents=True, exist_ok=True)
        with home.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if found := self.find():
                return found
            uv = find_uv()
            if uv is None:
                raise ToolError(f"there is no uv to make {self.name} with", "Run `make up`, which installs it.")
            shutil.rmtree(home, ignore_errors=True)
            _run(uv, "venv", "--quiet", "--python", "3.11", str(home))
            compiled = ["--compile-bytecode"] if self.compiled else []
            _run(uv, "pip", "install", "--quiet", *compiled, "--python", str(home / "bin" / "python"), *self.pinned)
            (home / "made-of.txt").write_text("\n".join(self.pinned))
        return home / "bin" / self.program


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ToolError(f"`{' '.join(command[:3])} …` failed\n{done.stderr[-2000:]}", _HINT)


# Its server needs another major version of the Snowflake connector than we do.
FAKESNOW = Apart(
    "fakesnow",
    "fakesnow",
    (
        "fakesnow[server]==0.12.1",
        "snowflake-connector-python==4.8.1",
        "duckdb==2.0.1",
        "sqlglot==30.22.0",
        "starlette==1.10.0",
        "uvicorn==0.54.0",
    ),
)

# Microsoft's own client, against which the Graph simulator is held: 17,000 files, of which a test reads a few hundred.
GRAPH_SDK = Apart(
    "graph-sdk",
    "python",
    (
        "msgraph-sdk==1.65.0",
        "msgraph-core==1.5.2",
        "microsoft-kiota-http==1.16.0",
        "microsoft-kiota-serialization-json==1.16.0",
        "azure-identity==1.27.0",
        "aiohttp==3.14.5",
    ),
    compiled=False,
)
