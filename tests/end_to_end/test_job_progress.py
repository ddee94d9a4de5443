"""A running job shows what its chunks have done; a finished one only its own counts."""

from __future__ import annotations

from models.scope import Scope
from models.settings import Settings
from stores.database import connect, ensure_indexes
from stores.jobs import JobStore
from stores.runs import RunStore

_OWN = {"internal_id": "int_1", "namespace_id": "ns_1"}


async def test_chunks_add_up_and_repeated_reports_count_once(settings: Settings) -> None:
    mongo, database = connect(settings)
    try:
        await ensure_indexes(database)
        runs, jobs = RunStore(database), JobStore(database)
        await runs.open_job("job_1", {"sync_config_id": "sync_1", **_OWN}, running={"status": "running"})
        for number in range(2):
            chunk = f"job_1:0:1:{number}"
            await runs.stage(chunk, run_id="job_1", sync_config_id="sync_1", kind="work", items=[])
            for stored in (10, 20):
                await runs.progress(chunk, {"stored": stored, "updated": 1, "failed": 1, "bytes": 100 * stored})
        job = await jobs.get(_scope(), "sync_1", "job_1")
        assert job is not None
        assert job["progress"] == {
            "stored": 40, "updated": 2, "skipped": 0, "failed": 2, "bytes": 4000, "objects": 42,
        }  # fmt: skip
        assert (job["files_synced"], job["files_failed"], job["phase"]) == (42, 2, "downloading")

        await runs.set_job("job_1", {"completed_at": job["created_at"], "files_synced": 7})
        job = await jobs.get(_scope(), "sync_1", "job_1")
        assert job is not None
        assert job["files_synced"] == 7
        assert "progress" not in job

        await runs.discard("job_1")
        assert await database["progress"].count_documents({}) == 0
    finally:
        await mongo.close()


def _scope() -> Scope:
    return Scope(internal_id="int_1", namespace_id="ns_1")
