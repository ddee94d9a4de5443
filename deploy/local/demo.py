"""The main job on real input, in a terminal: sync, change, pause and resume, kill a worker, recount.

    python -m deploy.local.demo          the installed Python environment's files
    SOURCE=folder python -m deploy.local.demo
    PROVIDER=google_drive python -m deploy.local.demo          or sharepoint, snowflake, tigris, s3

Exits non-zero if anything is not exactly as it should be.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from deploy.local import setup
from deploy.local.client import Api, ApiError, Json, Sync
from deploy.local.paths import CHECKOUT
from deploy.local.recount import recount
from deploy.local.s3_source import S3Source, TigrisSource
from deploy.local.screen import Screen, bytes_of, counts_of
from deploy.local.simulated_source import DriveSource, SharePointSource, SnowflakeSource
from deploy.local.source import Source, default_files, folder_files
from deploy.local.stack import Stack
from deploy.local.tools import ToolError

_CHANGES = 20
_COPY_BYTES = 64 * 1024
_PAUSED_SECONDS = 3
_TRIES = 3
_SLOW_CONCURRENCY = 3
_FAST_CONCURRENCY = 32

_IN_S3: dict[str, type[S3Source]] = {"s3": S3Source, "tigris": TigrisSource}
_SIMULATED: dict[str, type[DriveSource | SharePointSource | SnowflakeSource]] = {
    "google_drive": DriveSource,
    "sharepoint": SharePointSource,
    "snowflake": SnowflakeSource,
}


class Demo:
    """One performance. `wrong` collects what was not as it should be."""

    def __init__(self, screen: Screen, stack: Stack, api: Api, source: Source, files: Mapping[str, Path]) -> None:
        self.files = files
        self.screen = screen
        self.stack = stack
        self.api = api
        self.source = source
        self.connection_id = ""
        self.bucket_id = ""
        self.sync: Sync
        self.wrong: list[str] = []

    def expect(self, text: str, *, good: bool) -> None:
        """Say a fact, and remember it if it is wrong."""
        self.screen.fact(text, good=good)
        if not good:
            self.wrong.append(text)

    async def first_sync(self) -> None:
        """Create connection, bucket and sync; watch the first run."""
        source, name = self.source, self.source.name
        self.screen.chapter("First sync")
        self.connection_id = await self.api.create_connection(name, source.provider, source.config())
        self.bucket_id = await self.api.create_bucket(name, source.properties())
        self.sync = await self.api.create_sync(
            self.bucket_id,
            self.connection_id,
            source.path,
            polling_interval_seconds=300,
            schema_mapping=source.mapping(),
        )
        self.screen.note(f"connection {self.connection_id}, bucket {self.bucket_id}, sync {self.sync.id}")
        job = await self.watch(await self.sync.newest_job())
        self.counts(job, stored=len(self.source.truth), unchanged=0)

    async def changes(self) -> None:
        """Change the source and watch the next run do exactly that."""
        self.screen.chapter("Changes at the source")
        before = len(self.source.truth)
        made = await asyncio.to_thread(self.source.change, _CHANGES)
        self.screen.note(f"{made.added} added, {made.changed} changed, {made.renamed} renamed, {made.deleted} deleted")
        if self.source.follows_changes:
            job = await self.watch(await self.sync.trigger(full=False))
            self.counts(job, stored=made.added, updated=made.changed + made.renamed, removed=made.deleted)
            passed, asked = job["metadata"]["pass"], counts_of(job)["requests"]
            self.expect(f"by the change feed: {passed} pass, {asked} requests", good=passed == "incremental")
            return
        job = await self.watch(await self.sync.trigger())
        untouched = before - made.changed - made.renamed - made.deleted
        self.counts(
            job,
            stored=made.added + made.renamed,
            updated=made.changed,
            removed=made.deleted + made.renamed,
            unchanged=untouched,
        )

    async def interruptions(self) -> None:
        """Pause and kill, with a source slow enough to be in the middle of something."""
        async with self.source.slowed(self.api, self.connection_id):
            await self.sync.patch(sync_concurrency=_SLOW_CONCURRENCY)
            await asyncio.sleep(1)
            await self.sync.idle()  # a change of the configuration may have started a run
            await self.pause_and_resume()
            await self.kill_a_worker()
        await self.sync.patch(sync_concurrency=_FAST_CONCURRENCY)
        await asyncio.sleep(1)
        await self.sync.idle()

    async def pause_and_resume(self) -> None:
        """Pause in the middle of a run, see that it stands still, resume, see it end."""
        self.screen.chapter("Pause in the middle of a run, and resume")
        self.screen.note(
            f"from here on the source is {self.source.scale.latency * 1000:.0f} ms away:"
            " slow enough to be in the middle of something"
        )
        job_id = await self.run_and_interrupt("paused", self.pause)
        if not job_id:
            return
        at_pause = await self.settled()
        self.screen.note(
            f"{at_pause:,} of {len(self.source.truth):,} objects are there, the job reads {await self.status(job_id)}"
        )
        await asyncio.sleep(_PAUSED_SECONDS)
        later = await self.stored()
        self.expect(f"{_PAUSED_SECONDS} s later still {later:,}", good=later == at_pause < len(self.source.truth))
        await self.sync.resume()
        self.screen.note("resumed")
        job = await self.watch(job_id, resumed=True)
        self.expect(f"the same job reads {job['status']}, nothing failed", good=counts_of(job).get("failed") == 0)

    async def kill_a_worker(self) -> None:
        """Kill a worker with SIGKILL in the middle of a run, start it again, see the run end."""
        self.screen.chapter("Kill a worker in the middle of a run")
        job_id = await self.run_and_interrupt("killed", self.kill)
        if not job_id:
            return
        pid = await asyncio.to_thread(self.stack.start, "worker-1")
        self.screen.note(f"worker-1 started again, pid {pid}; the run goes on")
        job = await self.watch(job_id)
        self.expect(f"the run {job['status']}, nothing failed", good=counts_of(job).get("failed") == 0)

    async def pause(self) -> None:
        """Pause the sync."""
        started = time.monotonic()
        await self.sync.pause()
        self.screen.note(f"pause answered after {time.monotonic() - started:.2f} s")

    async def kill(self) -> None:
        """Kill worker-1."""
        self.screen.note(f"kill -9 {self.stack.processes.pid('worker-1')} (worker-1)")
        self.stack.kill("worker-1", signal.SIGKILL)

    async def run_and_interrupt(self, prefix: str, interrupt: Callable[[], Awaitable[None]]) -> str | None:
        """Add files, start a run, interrupt it once it is well under way; its job id, None if it never was."""
        for attempt in range(1, _TRIES + 1):
            copies = await asyncio.to_thread(self.copies, f"{prefix}/{attempt}", self.source.scale.copies * attempt)
            self.screen.note(f"{copies:,} files added")
            before = await self.stored()
            job_id = await self.sync.trigger(full=self.source.provider in _IN_S3)

            async def under_way(_job: Json, copies: int = copies, before: int = before) -> bool:
                stored = await self.stored() - before
                if copies * 0.05 < stored < copies * 0.8:
                    self.screen.note(f"{stored:,} of them stored")
                    await interrupt()
                    return True
                return False

            job = await self.sync.watch(job_id, under_way, poll=0.02)
            if job["status"] not in {"completed", "failed"}:
                return job_id
            self.screen.note("that run ended before it could be interrupted; once more, with more files")
        self.expect(f"a run of {self.source.scale.copies * _TRIES} files could be interrupted", good=False)
        return None

    def copies(self, prefix: str, count: int) -> int:
        """Put altered copies of the source's files under a prefix; how many."""
        originals = sorted(self.files)
        picked = [(f"{number}-{originals[number % len(originals)]}", number) for number in range(count)]
        self.source.put_many(
            (f"{prefix}/{name}", self.altered(originals[number % len(originals)], f"{prefix}/{number}"))
            for name, number in picked
        )
        return count

    def altered(self, key: str, mark: str) -> bytes:
        """The beginning of a source file with a line before it that makes it unique."""
        with self.files[key].open("rb") as file:
            return f"# copy {mark}\n".encode() + file.read(_COPY_BYTES)

    async def watch(self, job_id: str, *, resumed: bool = False) -> Json:
        """Show a run until it ends."""
        with self.screen.progress("queued", len(self.source.truth)) as line:

            async def each(job: Json) -> None:
                line.step(await self.stored(), size=bytes_of(job), phase=str(job.get("phase") or job["status"]))

            job = await self.sync.watch(job_id, each, resumed=resumed)
        if job["status"] != "completed":
            raise ApiError(f"job {job_id} ended as {job['status']}: {job.get('error')}")
        return job

    async def stored(self) -> int:
        """How many objects are in the bucket."""
        return await self.sync.object_count()

    async def settled(self) -> int:
        """How many objects are in the bucket once two looks, a second apart, agree."""
        before, now = -1, await self.stored()
        while now != before:
            await asyncio.sleep(1)
            before, now = now, await self.stored()
        return now

    async def status(self, job_id: str) -> str:
        """What a job reads."""
        return str((await self.sync.job(job_id))["status"])

    def counts(self, job: Json, **expected: int) -> None:
        """Compare the job's own counts with what was done at the source."""
        counts = counts_of(job)
        expected = {"failed": 0, **expected}
        said = ", ".join(f"{counts.get(name, 0):,} {name}" for name in expected if counts.get(name) or expected[name])
        wrong = {name: number for name, number in expected.items() if counts.get(name, 0) != number}
        self.expect(f"{said}" + (f" (expected {wrong})" if wrong else ""), good=not wrong)

    async def recount(self) -> None:
        """List, fetch, hash and compare everything."""
        self.screen.chapter("Recount: every source file once, with the right bytes")
        done = 0
        with self.screen.progress("recount", len(self.source.truth)) as line:

            def each() -> None:
                nonlocal done
                done += 1
                line.step(done)

            found = await recount(self.api, self.bucket_id, self.source.key_of, self.source.truth, each)
        for kind, keys in found.wrong.items():
            self.expect(f"{len(keys)} {kind}: {', '.join(keys[:3])} …", good=False)
        if not found.wrong:
            total = len(self.source.truth)
            self.expect(
                f"{total:,} source files, {found.objects:,} objects, {found.bytes / 1e6:.1f} MB, all equal", good=True
            )

    def addresses(self) -> None:
        """Say where to look."""
        env = self.stack.env
        workflow = quote(f"sync/{self.sync.id}", safe="")
        auth = '-H "Authorization: Bearer $TIDEMARK_API_KEY" -H "X-Namespace: $TIDEMARK_NAMESPACE"'
        path = f"/v1/buckets/{self.bucket_id}/syncs/{self.sync.id}"
        describe = f"workflow describe --address {env['TEMPORAL_ADDRESS']} -w sync/{self.sync.id}"
        self.screen.chapter("Where to look")
        for what, where in {
            "Temporal UI": f"{env['TEMPORAL_UI_URL']}/namespaces/default/workflows/{workflow}",
            "API": f". .local/stack.env; curl {auth} $TIDEMARK_URL{path}",
            "CLI": f"{env['TEMPORAL_CLI']} {describe}",
            "files": "keys in .local/stack.env, logs in .local/log/",
            "end": "make down",
        }.items():
            self.screen.console.print(f"  {what:<12} {where}", soft_wrap=True, markup=False)


