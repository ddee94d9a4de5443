"""fakesnow's server: in an environment of its own, because it needs another major version of the connector.

python -m tests.simulators.snowflake_server 18555
"""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

from deploy.local.services import Service

__all__ = ["environment", "service"]

_PINNED = (
    "fakesnow[server]==0.12.1",
    "snowflake-connector-python==4.8.1",
    "duckdb==2.0.1",
    "sqlglot==30.22.0",
    "starlette==1.10.0",
    "uvicorn==0.54.0",
)


def environment() -> Path:
    """Its folder, made when it is not there yet or was made from other versions (about half a minute)."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tidemark"
    cache.mkdir(parents=True, exist_ok=True)
    home, made_of = cache / "fakesnow", "\n".join(_PINNED)
    with (cache / "fakesnow.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        stamp = home / "made-of.txt"
        if not stamp.exists() or stamp.read_text() != made_of:
            shutil.rmtree(home, ignore_errors=True)
            _run("uv", "venv", "--quiet", "--python", "3.11", str(home))
            _run("uv", "pip", "install", "--quiet", "--python", str(home / "bin" / "python"), *_PINNED)
            stamp.write_text(made_of)
    return home


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[:3])} failed: {done.stderr[-2000:]}")


def service(port: int) -> Service:
    """The server as a process of a stack or of a test session; its tables are in memory."""
    program = str(environment() / "bin" / "fakesnow")
    return Service(
        "fakesnow", [program, "--server", "--host", "127.0.0.1", "--port", str(port)], lambda _pid: _answers(port)
    )


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


if __name__ == "__main__":
    wanted = service(int(sys.argv[1]) if len(sys.argv) > 1 else 18555)
    os.execv(wanted.argv[0], wanted.argv)
