"""Every setting of Tidemark, with its default and meaning: environment variables named `TIDEMARK_*`.

The README's table is checked against this module in both directions.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

__all__ = ["Settings"]

_RATE_CLASSES = {"metadata", "data", "search", "upload", "compute"}


def read_rate_limits(text: str) -> dict[str, int]:
    """From `data=6000 compute=600` to numbers by class; `off` is none. Raises ValueError."""
    limits: dict[str, int] = {}
    for part in [] if text.strip().lower() == "off" else text.replace(",", " ").split():
        name, _, number = part.partition("=")
        if name not in _RATE_CLASSES or not number.isdecimal() or int(number) < 1:
            raise ValueError(f"{part!r} is not one of {', '.join(sorted(_RATE_CLASSES))}, '=' and a number above 0")
        limits[name] = int(number)
    return limits


class Settings(BaseSettings):
    """Read once by `worker.py` and `starter.py`, handed down, never read inside a workflow."""

    model_config = SettingsConfigDict(env_prefix="TIDEMARK_", extra="ignore", frozen=True)

    # --- where things are
    mongodb_uri: Annotated[SecretStr, Field(description="MongoDB replica set address")] = SecretStr(
        "mongodb://127.0.0.1:27017/?replicaSet=rs0"
    )
    mongodb_database: Annotated[str, Field(description="database name")] = "tidemark"
    blob_store: Annotated[str, Field(description="where blobs are kept: a directory, or `s3://bucket/prefix`")] = (
        ".local/blobs"
    )
    blob_s3_endpoint_url: Annotated[
        str | None, Field(description="endpoint of an S3-compatible blob store; none: AWS")
    ] = None
    blob_s3_region: Annotated[str, Field(description="region of the blob store")] = "us-east-1"
    blob_s3_access_key_id: Annotated[
        str | None, Field(description="access key of the blob store; none: the AWS default chain")
    ] = None
    blob_s3_secret_access_key: Annotated[SecretStr | None, Field(description="its secret key")] = None
    blob_purge_grace_seconds: Annotated[
        int, Field(ge=0, description="how long a blob must have had no reference before it is purged")
    ] = 86_400

    # --- secrets
    kms_provider: Annotated[Literal["local", "aws"], Field(description="key management for credentials at rest")] = (
        "local"
    )
    kms_local_key_file: Annotated[Path, Field(description="96-byte local master key; made by set-up, `local` only")] = (
        Path(".local/master.key")
    )
    kms_aws_key_arn: Annotated[str | None, Field(description="customer master key, `aws` only")] = None
    kms_aws_region: Annotated[str | None, Field(description="region of that key, `aws` only")] = None
    url_signing_key: Annotated[
        SecretStr | None,
        Field(description="key that signs blob URLs; none: derived from the local master key"),
    ] = None

    # --- the HTTP API
    api_host: Annotated[str, Field(description="address the API listens on")] = "127.0.0.1"
    api_port: Annotated[int, Field(ge=1, le=65535, description="port the API listens on")] = 8080
    api_public_url: Annotated[
        str | None, Field(description="address put into presigned URLs; none: http://host:port")
    ] = None
    api_request_timeout_seconds: Annotated[
        float, Field(gt=0, description="how long the API waits for a workflow's answer")
    ] = 20.0
    api_max_body_bytes: Annotated[int, Field(ge=1024, description="largest request body")] = 4 * 1024 * 1024
    api_fetch_max_bytes: Annotated[
        int, Field(ge=1, description="largest content fetched from a URL that an object is created with")
    ] = 64 * 1024 * 1024
    api_rate_limits: Annotated[
        str, Field(description="requests a key may make a minute, by class of operation; `off`: as many as it likes")
    ] = "metadata=6000 data=6000 search=6000 upload=3000 compute=600"
    draft_keep_seconds: Annotated[
        int, Field(ge=1, description="how long a batch may stay a draft before it is removed")
    ] = 1800
    presigned_url_seconds: Annotated[int, Field(ge=1, description="life of a presigned blob URL")] = 3600
    allow_private_endpoints: Annotated[
        bool, Field(description="allow private and loopback `endpoint_url`s (link-local and metadata never)")
    ] = False

    # --- workers
    task_queue: Annotated[str, Field(description="prefix of the task queues `-workflows`, `-control`, `-ingest`")] = (
        "tidemark"
    )
    worker_processes: Annotated[int, Field(ge=0, description="worker processes; 0: one per core")] = 0
    worker_ingest_slots: Annotated[int, Field(ge=1, le=64, description="chunks one process ingests at a time")] = 2
    worker_control_slots: Annotated[
        int, Field(ge=1, le=200, description="listing and control activities one process runs at a time")
    ] = 16
    worker_memory_budget_bytes: Annotated[
        int, Field(ge=16 * 1024 * 1024, description="bytes in flight one process may hold while it ingests")
    ] = 32 * 1024 * 1024
    shutdown_grace_seconds: Annotated[
        float, Field(gt=0, description="how long running chunks may take to hand back on SIGTERM")
    ] = 8.0
    sync_concurrency: Annotated[
        int, Field(ge=1, le=100, description="objects fetched at once per chunk when a sync does not say")
    ] = 32
    sync_window: Annotated[int, Field(ge=1, le=32, description="chunks of one sync in flight at a time")] = 4
    list_segments: Annotated[
        int, Field(ge=1, le=32, description="key ranges listed at once when a source answers slowly")
    ] = 16
    metrics_port: Annotated[
        int, Field(ge=0, le=65535, description="first Prometheus port (one per process); 0: off")
    ] = 0

    # --- safety
    delete_gate_objects: Annotated[
        int, Field(ge=0, description="removals a full pass may always do without approval")
    ] = 25
    delete_gate_percent: Annotated[
        float, Field(ge=0, le=100, description="share of the owned objects it may remove without approval")
    ] = 10.0
    full_pass_seconds: Annotated[
        int, Field(ge=60, description="longest time a sync with a change feed goes without a full pass")
    ] = 86_400
    max_object_bytes: Annotated[int, Field(ge=1, description="largest source object; larger ones are dead letters")] = (
        5 * 1024**4
    )
    suspend_after_failures: Annotated[
        int, Field(ge=1, description="consecutive failing runs after which a sync is suspended")
    ] = 5
    health_check_seconds: Annotated[int, Field(ge=30, description="pause between connection checks")] = 900
    dead_letter_heal_seconds: Annotated[
        int, Field(ge=1, description="shortest time between healing attempts of a quarantined object")
    ] = 86_400
    dead_letter_keep_seconds: Annotated[
        int, Field(ge=1, description="how long a quarantined object is kept before it is disposed of")
    ] = 7 * 86_400
    job_keep_seconds: Annotated[int, Field(ge=3600, description="how long finished jobs are kept")] = 90 * 86_400

    # --- processing of batches
    processing: Annotated[
        Literal["builtin", "workflow", "webhook"],
        Field(description="who processes a batch: nobody (marked complete), a workflow, or a webhook"),
    ] = "builtin"
    processing_task_queue: Annotated[
        str | None, Field(description="task queue on which `ProcessBatch` is started, `workflow` only")
    ] = None
    processing_webhook_url: Annotated[str | None, Field(description="where batches are posted, `webhook` only")] = None
    processing_webhook_secret: Annotated[
        SecretStr | None, Field(description="HMAC-SHA256 key of the webhook signature")
    ] = None

    # --- logging
    log_level: Annotated[
        Literal["DEBUG", "INFO", "WARNING", "ERROR"], Field(description="least severe level that is logged")
    ] = "INFO"
    log_format: Annotated[Literal["json", "console"], Field(description="shape of log lines")] = "json"

    # --- providers' endpoints
    sts_endpoint_url: Annotated[
        str | None, Field(description="STS endpoint for iam_role connections; none: the region's own")
    ] = None
    google_api_endpoint: Annotated[str, Field(description="where the Google Drive API answers")] = (
        "https://www.googleapis.com"
    )
    google_token_uri: Annotated[str, Field(description="where Google gives access tokens")] = (
        "https://oauth2.googleapis.com/token"  # noqa: S105 - an address
    )
    graph_endpoint: Annotated[str, Field(description="where Microsoft Graph answers, with its version")] = (
        "https://graph.microsoft.com/v1.0"
    )
    microsoft_authority: Annotated[str, Field(description="where Microsoft gives access tokens; https only")] = (
        "https://login.microsoftonline.com"
    )
    snowflake_host: Annotated[
        str | None, Field(description="host that answers for every Snowflake account; none: the account's own")
    ] = None
    snowflake_port: Annotated[int, Field(ge=1, le=65535, description="port of Snowflake")] = 443
    snowflake_protocol: Annotated[Literal["https", "http"], Field(description="protocol of Snowflake")] = "https"

    @field_validator("api_rate_limits")
    @classmethod
    def _readable(cls, value: str) -> str:
        read_rate_limits(value)
        return value

    @cached_property
    def rate_limits(self) -> dict[str, int]:
        """`api_rate_limits` by class; a class that is not named is not limited."""
        return read_rate_limits(self.api_rate_limits)

    @cached_property
    def workflow_queue(self) -> str:
        """Task queue of workflows."""
        return f"{self.task_queue}-workflows"

    @cached_property
    def control_queue(self) -> str:
        """Task queue of listing and control activities."""
        return f"{self.task_queue}-control"

    @cached_property
    def ingest_queue(self) -> str:
        """Task queue of ingestion."""
        return f"{self.task_queue}-ingest"

    @cached_property
    def public_url(self) -> str:
        """Address of the API as clients see it, without a trailing slash."""
        return (self.api_public_url or f"http://{self.api_host}:{self.api_port}").rstrip("/")