def open_source(provider: str, stack: Stack, name: str) -> Source:
    """A new source of a provider's kind."""
    if provider in _IN_S3:
        return _IN_S3[provider](name, stack.env)
    return _SIMULATED[provider](name, stack.env, stack.simulators)


async def perform(screen: Screen, stack: Stack, provider: str, files: Mapping[str, Path]) -> list[str]:
    """Everything after set-up; what was wrong."""
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    source = open_source(provider, stack, f"demo-{stamp}")
    size = sum(file.stat().st_size for file in files.values())
    screen.chapter(f"Source: {len(files):,} files, {size / 1e6:.1f} MB, into {source.path} of {source.where}")
    with screen.progress("uploading", len(files)) as line:
        done = moved = 0

        def each(put: int) -> None:
            nonlocal done, moved
            done, moved = done + 1, moved + put
            line.step(done, size=moved)

        await asyncio.to_thread(source.put_files, files, each)
    async with Api(stack.env) as api:
        demo = Demo(screen, stack, api, source, files)
        await demo.first_sync()
        await demo.changes()
        await demo.interruptions()
        await demo.recount()
        demo.addresses()
    source.close()
    return demo.wrong


def main() -> int:
    """Command line."""
    screen = Screen()
    provider, folder = os.environ.get("PROVIDER") or "s3", os.environ.get("SOURCE")
    scales = {name: kind.scale for name, kind in _IN_S3.items()}
    scales |= {name: kind.scale for name, kind in _SIMULATED.items()}
    try:
        if provider not in scales:
            raise ToolError(f"PROVIDER={provider} is not known", f"Use one of {', '.join(sorted(scales))}.")  # noqa: TRY301
        screen.chapter("Set-up")
        simulators = provider in _SIMULATED
        setup.prepare("up", simulators=simulators)
        stack = Stack(CHECKOUT, simulators=simulators, say=screen.console.print)
        stack.up()
        files = folder_files(Path(folder)) if folder else default_files(scales[provider].files)
        if not files:
            raise ToolError(f"there is no file in {folder}", "Name another folder with SOURCE=….")  # noqa: TRY301
        screen.started = time.monotonic()
        wrong = asyncio.run(perform(screen, stack, provider, files))
    except ToolError as error:
        screen.fact(f"{error}\n    {error.hint}", good=False)
        return 1
    except ApiError as error:
        screen.fact(f"{error}\n    The logs are in .local/log/; `make demo` starts over with a new bucket.", good=False)
        return 1
    screen.chapter(f"{len(wrong)} things were not as they should be" if wrong else "All as it should be")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
