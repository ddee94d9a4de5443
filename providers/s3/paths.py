"""Source paths: which bucket, which keys, and what file paths are relative to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from providers.errors import Misconfigured

__all__ = ["S3Path", "after_prefix", "narrow", "parse_path"]


class S3Path(NamedTuple):
    """A parsed source path. Keys that begin with `prefix` are listed; paths are shown relative to `root`."""

    bucket: str
    root: str
    prefix: str
    request_payer: bool = False


def parse_path(path: str, *, provider: str = "s3") -> S3Path:
    """Parse `bucket[/folder]` or what `narrow` made of it. Raises Misconfigured.

    The part after the bucket is a folder: `bucket/a` and `bucket/a/` both mean the keys that begin
    with `a/`, never `ab/x` or `a.txt`. Anything finer is `provider_filters.prefix`.
    """
    if path.startswith("{"):  # no bucket name begins so
        doc = json.loads(path)
        return S3Path(doc["bucket"], doc["root"], doc["prefix"], doc["payer"])
    bucket, _, folder = path.removeprefix("s3://").removeprefix("/").partition("/")
    if not bucket:
        raise Misconfigured("source_path must be bucket[/folder]", provider=provider, path=path)
    root = folder if not folder or folder.endswith("/") else folder + "/"
    return S3Path(bucket, root, root)


def narrow(path: str, filters: Mapping[str, Any], *, provider: str = "s3") -> str:
    """Push `provider_filters` into a source path. Raises Misconfigured for a filter that S3 does not have.

    `prefix`: an exact string, matched as S3 does. One that begins with the source path's folder is
    the whole key's beginning, any other continues the folder: for `bucket/a`, both `a/2024-` and
    `2024-` mean keys that begin with `a/2024-`.
    `request_payer`: "requester" accepts the cost of a requester-pays bucket.
    """
    if not filters:
        return path
    unknown = sorted(set(filters) - {"prefix", "request_payer"})
    if unknown:
        raise Misconfigured(
            f"unknown provider_filters {', '.join(unknown)}; there are prefix and request_payer", provider=provider
        )
    prefix, payer = filters.get("prefix") or "", filters.get("request_payer")
    if not isinstance(prefix, str):
        raise Misconfigured("provider_filters.prefix must be a string", provider=provider)
    if payer not in {None, "requester"}:
        raise Misconfigured('provider_filters.request_payer must be "requester"', provider=provider)
    where = parse_path(path, provider=provider)
    if not prefix.startswith(where.root):
        prefix = where.root + prefix
    return json.dumps(
        {"bucket": where.bucket, "root": where.root, "prefix": prefix, "payer": payer is not None}, ensure_ascii=False
    )


def after_prefix(text: str) -> str | None:
    """The smallest string above every string that begins with `text`, in UTF-8 byte order; None: there is none."""
    while text:
        last = ord(text[-1])
        if last < 0x10FFFF:
            return text[:-1] + chr(0xE000 if last == 0xD7FF else last + 1)
        text = text[:-1]
    return None
