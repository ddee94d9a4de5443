"""Our signer writes the headers botocore writes."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from unittest import mock

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import example, given
from hypothesis import strategies as st

from providers.s3.signing import EMPTY_SHA256, Keys, Signer, encode_key, encode_query

TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20)
NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


def botocore_headers(method: str, url: str, region: str, keys: Keys, extra: list[tuple[str, str]]) -> dict[str, str]:
    request = AWSRequest(method=method, url=url, headers=dict(extra))
    request.context["payload_signing_enabled"] = True
    credentials = Credentials(keys.access_key_id, keys.secret_access_key, keys.session_token)
    with mock.patch("botocore.auth.get_current_datetime", return_value=NOW.replace(tzinfo=None)):
        S3SigV4Auth(credentials, "s3", region).add_auth(request)
    return {name.lower(): str(value) for name, value in request.headers.items()}


@given(
    key=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20),
    pairs=st.lists(st.tuples(TEXT.filter(bool), TEXT), max_size=4, unique_by=lambda pair: pair[0]),
    token=st.sampled_from([None, "token/+="]),
    payer=st.booleans(),
    region=st.sampled_from(["us-east-1", "auto", "us-gov-west-1"]),
    method=st.sampled_from(["GET", "HEAD"]),
)
@example(key="0", pairs=[("0", ""), ("00", "")], token=None, payer=False, region="auto", method="GET")
def test_the_same_as_botocore(  # noqa: PLR0917
    key: str, pairs: list[tuple[str, str]], token: str | None, payer: bool, region: str, method: str
) -> None:
    keys = Keys("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", token)
    extra = [("x-amz-request-payer", "requester")] if payer else []
    path, query = f"/bucket/{encode_key(key)}", encode_query(pairs)
    with mock.patch.object(time, "time", return_value=NOW.timestamp()):
        lines = Signer("s3", region).sign(method, "host.example:9000", path, query, keys=keys, extra=extra)
    ours = dict(line.split(": ", 1) for line in lines.removesuffix("\r\n").split("\r\n"))
    url = f"http://host.example:9000{path}{'?' if query else ''}{query}"
    theirs = botocore_headers(method, url, region, keys, extra)
    assert {name.lower(): value for name, value in ours.items()} == theirs


def test_the_day_and_the_keys_change() -> None:
    signer, old, new = Signer("s3", "us-east-1"), Keys("a", "old"), Keys("a", "new")
    signed = []
    for keys, when in ((old, 0), (new, 0), (old, 86_400), (old, 86_400.5)):
        with mock.patch.object(time, "time", return_value=1_800_000_000 + when):
            signed.append(signer.sign("GET", "h", "/", "", keys=keys))
    assert len(set(signed)) == 3 and signed[2] == signed[3]


@pytest.mark.parametrize(
    ("key", "encoded"),
    [
        ("a/b.txt", "a/b.txt"),
        ("a b", "a%20b"),
        ("+", "%2B"),
        ("~", "~"),
        ("//", "//"),
        ("../x", "../x"),
        ("é", "%C3%A9"),
    ],
)
def test_encode_key(key: str, encoded: str) -> None:
    assert encode_key(key) == encoded


def test_keys_hide_themselves() -> None:
    assert "secret" not in repr(Keys("id", "secret", "token")) + str([Keys("id", "secret", "token")])
    assert EMPTY_SHA256.startswith("e3b0c442")
