"""The rows of the benchmark: what is done, in which order, and what has to be held."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from deploy.bench.peers import Rclone, Tidemark, settle_disk
from deploy.bench.report import Figure, Row
from deploy.bench.server import SourceServer
from deploy.bench.workloads import Entry, Lab
from deploy.local.client import Api
from deploy.local.ports import Ports
from deploy.local.stack import Stack

__all__ = ["ROWS", "Bench"]

_WORKLOADS = ("small", "large", "many")


class Bench:
    """The lab, its server, and the two peers; what a row needs is made when it is first asked for."""

    def __init__(self, lab: Path, disk: Path, *, rounds: int, scale: float) -> None:
        self.rounds = rounds
        self.lab = Lab(lab, scale)
        self.truth: dict[str, list[Entry]] = {}
        self._disk = disk
        ports = Ports.pick(metrics=8)
        self.server = SourceServer(
            lab, disk / "nginx", fast=ports.metrics + 6, slow=ports.metrics + 7, workloads=_WORKLOADS
        )
        self._stack_ports = ports
        self._tidemark: Tidemark | None = None
        self._rclone: dict[str, Rclone] = {}
        self._serving = False

    def say(self, text: str) -> None:
        """A line on what is going on."""
        print(f"  {text}", flush=True)

    async def prepare(self, workload: str) -> list[Entry]:
        """The workload, made and served."""
        if workload not in self.truth:
            self.say(f"· making {workload}")
            self.truth[workload] = await asyncio.to_thread(self.lab.make, workload)
            if self._serving:
                await asyncio.to_thread(self.server.reload)
            else:
                await asyncio.to_thread(self.server.start)
                self._serving = True
        return self.truth[workload]

    def rclone(self, name: str) -> Rclone:
        """The peer's destination of that name."""
        return self._rclone.setdefault(name, Rclone(self._disk / "rclone" / name))

    async def tidemark(self, *, fresh: bool = False) -> Tidemark:
        """The running stack; `fresh` begins with an empty one, because blobs that are known are not written again."""
        if self._tidemark and fresh:
            await self._end()
        if self._tidemark is None:
            stack = Stack(self._disk / "stack", ports=self._stack_ports, workers=2)
            env = await asyncio.to_thread(stack.up)
            self._tidemark = Tidemark(stack, Api(env))
        return self._tidemark

    async def mutate(self, workload: str, seed: int) -> list[Entry]:
        """Change the source and serve the change."""
        self.truth[workload] = await asyncio.to_thread(self.lab.mutate, workload, seed)
        await asyncio.to_thread(self.server.reload)
        return self.truth[workload]

    async def _end(self) -> None:
        if self._tidemark:
            await self._tidemark.api.session.close()
            await asyncio.to_thread(self._tidemark.stack.down, wipe=True)
            self._tidemark = None

    async def close(self) -> None:
        """End everything."""
        await self._end()
        await asyncio.to_thread(self.server.stop)


async def _in_turn(
    bench: Bench, number: int, row: Row, peer: Callable[[], Awaitable[float]], ours: Callable[[], Awaitable[float]]
) -> None:
    """One round; who begins alternates, because whoever runs second finds a warmer machine."""
    turns = [(row.peer, peer), (row.ours, ours)]
    for seconds, run in turns if number % 2 == 0 else reversed(turns):
        await settle_disk()
        seconds.append(await run())
    bench.say(f"· {row.title}: round {number + 1}: rclone {row.peer[-1]:.2f} s, tidemark {row.ours[-1]:.2f} s")


async def _first(bench: Bench, workload: str, title: str, hold: float, *, slow: bool = False) -> list[Row | Figure]:
    truth, row = await bench.prepare(workload), Row(title, hold)
    endpoint = bench.server.slow if slow else bench.server.fast
    rclone = bench.rclone(workload)
    for number in range(bench.rounds):
        await asyncio.to_thread(rclone.clear)
        tidemark = await bench.tidemark(fresh=True)
        await _in_turn(
            bench,
            number,
            row,
            lambda: asyncio.to_thread(rclone.sync, endpoint, workload, transfers=64 if slow else 16),
            lambda tidemark=tidemark: tidemark.first_sync(endpoint, workload),  # type: ignore[misc]
        )
        await asyncio.to_thread(rclone.verify, truth)
        await tidemark.verify(workload, truth)
    return [row]


