"""The S3 fault server is understood by a client that is not ours: its listings, bodies, tags and refusals."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.simulators.s3_faults import Answer, FaultyS3
from tests.simulators.s3_xml import error_xml

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

ODD = ("a//b", "a/./b", "dir/", "plus+and space", "q?&=#%25", "é/ü", "😀", "<&>'\"")


@pytest.fixture
def client(s3: FaultyS3) -> Iterator[S3Client]:
    made = boto3.client(
        "s3",
        endpoint_url=s3.url,
        region_name="us-east-1",
        aws_access_key_id="any",
        aws_secret_access_key="thing",
        config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
    )
    yield made
    made.close()


def test_boto3_lists_every_page_and_reads_odd_keys(s3: FaultyS3, client: S3Client) -> None:
    for i in range(25):
        s3.put("b", f"k{i:02d}", b"x" * i)
    for key in ODD:
        s3.put("b", key, key.encode(), metadata={"team": "red"}, tags={"a b": "c&d"})
    found = client.get_paginator("list_objects_v2").paginate(Bucket="b", PaginationConfig={"PageSize": 7})
    rows = {row["Key"]: row for page in found for row in page["Contents"]}
    assert sorted(rows) == sorted([*ODD, *(f"k{i:02d}" for i in range(25))])
    assert rows["k09"]["Size"] == 9 and rows["k09"]["LastModified"] == s3.buckets["b"]["k09"].modified
    assert rows["k09"]["ETag"].strip('"') == s3.buckets["b"]["k09"].etag
    for key in ODD:
        got = client.get_object(Bucket="b", Key=key)
        assert got["Body"].read() == key.encode() and got["Metadata"] == {"team": "red"}
        assert client.head_object(Bucket="b", Key=key)["ContentLength"] == len(key.encode())
        assert client.get_object_tagging(Bucket="b", Key=key)["TagSet"] == [{"Key": "a b", "Value": "c&d"}]
    below = client.list_objects_v2(Bucket="b", Prefix="k1", StartAfter="k15")
    assert [row["Key"] for row in below["Contents"]] == ["k16", "k17", "k18", "k19"]
    assert client.get_object(Bucket="b", Key="k09", Range="bytes=2-4")["Body"].read() == b"xxx"
    assert [one["Name"] for one in client.list_buckets()["Buckets"]] == ["b"]


def test_boto3_understands_its_refusals(s3: FaultyS3, client: S3Client) -> None:
    s3.put("b", "denied", b"x", denied=True)
    s3.put("b", "cold", b"x", storage_class="GLACIER")
    s3.put("b", "k", b"x")
    codes = {"denied": "AccessDenied", "cold": "InvalidObjectState", "nothing": "NoSuchKey"}
    for key, code in codes.items():
        with pytest.raises(ClientError, match=code):
            client.get_object(Bucket="b", Key=key)
    with pytest.raises(ClientError, match="PreconditionFailed"):
        client.get_object(Bucket="b", Key="k", IfMatch='"another"')
    with pytest.raises(ClientError, match="NoSuchBucket"):
        client.list_objects_v2(Bucket="gone")
    s3.script("list", Answer(503, error_xml("SlowDown"), {"Retry-After": "1"}))
    with pytest.raises(ClientError, match="SlowDown"):
        client.list_objects_v2(Bucket="b")
