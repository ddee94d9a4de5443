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
_QUOTE = '(?:&quot;|&#34;|")?'
_TEXT = "[^<&\\x00-\\x1f]*"
# A row as AWS, MinIO and most others write it, without anything that needs an XML parser.
_ROW = re.compile(
    f"<Contents><Key>({_TEXT})</Key><LastModified>({_TEXT})</LastModified>"
    f'<ETag>{_QUOTE}([^<&"\\x00-\\x1f]*){_QUOTE}</ETag>'
    f"(?:<Checksum(?:Algorithm|Type)>{_TEXT}</Checksum(?:Algorithm|Type)>)*"
    f"<Size>([0-9]+)</Size>(?:<Owner><ID>{_TEXT}</ID>(?:<DisplayName>{_TEXT}</DisplayName>)?</Owner>)?"
    "<StorageClass>([A-Za-z_]*)</StorageClass></Contents>"
)


class NotAListingError(ValueError):
    """The body is not provably one whole ListBucketResult; the message says why."""


@dataclass(slots=True)
class Listing:
    """Columns of equal length, as the store wrote them but for the keys' encoding and the quotes of ETags."""

    keys: Sequence[str]
    modified: Sequence[str]
    etags: Sequence[str]
    sizes: Sequence[str]
    classes: Sequence[str]
    next_token: str | None
    """None on the last page only."""
    restored: frozenset[int] = field(default_factory=frozenset)
    """Rows whose archived object has a restored copy that can be read now."""
    unreadable: frozenset[int] = field(default_factory=frozenset)
    """Rows whose key is no UTF-8 (a gateway before a file system); `keys` shows it escaped."""


def parse_listing(body: bytes) -> Listing:
    """Parse the body of a ListObjectsV2 answer that was asked for with `encoding-type=url`."""
    return _parse_plain(body) or _parse_any(body)


def _parse_plain(body: bytes) -> Listing | None:
    """The usual page, at a quarter of the cost of an XML tree; None when anything about it is unusual.

    The rows must follow each other without a gap, each exactly as `_ROW` says; the rest of the
    document is parsed as XML. A test holds this to the answers of `_parse_any`.
    """
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return None
    start, end = text.find("<Contents>"), text.rfind("</Contents>") + len("</Contents>")
    if start < 0 or end <= start or "<!" in text or "<ListBucketResult" not in text[:start]:
        return None
    rows = _ROW.findall(text, start, end)
    if not rows or text.count("<Contents", start) != len(rows):
        return None
    if text.count("</Contents><Contents>", start, end) != len(rows) - 1 or not _ROW.match(text, start):
        return None
    root = _root((text[:start] + text[end:]).encode())
    keys, modified, etags, sizes, classes = zip(*rows, strict=True)
    return _finish(root, Listing(keys, modified, etags, sizes, classes, None))


def _root(document: bytes) -> etree._Element:
    try:
        root = etree.fromstring(document, etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=True))
    except (etree.XMLSyntaxError, ValueError):
        raise NotAListingError("not whole XML") from None
    name = etree.QName(root).localname
    if name != "ListBucketResult":
        raise NotAListingError(f"a {name} instead of a ListBucketResult")
    return root


def _start(root: etree._Element) -> str:
    """What stands before the names of the root's children in lxml's notation."""
    namespace = etree.QName(root).namespace
    return f"{{{namespace}}}" if namespace else ""


@lru_cache(maxsize=8)
def _xpaths(namespace: str | None) -> tuple[etree.XPath, ...]:
    prefix = "s:" if namespace else ""
    names = {"s": namespace} if namespace else None
    return tuple(
        etree.XPath(f"{prefix}Contents/{prefix}{name}/text()", namespaces=names, smart_strings=False)
        for name in _COLUMNS
    )


def _parse_any(body: bytes) -> Listing:
    """Any ListBucketResult: one XPath per column, row by row where some row lacks a value."""
    root = _root(body)
    start = _start(root)
    rows = root.findall(f"{start}Contents")
    columns = [cast("list[str]", xpath(root)) for xpath in _xpaths(etree.QName(root).namespace)]
    if any(len(column) != len(rows) for column in columns):
        columns = [[row.findtext(f"{start}{name}", "") for row in rows] for name in _COLUMNS]
    keys, modified, etags, sizes, classes = columns
    listing = Listing(keys, modified, [etag.strip('"') for etag in etags], sizes, classes, None)
    if b"RestoreStatus>" in body:
        listing.restored = frozenset(i for i, row in enumerate(rows) if _is_restored(row, start))
    return _finish(root, listing)


def _finish(root: etree._Element, listing: Listing) -> Listing:
    """Prove that the page is whole, and undo the encoding of its keys."""
    start = _start(root)
    truncated = root.findtext(f"{start}IsTruncated", "").strip()
    if truncated not in {"true", "false"}:
        raise NotAListingError("no IsTruncated")
    if truncated == "true":
        listing.next_token = root.findtext(f"{start}NextContinuationToken") or None
        if listing.next_token is None:
            raise NotAListingError("truncated without a token")
    count = root.findtext(f"{start}KeyCount", "").strip()
    if count.isdigit() and int(count) != len(listing.keys):
        raise NotAListingError(f"{len(listing.keys)} rows where KeyCount says {count}")
    if not all(listing.keys):
        raise NotAListingError("a row without a key")
    if not all(map(str.isdecimal, listing.sizes)):
        raise NotAListingError("a size that is no number")
    if root.findtext(f"{start}EncodingType") == "url":
        listing.keys = decode_keys(listing.keys)
    try:
        "\n".join(listing.keys).encode()
    except UnicodeEncodeError:
        listing.unreadable = frozenset(i for i, key in enumerate(listing.keys) if _escaped(key) != key)
        listing.keys = [_escaped(key) for key in listing.keys]
    return listing


def _escaped(key: str) -> str:
    return key.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


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
    if re.search("%(?![0-9A-Fa-f]{2})", joined):
        raise NotAListingError("a key that is not URL-encoded as announced")
    # Quoted-printable differs from URL encoding by its sign only, and its decoder is written in C:
    # one call for a page instead of a Python loop over every escape.
    data = joined.replace("+", " ").replace("=", "%3D").replace("%", "=").encode()
    if "%0A" in joined or "%0a" in joined:  # a line break inside a key: the lines are decoded one by one
        return [binascii.a2b_qp(line).decode("utf-8", "surrogateescape") for line in data.split(b"\n")]
    return binascii.a2b_qp(data).decode("utf-8", "surrogateescape").split("\n")
