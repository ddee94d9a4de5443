"""What a run left behind against what the source has: every key once, its size, and the SHA-256 of real bytes."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from deploy.bench.workloads import Entry
from deploy.local.client import Api

__all__ = ["WrongResultError", "folder_is", "tidemark_is"]


class WrongResultError(Exception):
    """A run was fast and wrong."""


def _compare(who: str, found: dict[str, tuple[int, str]], expected: Iterable[Entry]) -> None:
    want = {entry.key: (entry.size, entry.sha256) for entry in expected}
    if found != want:
        missing, extra = want.keys() - found.keys(), found.keys() - want.keys()
        different = [key for key in want.keys() & found.keys() if want[key] != found[key]]
        raise WrongResultError(
            f"{who}: {len(missing)} missing, {len(extra)} extra, {len(different)} different of {len(want)}"
            f" ({sorted(missing)[:2]} {sorted(extra)[:2]} {different[:2]})"
        )


def _hash(file: Path) -> tuple[int, str]:
    with file.open("rb") as content:
        return file.stat().st_size, hashlib.file_digest(content, "sha256").hexdigest()


def _digests(blobs: Path) -> dict[str, int]:
    return {digest: size for size, digest in (_hash(file) for file in blobs.rglob("*") if file.is_file())}


def folder_is(folder: Path, expected: Sequence[Entry]) -> None:
    """Raises WrongResultError unless the folder holds exactly these files."""
    files = (file for file in folder.rglob("*") if file.is_file())
    _compare("rclone", {file.relative_to(folder).as_posix(): _hash(file) for file in files}, expected)


async def tidemark_is(api: Api, bucket_id: str, source_bucket: str, blobs: Path, expected: Sequence[Entry]) -> None:
    """The bucket's objects by the API; their bytes by hashing the files of the blob store, wherever it puts them."""
    real = await asyncio.to_thread(_digests, blobs)
    found: dict[str, tuple[int, str]] = {}
    async for item in api.objects(bucket_id):
        key = str(item["source_details"][0]["source_id"]).removeprefix(f"{source_bucket}/")
        [blob] = item["blobs"]
        digest = str(blob["details"]["hash"]).removeprefix("sha256:")
        if key in found:
            raise WrongResultError(f"tidemark: {key} is there twice")
        found[key] = (real.get(digest, -1), digest)
    _compare("tidemark", found, expected)
