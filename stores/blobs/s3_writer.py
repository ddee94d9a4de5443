"""The streaming writer of the S3 blob store: a multipart upload, copied to its name when that is known."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from stores.blobs.base import BlobStoreError
from stores.blobs.writing import BatchWriter, Run

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef

__all__ = ["S3Writer", "WriterHost"]

_PART = 8 << 20
_MAX_PARTS = 10_000
_AIM_PARTS = 9_000
"""Parts of an upload whose size is known: below the limit, for a body somewhat longer than announced."""


class WriterHost(Protocol):
    """What the writer needs of its store."""

    def put(self, pieces: Sequence[bytes]) -> str:
        """Put a whole body under its name."""

    def key(self, name: str, folder: str = "blobs") -> str:
        """The key of a blob."""

    def copy(self, source: str, target: str) -> None:
        """Copy inside the store."""


class S3Writer(BatchWriter[bytes]):
    """One batch makes one part: 8 MiB, more for bodies above 70 GB."""

    def __init__(self, store: WriterHost, client: S3Client, bucket: str, run: Run, expected_size: int | None) -> None:
        super().__init__(run)
        self._batch = max(_PART, -(-(expected_size or 0) // _AIM_PARTS))
        self._store = store
        self._client = client
        self._bucket = bucket
        self._key = ""
        self._upload = ""
        self._filled = 0
        self._tail = b""
        self._parts: list[CompletedPartTypeDef] = []

    async def write(self, chunk: bytes) -> None:
        """See BlobWriter."""
        self._pieces.append(chunk)
        self._filled += len(chunk)
        self.size += len(chunk)
        if self._filled > self._batch:
            self._filled = 0
            await self._flush()

    def put_whole(self, pieces: list[bytes]) -> str:
        """See BatchWriter."""
        return self._store.put(pieces)

    def write_out(self, pieces: list[bytes]) -> None:
        """See BatchWriter. Parts are of one size: some stores insist on it."""
        if not self._key:
            self._key = self._store.key(secrets.token_hex(16), "unfinished")
            self._upload = self._client.create_multipart_upload(Bucket=self._bucket, Key=self._key)["UploadId"]
        body = memoryview(b"".join([self._tail, *pieces]))
        while len(body) > self._batch:
            self._put_part(bytes(body[: self._batch]))
            body = body[self._batch :]
        self._tail = bytes(body)

    def _put_part(self, body: bytes) -> None:
        number = len(self._parts) + 1
        if number > _MAX_PARTS:
            raise BlobStoreError(f"a body of more than {_MAX_PARTS} parts of {self._batch} bytes: announce its size")
        answer = self._client.upload_part(
            Bucket=self._bucket, Key=self._key, UploadId=self._upload, PartNumber=number, Body=body
        )
        self._parts.append({"ETag": answer["ETag"], "PartNumber": number})

    def give_name(self, sha256: str) -> None:
        """See BatchWriter."""
        self._put_part(self._tail)
        self._client.complete_multipart_upload(
            Bucket=self._bucket, Key=self._key, UploadId=self._upload, MultipartUpload={"Parts": self._parts}
        )
        self._upload = ""
        self._store.copy(self._key, self._store.key(sha256))

    def take_back(self) -> None:
        """See BatchWriter."""
        if self._upload:
            self._client.abort_multipart_upload(Bucket=self._bucket, Key=self._key, UploadId=self._upload)
            self._upload = ""
        elif self._key:
            self._client.delete_object(Bucket=self._bucket, Key=self._key)
        self._key = ""
