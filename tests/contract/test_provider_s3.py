"""The S3 provider passes the provider suite on moto, versitygw (which checks signatures) and the fault server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from providers import ProviderSettings, open_provider
from providers.base import Provider
from tests.contract.provider_suite import ProviderContract, Source
from tests.s3_server import S3Server
from tests.simulators.s3_faults import FaultyS3

KEYS = {"type": "access_key", "access_key_id": "any", "secret_access_key": "thing"}
PRIVATE = ProviderSettings(allow_private_endpoints=True)


class ServerSource(Source):
    """A bucket of a real server."""

    def __init__(self, server: S3Server) -> None:
        self.server = server
        self.bucket = server.make_bucket("contract")
        self.path = f"{self.bucket}/root"
        server.put(self.bucket, **{"root-other/x": b"not ours", "other": b"not ours"})

    def open(self) -> Provider:
        keys = {"access_key_id": self.server.access_key_id, "secret_access_key": self.server.secret_access_key}
        return open_provider("s3", {"endpoint_url": self.server.endpoint_url}, keys, PRIVATE)

    def put(self, name: str, body: bytes) -> None:
        self.server.put(self.bucket, **{f"root/{name}": body})

    def remove(self, name: str) -> None:
        self.server.client.delete_object(Bucket=self.bucket, Key=f"root/{name}")


class SimulatedSource(Source):
    """A bucket of the fault server."""

    path = "bucket/root"

    def __init__(self, server: FaultyS3, provider_type: str = "s3") -> None:
        self.server = server
        self.provider_type = provider_type
        server.put("bucket", "root-other/x", b"not ours")

    def open(self) -> Provider:
        return open_provider(self.provider_type, {"endpoint_url": self.server.url}, KEYS, PRIVATE)

    def put(self, name: str, body: bytes) -> None:
        self.server.put("bucket", f"root/{name}", body)

    def remove(self, name: str) -> None:
        del self.server.buckets["bucket"][f"root/{name}"]


class TestServers(ProviderContract):
    @pytest.fixture
    def source(self, s3_server: S3Server) -> Source:
        return ServerSource(s3_server)


class TestSimulator(ProviderContract):
    @pytest.fixture(params=["plain", "tigris", "utf16", "directory"])
    def source(self, request: Any) -> Iterator[Source]:
        with FaultyS3.running() as server:
            source = SimulatedSource(server, "tigris" if request.param == "tigris" else "s3")
            if request.param == "utf16":
                server.faults.order = "utf16"
            if request.param == "directory":
                server.faults.directory_bucket = True
                server.buckets["bucket--use1-az5--x-s3"] = server.buckets["bucket"]
                source.path = "bucket--use1-az5--x-s3/root"
            yield source
