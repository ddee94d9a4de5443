"""The memory provider passes the provider suite."""

from __future__ import annotations

import pytest

from providers.base import Provider
from providers.memory import MemoryFile, MemoryProvider
from tests.contract.provider_suite import ProviderContract, Source


class MemorySource(Source):
    path = "root/folder"

    def __init__(self) -> None:
        self.files = {"root/other.txt": MemoryFile(b"not ours")}

    def open(self) -> Provider:
        return MemoryProvider(self.files)

    def put(self, name: str, body: bytes) -> None:
        self.files[f"{self.path}/{name}"] = MemoryFile(body)

    def remove(self, name: str) -> None:
        del self.files[f"{self.path}/{name}"]


class TestMemory(ProviderContract):
    @pytest.fixture
    def source(self) -> Source:
        return MemorySource()
