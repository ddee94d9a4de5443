"""S3 and everything that speaks it: AWS, MinIO, Ceph, R2, Wasabi, versitygw and so on."""

from __future__ import annotations

from providers.s3.provider import S3Provider

__all__ = ["S3Provider"]
