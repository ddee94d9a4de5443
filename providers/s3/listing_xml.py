"""A ListBucketResult as columns of strings, or `NotAListingError`: nothing between.

A 200 whose body is blank, HTML, cut or somebody else's XML must never be taken for an empty
bucket. The rows are not turned into objects: most of them are only compared.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import cast

from lxml import etree

__all__ = ["Listing", "NotAListingError", "decode_keys", "parse_listing"]

_COLUMNS = ("Key", "LastModified", "ETag", "Size", "StorageClass")


class NotAListingError(ValueError):
    """The body is not provably one whole ListBucketResult; the message says why."""


@dataclass(slots=True)
class Listing:
    """Columns of equal length. `keys` as the store's own strings, `None` in none of them."""

    keys: Sequence[str]
    modified: Sequence[str]
    etags: Sequence[str]
    sizes: Sequence[str]
    classes: Sequence[str]
    truncated: bool
    next_token: str | None
    restored: frozenset[int] = field(default_factory=frozenset)
    """Rows whose archived object has a restored copy that can be read now."""


@lru_cache(maxsize=8)
def _columns_of(namespace: str) -> tuple[etree.XPath, ...]:
    prefix = "s:" if namespace else ""
    names = {"s": namespace} if namespace else None
    return tuple(
        etree.XPath(f"{prefix}Contents/{prefix}{name}/text()", namespaces=names, smart_strings=False)
        for name in _COLUMNS
    )


def parse_listing(body: bytes) -> Listing:
    """Parse the body of a ListObjectsV2 answer that was asked for with `encoding-type=url`."""
    try:
        root = etree.fromstring(body, etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=True))
    except (etree.XMLSyntaxError, ValueError):
        raise NotAListingError("not whole XML") from None
    name = etree.QName(root)
    if name.localname != "ListBucketResult":
        raise NotAListingError(f"a {name.localname} instead of a ListBucketResult")
    namespace = name.namespace or ""
    start = f"{{{namespace}}}" if namespace else ""
    truncated = root.findtext(f"{start}IsTruncated", "").strip()
    if truncated not in {"true", "false"}:
        raise NotAListingError("no IsTruncated")
    token = root.findtext(f"{start}NextContinuationToken") or None
    if truncated == "true" and token is None:
        raise NotAListingError("truncated without a token")
    rows = root.findall(f"{start}Contents")
    count = root.findtext(f"{start}KeyCount", "").strip()
    if count.isdigit() and int(count) != len(rows):
        raise NotAListingError(f"{len(rows)} rows where KeyCount says {count}")
    columns = [cast("list[str]", xpath(root)) for xpath in _columns_of(namespace)]
    if any(len(column) != len(rows) for column in columns):
        columns = _row_by_row(rows, start)
    names, modified, etags, sizes, classes = columns
    if not all(map(str.isdigit, sizes)):
        raise NotAListingError("a size that is no number")
    keys = decode_keys(names) if root.findtext(f"{start}EncodingType") == "url" else names
    return Listing(
        keys,
        modified,
        [etag.strip('"') for etag in etags],
        sizes,
        classes,
        truncated == "true",
        token if truncated == "true" else None,
        frozenset(i for i, row in enumerate(rows) if _is_restored(row, start))
        if b"<RestoreStatus>" in body
        else frozenset(),
    )


def _row_by_row(rows: list[etree._Element], start: str) -> list[list[str]]:
    """The columns where some row lacks an element or has an empty one."""
    columns: list[list[str]] = [[] for _ in _COLUMNS]
    for row in rows:
        for column, name in zip(columns, _COLUMNS, strict=True):
            column.append(row.findtext(f"{start}{name}", ""))
        if not columns[0][-1]:
            raise NotAListingError("a row without a key")
    return columns


def _is_restored(row: etree._Element, start: str) -> bool:
    status = row.find(f"{start}RestoreStatus")
    if status is None:
        return False
    in_progress = status.findtext(f"{start}IsRestoreInProgress", "").strip()
    return in_progress == "false" and bool(status.findtext(f"{start}RestoreExpiryDate"))


def decode_keys(keys: Sequence[str]) -> Sequence[str]:
    """Undo `encoding-type=url` (form encoding: `+` is a space). Bytes that are no UTF-8 become lone surrogates."""
    joined = "\n".join(keys)
    if "%" not in joined and "+" not in joined:
        return keys
    data = joined.replace("+", " ").encode("utf-8", "surrogatepass")
    if re.search(rb"%(?![0-9A-Fa-f]{2})", data):
        raise NotAListingError("a key that is not URL-encoded as announced")
    if b"%0A" in data or b"%0a" in data:
        return [_decode(line).decode("utf-8", "surrogateescape") for line in data.split(b"\n")]
    return _decode(data).decode("utf-8", "surrogateescape").split("\n")


def _decode(data: bytes) -> bytes:
    # Quoted-printable differs from URL encoding by its sign only, and its decoder is written in C:
    # one call for a page instead of a Python loop over every escape.
    parts = data.replace(b"=", b"%3D").replace(b"%", b"=").split(b"\n")
    return b"\n".join([binascii.a2b_qp(part) for part in parts]) if len(parts) > 1 else binascii.a2b_qp(parts[0])
