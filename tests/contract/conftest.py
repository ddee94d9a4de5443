"""Fixtures that several provider tests share."""

from __future__ import annotations

from tests.contract.sharepoint_rig import graph_simulator, tenant

__all__ = ["graph_simulator", "tenant"]
