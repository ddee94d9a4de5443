"""Random interleavings of commands, outcomes, restarts and continue-as-new against what has to hold (`Episode`)."""

from __future__ import annotations

import asyncio
import os
import random
from datetime import timedelta
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment

from deploy.local.ports import Ports
from tests.workflow_model.books import Books
from tests.workflow_model.episode import COMMANDS, OUTCOMES, Episode
from tests.workflow_model.model import Model
from tests.workflow_model.rig import Rig, register
from tests.workflow_model.short import ShortSyncWorkflow, WatchedSyncWorkflow

EPISODES = 6

STEPS = st.one_of(
    st.tuples(st.just("answer"), st.integers(0, 5), st.just("")),
    st.tuples(st.just("answer"), st.integers(0, 5), st.sampled_from(("", *OUTCOMES))),
    st.tuples(st.just("command"), st.sampled_from(COMMANDS), st.booleans()),
    st.tuples(st.just("source"), st.integers(-60, 60), st.just("")),
    st.tuples(st.just("skip"), st.integers(1, 4_000), st.just("")),
    st.tuples(st.just("restart"), st.just(""), st.just("")),
)


def small() -> Model:
    return Model(Books(source=set(range(40)), chunk_size=5, window=3))


def move(books: Books, change: int) -> None:
    """New objects at the source, or the first ones gone."""
    top = max(books.source | books.stored, default=0)
    if change >= 0:
        books.source |= set(range(top + 1, top + 1 + change))
    else:
        books.source -= set(sorted(books.source)[:-change])


async def step(episode: Episode, kind: str, what: Any, how: Any) -> None:
    rig, model = episode.rig, episode.rig.model
    if kind == "command":
        await episode.command(what, signal=how)
    elif kind == "source":
        move(model.books, what)
    elif kind == "restart":
        await rig.restart_workers()
    elif kind == "answer":
        if model.waiting:
            model.waiting[what % len(model.waiting)].outcome = how
            await asyncio.sleep(0.05)
    elif not model.waiting:
        model.manual = False  # time stands still while an activity runs
        await rig.skip(what)
        model.manual = True
    await episode.settle()


async def stepwise(env: WorkflowEnvironment, steps: list[tuple[str, Any, Any]]) -> None:
    model = small()
    model.manual = True
    # Without a cache every workflow task replays the whole history; this server also loses what it sent to a worker
    # that has gone. Nor is it asked for the state: it loses queries, and cannot skip time after one that was lost.
    async with Rig(env, model, workflows=[WatchedSyncWorkflow], sandbox=False, cache=0) as rig:
        episode = Episode(rig)
        await rig.start()
        await rig.until_state(lambda s: s["loaded"])
        for kind, what, how in steps:
            await step(episode, kind, what, how)
        await episode.finish()
        # Ended properly: a terminated workflow can leave the server unable to skip time.
        await rig.update("delete")
        await rig.handle.result()


def test_step_by_step_with_time_skipped(test_server_path: str) -> None:
    loop = asyncio.new_event_loop()

    async def start() -> WorkflowEnvironment:
        env = await WorkflowEnvironment.start_time_skipping(
            test_server_existing_path=test_server_path, port=Ports.pick(metrics=0).temporal
        )
        await register(env.client)
        return env

    env = loop.run_until_complete(start())

    @settings(max_examples=12, deadline=None, print_blob=True, suppress_health_check=list(HealthCheck))
    @given(st.lists(STEPS, min_size=5, max_size=40))
    def run(steps: list[tuple[str, Any, Any]]) -> None:
        loop.run_until_complete(asyncio.wait_for(stepwise(env, steps), 60))

    try:
        run()
    finally:
        loop.run_until_complete(env.shutdown())
        loop.close()


async def at_once(client: Client, seed: int) -> None:
    """Everything at the same time, as fast as it comes."""
    chance = random.Random(seed)
    model = small()
    model.books.interval = 1
    model.choose = lambda _name: chance.choice(OUTCOMES) if chance.random() < 0.15 else ""
    async with Rig(client, model, workflows=[ShortSyncWorkflow], sandbox=False) as rig:
        rig.task_timeout = timedelta(seconds=1)  # a task that went down with its worker is noticed soon
        episode = Episode(rig)
        await rig.start()
        await rig.until_state(lambda s: s["loaded"])
        for _ in range(5):
            names = [
                name for name in chance.choices(COMMANDS, k=chance.randint(1, 4)) if name not in {"pause", "resume"}
            ]
            names += chance.choices(["", "pause", "resume"], k=1)
            await asyncio.gather(*(episode.command(name, signal=chance.random() < 0.3) for name in names if name))
            move(model.books, chance.randint(-30, 60))
            if chance.random() < 0.4:
                await rig.restart_workers()
            await asyncio.sleep(chance.random() / 3)
            await episode.settle()
        await episode.finish()


async def test_all_at_once_on_the_real_server(temporal_client: Client, hasty: None) -> None:
    first = int(os.environ.get("TIDEMARK_TEST_SEED") or random.SystemRandom().randrange(10**6))
    seeds = range(first, first + EPISODES)
    episodes = (asyncio.wait_for(at_once(temporal_client, seed), 100) for seed in seeds)  # before pytest's own limit
    ended = await asyncio.gather(*episodes, return_exceptions=True)
    failed = {seed: error for seed, error in zip(seeds, ended, strict=True) if error is not None}
    for seed, error in failed.items():
        raise AssertionError(f"TIDEMARK_TEST_SEED={seed}, of {list(failed)}: {error!r}") from error
