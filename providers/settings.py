"""What providers need to know of Tidemark's settings."""

from __future__ import annotations

from dataclasses import dataclass

from models.settings import Settings

__all__ = ["ProviderSettings"]


@dataclass(frozen=True, slots=True)
class ProviderSettings:
    """The operator's part of a provider's configuration; the rest comes with the connection."""

    allow_private_endpoints: bool = False
    sts_endpoint_url: str | None = None
    google_api_endpoint: str = "https://www.googleapis.com"
    google_token_uri: str = "https://oauth2.googleapis.com/token"  # noqa: S105 - an address
    graph_endpoint: str = "https://graph.microsoft.com/v1.0"
    microsoft_authority: str = "https://login.microsoftonline.com"
    snowflake_host: str | None = None
    """None: the account's own host."""
    snowflake_port: int = 443
    snowflake_protocol: str = "https"
    max_object_bytes: int = 5 * 1024**4
    user_agent: str = "tidemark/0.1"
    connect_timeout: float = 10.0
    """Seconds for one address: name look-up, connect and TLS handshake."""
    read_timeout: float = 60.0
    """Seconds without a single byte from the source."""

    @classmethod
    def from_settings(cls, settings: Settings) -> ProviderSettings:
        """The part of `settings` that providers see."""
        return cls(
            allow_private_endpoints=settings.allow_private_endpoints,
            sts_endpoint_url=settings.sts_endpoint_url,
            google_api_endpoint=settings.google_api_endpoint.rstrip("/"),
            google_token_uri=settings.google_token_uri,
            graph_endpoint=settings.graph_endpoint.rstrip("/"),
            microsoft_authority=settings.microsoft_authority.rstrip("/"),
            snowflake_host=settings.snowflake_host,
            snowflake_port=settings.snowflake_port,
            snowflake_protocol=settings.snowflake_protocol,
            max_object_bytes=settings.max_object_bytes,
        )
