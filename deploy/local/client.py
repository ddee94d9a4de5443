"""A small client of the HTTP API, for the demonstration and the benchmark."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from types import TracebackType
from typing import Any, Self

import aiohttp

__all__ = ["Api", "ApiError", "Json"]

Json = dict[str, Any]

_POLL_SECONDS = 0.2
_ENDED = {"completed", "failed", "interrupted", "skipped"}


class ApiError(Exception):
    """The API refused, or a job did not end well."""


class Api:
    """One organization's view. `env` is what stack.env says."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._url = env["TIDEMARK_URL"]
        self._env = env
        headers = {"Authorization": f"Bearer {env['TIDEMARK_API_KEY']}", "X-Namespace": env["TIDEMARK_NAMESPACE"]}
        self.session = aiohttp.ClientSession(headers=headers, timeout=aiohttp.ClientTimeout(total=60))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.session.close()

    async def call(self, method: str, path: str, body: Json | None = None, **query: str | int) -> Json:
        """One request under /v1; the decoded reply. Raises ApiError with the API's own message."""
        async with self.session.request(method, f"{self._url}/v1{path}", json=body, params=query) as reply:
            if reply.status == 204:
                return {}
            answer: Json = await reply.json()
            if reply.status != 200:
                message = answer.get("error", {}).get("message", answer)
                raise ApiError(f"{method} {path}: {reply.status} {message}")
            return answer

    async def create_source(self, name: str, **config: Any) -> str:
        """A connection to the stack's S3 server (or another: `config` wins); its id."""
        secret = {
            "type": "access_key",
            "access_key_id": self._env["S3_ACCESS_KEY_ID"],
            "secret_access_key": self._env["S3_SECRET_ACCESS_KEY"],
        }
        plain = {"region": "us-east-1", "endpoint_url": self._env["S3_ENDPOINT_URL"], "use_ssl": False}
        return await self.create_connection(name, "s3", {**plain, "credentials": secret, **config})

    async def create_connection(self, name: str, provider: str, config: Json) -> str:
        """A connection, tested before it is saved; its id."""
        body = {"name": name, "provider_type": provider, "provider_config": config}
        return str((await self.call("POST", "/organizations/connections", body))["connection_id"])

    async def create_bucket(self, name: str, properties: Json) -> str:
        """A bucket with these schema properties; its id."""
        body = {"bucket_name": name, "bucket_schema": {"properties": properties}}
        return str((await self.call("POST", "/buckets", body))["bucket_id"])

    async def create_sync(self, bucket_id: str, connection_id: str, source_path: str, **fields: Any) -> Sync:
        """A sync; it starts at once."""
        body = {"connection_id": connection_id, "source_path": source_path, **fields}
        made = await self.call("POST", f"/buckets/{bucket_id}/syncs", body)
        return Sync(self, bucket_id, str(made["sync_config_id"]))

    async def objects(self, bucket_id: str) -> AsyncIterator[Json]:
        """Every object of a bucket, with presigned URLs."""
        query: dict[str, str | int] = {"limit": 1000}
        while True:
            path = f"/buckets/{bucket_id}/objects/list"
            page = await self.call("POST", path, {"return_presigned_urls": True}, **query)
            for item in page["results"]:
                yield item
            cursor = page["pagination"].get("next_cursor")
            if not cursor:
                return
            query["cursor"] = cursor


class Sync:
    """One sync config."""

    def __init__(self, api: Api, bucket_id: str, sync_config_id: str) -> None:
        self.api = api
        self.id = sync_config_id
        self._bucket_id = bucket_id
        self._path = f"/buckets/{bucket_id}/syncs/{sync_config_id}"

    async def get(self) -> Json:
        """The sync config as the API shows it."""
        return await self.api.call("GET", self._path)

    async def delete(self) -> None:
        """Delete the sync config."""
        await self.api.call("DELETE", self._path)

    async def patch(self, **fields: Any) -> None:
        """Change fields of its configuration."""
        await self.api.call("PATCH", self._path, fields)

    async def trigger(self, *, full: bool = True) -> str:
        """Start a run, with a full pass unless told otherwise; its job id."""
        answer = await self.api.call("POST", f"{self._path}/trigger", full_sync="true" if full else "false")
        return str(answer["sync_job_id"])

    async def pause(self) -> None:
        """Pause it."""
        await self.api.call("POST", f"{self._path}/pause")

    async def resume(self) -> None:
        """Resume it."""
        await self.api.call("POST", f"{self._path}/resume")

    async def object_count(self) -> int:
        """How many objects it has in the bucket at this moment."""
        # A filter, because without one the answer is the bucket's own count, as of the last finished run.
        body = {"filters": {"AND": [{"field": "sync_config_id", "operator": "eq", "value": self.id}]}}
        path = f"/buckets/{self._bucket_id}/objects/list"
        page = await self.api.call("POST", path, body, limit=1, include_total="true")
        return int(page["pagination"]["total"])

    async def idle(self) -> None:
        """Wait until no run is under way."""
        await self.watch(await self.newest_job())

    async def job(self, job_id: str) -> Json:
        """One job."""
        return await self.api.call("GET", f"{self._path}/jobs/{job_id}")

    async def newest_job(self, *, seconds: float = 30) -> str:
        """The id of the newest job; waits for one if there is none yet."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            jobs = (await self.api.call("POST", f"{self._path}/jobs", {}, limit=1))["results"]
            if jobs:
                return str(jobs[0]["sync_job_id"])
            await asyncio.sleep(0.05)
        raise ApiError(
            f"sync {self.id} has started no run within {seconds:.0f} s: see its workflow and the workers' logs"
        )

    async def watch(
        self,
        job_id: str,
        each: Callable[[Json], Awaitable[bool | None]] | None = None,
        *,
        seconds: float = 300,
        poll: float = _POLL_SECONDS,
        resumed: bool = False,
    ) -> Json:
        """Wait until a job has ended; `each` sees every state on the way and may end the watch by returning True.

        `resumed`: the job was interrupted and goes on, so that `interrupted` is no end.
        """
        ended = _ENDED - {"interrupted"} if resumed else _ENDED
        deadline = time.monotonic() + seconds
        while True:
            job = await self.job(job_id)
            enough = await each(job) if each else False
            if enough or job["status"] in ended:
                return job
            if time.monotonic() > deadline:
                raise ApiError(f"job {job_id} is {job['status']} ({job.get('phase')}) after {seconds:.0f} s")
            await asyncio.sleep(poll)
