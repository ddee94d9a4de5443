"""From the `data` of a blob that a client sends to bytes in the blob store.

An address is fetched; base64 comes as a data URL, as `{"base64": …}`, or bare where the property is no text;
a text is itself; any other JSON value is kept as JSON.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote_to_bytes

import orjson

from activities.bucket_schema import BLOB_TYPES, validate_fields
from activities.media import blob_type_of, mime_type_of, specific
from api.errors import ApiError, invalid
from api.fetching import Content, fetch
from api.services import Services
from models.objects import CreateBlobRequest
from providers.errors import Permanent

__all__ = ["stored_blob"]

_ADDRESS = re.compile(r"(https?|s3|file)://", re.IGNORECASE)
_DATA_URL = re.compile(r"data:([^,]*),", re.IGNORECASE)
_BASE64 = re.compile(r"[A-Za-z0-9+/\s]+={0,2}\s*")
_SHAPES = {"url": {"url"}, "base64": {"base64", "mime_type", "filename"}, "text": {"text", "mime_type", "filename"}}
# Shorter words are too often base64 of something by chance.
_SUSPICIOUS_LENGTH = 24
# A container format of these holds either.
_ALIKE = {("audio", "video"), ("video", "audio")}
_TOLD_APART = {"image", "audio", "video", "pdf"}
_HASHES = {"md5": 32, "sha1": 40, "sha256": 64, "sha384": 96, "sha512": 128}


async def stored_blob(
    services: Services, blob: CreateBlobRequest, rule: Mapping[str, Any], field: str
) -> dict[str, Any]:
    """The blob as an object keeps it; its bytes are in the store (not yet durable). Raises ApiError 422."""
    if blob.canonicalize_source is False:
        raise not_mirrored(f"{field}.canonicalize_source")
    if blob.upload_id is not None:
        raise invalid(
            "uploads are not part of this system: send data", code="not_supported", field=f"{field}.upload_id"
        )
    if blob.data is None:
        raise invalid(f"{field}.data is missing", code="missing", field=f"{field}.data")
    content = await _content(services, blob.data, blob.type, rule, f"{field}.data")
    if blob.checksum is not None:
        await _compare(services, content, blob.checksum, f"{field}.checksum")
    mime = mime_type_of(content.filename or "", content.mime_type)
    _refuse_other_media(mime, blob.type, f"{field}.data")
    return {
        "blob_id": f"blob_{content.sha256[:24]}",
        "property": blob.property,
        "key_prefix": blob.key_prefix,
        "type": blob.type,
        "properties": blob.metadata or {},
        "sha256": content.sha256,
        "details": {
            "filename": content.filename,
            "size_bytes": content.size,
            "mime_type": mime,
            "hash": f"sha256:{content.sha256}",
        },
    }


def not_mirrored(field: str) -> ApiError:
    """422: a reference without its content."""
    return invalid("contents are always kept in the server's own blob store", code="not_supported", field=field)


async def _content(services: Services, data: Any, kind: str, rule: Mapping[str, Any], field: str) -> Content:
    if kind not in BLOB_TYPES:
        return await _put(services, _value(data, rule, field), "text/plain" if kind == "string" else "application/json")
    if isinstance(data, dict) and (shape := next((name for name in _SHAPES if name in data), None)):
        return await _of_shape(services, data, shape, field)
    if not isinstance(data, str):
        if kind == "text":
            return await _put(services, orjson.dumps(data), "application/json")
        raise invalid(f"{field}: {kind} content is an address or base64", field=field)
    if _ADDRESS.match(data):
        return await _fetched(services, data, field)
    if found := _DATA_URL.match(data):
        return await _of_data_url(services, found[1], data[found.end() :], field)
    if kind == "text":
        _refuse_encoded_text(data, field)
        return await _put(services, _utf8(data, field), "text/plain")
    return await _put(services, _decoded(data, field), "application/pdf" if kind == "pdf" else None)


async def _of_shape(services: Services, data: dict[str, Any], shape: str, field: str) -> Content:
    """One of the written-out forms, such as `{"base64": …, "mime_type": …, "filename": …}`."""
    for name, value in data.items():
        if name not in _SHAPES[shape]:
            accepted = ", ".join(sorted(_SHAPES[shape]))
            raise invalid(f"{field}.{name}: not an accepted key; accepted are {accepted}", field=f"{field}.{name}")
        if not isinstance(value, str):
            raise invalid(f"{field}.{name} must be a text", field=f"{field}.{name}")
    if shape == "url":
        return await _fetched(services, data["url"], f"{field}.url")
    raw = _utf8(data["text"], field) if shape == "text" else _decoded(data["base64"], f"{field}.base64")
    stated = specific(data.get("mime_type")) or ("text/plain" if shape == "text" else None)
    return await _put(services, raw, stated, data.get("filename"))


async def _of_data_url(services: Services, head: str, rest: str, field: str) -> Content:
    encoded = head.lower().endswith(";base64")
    raw = _decoded(rest, field) if encoded else unquote_to_bytes(rest)
    return await _put(services, raw, specific(head) or "text/plain")


async def _fetched(services: Services, address: str, field: str) -> Content:
    scheme = address.partition(":")[0].lower()
    if scheme == "s3":
        raise invalid(f"{field}: objects of a store come by a sync of it", code="not_supported", field=field)
    return await fetch(address, services.blobs, services.settings, field=field)


async def _put(services: Services, raw: bytes, mime_type: str | None, filename: str | None = None) -> Content:
    (sha256,) = await asyncio.to_thread(services.blobs.put_many_small, [raw])
    return Content(sha256, len(raw), mime_type, filename)


def _value(data: Any, rule: Mapping[str, Any], field: str) -> bytes:
    """A value of a plain property, as its type reads it."""
    try:
        value = validate_fields({field: data}, {"properties": {field: dict(rule)}})[field]
    except Permanent as error:
        raise invalid(error.message, code="schema_mismatch", field=field) from None
    return _utf8(value, field) if isinstance(value, str) else orjson.dumps(value)


def _utf8(text: str, field: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise invalid(f"{field} is not valid Unicode", field=field) from None


def _decoded(text: str, field: str) -> bytes:
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        raise invalid(f"{field} is neither an address nor base64", code="not_base64", field=field) from None


def _refuse_encoded_text(text: str, field: str) -> None:
    """Text that somebody encoded by mistake would be kept as gibberish."""
    if len(text) < _SUSPICIOUS_LENGTH or len(text) % 4 or not _BASE64.fullmatch(text) or " " in text.strip():
        return
    try:
        readable = base64.b64decode(text, validate=True).decode()
    except (binascii.Error, ValueError):
        return
    if all(c.isprintable() or c.isspace() for c in readable):
        raise invalid(
            f'{field} is text in base64: send the text itself, a data URL, or {{"base64": …, "mime_type": …}}',
            code="encoded_text",
            field=field,
        )


def _refuse_other_media(mime: str, kind: str, field: str) -> None:
    """A login page in the place of a picture is found here rather than by whoever processes it."""
    found = blob_type_of(mime)
    if kind in _TOLD_APART and found is not None and found != kind and (found, kind) not in _ALIKE:
        raise invalid(f"{field} is {mime}, the property wants {kind}", code="type_mismatch", field=field)


async def _compare(services: Services, content: Content, checksum: str, field: str) -> None:
    name, colon, digest = checksum.lower().rpartition(":")
    name = name if colon else "sha256"
    if _HASHES.get(name) != len(digest) or not re.fullmatch("[0-9a-f]+", digest):
        raise invalid(f"{field} is algorithm:hex, one of {', '.join(_HASHES)}", field=field)
    actual = content.sha256
    if name != "sha256":
        state = hashlib.new(name, usedforsecurity=False)
        async for piece in services.blobs.open(content.sha256):
            state.update(piece)
        actual = state.hexdigest()
    if not hmac.compare_digest(actual, digest):
        raise invalid(f"{field}: the content has {name}:{actual}", code="checksum_mismatch", field=field)
