"""What only the S3 blob store has to promise."""

from __future__ import annotations

import pytest

from models.settings import Settings
from stores.blobs import BlobNotFound, BlobStoreError, open_blob_store
from stores.blobs.s3 import S3BlobStore
from tests.contract.blobs import MIB, names, put, s3_settings, sha
from tests.s3_server import S3Server


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


@pytest.mark.parametrize("address", ["s3://", "s3:///prefix", "gs://bucket", "file:///tmp/x"])
def test_addresses_that_are_no_store(address: str) -> None:
    with pytest.raises(ValueError, match="TIDEMARK_BLOB_STORE"):
        open_blob_store(Settings(blob_store=address))
