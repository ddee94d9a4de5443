"""The S cases of cases.md that are about accounts: regions, roles, endpoints, Tigris."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from providers import ProviderSettings, open_provider
from providers.errors import Denied, Misconfigured, Throttled, Transient
from providers.s3.client import S3Client
from providers.s3.credentials import AssumedRole
from tests.contract.provider_suite import read, walk
from tests.simulators.s3_faults import Answer, FaultyS3
from tests.simulators.s3_xml import error_xml
from tests.simulators.sts import FakeSts

KEYS = {"access_key_id": "any", "secret_access_key": "thing"}
ROLE = {"type": "iam_role", "role_arn": "arn:aws:iam::123456789012:role/reader", "external_id": "tidemark-1"}
PRIVATE = ProviderSettings(allow_private_endpoints=True)


@pytest.fixture
def sts(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeSts]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "WORKER")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    server = FakeSts()
    yield server
    server.close()


def role_provider(s3: FaultyS3, sts: FakeSts, **config: Any) -> Any:
    settings = ProviderSettings(allow_private_endpoints=True, sts_endpoint_url=sts.url)
    return open_provider("s3", {"endpoint_url": s3.url, **config}, ROLE, settings)


async def test_s26_region_is_learned_once(s3: FaultyS3) -> None:
    s3.put("bucket", "k", b"x")
    s3.faults.region = "eu-central-1"
    provider = open_provider("s3", {"endpoint_url": s3.url}, KEYS, PRIVATE)
    [row] = await walk(provider, "bucket")
    assert await read(await provider.open(row)) == b"x"
    assert (s3.counts["list"], s3.counts["get"]) == (2, 1)
    assert (await provider.check("bucket")).details["region"] == "eu-central-1"
    await provider.close()


async def test_s26_region_from_the_error_body(s3: FaultyS3) -> None:
    s3.put("bucket", "k", b"x")
    body = b"<Error><Code>AuthorizationHeaderMalformed</Code><Region>eu-west-3</Region></Error>"
    s3.script("list", Answer(400, body))
    provider = open_provider("s3", {"endpoint_url": s3.url}, KEYS, PRIVATE)
    assert len(await walk(provider, "bucket")) == 1
    assert "/eu-west-3/s3/aws4_request" in s3.requests[-1][2]["authorization"]
    await provider.close()


async def test_s26_a_redirect_never_chooses_where_we_connect(s3: FaultyS3) -> None:
    s3.put("bucket", "k", b"x")
    evil = "http://169.254.169.254/latest"
    s3.script("list", Answer(307, error_xml("TemporaryRedirect"), {"Location": evil, "x-amz-bucket-region": "x/../y"}))
    provider = open_provider("s3", {"endpoint_url": s3.url}, KEYS, PRIVATE)
    with pytest.raises(Misconfigured):
        await walk(provider, "bucket")
    assert s3.counts == {"list": 1}
    await provider.close()


@pytest.mark.parametrize(
    ("bucket", "region", "host", "base"),
    [
        ("data", "us-east-1", "data.s3.us-east-1.amazonaws.com", ""),
        ("data", "us-gov-west-1", "data.s3.us-gov-west-1.amazonaws.com", ""),
        ("data", "cn-north-1", "data.s3.cn-north-1.amazonaws.com.cn", ""),
        ("my.data", "eu-west-1", "s3.eu-west-1.amazonaws.com", "/my.data"),
        (
            "x--use1-az5--x-s3",
            "us-east-1",
            "x--use1-az5--x-s3.s3express-use1-az5.us-east-1.amazonaws.com",
            "",
        ),
    ],
)
def test_s26_addresses_of_aws(bucket: str, region: str, host: str, base: str) -> None:
    provider: Any = open_provider("s3", {"region": region}, KEYS, ProviderSettings())
    client: S3Client = provider._client
    address = client.address(bucket)
    assert (address.host, address.base, address.origin.scheme) == (host, base, "https")


@pytest.mark.parametrize(
    ("region", "signed_for"),
    [("us-gov-west-1", "us-gov-west-1"), ("cn-north-1", "cn-north-1"), ("auto", "us-east-1"), (None, "us-east-1")],
)
async def test_s26_sts_of_the_same_partition(s3: FaultyS3, sts: FakeSts, region: str | None, signed_for: str) -> None:
    s3.put("bucket", "k", b"x")
    provider = role_provider(s3, sts, region=region)
    await walk(provider, "bucket")
    assert f"/{signed_for}/sts/aws4_request" in sts.asked[0]["credential"]
    await provider.close()


async def test_s27_one_assume_role_per_session(s3: FaultyS3, sts: FakeSts) -> None:
    for i in range(50):
        s3.put("bucket", f"k{i}", b"x")
    provider = role_provider(s3, sts)
    rows = await walk(provider, "bucket")
    await asyncio.gather(*(provider.open(row) for row in rows))
    assert sts.counts == {"AssumeRole": 1}
    assert (sts.asked[0]["ExternalId"], sts.asked[0]["RoleArn"]) == ("tidemark-1", ROLE["role_arn"])
    assert s3.requests[-1][2]["x-amz-security-token"] == "token-1"
    await provider.close()


async def test_s27_renewed_before_it_ends(s3: FaultyS3, sts: FakeSts) -> None:
    s3.put("bucket", "a", b"x")
    s3.put("bucket", "b", b"x")
    sts.lifetime = 200  # already inside the margin
    provider = role_provider(s3, sts)
    first = await provider.list_page("bucket", None, 1)
    second = await provider.list_page("bucket", first.next_cursor, 1)
    assert [*first.ids, *second.ids] == ["bucket/a", "bucket/b"]
    assert sts.counts["AssumeRole"] == 2
    sts.refusal = (503, "ServiceUnavailable")  # keys that still work are used while STS is down
    assert len(await walk(provider, "bucket")) == 2
    await provider.close()


async def test_s27_a_session_that_was_ended_is_renewed_in_place(s3: FaultyS3, sts: FakeSts) -> None:
    s3.put("bucket", "a", b"x")
    provider = role_provider(s3, sts)
    [row] = await walk(provider, "bucket")
    s3.script("get", Answer(400, error_xml("ExpiredToken")))
    assert await read(await provider.open(row)) == b"x"
    assert sts.counts["AssumeRole"] == 2
    s3.script("get", Answer(400, error_xml("ExpiredToken")), times=2)
    with pytest.raises(Denied, match="expired"):
        await provider.open(row)
    await provider.close()


@pytest.mark.parametrize(
    ("refusal", "error", "words"),
    [
        ((403, "AccessDenied"), Denied, "trust policy"),
        ((403, "InvalidClientTokenId"), Denied, "refuses"),
        ((403, "RegionDisabledException"), Misconfigured, "not active"),
        ((503, "ServiceUnavailable"), Transient, "failed to answer"),
    ],
)
async def test_a_role_that_cannot_be_assumed(
    s3: FaultyS3, sts: FakeSts, refusal: tuple[int, str], error: type[Exception], words: str
) -> None:
    sts.refusal = refusal
    provider = role_provider(s3, sts)
    with pytest.raises(error, match=words):
        await provider.check("bucket")
    assert s3.counts == {}
    await provider.close()


async def test_a_worker_without_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    role = AssumedRole("arn:aws:iam::123456789012:role/r", "external-id", region="us-east-1", provider="s3")
    with pytest.raises(Misconfigured, match="no AWS identity"):
        await role.keys()


async def test_sts_that_cannot_be_reached(sts: FakeSts) -> None:
    role = AssumedRole(
        "arn:aws:iam::123456789012:role/r", "external-id", region="us-east-1", provider="s3",
        endpoint_url="http://127.0.0.1:1",
    )  # fmt: skip
    with pytest.raises(Transient, match="cannot be reached"):
        await role.keys()


async def test_s38_tigris_reads_are_consistent(s3: FaultyS3) -> None:
    s3.put("bucket", "k", b"x", tags={"a": "b"})
    provider = open_provider("tigris", {"endpoint_url": s3.url}, KEYS, PRIVATE)
    [row] = await walk(provider, "bucket")
    assert await read(await provider.open(row)) == b"x"
    await provider.attributes(row, tags=True, metadata=True)
    assert len(s3.requests) == 4
    for _, _, headers in s3.requests:
        assert headers["x-tigris-consistent"] == "true"
        assert "x-tigris-consistent" in headers["authorization"]
        assert "/auto/s3/aws4_request" in headers["authorization"]
    await provider.close()


async def test_tigris_sheds_load_by_408(s3: FaultyS3) -> None:
    s3.put("bucket", "k", b"x")
    for name, kind in (("tigris", Throttled), ("s3", Transient)):
        provider = open_provider(name, {"endpoint_url": s3.url}, KEYS, PRIVATE)
        [row] = await walk(provider, "bucket")
        s3.script("get", Answer(408, error_xml("RequestTimeout"), {"Retry-After": "3"}))
        with pytest.raises(kind) as caught:
            await provider.open(row)
        assert getattr(caught.value, "retry_after", 3.0) == 3.0
        s3.script("list", Answer(408))
        with pytest.raises(kind):
            await walk(provider, "bucket")
        await provider.close()


async def test_s39_tigris_needs_no_notification_to_find_changes_and_deletions(s3: FaultyS3) -> None:
    for i in range(5):
        s3.put("bucket", f"k{i}", b"x")
    provider = open_provider("tigris", {"endpoint_url": s3.url}, KEYS, PRIVATE)
    before = {row.id: row.fingerprint for row in await walk(provider, "bucket")}
    # Nobody is told of these: the event was dropped while its receiver was down.
    del s3.buckets["bucket"]["k1"]
    s3.put("bucket", "k2", b"changed", modified=datetime(2020, 1, 1, tzinfo=UTC))
    after = {row.id: row.fingerprint for row in await walk(provider, "bucket")}
    assert before.keys() - after.keys() == {"bucket/k1"}
    assert {id_ for id_ in after if after[id_] != before[id_]} == {"bucket/k2"}
    for _, target, headers in s3.requests:  # every listing is a whole one, never one of recent changes
        assert "last-modified" not in f"{target} {headers}".lower() and "if-modified-since" not in headers
    await provider.close()


@pytest.mark.parametrize("endpoint", [None, "https://fly.storage.tigris.dev", "https://t3.storage.dev/"])
def test_s40_both_endpoints_of_tigris(endpoint: str | None) -> None:
    config = {"endpoint_url": endpoint} if endpoint else {}
    provider: Any = open_provider("tigris", config, KEYS, ProviderSettings())
    address = provider._client.address("data")
    wanted = "t3.storage.dev" if endpoint and "t3" in endpoint else "fly.storage.tigris.dev"
    assert (address.host, address.base, address.signer.region) == (f"data.{wanted}", "", "auto")
    assert provider._client.address("my.data").base == "/my.data"


async def test_check_tells_what_to_change(s3: FaultyS3) -> None:
    s3.put("bucket", "k", b"x")
    provider = open_provider("s3", {"endpoint_url": s3.url}, KEYS, PRIVATE)
    assert (await provider.check()).details == {"buckets": 1}
    s3.script("buckets", Answer(403, error_xml("AccessDenied")))
    assert "not needed" in (await provider.check()).message
    s3.script("buckets", Answer(403, error_xml("InvalidAccessKeyId")))
    with pytest.raises(Denied, match="access_key_id"):
        await provider.check()
    s3.script("buckets", Answer(200, b"<html>It works!</html>"))
    with pytest.raises(Misconfigured, match="endpoint_url"):
        await provider.check()
    with pytest.raises(Misconfigured, match="does not exist"):
        await provider.check("nowhere")
    await provider.close()


async def test_private_endpoints_are_refused_on_every_connection(s3: FaultyS3) -> None:
    s3.put("bucket", "k", b"x")
    for endpoint in (s3.url, s3.url.replace("127.0.0.1", "localhost"), "http://169.254.169.254"):
        provider = open_provider("s3", {"endpoint_url": endpoint}, KEYS, ProviderSettings())
        for call in (provider.check, lambda p=provider: p.list_page("bucket", None, 1)):
            with pytest.raises(Misconfigured) as error:
                await call()
            assert error.value.reason == "endpoint_refused"
        await provider.close()
    assert s3.counts == {}


@pytest.mark.parametrize(
    "credentials",
    [
        {},
        {"type": "access_key", "access_key_id": "a"},
        {"type": "unknown"},
        {"type": "iam_role", "role_arn": "x"},
        {"access_key_id": "a\r\nX-Evil: 1", "secret_access_key": "b"},
        {"access_key_id": "a", "secret_access_key": "b", "session_token": "x\r\ny"},
    ],
)
def test_bad_credentials_are_misconfigured(credentials: dict[str, str]) -> None:
    with pytest.raises(Misconfigured):
        open_provider("s3", {}, credentials, ProviderSettings())


@pytest.mark.parametrize("path", ["", "/", "b\r\nHost: evil/x", "a b", "../x", "bucket?x"])
async def test_bad_bucket_names_are_misconfigured(s3: FaultyS3, path: str) -> None:
    provider = open_provider("s3", {"endpoint_url": s3.url}, KEYS, PRIVATE)
    with pytest.raises(Misconfigured):
        await provider.list_page(path, None, 1)
    assert s3.counts == {}
    await provider.close()


async def test_no_secret_in_errors_or_cursors(s3: FaultyS3, sts: FakeSts) -> None:
    secrets = ["PLANTEDKEYID", "planted-secret", "planted-token"]
    keys = dict(zip(("access_key_id", "secret_access_key", "session_token"), secrets, strict=True))
    provider = open_provider("s3", {"endpoint_url": s3.url}, keys, PRIVATE)
    for i in range(3):
        s3.put("bucket", f"k{i}", b"x")
    told = [repr(provider.__dict__), repr(provider._client.__dict__)]  # type: ignore[attr-defined]
    page = await provider.list_page("bucket", None, 1)
    told += [str(page.next_cursor), json.dumps(page.row(0).to_document(), default=str)]
    body = b"<Error><Code>SignatureDoesNotMatch</Code><AWSAccessKeyId>PLANTEDKEYID</AWSAccessKeyId></Error>"
    for kind, call in (("list", provider.list_page("bucket", None, 1)), ("get", provider.open(page.row(0)))):
        s3.script(kind, Answer(403, body))
        with pytest.raises(Denied) as error:
            await call
        told += [str(error.value), repr(error.value), repr(error.value.__dict__)]
    assert not [secret for secret in secrets for text in told if secret in text]
    await provider.close()
