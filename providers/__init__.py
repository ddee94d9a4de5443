"""Where source objects come from. `open_provider` is the only way to make a provider; README.md says how to add one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from providers.base import Provider
from providers.errors import Misconfigured
from providers.google_drive import GoogleDriveProvider
from providers.s3 import S3Provider
from providers.settings import ProviderSettings
from providers.sharepoint import SharePointProvider
from providers.snowflake import SnowflakeProvider
from providers.tigris import TigrisProvider

__all__ = ["ProviderSettings", "open_provider", "provider_types"]


class _Factory(Protocol):
    def __call__(
        self, config: Mapping[str, Any], credentials: Mapping[str, Any], settings: ProviderSettings, /
    ) -> Provider: ...


_REGISTRY: dict[str, _Factory] = {
    "google_drive": GoogleDriveProvider,
    "s3": S3Provider,
    "sharepoint": SharePointProvider,
    "snowflake": SnowflakeProvider,
    "tigris": TigrisProvider,
}


def open_provider(
    provider_type: str,
    provider_config: Mapping[str, Any],
    credentials: Mapping[str, Any],
    settings: ProviderSettings,
) -> Provider:
    """The provider of a connection. Opens nothing yet; close it when done. Raises Misconfigured."""
    factory = _REGISTRY.get(provider_type)
    if factory is None:
        raise Misconfigured(f"there is no provider {provider_type!r}", provider=provider_type)
    return factory(provider_config, credentials, settings)


def provider_types() -> list[str]:
    """The provider types that this version serves."""
    return sorted(_REGISTRY)
