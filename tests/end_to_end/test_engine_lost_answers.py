"""Beginning a run once more because the first answer was lost: what it had done is neither undone nor doubled."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from temporalio.testing import ActivityEnvironment

from activities.batches import BatchActivities
from activities.engine import Engine
from activities.run_contracts import BeginArgs, BeginResult
from activities.runs import RunActivities
from deploy.local.stack import Stack
from models.settings import Settings
from stores.blobs import open_blob_store
from stores.database import connect
from stores.vault import Vault
from tests.chaos.rig import Landing, World, bodies, settled


class Hand:
    """A worker's activities, called by hand on the stack's database."""

    def __init__(self, engine: Engine, world: World) -> None:
        self.engine = engine
        self._runs = RunActivities(engine, BatchActivities(engine, world.temporal))

    async def begin(self, landing: Landing, run_id: str, trigger: str = "scheduled") -> BeginResult:
        """`begin_run`, its answer lost unless used."""
        args = BeginArgs(sync_config_id=landing.sync.id, run_id=run_id, trigger=trigger)
        result: BeginResult = await ActivityEnvironment().run(self._runs.begin_run, args)
        return result

    async def job(self, run_id: str) -> dict[str, Any]:
        """The job on record."""
        job = await self.engine.runs.job(run_id)
        assert job is not None
        return job

    async def sync(self, landing: Landing) -> dict[str, Any]:
        """The sync config on record."""
        sync = await self.engine.configs.sync(landing.sync.id, deleted=True)
        assert sync is not None
        return sync


@pytest_asyncio.fixture(loop_scope="session")
async def hand(here: World, stack: Stack, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Hand]:
    for name, value in stack.environment.items():
        monkeypatch.setenv(name, value)
    settings = Settings()
    mongo, database = connect(settings)
    try:
        yield Hand(Engine(settings, database, await Vault.open(mongo, settings), open_blob_store(settings)), here)
    finally:
        await mongo.close()


async def test_a_run_that_had_ended_stays_ended(here: World, hand: Hand) -> None:
    source = here.fill(bodies(20))
    landing = await here.sync(source)
    settled(await landing.first(), stored=20)
    first = await hand.begin(landing, "job_lost_idle")
    assert first.finished is not None and first.finished.status == "completed"
    # The worker died before it could say so, and the source went on.
    here.s3.put(source, "later", b"one more")
    again = await hand.begin(landing, "job_lost_idle")
    assert again.finished is not None and again.finished.status == "completed"
    assert (again.run_no, again.finished.counts) == (first.run_no, first.finished.counts)
    job, sync = await hand.job("job_lost_idle"), await hand.sync(landing)
    assert (job["status"], job["phase"], job["files_verified"]) == ("completed", "idle", 20)
    assert "expire_at" in job, "a finished job does not stay for ever"
    assert (sync["locked"], sync["current_sync_run_id"]) == (False, None)
    settled(await landing.again(), stored=1, unchanged=20)
    assert await landing.recount() == 21


@pytest.mark.parametrize(("trigger", "status"), [("scheduled", "interrupted"), ("manual", "running")])
async def test_the_connection_went_away_between_two_tries(here: World, hand: Hand, trigger: str, status: str) -> None:
    source, run_id = here.fill(bodies(5)), f"job_lost_{trigger}"
    landing = await here.sync(source)
    settled(await landing.first(), stored=5)
    here.s3.put(source, "later", b"one more")
    first = await hand.begin(landing, run_id, trigger)
    assert first.listing.chunks and first.finished is None
    connections = hand.engine.database["connections"]
    await connections.update_one({"_id": landing.connection_id}, {"$set": {"status": "FAILED"}})
    blocked = await hand.begin(landing, run_id, trigger)
    assert "is FAILED" in blocked.blocked
    # A scheduled run is not kept, so its job must not stay open; one that was asked for begins later.
    assert (await hand.job(run_id))["status"] == status
    assert (await hand.sync(landing))["locked"] == (status == "running")
    await connections.update_one({"_id": landing.connection_id}, {"$set": {"status": "ACTIVE"}})
    settled(await landing.again(), stored=1, unchanged=5)
    assert await landing.recount() == 6


async def test_the_sync_was_deleted_between_two_tries(here: World, hand: Hand) -> None:
    source = here.fill(bodies(5))
    landing = await here.sync(source)
    settled(await landing.first(), stored=5)
    here.s3.put(source, "later", b"one more")
    assert (await hand.begin(landing, "job_lost_gone", "manual")).listing.chunks
    await here.api.call("DELETE", landing.path)
    assert (await hand.begin(landing, "job_lost_gone", "manual")).gone
    assert (await hand.job("job_lost_gone"))["status"] == "interrupted"
