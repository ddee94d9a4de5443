"""SharePoint passes the provider suite: a folder of a library, a whole library, every library of a site."""

from __future__ import annotations

from typing import Any

import pytest

from providers.base import Provider
from tests.contract.provider_suite import ProviderContract, Source
from tests.contract.sharepoint_rig import Rig


class SimulatedSource(Source):
    """A place in the simulator's library."""

    def __init__(self, rig: Rig, path: str, folder: str) -> None:
        self.rig = rig
        self.path = path
        self._folder = folder

    def open(self) -> Provider:
        return self.rig.provider()

    def put(self, name: str, body: bytes) -> None:
        self.rig.graph.tree.put(self.rig.library, f"{self._folder}{name}", body)

    def remove(self, name: str) -> None:
        self.rig.graph.tree.remove(self.rig.library, f"{self._folder}{name}")


class TestFolder(ProviderContract):
    @pytest.fixture(params=["paths", "no_paths"])
    def source(self, tenant: Rig, request: Any) -> Source:
        tenant.graph.faults.paths_in_delta = request.param == "paths"
        tenant.graph.tree.mkdir(tenant.library, "root dir")
        tenant.graph.tree.put(tenant.library, "root dir other/x", b"not ours")
        tenant.graph.tree.put(tenant.library, "y", b"not ours")
        return SimulatedSource(tenant, "/sites/Sales/Documents/root dir", "root dir/")


class TestLibrary(ProviderContract):
    @pytest.fixture
    def source(self, tenant: Rig) -> Source:
        return SimulatedSource(tenant, "/sites/Sales/Shared Documents", "")
