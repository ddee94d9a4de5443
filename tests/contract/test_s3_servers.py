"""S3 against real servers: moto (exact about odd keys) and versitygw (checks signatures)."""

from __future__ import annotations

from typing import Any

import pytest

from providers import ProviderSettings, open_provider
from providers.base import Provider
from providers.errors import Denied, Gone, Misconfigured
from tests.contract.provider_suite import pages, read, walk
from tests.s3_server import S3Server

PRIVATE = ProviderSettings(allow_private_endpoints=True)
ODD_KEYS = [
    "a//b",
    "/a",
    "//",
    "a/./b",
    "a/../b",
    "..",
    ".",
    "../../etc/x",
    "C:/x",
    "a b",
    "a+b",
    "a%20b",
    "a&b<c>",
    "ü/漢字/😀",
]


def connect(server: S3Server, **credentials: str) -> Provider:
    keys = {"access_key_id": server.access_key_id, "secret_access_key": server.secret_access_key, **credentials}
    return open_provider("s3", {"endpoint_url": server.endpoint_url}, keys, PRIVATE)


@pytest.fixture
async def moto(moto_s3: S3Server) -> Any:
    provider = connect(moto_s3)
    yield provider
    await provider.close()


@pytest.fixture
async def versitygw(versitygw_s3: S3Server) -> Any:
    provider = connect(versitygw_s3)
    yield provider
    await provider.close()


async def test_s14_moto_keeps_odd_keys_apart(moto_s3: S3Server, moto: Provider) -> None:
    bucket = moto_s3.make_bucket()
    # botocore would fold `.` and `..` in a path-style address
    for key in ODD_KEYS:
        moto_s3.put(bucket, **{key: key.encode()})
    stored = {entry["Key"] for entry in moto_s3.client.list_objects_v2(Bucket=bucket)["Contents"]}
    rows = await walk(moto, bucket)
    assert {row.id for row in rows} == {f"{bucket}/{key}" for key in stored}
    assert len(stored) >= len(ODD_KEYS) - 2
    for row in rows:
        body = await read(await moto.open(row))
        assert moto_s3.client.get_object(Bucket=bucket, Key=row.locator["k"])["Body"].read() == body


async def test_keys_that_need_encoding_are_signed_right(versitygw_s3: S3Server, versitygw: Provider) -> None:
    bucket = versitygw_s3.make_bucket()
    keys = ["a b", "a+b", "a%20b", "a&b<c>", "ü/漢字/😀", "tilde~", "a=b?c#d", "(x)!*'", "a:b@c;d,e"]
    for key in keys:
        versitygw_s3.put(bucket, **{key: key.encode()})
    rows = await walk(versitygw, bucket)
    assert sorted(row.path for row in rows) == sorted(keys)
    for row in rows:
        assert (await read(await versitygw.open(row))).decode() == row.path
        assert (await versitygw.attributes(row, tags=False, metadata=True)).metadata == {}
    narrowed = versitygw.narrow(bucket, {"prefix": "a+b"})
    assert [row.path for row in await walk(versitygw, narrowed)] == ["a+b"]
    ranged = await walk(versitygw, bucket, 1, versitygw.range_cursor(bucket, f"{bucket}/a b", f"{bucket}/a=b?c#d"))
    assert [row.path for row in ranged] == [key for key in sorted(keys) if "a b" < key <= "a=b?c#d"]


async def test_wrong_keys_are_denied(versitygw_s3: S3Server) -> None:
    bucket = versitygw_s3.make_bucket()
    for wrong in ({"secret_access_key": "wrong"}, {"access_key_id": "unknown"}):
        provider = connect(versitygw_s3, **wrong)
        for path in (None, bucket):
            with pytest.raises(Denied, match="access_key"):
                await provider.check(path)
        with pytest.raises(Denied, match="access_key"):
            await provider.list_page(bucket, None, 1)
        await provider.close()


async def test_an_unknown_bucket_is_misconfigured(s3_server: S3Server) -> None:
    provider = connect(s3_server)
    with pytest.raises(Misconfigured, match="does not exist"):
        await provider.check("no-such-bucket-here")
    await provider.close()


async def test_metadata_and_tags(s3_server: S3Server) -> None:
    bucket = s3_server.make_bucket()
    s3_server.client.put_object(
        Bucket=bucket,
        Key="k",
        Body=b"x",
        Metadata={"Owner": "anna"},
        Tagging="Team=blue&Empty=",
        ContentType="text/csv",
    )
    provider = connect(s3_server)
    [row] = await walk(provider, bucket)
    attributes = await provider.attributes(row, tags=True, metadata=True)
    assert (attributes.tags, attributes.metadata) == ({"Team": "blue", "Empty": ""}, {"owner": "anna"})
    content = await provider.open(row)
    assert content.mime_type == "text/csv"
    assert content.attributes is not None and content.attributes.metadata == {"owner": "anna"}
    s3_server.put(bucket, untagged=b"x")
    row = next(row for row in await walk(provider, bucket) if row.path == "untagged")
    assert (await provider.attributes(row, tags=True, metadata=False)).tags == {}
    await provider.close()


async def test_s05_multipart_upload(s3_server: S3Server) -> None:
    bucket = s3_server.make_bucket()
    client, key = s3_server.client, "big.bin"
    parts = [bytes([i]) * (5 * 1024 * 1024) for i in range(2)]
    upload = client.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
    done: Any = []
    for number, part in enumerate(parts, 1):
        answer = client.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=number, Body=part)
        done.append({"PartNumber": number, "ETag": answer["ETag"]})
    client.complete_multipart_upload(Bucket=bucket, Key=key, UploadId=upload, MultipartUpload={"Parts": done})
    provider = connect(s3_server)
    [row] = await walk(provider, bucket)
    assert row.locator["e"].endswith("-2")
    assert await read(await provider.open(row)) == b"".join(parts)
    await provider.close()


async def test_s16_marker_of_a_console(s3_server: S3Server) -> None:
    bucket = s3_server.make_bucket()
    s3_server.client.put_object(Bucket=bucket, Key="folder/")
    s3_server.put(bucket, **{"folder/file": b"x"})
    provider = connect(s3_server)
    [page] = await pages(provider, bucket)
    assert [page.ids[i] for i in range(len(page.ids)) if i not in page.skips] == [f"{bucket}/folder/file"]
    assert list(page.skips.values()) == ["folder_marker"]
    await provider.close()


async def test_s19_archived_at_moto(moto_s3: S3Server, moto: Provider) -> None:
    bucket = moto_s3.make_bucket()
    moto_s3.client.put_object(Bucket=bucket, Key="cold", Body=b"x", StorageClass="GLACIER")
    moto_s3.client.put_object(Bucket=bucket, Key="warm", Body=b"x", StorageClass="STANDARD_IA")
    [page] = await pages(moto, bucket)
    assert dict(page.skips) == {0: "archived"}


async def test_s32_deleted_with_versions(moto_s3: S3Server, moto: Provider) -> None:
    bucket = moto_s3.make_bucket()
    moto_s3.client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    moto_s3.put(bucket, k=b"x")
    [row] = await walk(moto, bucket)
    moto_s3.client.delete_object(Bucket=bucket, Key="k")
    assert await walk(moto, bucket) == []
    with pytest.raises(Gone):
        await moto.open(row)
