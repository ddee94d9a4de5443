"""What only the S3 blob store has to promise."""

from __future__ import annotations

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from models.settings import Settings
from stores.blobs import BlobNotFound, BlobStoreError, open_blob_store
from stores.blobs.s3 import S3BlobStore
from tests.contract.blobs import MIB, names, put, read, s3_settings, sha, some_bytes
from tests.s3_server import S3Server
from tests.simulators.s3_old_clone import OldClone


async def test_errors_of_s3_are_translated_and_carry_no_secret(versitygw_s3: S3Server) -> None:
    store = open_blob_store(s3_settings(versitygw_s3, versitygw_s3.make_bucket("blobs"), "wrong-planted-secret"))
    for attempt in (
        lambda: put(store, b"a"),
        lambda: store.size(sha(b"a")),
        lambda: names(store),
        store.clean,
        lambda: store.discard(sha(b"a")),
    ):
        with pytest.raises(BlobStoreError, match="blob bucket") as caught:
            await attempt()
        assert not isinstance(caught.value, BlobNotFound)
        for secret in ("wrong-planted-secret", versitygw_s3.access_key_id, "Signature="):
            assert secret not in str(caught.value)
    await store.close()


async def test_parts_of_an_upload_grow_with_the_body(moto_s3: S3Server) -> None:
    store = open_blob_store(s3_settings(moto_s3, "any"))
    assert isinstance(store, S3BlobStore)
    assert store.writer(None)._batch == store.writer(1 << 30)._batch == 8 * MIB
    for size in (100 << 30, 5 << 40):
        assert -(-size // store.writer(size)._batch) <= 10_000
    await store.close()


async def test_s37_an_older_clone_takes_every_write_and_delete(moto_s3: S3Server) -> None:
    with OldClone.before(moto_s3.endpoint_url) as clone:
        settings = s3_settings(moto_s3, moto_s3.make_bucket("blobs"))
        store = open_blob_store(settings.model_copy(update={"blob_s3_endpoint_url": clone.url}))
        small, large = b"small", some_bytes(9 * MIB)
        await put(store, small)
        async with store.writer(len(large)) as writer:
            await writer.write(large)
            await writer.finish()
        assert await read(store, sha(large)) == large
        await store.discard(sha(small))
        await store.erase(sha(small))
        await store.clean(older_than_seconds=-60)
        assert await names(store) == {sha(large): 1}
        await store.close()
        assert {method for method, _ in clone.seen} >= {"PUT", "POST", "GET", "DELETE"}
        assert clone.refused == []
        with pytest.raises(ClientError, match="NotImplemented"):  # what it is about: a young client by default
            boto3.client(
                "s3",
                endpoint_url=clone.url,
                region_name="us-east-1",
                aws_access_key_id="any",
                aws_secret_access_key="thing",
                config=Config(request_checksum_calculation="when_supported"),
            ).put_object(Bucket="any", Key="k", Body=b"x")


@pytest.mark.parametrize("address", ["s3://", "s3:///prefix", "gs://bucket", "file:///tmp/x"])
def test_addresses_that_are_no_store(address: str) -> None:
    with pytest.raises(ValueError, match="TIDEMARK_BLOB_STORE"):
        open_blob_store(Settings(blob_store=address))
