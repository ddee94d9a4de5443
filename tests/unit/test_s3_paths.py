"""Source paths: folders, filters, and the range of ids they cover."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.errors import Misconfigured
from providers.s3.paths import after_prefix, narrow, parse_path

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


@pytest.mark.parametrize(
    ("path", "bucket", "root"),
    [
        ("bucket", "bucket", ""),
        ("bucket/", "bucket", ""),
        ("bucket/a", "bucket", "a/"),
        ("bucket/a/", "bucket", "a/"),
        ("bucket/a//", "bucket", "a//"),
        ("bucket//a", "bucket", "/a/"),
        ("s3://bucket/a b", "bucket", "a b/"),
        ("/bucket/a", "bucket", "a/"),
    ],
)
def test_a_path_is_a_bucket_and_a_folder(path: str, bucket: str, root: str) -> None:
    assert parse_path(path)[:3] == (bucket, root, root)


@pytest.mark.parametrize(
    ("path", "prefix", "whole"),
    [
        ("bucket", "a", "a"),
        ("bucket/a", "b", "a/b"),
        ("bucket/a", "a/b", "a/b"),
        ("bucket/a", "ab", "a/ab"),
        ("bucket/a", "", "a/"),
    ],
)
def test_the_prefix_filter_continues_the_folder(path: str, prefix: str, whole: str) -> None:
    where = parse_path(narrow(path, {"prefix": prefix}))
    assert (where.prefix, where.root, where.request_payer) == (whole, parse_path(path).root, False)


@pytest.mark.parametrize(
    "filters", [{"prefix": 1}, {"request_payer": "someone"}, {"tags": {}}, {"prefix": "a", "Prefix": "b"}]
)
def test_filters_that_are_none(filters: dict[str, Any]) -> None:
    with pytest.raises(Misconfigured):
        narrow("bucket", filters)


@pytest.mark.parametrize("path", ["", "/", "//a", "s3://"])
def test_no_bucket(path: str) -> None:
    with pytest.raises(Misconfigured):
        parse_path(path)


@given(prefix=TEXT, rest=TEXT, other=TEXT)
def test_after_prefix_is_the_least_upper_bound(prefix: str, rest: str, other: str) -> None:
    """In UTF-8 byte order, which is the order of code points."""
    high = after_prefix(prefix)
    assert high is None or (prefix + rest).encode() < high.encode()
    if not other.startswith(prefix) and other > prefix:
        assert high is not None and other >= high
