"""Run the benchmark.

    python -m deploy.bench           all rows
    ROWS=first-small,poll-many ROUNDS=3 SCALE=1 python -m deploy.bench

A SCALE below 1 tries the benchmark itself; only a full one writes RESULTS.md. Exits non-zero if a
result is wrong or a ratio is not held.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from pathlib import Path

from deploy.bench.peers import settle_disk
from deploy.bench.report import Figure, Row, write
from deploy.bench.rows import ROWS, Bench
from deploy.bench.verify import WrongResultError
from deploy.local import setup
from deploy.local.client import ApiError
from deploy.local.paths import CHECKOUT
from deploy.local.tools import ToolError

_MEMORY = Path("/dev/shm")  # noqa: S108 - the source is served from memory where there is some


async def run(lab: Path, disk: Path, names: list[str], rounds: int, scale: float) -> list[Row | Figure]:
    """All rows by name."""
    results: list[Row | Figure] = []
    bench = Bench(lab, disk, rounds=rounds, scale=scale)
    try:
        for name in names:
            await settle_disk()
            results += await ROWS[name](bench)
    finally:
        await bench.close()
    return results


def main() -> int:
    """Command line."""
    names = os.environ.get("ROWS", ",".join(ROWS)).split(",")
    rounds, scale = int(os.environ.get("ROUNDS", "3")), float(os.environ.get("SCALE", "1"))
    try:
        unknown = [name for name in names if name not in ROWS]
        if unknown:
            raise ToolError(f"there is no row {', '.join(unknown)}", f"Rows are {', '.join(ROWS)}.")  # noqa: TRY301
        setup.prepare("bench")
        (CHECKOUT / ".local").mkdir(exist_ok=True)
        with (
            tempfile.TemporaryDirectory(dir=_MEMORY if _MEMORY.is_dir() else None, prefix="tidemark-bench-") as lab,
            tempfile.TemporaryDirectory(dir=CHECKOUT / ".local", prefix="bench-") as disk,
        ):
            results = asyncio.run(run(Path(lab), Path(disk), names, rounds, scale))
    except ToolError as error:
        print(f"  ✗ {error}\n    {error.hint}", file=sys.stderr)
        return 1
    except (ApiError, WrongResultError) as error:
        print(f"  ✗ {error}", file=sys.stderr)
        return 1
    print("\n" + write(results, rounds=rounds, scale=scale))
    return 0 if all(result.held for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
