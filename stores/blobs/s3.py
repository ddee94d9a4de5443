"""Blobs in an S3 bucket: `blobs/<sha256>`, `trash/<sha256>`, `unfinished/<random>` under a prefix. For production.

What S3 acknowledges is durable, so `sync` has nothing to do; what it shows is whole, so a name that is taken
holds the blob, and putting it again only makes it young again. Do not turn versioning on for this bucket: it would keep
every repetition and everything purged.

Small bodies go by obstore, larger ones as multipart uploads under a name of their own, and are copied inside the
store once their hash is known: a copy costs S3 requests but no bytes of ours. The clients repeat a failed request
twice at once (a pooled connection that has gone stale is no trouble); anything longer is the caller's.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any, TypeVar

import boto3
import obstore
from boto3.exceptions import Boto3Error
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from obstore.auth.boto3 import Boto3CredentialProvider
from obstore.exceptions import BaseError
from obstore.store import S3Store

from models.settings import Settings
from stores.blobs.base import READ_BLOCK, BlobNotFound, BlobStat, BlobStore, BlobStoreError, checked_name
from stores.blobs.s3_writer import S3Writer

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

__all__ = ["S3BlobStore"]

T = TypeVar("T")

_PUTS_AT_ONCE = 16
_READ = 4 * READ_BLOCK
"""Bytes asked for in one request: enough to hide its latency, and one reader's memory."""
_ERRORS = (BaseError, BotoCoreError, ClientError, Boto3Error, OSError)
_COPY = TransferConfig(multipart_threshold=1 << 30, multipart_chunksize=256 << 20, max_concurrency=4)