async def _both_have(bench: Bench, workload: str, endpoint: str) -> Tidemark:
    """Both peers hold the workload as it is now (not timed)."""
    truth = await bench.prepare(workload)
    tidemark = await bench.tidemark()
    await asyncio.to_thread(bench.rclone(workload).sync, bench.server.fast, workload)
    if workload in tidemark.syncs:
        await tidemark.poll(workload)
    else:
        await tidemark.first_sync(endpoint, workload)
    await tidemark.verify(workload, truth)
    return tidemark


async def _poll(bench: Bench, workload: str, title: str, hold: float, *, slow: bool = False) -> list[Row | Figure]:
    await bench.prepare(workload)
    endpoint = bench.server.slow if slow else bench.server.fast
    if slow:
        await bench.tidemark(fresh=True)  # a sync of the slow endpoint
    tidemark, row = await _both_have(bench, workload, endpoint), Row(title, hold)

    async def peer() -> float:
        rclone = bench.rclone(workload)
        if not slow:
            return await asyncio.to_thread(rclone.sync, endpoint, workload)
        with_list = await asyncio.to_thread(rclone.sync, endpoint, workload, transfers=64)
        without = await asyncio.to_thread(rclone.sync, endpoint, workload, transfers=64, fast_list=False)
        return min(with_list, without)

    async def ours() -> float:
        return (await tidemark.poll(workload))[0]

    for number in range(bench.rounds):
        await _in_turn(bench, number, row, peer, ours)
    await tidemark.verify(workload, bench.truth[workload])
    return [row]


async def first_small(bench: Bench) -> list[Row | Figure]:
    """20,000 × 4 KiB."""
    return await _first(bench, "small", "first sync 20,000 × 4 KiB", 1.0)


async def first_large(bench: Bench) -> list[Row | Figure]:
    """500 × 4 MiB."""
    return await _first(bench, "large", "first sync 500 × 4 MiB", 1.0)


async def poll_small(bench: Bench) -> list[Row | Figure]:
    """Nothing changed, 20,000 objects; and what that poll costs in history events."""
    rows = await _poll(bench, "small", "poll without change, 20,000 objects", 0.5)
    events = await (await bench.tidemark()).events_of_a_timed_poll("small")
    return [*rows, Figure("events of an idle poll", events, 17, "")]


async def poll_many(bench: Bench) -> list[Row | Figure]:
    """Nothing changed, 100,000 objects; and the workers' memory after a first sync and polls of them."""
    rows = await _poll(bench, "many", "poll without change, 100,000 objects", 0.45)
    megabytes = (await bench.tidemark()).worker_megabytes()
    return [*rows, Figure("memory of a worker process, 100,000 objects", megabytes, 150, "MB")]


async def changes(bench: Bench) -> list[Row | Figure]:
    """100 new, 50 changed at the same size, 50 deleted in 20,000."""
    tidemark = await _both_have(bench, "small", bench.server.fast)
    row = Row("100 new, 50 changed at the same size, 50 deleted in 20,000", 1.0)
    rclone = bench.rclone("small")

    async def ours() -> float:
        return (await tidemark.poll("small"))[0]

    for number in range(bench.rounds):
        truth = await bench.mutate("small", number)
        await _in_turn(bench, number, row, lambda: asyncio.to_thread(rclone.sync, bench.server.fast, "small"), ours)
        await asyncio.to_thread(rclone.verify, truth)
        await tidemark.verify("small", truth)
    return [row]


async def first_slow(bench: Bench) -> list[Row | Figure]:
    """20,000 × 4 KiB at a source that takes 30 ms a GET and 100 ms a LIST."""
    title = "first sync 20,000 × 4 KiB, 30 ms a GET, 100 ms a LIST"
    return await _first(bench, "small", title, 0.9, slow=True)


async def poll_slow(bench: Bench) -> list[Row | Figure]:
    """100,000 objects at that source, against the better of rclone's two ways to list."""
    title = "poll 100,000 at that source (rclone: the better of with and without --fast-list)"
    return await _poll(bench, "many", title, 1.0, slow=True)


ROWS: dict[str, Callable[[Bench], Awaitable[list[Row | Figure]]]] = {
    "first-small": first_small,
    "poll-small": poll_small,
    "changes": changes,
    "poll-many": poll_many,
    "first-large": first_large,
    "first-slow": first_slow,
    "poll-slow": poll_slow,
}
