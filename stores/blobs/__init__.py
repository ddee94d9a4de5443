"""Where the bytes are: content-addressed blobs in a local directory or in an S3 bucket. Contract in `base.py`."""

from __future__ import annotations

from pathlib import Path

from models.settings import Settings
from stores.blobs.base import BlobNotFound, BlobStat, BlobStore, BlobStoreError, BlobWriter
from stores.blobs.local import LocalBlobStore
from stores.blobs.purge import PurgeReport, purge_unreferenced
from stores.blobs.urls import sign, signing_key, verify

__all__ = [
    "BlobNotFound",
    "BlobStat",
    "BlobStore",
    "BlobStoreError",
    "BlobWriter",
    "PurgeReport",
    "open_blob_store",
    "purge_unreferenced",
    "sign",
    "signing_key",
    "verify",
]


def open_blob_store(settings: Settings) -> BlobStore:
    """The store that `TIDEMARK_BLOB_STORE` names: `s3://bucket/prefix`, or a directory. Needs no running loop.

    Raises BlobStoreError if a directory cannot be used, ValueError for another kind of address.
    """
    where = settings.blob_store
    if where.startswith("s3://"):
        # Only a process that uses S3 pays for boto3's start-up time and memory.
        from stores.blobs.s3 import S3BlobStore  # noqa: PLC0415

        return S3BlobStore.from_settings(settings)
    if "://" in where:
        raise ValueError(
            f"TIDEMARK_BLOB_STORE is a directory or s3://bucket/prefix, not {where.partition('://')[0]}://"
        )
    return LocalBlobStore(Path(where))
