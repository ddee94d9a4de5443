"""From a file as Drive shows it to a row: identity, path, fingerprint, what a mapping may ask for.

Identity is the file id, whatever the name: two files of one name are two objects.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

import orjson

from providers.base import SourceObject
from providers.google_drive.exports import FOLDER, SHORTCUT, export_of, is_native

__all__ = ["FIELDS", "Row", "content_of", "digest", "properties_of", "row_of", "safe_name", "skip_of"]

FIELDS = (
    "id,name,mimeType,size,md5Checksum,sha1Checksum,headRevisionId,version,createdTime,modifiedTime,parents,driveId,"
    "trashed,starred,description,webViewLink,appProperties,resourceKey,"
    "shortcutDetails(targetId,targetMimeType,targetResourceKey)"
)
_TOLD = (
    "name",
    "mimeType",
    "description",
    "starred",
    "trashed",
    "createdTime",
    "modifiedTime",
    "size",
    "webViewLink",
    "parents",
)
"""What `drive_property` can name besides appProperties."""
_EXTENSION = re.compile(r"\.[A-Za-z0-9]{1,8}").fullmatch
_LIGHT_BYTES = 400


class Row(NamedTuple):
    """One row of a page and why it is not to be fetched, if so."""

    source: SourceObject
    skip: str | None


def digest(*parts: str) -> str:
    """A short digest for comparisons."""
    return hashlib.blake2b("\0".join(parts).encode("utf-8", "surrogatepass"), digest_size=9).hexdigest()


def safe_name(name: str) -> str:
    """A name as one segment of a path: what would be a separator or lead elsewhere is shown by a look-alike."""
    if name in {".", ".."}:
        return "\uff0e" * len(name)
    return name.replace("/", "\uff0f").replace("\0", "\u2400") or "untitled"


def content_of(file: Mapping[str, Any], export: str = "") -> str:
    """The content part of a fingerprint.

    A native document has no digest, and its `version` moves for reasons that nobody sees: the time of its last
    change, kept by Drive to the millisecond, stands for its content. Without that nothing is promised.
    """
    mime_type, size = file.get("mimeType") or "", file.get("size")
    modified, version = file.get("modifiedTime"), file.get("version")
    if is_native(mime_type):
        return f"native:{modified}:{export}" if modified else f"version:{version}:{export}"
    if checksum := file.get("md5Checksum") or file.get("sha1Checksum"):
        return f"{checksum}:{size}"
    if revision := file.get("headRevisionId"):
        return f"revision:{revision}:{size}"
    return f"version:{version}:{modified}:{size}"


def properties_of(file: Mapping[str, Any]) -> dict[str, Any]:
    """What `drive_property` sees; Drive's own names win over an app's."""
    own = {name: file[name] for name in _TOLD if file.get(name) not in (None, "")}
    if isinstance(own.get("size"), str) and own["size"].isdigit():
        own["size"] = int(own["size"])
    return {**(file.get("appProperties") or {}), **own}


def skip_of(file: Mapping[str, Any], formats: Mapping[str, str]) -> str | None:
    """Why a file is present but cannot be fetched."""
    mime_type = file.get("mimeType") or ""
    if mime_type == SHORTCUT:
        target = (file.get("shortcutDetails") or {}).get("targetMimeType")
        return "shortcut_to_folder" if target == FOLDER else "shortcut_dangling"
    if is_native(mime_type) and export_of(mime_type, formats) is None:
        return "no_export"
    return None


def row_of(
    file: Mapping[str, Any],
    folder: str,
    formats: Mapping[str, str],
    *,
    acknowledge: bool = False,
    target: Mapping[str, Any] | None = None,
) -> Row:
    """The row of `file` in `folder` (path from the root). `target`: what a shortcut stands for, where it can be read.

    A shortcut keeps its own id, name and place and has its target's bytes.
    """
    real = target or file
    mime_type = str(real.get("mimeType") or "")
    export = export_of(mime_type, formats) if is_native(mime_type) else None
    name = safe_name(str(file.get("name") or ""))
    if export is not None and not name.lower().endswith(f".{export.extension}"):
        name = f"{name}.{export.extension}"
    path = f"{folder}/{name}" if folder else name
    told = properties_of({**file, **{name: real.get(name) for name in ("size", "mimeType")}})
    locator: dict[str, Any] = {"i": str(real["id"]), "p": told}
    if key := real.get("resourceKey") or (file.get("shortcutDetails") or {}).get("targetResourceKey"):
        locator["k"] = str(key)
    if checksum := real.get("md5Checksum"):
        locator["m"] = str(checksum)
    if export is not None:
        locator["x"] = export.mime_type
    if formats:
        locator["f"] = dict(formats)
    if acknowledge:
        locator["a"] = True
    size = real.get("size")
    stamp = orjson.dumps([path, told, file.get("shortcutDetails")], option=orjson.OPT_SORT_KEYS)
    weight = len(stamp)
    source = SourceObject(
        id=str(file["id"]),
        path=path,
        fingerprint=f"{content_of(real, export.extension if export else '')}|{digest(stamp.decode())}",
        size=int(size) if export is None and size is not None and str(size).isdigit() else None,
        modified_at=_instant(real.get("modifiedTime")),
        mime_type=export.mime_type if export else mime_type or None,
        locator=locator,
        weight=weight if weight > _LIGHT_BYTES else 0,
    )
    return Row(source, skip_of(real, formats))


def _instant(text: Any) -> datetime | None:
    try:
        instant = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return instant if instant.tzinfo else None
