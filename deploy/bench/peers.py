"""The two that run side by side: rclone into a folder, Tidemark into a bucket, both on the same disk."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from temporalio.client import Client

from deploy.bench.verify import folder_is, tidemark_is
from deploy.bench.workloads import Entry
from deploy.local.client import Api, ApiError, Json, Sync
from deploy.local.screen import counts_of
from deploy.local.stack import Stack
from deploy.local.tools import ToolError, find_rclone

__all__ = ["Rclone", "Tidemark", "settle_disk"]

_POLL_SECONDS = 0.05
_NO_POLLING = 86_400
_SHORTEST_POLLING = 30


class Rclone:
    """One destination folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def sync(self, endpoint: str, workload: str, *, transfers: int = 16, fast_list: bool = True) -> float:
        """Run `rclone sync`; seconds."""
        rclone = find_rclone()
        if rclone is None:
            raise ToolError("there is no rclone", "Run `make bench`, which builds it.")
        options = f"provider=Other,access_key_id=x,secret_access_key=y,region=us-east-1,endpoint='{endpoint}'"
        argv = [
            *(
                str(rclone),
                "sync",
                f":s3,{options}:{workload}",
                str(self.folder),
                "--config",
                "",
                "--use-server-modtime",
            ),
            *("--transfers", str(transfers), "--checkers", str(transfers)),
            *("--s3-no-head-object", "--s3-no-check-bucket", *(["--fast-list"] if fast_list else [])),
        ]
        started = time.monotonic()
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        if done.returncode:
            raise ToolError(f"rclone failed: {done.stderr[-500:]}", "See its message.")
        return time.monotonic() - started

    def verify(self, expected: Sequence[Entry]) -> None:
        """Raises WrongResultError."""
        folder_is(self.folder, expected)

    def clear(self) -> None:
        """Forget everything."""
        shutil.rmtree(self.folder, ignore_errors=True)


class Tidemark:
    """One stack of its own, with one bucket and sync per workload."""

    def __init__(self, stack: Stack, api: Api) -> None:
        self.stack = stack
        self.api = api
        self.syncs: dict[str, tuple[Sync, str]] = {}

    async def first_sync(self, endpoint: str, workload: str) -> float:
        """Create a sync; seconds from that call to its job reading `completed`."""
        name = f"{workload}-{len(self.syncs)}"
        connection_id = await self.api.create_source(
            name,
            endpoint_url=endpoint,
            credentials={"type": "access_key", "access_key_id": "x", "secret_access_key": "y"},
        )
        bucket_id = await self.api.create_bucket(name, {"content": {"type": "text"}})
        started = time.monotonic()
        # No batches: the peer hands nothing on either.
        sync = await self.api.create_sync(
            bucket_id,
            connection_id,
            workload,
            polling_interval_seconds=_NO_POLLING,
            skip_batch_submission=True,
        )
        await self._completed(sync, await sync.newest_job())
        seconds = time.monotonic() - started
        self.syncs[workload] = (sync, bucket_id)
        return seconds

    async def poll(self, workload: str) -> tuple[float, Json]:
        """Trigger a full run; seconds to `completed`, and the job."""
        sync, _ = self.syncs[workload]
        started = time.monotonic()
        job = await self._completed(sync, await sync.trigger())
        return time.monotonic() - started, job

    async def verify(self, workload: str, expected: Sequence[Entry]) -> None:
        """Raises WrongResultError."""
        _, bucket_id = self.syncs[workload]
        await tidemark_is(self.api, bucket_id, workload, self.stack.home / "blobs", expected)

    async def events_of_a_timed_poll(self, workload: str) -> int:
        """History events that one poll adds which its timer began, and nobody asked for."""
        sync, _ = self.syncs[workload]
        client = await Client.connect(self.stack.env["TEMPORAL_ADDRESS"])
        lengths: list[tuple[str, int]] = []
        await sync.patch(polling_interval_seconds=_SHORTEST_POLLING)  # a run comes at once, then one by the timer
        known = await sync.newest_job()
        for _ in range(2):
            known = await _job_after(sync, known)
            await self._completed(sync, known)
            await asyncio.sleep(1)  # the workflow hears of it and sets its timer
            description = await client.get_workflow_handle(f"sync/{sync.id}").describe()
            lengths.append((description.run_id, description.history_length))
        await sync.patch(polling_interval_seconds=_NO_POLLING)
        (first_run, first), (run, last) = lengths
        return last - (first if run == first_run else 0)

    def worker_megabytes(self) -> float:
        """Largest resident set that any worker process has had so far."""
        workers = [name for name in self.stack.names if name.startswith("worker-")]
        return max(_peak_megabytes(self.stack.processes.pid(name) or 0) for name in workers)

    async def _completed(self, sync: Sync, job_id: str) -> Json:
        job = await sync.watch(job_id, seconds=1800, poll=_POLL_SECONDS)
        if job["status"] != "completed" or counts_of(job).get("failed"):
            raise ApiError(f"job {job_id} ended as {job['status']}: {job.get('error')} {counts_of(job)}")
        return job


async def _job_after(sync: Sync, known: str) -> str:
    while True:
        job_id = await sync.newest_job()
        if job_id != known:
            return job_id
        await asyncio.sleep(0.5)


def _peak_megabytes(pid: int) -> float:
    children = Path(f"/proc/{pid}/task/{pid}/children")
    pids = [pid, *map(int, children.read_text().split())] if children.exists() else []
    peaks = [
        int(line.split()[1]) / 1024
        for one in pids
        for line in Path(f"/proc/{one}/status").read_text().splitlines()
        if line.startswith("VmHWM")
    ]
    return max(peaks, default=0.0)


async def settle_disk() -> None:
    """Let the disk finish what the run before left, so that it is not paid for by the next."""
    await asyncio.to_thread(os.sync)
