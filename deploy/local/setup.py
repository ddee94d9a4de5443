"""Set-up, step by step: what is there is kept, what is missing is installed, what fails says what to do.

python -m deploy.local.setup [--for up|test|bench]
"""

from __future__ import annotations

import argparse
import os
import secrets
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from deploy.local import tools
from deploy.local.apart import FAKESNOW, GRAPH_SDK
from deploy.local.paths import CHECKOUT

__all__ = ["make_master_key", "prepare", "s3_kind"]

_REMIND_SECONDS = 15


@dataclass(frozen=True)
class Step:
    """`find` answers at once, `install` may take minutes."""

    title: str
    find: Callable[[], Path | str | None]
    install: Callable[[], Path | str]


def s3_kind() -> str:
    """Which demo S3 server to use: the S3 variable, else versitygw where it is or can be built, else moto."""
    chosen = os.environ.get("S3", "")
    if chosen in {"moto", "versitygw"}:
        return chosen
    if chosen:
        raise tools.ToolError(f"S3={chosen} is not known", "Use S3=versitygw or S3=moto.")
    return "versitygw" if tools.find_versitygw() or tools.has_go() else "moto"


def make_master_key(path: Path) -> Path:
    """The 96-byte local master key that encrypts credentials at rest; made once, readable by its owner only."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(96))
    return path


def _mongod() -> Path | str | None:
    uri = os.environ.get("MONGODB_URI")
    return "MONGODB_URI" if uri else tools.find_mongod()


def _no_mongod() -> Path:
    raise tools.ToolError(
        "there is no mongod for this machine", "Install MongoDB 6 or newer, or set MONGODB_URI, then run it again."
    )


def _steps(purpose: str, *, simulators: bool) -> list[Step]:
    steps = [
        Step("Temporal server", tools.find_temporal, tools.install_temporal),
        Step("MongoDB server", _mongod, _no_mongod),
    ]
    if s3_kind() == "versitygw" or (purpose == "test" and tools.has_go()):
        steps.append(Step("S3 server", tools.find_versitygw, tools.install_versitygw))
    if simulators or purpose == "test":
        steps.append(Step("Snowflake simulator", FAKESNOW.find, FAKESNOW.install))
    if purpose == "test":
        steps.append(Step("Microsoft's Graph SDK", GRAPH_SDK.find, GRAPH_SDK.install))
        steps.append(Step("time-skipping test server", tools.find_test_server, tools.install_test_server))
    if purpose == "bench":
        steps.append(Step("rclone", tools.find_rclone, tools.install_rclone))
        steps.append(Step("nginx with Lua", tools.find_nginx, tools.install_nginx))
    return steps


def prepare(purpose: str = "up", *, simulators: bool = False) -> None:
    """Run all steps for `up`, `test` or `bench`. Raises ToolError."""
    for step in _steps(purpose, simulators=simulators):
        _run(step)
    if purpose != "test":
        make_master_key(CHECKOUT / ".local" / "master.key")


def _run(step: Step) -> None:
    started = time.monotonic()
    found = step.find()
    if not found:
        print(f"  … {step.title}: installing, once for this machine", flush=True)
        finished = threading.Event()
        reminder = threading.Thread(target=_remind, args=(step.title, finished), daemon=True)
        reminder.start()
        try:
            found = step.install()
        finally:
            finished.set()
            reminder.join()
    print(f"  ✓ {step.title}  {time.monotonic() - started:.1f} s  {_short(found)}", flush=True)


def _remind(title: str, finished: threading.Event) -> None:
    started = time.monotonic()
    while not finished.wait(_REMIND_SECONDS):
        print(f"  … {title}: {time.monotonic() - started:.0f} s", flush=True)


def _short(path: Path | str) -> str:
    return str(path).replace(str(CHECKOUT) + os.sep, "").replace(str(Path.home()), "~")


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--for", dest="purpose", choices=("up", "test", "bench"), default="up")
    try:
        prepare(parser.parse_args().purpose)
    except tools.ToolError as error:
        print(f"  ✗ {error}\n    {error.hint}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
