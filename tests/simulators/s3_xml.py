"""The XML bodies of the S3 simulator, element by element as the S3 API reference shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol
from urllib.parse import quote_plus
from xml.sax.saxutils import escape

__all__ = ["error_xml", "listing_xml", "tagging_xml"]

_HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n'
_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"


class _Shown(Protocol):
    @property
    def body(self) -> bytes: ...
    @property
    def etag(self) -> str: ...
    @property
    def modified(self) -> datetime: ...
    @property
    def storage_class(self) -> str: ...
    @property
    def restore(self) -> str | None: ...
    @property
    def listed_size(self) -> int | None: ...


def error_xml(code: str, message: str = "scripted") -> bytes:
    """An error body."""
    fields = f"<Code>{code}</Code><Message>{escape(message)}</Message><RequestId>0</RequestId>"
    return f"{_HEAD}<Error>{fields}</Error>".encode()


def tagging_xml(tags: Mapping[str, str]) -> bytes:
    """The answer of GetObjectTagging."""
    pairs = "".join(f"<Tag><Key>{escape(k)}</Key><Value>{escape(v)}</Value></Tag>" for k, v in tags.items())
    return f'{_HEAD}<Tagging xmlns="{_NAMESPACE}"><TagSet>{pairs}</TagSet></Tagging>'.encode()


def listing_xml(
    bucket: str, prefix: str, rows: Sequence[tuple[str, _Shown]], token: str | None, *, encoded: bool
) -> bytes:
    """The answer of ListObjectsV2; `token` None is the last page."""

    def key_text(key: str) -> str:
        raw = key.encode("utf-8", "surrogateescape")
        return quote_plus(raw, safe="/~") if encoded else escape(raw.decode())

    parts = [
        f'{_HEAD}<ListBucketResult xmlns="{_NAMESPACE}"><Name>{bucket}</Name><Prefix>{escape(prefix)}</Prefix>',
        f"<KeyCount>{len(rows)}</KeyCount><MaxKeys>1000</MaxKeys>",
        "<EncodingType>url</EncodingType>" if encoded else "",
        f"<IsTruncated>{'true' if token else 'false'}</IsTruncated>",
        f"<NextContinuationToken>{token}</NextContinuationToken>" if token else "",
    ]
    for key, shown in rows:
        size = len(shown.body) if shown.listed_size is None else shown.listed_size
        modified = shown.modified.strftime("%Y-%m-%dT%H:%M:%S.000Z")
        parts.append(
            f"<Contents><Key>{key_text(key)}</Key><LastModified>{modified}</LastModified>"
            f"<ETag>&quot;{shown.etag}&quot;</ETag><Size>{size}</Size>"
            f"<StorageClass>{shown.storage_class}</StorageClass>"
        )
        if shown.restore:
            ongoing = shown.restore == "ongoing"
            expiry = "" if ongoing else "<RestoreExpiryDate>2099-01-01T00:00:00.000Z</RestoreExpiryDate>"
            parts.append(
                f"<RestoreStatus><IsRestoreInProgress>{str(ongoing).lower()}</IsRestoreInProgress>{expiry}"
                "</RestoreStatus>"
            )
        parts.append("</Contents>")
    parts.append("</ListBucketResult>")
    return "".join(parts).encode()