class S3BlobStore(BlobStore):
    """Asks the bucket nothing until it is used. Made by `from_settings`."""

    def __init__(self, store: S3Store, client: S3Client, bucket: str, prefix: str) -> None:
        self._store = store
        self._client = client
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        self._threads = ThreadPoolExecutor(_PUTS_AT_ONCE, thread_name_prefix="blobs")

    @classmethod
    def from_settings(cls, settings: Settings) -> S3BlobStore:
        """The store of `TIDEMARK_BLOB_STORE` and `TIDEMARK_BLOB_S3_*`. Raises ValueError when no bucket is named."""
        bucket, _, prefix = settings.blob_store.removeprefix("s3://").partition("/")
        if not bucket:
            raise ValueError("TIDEMARK_BLOB_STORE names no bucket: s3://bucket/prefix")
        endpoint, region = settings.blob_s3_endpoint_url, settings.blob_s3_region
        secret = settings.blob_s3_secret_access_key
        session = boto3.Session(
            aws_access_key_id=settings.blob_s3_access_key_id,
            aws_secret_access_key=secret.get_secret_value() if secret else None,
            region_name=region,
        )
        client = session.client(
            "s3",
            endpoint_url=endpoint,
            config=Config(
                s3={"addressing_style": "path" if endpoint else "virtual"},
                retries={"mode": "standard", "total_max_attempts": 3},
                connect_timeout=5,
                read_timeout=60,
                max_pool_connections=_PUTS_AT_ONCE,
                # Other checksums than S3 itself needs are refused by many compatible stores.
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )
        store = S3Store(
            bucket,
            region=region,
            virtual_hosted_style_request=endpoint is None,
            config={"endpoint": endpoint} if endpoint else {},
            credential_provider=Boto3CredentialProvider(session),
            client_options={
                "allow_http": (endpoint or "").startswith("http://"),
                "connect_timeout": "5s",
                "timeout": "60s",
            },
            retry_config={
                "max_retries": 2,
                "retry_timeout": timedelta(seconds=15),
                "backoff": {"init_backoff": timedelta(milliseconds=50), "max_backoff": timedelta(seconds=1), "base": 2},
            },
        )
        return cls(store, client, bucket, prefix.strip("/"))

    def put_many_small(self, bodies: Sequence[bytes]) -> list[str]:
        """See BlobStore. Sixteen at a time."""
        names = [sha256(body).hexdigest() for body in bodies]
        once = dict(zip(names, bodies, strict=True))
        try:
            list(self._threads.map(self._put, once, once.values()))
        except _ERRORS as error:
            raise _translated(error) from None
        return names

    def _put(self, name: str, body: bytes) -> None:
        obstore.put(self._store, self.key(name), body, use_multipart=False)

    def put(self, pieces: Sequence[bytes]) -> str:
        """Put one body; blocks. For the writer."""
        body = b"".join(pieces)
        name = sha256(body).hexdigest()
        self._put(name, body)
        return name

    def writer(self, expected_size: int | None = None) -> S3Writer:
        """See BlobStore. Without `expected_size`, or far above it, a body may have 80 GB at most."""
        return S3Writer(self, self._client, self._bucket, self.run, expected_size)

    async def sync(self) -> None:
        """See BlobStore: an acknowledged put is durable."""

    async def open(self, sha256: str, offset: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        """See BlobStore."""
        size = await self.size(sha256)
        end = size if length is None else min(size, offset + length)
        while offset < end:
            stop = min(end, offset + _READ)
            block = await self._either(sha256, obstore.get_range, start=offset, end=stop)
            offset = stop
            with memoryview(block) as view:
                for start in range(0, len(view), READ_BLOCK):
                    yield bytes(view[start : start + READ_BLOCK])

    async def size(self, sha256: str) -> int:
        """See BlobStore."""
        meta = await self._either(checked_name(sha256), obstore.head)
        return int(meta["size"])

    async def _either(self, sha256: str, function: Callable[..., T], **arguments: Any) -> T:
        """Of the blob, or of the discarded one."""
        for key in (self.key(sha256), self.key(sha256, "trash")):
            try:
                return await self.run(lambda key=key: function(self._store, key, **arguments))
            except FileNotFoundError:
                continue
        raise BlobNotFound(sha256)

    async def iterate(self, *, discarded: bool = False) -> AsyncIterator[BlobStat]:
        """See BlobStore."""
        try:
            async for rows in self._store.list(self.key("", "trash" if discarded else "blobs"), chunk_size=1000):
                now = datetime.now(UTC)
                for row in rows:
                    name = row["path"].rpartition("/")[2]
                    yield BlobStat(name, row["size"], (now - row["last_modified"]).total_seconds())
        except _ERRORS as error:
            raise _translated(error) from None

    async def discard(self, sha256: str) -> None:
        """See BlobStore. There is a moment in which it is in both places, and none in which it is in neither."""
        await self._move(self.key(checked_name(sha256)), self.key(sha256, "trash"))

    async def restore(self, sha256: str) -> None:
        """See BlobStore."""
        await self._move(self.key(checked_name(sha256), "trash"), self.key(sha256))

    async def erase(self, sha256: str) -> None:
        """See BlobStore."""
        await self.run(self._delete, self.key(checked_name(sha256), "trash"))

    async def _move(self, source: str, target: str) -> None:
        def move() -> None:
            try:
                self.copy(source, target)
            except ClientError as error:
                if _code(error) in ("404", "NoSuchKey"):
                    return
                raise
            self._delete(source)

        await self.run(move)

    async def clean(self, older_than_seconds: float = 86_400) -> int:
        """See BlobStore: unfinished uploads, and finished ones that did not get their name."""

        def remove() -> int:
            before = datetime.now(UTC) - timedelta(seconds=older_than_seconds)
            prefix = self.key("", "unfinished")
            removed = 0
            for uploads in self._client.get_paginator("list_multipart_uploads").paginate(
                Bucket=self._bucket, Prefix=prefix
            ):
                for upload in uploads.get("Uploads", ()):
                    # Some compatible stores list uploads beyond the prefix.
                    if upload["Initiated"] < before and upload["Key"].startswith(prefix):
                        self._client.abort_multipart_upload(
                            Bucket=self._bucket, Key=upload["Key"], UploadId=upload["UploadId"]
                        )
                        removed += 1
            for rows in self._store.list(prefix, chunk_size=1000):
                for row in rows:
                    if row["last_modified"] < before:
                        self._delete(row["path"])
                        removed += 1
            return removed

        return await self.run(remove)

    async def close(self) -> None:
        """See BlobStore."""
        await asyncio.to_thread(self._threads.shutdown)
        self._client.close()

    def key(self, name: str, folder: str = "blobs") -> str:
        """The key of a blob (or of something else in a folder of ours)."""
        return f"{self._prefix}{folder}/{name}"

    def copy(self, source: str, target: str) -> None:
        """Copy inside the store, in parts above 1 GiB; blocks."""
        self._client.copy({"Bucket": self._bucket, "Key": source}, self._bucket, target, Config=_COPY)

    def _delete(self, key: str) -> None:
        """One at a time: a DELETE has no body, and so no checksum that an older store might not know."""
        self._client.delete_object(Bucket=self._bucket, Key=key)

    async def run(self, function: Callable[..., T], *arguments: Any) -> T:
        """Run a blocking call in this store's threads, with its errors translated; FileNotFoundError stays."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)
        except FileNotFoundError:
            raise
        except _ERRORS as error:
            raise _translated(error) from None


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _translated(error: Exception) -> BlobStoreError:
    """Kind and code only: answers of S3 repeat keys and signed strings."""
    found = re.search(r"<Code>(\w{1,64})</Code>", str(error))
    code = _code(error) if isinstance(error, ClientError) else found[1] if found else ""
    return BlobStoreError(f"blob bucket: {type(error).__name__}{f' [{code}]' if code else ''}")
