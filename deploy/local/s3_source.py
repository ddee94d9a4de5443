"""A bucket of the stack's S3 server, read by the S3 or the Tigris provider."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import boto3
from botocore.config import Config

from deploy.local.client import Api, Json
from deploy.local.slow_link import SlowLink
from deploy.local.source import Scale, Source

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

__all__ = ["S3Source", "TigrisSource", "s3_config"]

_THREADS = 8


def s3_config(env: Mapping[str, str]) -> Json:
    """A connection's provider_config for the stack's S3 server."""
    return {
        "endpoint_url": env["S3_ENDPOINT_URL"],
        # versitygw checks the region that a request is signed for; Tigris itself says `auto`.
        "region": "us-east-1",
        "credentials": {
            "type": "access_key",
            "access_key_id": env["S3_ACCESS_KEY_ID"],
            "secret_access_key": env["S3_SECRET_ACCESS_KEY"],
        },
    }


class S3Source(Source):
    """A bucket of its own, made when it is not there yet."""

    provider = "s3"
    scale = Scale(files=4000, copies=1500, latency=0.02)
    where: ClassVar[str] = "the local S3 server"

    def __init__(self, name: str, env: Mapping[str, str]) -> None:
        super().__init__(name)
        self._env = env
        self._client: S3Client = boto3.client(
            "s3",
            endpoint_url=env["S3_ENDPOINT_URL"],
            aws_access_key_id=env["S3_ACCESS_KEY_ID"],
            aws_secret_access_key=env["S3_SECRET_ACCESS_KEY"],
            region_name="us-east-1",
            config=Config(
                s3={"addressing_style": "path"},
                max_pool_connections=_THREADS,
                request_checksum_calculation="when_required",
            ),
        )
        with contextlib.suppress(
            self._client.exceptions.BucketAlreadyOwnedByYou, self._client.exceptions.BucketAlreadyExists
        ):
            self._client.create_bucket(Bucket=name)

    @property
    def path(self) -> str:
        """See Source."""
        return self.name

    def config(self) -> Json:
        """See Source."""
        return s3_config(self._env)

    def key_of(self, details: Json) -> str:
        """See Source."""
        return str(details["source_id"]).removeprefix(f"{self.name}/")

    @contextlib.asynccontextmanager
    async def slowed(self, api: Api, connection_id: str) -> AsyncIterator[None]:
        """See Source."""
        port = int(self._env["S3_ENDPOINT_URL"].rpartition(":")[2])
        plain: dict[str, Any] = {**self.config(), "credentials": {"type": "access_key"}}  # the secret is kept
        path = f"/organizations/connections/{connection_id}"
        async with SlowLink(port, self.scale.latency) as link:
            await api.call("PATCH", path, {"provider_config": {**plain, "endpoint_url": link.endpoint}})
            try:
                yield
            finally:
                await api.call("PATCH", path, {"provider_config": plain})

    def read(self, key: str) -> bytes:
        """See Source."""
        return self._client.get_object(Bucket=self.name, Key=key)["Body"].read()

    def write(self, key: str, body: bytes) -> bytes:
        """See Source."""
        self._client.put_object(Bucket=self.name, Key=key, Body=body)
        return body

    def remove(self, key: str) -> None:
        """See Source."""
        self._client.delete_object(Bucket=self.name, Key=key)

    def close(self) -> None:
        """See Source."""
        self._client.close()


class TigrisSource(S3Source):
    """The same server, taken for Tigris."""

    provider = "tigris"
    where: ClassVar[str] = "the local S3 server, taken for Tigris"
