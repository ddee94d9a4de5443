"""What the tests of blob stores share."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections import Counter

from pydantic import SecretStr

from models.settings import Settings
from stores.blobs import BlobStore
from tests.s3_server import S3Server

MIB = 1 << 20


def sha(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


async def put(store: BlobStore, *bodies: bytes) -> list[str]:
    return await asyncio.to_thread(store.put_many_small, bodies)


async def read(store: BlobStore, name: str, *bounds: int | None) -> bytes:
    pieces = [piece async for piece in store.open(name, *bounds)]  # type: ignore[arg-type]
    assert all(len(piece) <= MIB for piece in pieces)
    return b"".join(pieces)


async def names(store: BlobStore, *, discarded: bool = False) -> Counter[str]:
    return Counter([blob.sha256 async for blob in store.iterate(discarded=discarded)])


def some_bytes(length: int, seed: int = 0) -> bytes:
    return random.Random(f"{seed}:{length}").randbytes(length)


def s3_settings(server: S3Server, place: str, secret: str | None = None) -> Settings:
    return Settings(
        blob_store=f"s3://{place}",
        blob_s3_endpoint_url=server.endpoint_url,
        blob_s3_access_key_id=server.access_key_id,
        blob_s3_secret_access_key=SecretStr(secret or server.secret_access_key),
    )
