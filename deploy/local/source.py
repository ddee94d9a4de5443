"""A folder of real files put into an S3 bucket, changed there, and remembered as what must come out."""

from __future__ import annotations

import hashlib
import sysconfig
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

__all__ = ["Changes", "Source", "default_files", "folder_files"]

_DEFAULT_COUNT = 4000
_DEFAULT_MAX_BYTES = 512 * 1024
_THREADS = 8


def default_files() -> dict[str, Path]:
    """A few thousand files of the installed Python environment, by key: every n-th, the very large ones left out."""
    files = folder_files(Path(sysconfig.get_paths()["purelib"]))
    usable = {key: file for key, file in files.items() if file.stat().st_size <= _DEFAULT_MAX_BYTES}
    stride = max(1, len(usable) // _DEFAULT_COUNT)
    return dict(list(usable.items())[::stride][:_DEFAULT_COUNT])


def folder_files(folder: Path) -> dict[str, Path]:
    """Every regular file below a folder, by key."""
    files = (file for file in sorted(folder.rglob("*")) if file.suffix != ".pyc")
    return {file.relative_to(folder).as_posix(): file for file in files if file.is_file() and not file.is_symlink()}


@dataclass(frozen=True)
class Changes:
    """What one round of changes did, in objects."""

    added: int
    changed: int
    renamed: int
    deleted: int


class Source:
    """An S3 bucket and `truth`: key to (sha256, size) of what is in it now."""

    def __init__(self, env: Mapping[str, str], bucket: str) -> None:
        self.bucket = bucket
        self.truth: dict[str, tuple[str, int]] = {}
        self._client: S3Client = boto3.client(
            "s3",
            endpoint_url=env["S3_ENDPOINT_URL"],
            aws_access_key_id=env["S3_ACCESS_KEY_ID"],
            aws_secret_access_key=env["S3_SECRET_ACCESS_KEY"],
            region_name="us-east-1",
            config=Config(
                s3={"addressing_style": "path"},
                max_pool_connections=_THREADS,
                request_checksum_calculation="when_required",
            ),
        )
        self._client.create_bucket(Bucket=bucket)

    def put(self, key: str, body: bytes) -> int:
        """Put one object and remember it; returns its size."""
        self._client.put_object(Bucket=self.bucket, Key=key, Body=body)
        self.truth[key] = (hashlib.sha256(body).hexdigest(), len(body))
        return len(body)

    def put_files(self, files: Mapping[str, Path], each: Callable[[int], object] = lambda _size: None) -> None:
        """Put many files; `each` is told the size of every one."""
        with ThreadPoolExecutor(_THREADS) as threads:
            for size in threads.map(lambda item: self.put(item[0], item[1].read_bytes()), files.items()):
                each(size)

    def put_many(self, objects: Iterable[tuple[str, bytes]]) -> None:
        """Put many small objects."""
        with ThreadPoolExecutor(_THREADS) as threads:
            for _ in threads.map(lambda item: self.put(*item), objects):
                pass

    def delete(self, key: str) -> None:
        """Delete one object and forget it."""
        self._client.delete_object(Bucket=self.bucket, Key=key)
        del self.truth[key]

    def change(self, count: int) -> Changes:
        """Add, change (half of them at the same size), rename and delete about `count` objects each."""
        keys = sorted(self.truth)
        count = min(count, len(keys) // 5)
        stride = len(keys) // (4 * count) if count else 1
        picked = keys[::stride]
        changed, renamed, deleted = picked[:count], picked[count : 2 * count], picked[2 * count : 3 * count]
        self.put_many((f"added/{number:03}.txt", f"new file {number}\n".encode()) for number in range(count))
        self.put_many((key, self._different(key, grow=n % 2 == 0)) for n, key in enumerate(changed))
        for key in renamed:
            self.put(f"renamed/{key}", self._body(key))
            self.delete(key)
        for key in deleted:
            self.delete(key)
        return Changes(added=count, changed=len(changed), renamed=len(renamed), deleted=len(deleted))

    def close(self) -> None:
        """Release sockets."""
        self._client.close()

    def _body(self, key: str) -> bytes:
        return self._client.get_object(Bucket=self.bucket, Key=key)["Body"].read()

    def _different(self, key: str, *, grow: bool) -> bytes:
        body = self._body(key)
        if grow or not body:
            return body + b"\n# changed\n"
        return bytes([body[0] ^ 1]) + body[1:]
