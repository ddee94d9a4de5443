"""schemathesis over the served document: every check, every phase, links followed, against the running stack."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import boto3
import pytest

from deploy.local.client import Api
from deploy.local.stack import Stack

FUZZ = Path(__file__).parents[1] / "fuzz"
SECONDS = 240


def _s3(env: dict[str, str]) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=env["S3_ENDPOINT_URL"],
        aws_access_key_id=env["S3_ACCESS_KEY_ID"],
        aws_secret_access_key=env["S3_SECRET_ACCESS_KEY"],
        region_name="us-east-1",
    )


async def _seed(env: dict[str, str], name: str) -> dict[str, Any]:
    """One of everything, for requests that would else find nothing."""
    s3 = _s3(env)
    s3.create_bucket(Bucket=name)
    s3.put_object(Bucket=name, Key="in/a.txt", Body=b"a")
    config = {
        "endpoint_url": env["S3_ENDPOINT_URL"], "use_ssl": False,
        "credentials": {
            "type": "access_key", "access_key_id": env["S3_ACCESS_KEY_ID"],
            "secret_access_key": env["S3_SECRET_ACCESS_KEY"],
        },
    }  # fmt: skip
    async with Api(env) as api:
        connection = await api.create_source(name)
        schema = {"properties": {"content": {"type": "text"}}}
        bucket = (await api.call("POST", "/buckets", {"bucket_name": name, "bucket_schema": schema}))["bucket_id"]
        made = await api.call("POST", f"/buckets/{bucket}/objects", {"season": "summer"})
        body = {"connection_id": connection, "source_path": f"{name}/in", "polling_interval_seconds": 86_400}
        sync = (await api.call("POST", f"/buckets/{bucket}/syncs", body))["sync_config_id"]
        async with asyncio.timeout(60):
            while not (jobs := (await api.call("POST", f"/buckets/{bucket}/syncs/{sync}/jobs"))["results"]):
                await asyncio.sleep(0.2)
        batch = await api.call("POST", f"/buckets/{bucket}/batches", {"object_ids": [made["object_id"]]})
        await api.call("POST", f"/buckets/{bucket}/batches/{batch['batch_id']}/submit")
    return {
        "bucket_id": bucket, "bucket_identifier": bucket, "connection_identifier": connection, "sync_config_id": sync,
        "sync_job_id": jobs[0]["sync_job_id"], "object_identifier": made["object_id"], "batch_id": batch["batch_id"],
        "task_id": f"batch/{batch['batch_id']}", "provider_config": config, "source_path": f"{name}/in",
    }  # fmt: skip


def _users(env: dict[str, str]) -> dict[str, Any]:
    """Two organizations that must not see each other's things."""
    return {
        "auth": [
            {
                "name": name,
                "fixedHeaders": [
                    {"name": "Authorization", "value": f"Bearer {env[f'TIDEMARK_API_KEY{suffix}']}"},
                    {"name": "X-Namespace", "value": env[f"TIDEMARK_NAMESPACE{suffix}"]},
                ],
            }
            for name, suffix in (("one", ""), ("two", "_2"))
        ]
    }


async def _tidy(env: dict[str, str]) -> None:
    """No sync made here goes on polling beside the tests that follow."""
    async with Api(env) as api:
        for bucket in (await api.call("POST", "/buckets/list", {"limit": 1000}))["results"]:
            path = f"/buckets/{bucket['bucket_id']}/syncs"
            for sync in (await api.call("POST", f"{path}/list", None, limit=1000))["results"]:
                await api.call("DELETE", f"{path}/{sync['sync_config_id']}")


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 60)
@pytest.mark.parametrize("phases", ["examples,coverage,fuzzing", "stateful"])
async def test_no_request_meets_a_fault_or_an_undeclared_reply(stack: Stack, tmp_path: Path, phases: str) -> None:
    env = dict(stack.env)
    seed = await _seed(env, f"fuzz-{phases.partition(',')[0]}")
    (tmp_path / "auth.json").write_text(json.dumps(_users(env)))
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).parent / "schemathesis"), "--no-color",
        "--config-file", str(FUZZ / "schemathesis.toml"), "run", f"{env['TIDEMARK_URL']}/openapi.json",
        "--phases", phases, "--warnings", "off",
        cwd=tmp_path,
        env={
            **os.environ, "SCHEMATHESIS_HOOKS": "tests.fuzz.hooks", "PYTHONPATH": str(FUZZ.parents[1]),
            "FUZZ_SEED": json.dumps(seed), "FUZZ_AUTH": str(tmp_path / "auth.json"),
        },
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        async with asyncio.timeout(SECONDS):
            output = (await process.communicate())[0].decode()
    finally:
        if process.returncode is None:
            process.kill()
        await _tidy(env)
    print(output)
    assert process.returncode == 0, output
    assert "48 selected / 48 total" in output
    if phases == "stateful":
        (covered,) = re.findall(r"API Links: +(\d+) covered / 45 selected", output)
        assert int(covered) >= 1, output
