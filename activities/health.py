"""Connection health: prove that credentials work, and keep the books of failures."""

from __future__ import annotations

from typing import Any

from temporalio import activity
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from activities.contracts import CommandArgs
from activities.engine import Engine
from activities.run_contracts import HealthResult
from models.settings import Settings
from providers import ProviderSettings, open_provider
from providers.base import CheckReport
from providers.errors import ProviderError

__all__ = ["HealthActivities", "check_connection"]


async def check_connection(
    provider_type: str,
    provider_config: dict[str, Any],
    credentials: dict[str, Any],
    settings: Settings,
    path: str | None = None,
) -> CheckReport:
    """Open the provider, check, close. Used by the API too, so a test says the same everywhere.

    Raises the errors of `providers.errors`.
    """
    provider = open_provider(provider_type, provider_config, credentials, ProviderSettings.from_settings(settings))
    try:
        return await provider.check(path)
    finally:
        await provider.close()


class HealthActivities:
    """The periodic check of a connection."""

    def __init__(self, engine: Engine, client: Client) -> None:
        self._engine = engine
        self._client = client

    @activity.defn(name="check_connection")
    async def check(self, connection_id: str) -> HealthResult:
        """One check. The fifth failure in a row makes the connection FAILED, a success after that ACTIVE again."""
        connection = await self._engine.configs.connection(connection_id)
        if connection is None or connection["status"] == "ARCHIVED":
            return HealthResult(gone=True)
        interval = self._engine.settings.health_check_seconds
        if connection["status"] == "SUSPENDED":
            return HealthResult(status="SUSPENDED", interval_seconds=interval)
        fault: str | None = None
        try:
            provider = await self._engine.provider(connection)
            await provider.check(None)
        except ProviderError as error:
            fault = str(error)
        after = await self._engine.configs.connection_used(connection_id, fault=fault) or connection
        status = str(after["status"])
        if fault is None and status == "FAILED":
            await self._engine.configs.set_connection_status(connection_id, expect=["FAILED"], status="ACTIVE")
            status = "ACTIVE"
            await self._wake(connection_id)
        elif fault is not None and after.get("consecutive_failures", 0) >= self._engine.settings.suspend_after_failures:
            await self._engine.configs.set_connection_status(connection_id, expect=["ACTIVE"], status="FAILED")
            status = "FAILED"
        return HealthResult(status=status, error=fault or "", interval_seconds=interval)

    async def _wake(self, connection_id: str) -> None:
        """Syncs that waited for the connection go on; one that a person paused stays paused."""
        for sync_config_id in await self._engine.configs.syncs_of_connection(connection_id):
            try:
                await self._client.get_workflow_handle(f"sync/{sync_config_id}").signal(
                    "reload", CommandArgs(by="connection")
                )
            except RPCError as error:
                if error.status is not RPCStatusCode.NOT_FOUND:
                    raise
