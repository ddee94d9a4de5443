"""From a driveItem to a source object: identity, fingerprint, and why some are not to be fetched. Pure."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from providers.base import SourceObject

__all__ = ["FIELDS", "Options", "content_of", "drifts", "source_object", "unwanted"]

FIELDS = (
    "id,name,size,eTag,createdDateTime,lastModifiedDateTime,file,folder,package,remoteItem,root,deleted,malware,"
    "parentReference"
)
# SharePoint writes properties into these when it serves them, or converts them: what is served has
# another length and hash than what is listed. https://github.com/rclone/rclone/issues/399, /issues/1866
_DRIFTING = re.compile(
    r"(do[ct][mx]?|xl[st][bmx]?|p[op]t[mx]?|pps[mx]?|vsd[mx]?|mpp|od[pst]|rtf|msg|eml|hei[cf]|hif|avif|aspx|html?|mht|"
    r"mhtml|xml|one|onetoc2|url|csv)"
)


@dataclass(frozen=True, slots=True)
class Options:
    """A sync's `provider_filters`."""

    allow_malware: bool = False
    exclude_labels: frozenset[str] = frozenset()


def content_of(item: Mapping[str, Any]) -> str:
    """What stands for the bytes: a hash, else the eTag, else time and size; never something absent on both sides.

    cTag is not asked: delta leaves it out for OneDrive for Business.
    """
    hashes = (item.get("file") or {}).get("hashes") or {}
    for name, letter in (("quickXorHash", "q"), ("sha256Hash", "s"), ("sha1Hash", "a")):
        if hashes.get(name):
            return f"{letter}:{hashes[name]}"
    if item.get("eTag"):
        return f"e:{item['eTag']}:{item.get('size')}"
    if item.get("lastModifiedDateTime"):
        return f"m:{item['lastModifiedDateTime']}:{item.get('size')}"
    return f"?:{secrets.token_hex(8)}"


def drifts(name: str) -> bool:
    """Whether the bytes served may rightly differ from the listed size and hash."""
    return _DRIFTING.fullmatch(name.rpartition(".")[2].lower()) is not None


def modified_at(item: Mapping[str, Any]) -> datetime | None:
    """When it was last changed at the source."""
    return parse_time(item.get("lastModifiedDateTime"))


def parse_time(text: Any) -> datetime | None:
    """A time as Graph writes it; None for anything else."""
    try:
        found = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def source_object(drive: str, item: Mapping[str, Any], path: str, *, options: Options) -> SourceObject:
    """The row of a file whose path below the source path is known."""
    content = content_of(item)
    malware = "malware" in item
    stamp = hashlib.blake2b(
        f"{item.get('eTag')}\n{item.get('lastModifiedDateTime')}\n{path}".encode("utf-8", "surrogatepass"),
        digest_size=9,
    ).hexdigest()
    locator: dict[str, Any] = {
        "drive": drive,
        "item": str(item["id"]),
        "parent": str((item.get("parentReference") or {}).get("id") or ""),
        "content": content,
        "etag": str(item.get("eTag") or ""),
    }
    if malware:
        locator["malware"] = "allowed" if options.allow_malware else "refused"
    size = item.get("size")
    return SourceObject(
        id=f"{drive}/{item['id']}",
        path=path,
        # A file found to be malware later, or no longer, is looked at again.
        fingerprint=f"{'malware:' if malware else ''}{content}|{stamp}",
        size=size if isinstance(size, int) and size >= 0 else None,
        modified_at=modified_at(item),
        mime_type=(item.get("file") or {}).get("mimeType") or None,
        locator=locator,
    )


def unwanted(item: Mapping[str, Any], options: Options) -> str | None:
    """Why a listed item is not to be fetched; None for a file that is."""
    if "package" in item:
        kind = str((item["package"] or {}).get("type") or "").lower()
        return "onenote_notebook" if kind == "onenote" else "package"
    if "file" not in item:
        return "not_a_file"
    label = ((item.get("sensitivityLabel") or {}).get("id") or "").lower()
    return "label_excluded" if label and label in options.exclude_labels else None
