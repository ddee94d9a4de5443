"""Fixtures that several provider tests share."""

from __future__ import annotations

from tests.contract.sharepoint_rig import graph_simulator, tenant
from tests.contract.test_sharepoint_end_to_end import scene

__all__ = ["graph_simulator", "scene", "tenant"]
