"""Connection settings and credentials of each provider, as the contract has them.

Credentials live beside the config in the request only: they are split off, encrypted and never
answered again (`shown_config`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, ValidationError

from models.common import Request, StorageProvider

__all__ = ["CONFIGS", "ProviderConfig", "secret_fields", "shown_config", "split_credentials"]

Text = Annotated[str, Field(min_length=1)]


def _plain_endpoint(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("an endpoint starts with http:// or https:// and names a host")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("an endpoint has no user, password, query or fragment")
    return value.rstrip("/")


Endpoint = Annotated[str, AfterValidator(_plain_endpoint)]


class S3AccessKeyCredentials(Request):
    """A key pair, temporary ones with their session token."""

    type: Literal["access_key"] = "access_key"
    access_key_id: Annotated[str, Field(min_length=1, max_length=128)]
    secret_access_key: Text
    session_token: str | None = None


class S3RoleCredentials(Request):
    """A role that is assumed with an external id."""

    type: Literal["iam_role"] = "iam_role"
    role_arn: Annotated[str, Field(pattern=r"^arn:aws:iam::\d{12}:role\/[\w+=,.@-]+$")]
    external_id: Annotated[str, Field(min_length=8, max_length=128)]


class TigrisAccessKeyCredentials(Request):
    """A Tigris key pair."""

    type: Literal["access_key"] = "access_key"
    access_key_id: Text
    secret_access_key: Text


class GoogleDriveServiceAccountCredentials(Request):
    """A service account's key."""

    type: Literal["service_account"] = "service_account"
    project_id: str
    private_key_id: str
    private_key: str
    client_email: str
    client_id: str


class GoogleDriveOAuthCredentials(Request):
    """A user's grant."""

    type: Literal["oauth"] = "oauth"
    client_id: str
    client_secret: str
    refresh_token: str


class SharePointClientCredentials(Request):
    """An application's own rights."""

    type: Literal["client_credentials"] = "client_credentials"
    tenant_id: str
    client_id: str
    client_secret: str


class SharePointDelegatedCredentials(Request):
    """A user's grant to an application."""

    type: Literal["delegated"] = "delegated"
    tenant_id: str
    client_id: str
    client_secret: str
    refresh_token: str


class SnowflakeKeyPairCredentials(Request):
    """A user with a private key."""

    type: Literal["key_pair"] = "key_pair"
    username: str
    private_key: str
    private_key_passphrase: str | None = None


class SnowflakeUsernamePasswordCredentials(Request):
    """A user with a password."""

    type: Literal["username_password"] = "username_password"
    username: str
    password: str


class S3Config(Request):
    """Amazon S3, or a compatible store by `endpoint_url`."""

    provider_type: Literal["s3"] = "s3"
    credentials: Annotated[S3AccessKeyCredentials | S3RoleCredentials, Field(discriminator="type")]
    region: str | None = "us-east-1"
    endpoint_url: Endpoint | None = None
    use_ssl: bool | None = True
    verify_ssl: bool | None = True


class TigrisConfig(Request):
    """Tigris."""

    provider_type: Literal["tigris"] = "tigris"
    credentials: TigrisAccessKeyCredentials
    region: str | None = "auto"
    endpoint_url: Endpoint | None = "https://fly.storage.tigris.dev"


class GoogleDriveConfig(Request):
    """Google Drive."""

    provider_type: Literal["google_drive"] = "google_drive"
    credentials: Annotated[
        GoogleDriveServiceAccountCredentials | GoogleDriveOAuthCredentials, Field(discriminator="type")
    ]
    shared_drive_id: str | None = None
    impersonate_user: str | None = None


class SharePointConfig(Request):
    """SharePoint and OneDrive."""

    provider_type: Literal["sharepoint"] = "sharepoint"
    credentials: Annotated[SharePointClientCredentials | SharePointDelegatedCredentials, Field(discriminator="type")]
    site_id: str | None = None
    drive_id: str | None = None
    folder_path: str | None = None


class SnowflakeConfig(Request):
    """A Snowflake account."""

    provider_type: Literal["snowflake"] = "snowflake"
    credentials: Annotated[
        SnowflakeKeyPairCredentials | SnowflakeUsernamePasswordCredentials, Field(discriminator="type")
    ]
    account: str
    warehouse: str
    database: str | None = None
    schema_: Annotated[str | None, Field(alias="schema", serialization_alias="schema")] = None
    role: str | None = None
    incremental_column: str | None = None
    primary_key_columns: list[str] | None = None
    query_timeout_seconds: Annotated[int, Field(ge=30, le=3600)] | None = 300
    fetch_size: Annotated[int, Field(ge=100, le=10_000)] | None = 1000


ProviderConfig = S3Config | TigrisConfig | GoogleDriveConfig | SharePointConfig | SnowflakeConfig

CONFIGS: Mapping[StorageProvider, type[ProviderConfig]] = {
    "s3": S3Config,
    "tigris": TigrisConfig,
    "google_drive": GoogleDriveConfig,
    "sharepoint": SharePointConfig,
    "snowflake": SnowflakeConfig,
}


def split_credentials(config: ProviderConfig) -> tuple[dict[str, Any], dict[str, Any]]:
    """(config without credentials, credentials with their type), nulls replaced by defaults and dropped."""
    credentials = config.credentials.model_dump(exclude_none=True)
    settled = config.settled()
    settled.pop("credentials")
    if "schema_" in settled:
        settled["schema"] = settled.pop("schema_")
    return {name: value for name, value in settled.items() if value is not None}, credentials


def shown_config(document: Mapping[str, Any]) -> dict[str, Any]:
    """`provider_config` as answered: always with `provider_type`, credentials reduced to their type."""
    return {
        **document["provider_config"],
        "provider_type": document["provider_type"],
        "credentials": {"type": document["credentials_type"]},
    }


def secret_fields(error: ValidationError) -> list[dict[str, Any]]:
    """Validation problems without the values that caused them: those may be secrets."""
    return [dict(item) for item in error.errors(include_url=False, include_context=False, include_input=False)]
