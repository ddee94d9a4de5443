"""Where source objects come from. `open_provider` is the only way to make a provider; README.md says how to add one."""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping
from typing import Any, Protocol

from providers.base import Provider
from providers.errors import Misconfigured
from providers.settings import ProviderSettings

__all__ = ["ProviderSettings", "open_provider", "provider_types"]


class _Factory(Protocol):
    def __call__(
        self, config: Mapping[str, Any], credentials: Mapping[str, Any], settings: ProviderSettings, /
    ) -> Provider: ...


# By name: a worker loads the client library of a provider (20 to 40 MB each) when its first connection is opened.
_REGISTRY = {
    "google_drive": "providers.google_drive:GoogleDriveProvider",
    "s3": "providers.s3:S3Provider",
    "sharepoint": "providers.sharepoint:SharePointProvider",
    "snowflake": "providers.snowflake:SnowflakeProvider",
    "tigris": "providers.tigris:TigrisProvider",
}


def open_provider(
    provider_type: str,
    provider_config: Mapping[str, Any],
    credentials: Mapping[str, Any],
    settings: ProviderSettings,
) -> Provider:
    """The provider of a connection. Opens nothing yet; close it when done. Raises Misconfigured."""
    name = _REGISTRY.get(provider_type)
    if name is None:
        raise Misconfigured(f"there is no provider {provider_type!r}", provider=provider_type)
    factory: _Factory = pkgutil.resolve_name(name)
    return factory(provider_config, credentials, settings)


def provider_types() -> list[str]:
    """The provider types that this version serves."""
    return sorted(_REGISTRY)
