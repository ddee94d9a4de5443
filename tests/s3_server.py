"""An S3 server of the test session, with a boto3 client to fill it."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Self

import boto3
from botocore.config import Config

from deploy.local.services import S3_ACCESS_KEY_ID, S3_SECRET_ACCESS_KEY

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

__all__ = ["S3Server"]


class S3Server:
    """Where it is, how to sign in, and `client` (boto3) to put objects there. `kind`: `moto` or `versitygw`."""

    access_key_id = S3_ACCESS_KEY_ID
    region = "us-east-1"

    def __init__(self, kind: str, port: int, secret_access_key: str = S3_SECRET_ACCESS_KEY) -> None:
        self.secret_access_key = secret_access_key
        self.kind = kind
        self.port = port
        self.endpoint_url = f"http://127.0.0.1:{port}"
        self.client: S3Client = boto3.client(
            "s3",
            endpoint_url=self.endpoint_url,
            aws_access_key_id=self.access_key_id,
            aws_secret_access_key=self.secret_access_key,
            region_name=self.region,
            config=Config(s3={"addressing_style": "path"}, retries={"mode": "standard"}),
        )

    def make_bucket(self, prefix: str = "test") -> str:
        """A new, empty bucket; its name."""
        name = f"{prefix}-{uuid.uuid4().hex[:10]}"
        self.client.create_bucket(Bucket=name)
        return name

    def put(self, bucket: str, **objects: bytes) -> None:
        """Put objects by key; keys that are no identifiers: `put(bucket, **{"a/b": b"…"})`."""
        for key, body in objects.items():
            self.client.put_object(Bucket=bucket, Key=key, Body=body)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.client.close()
