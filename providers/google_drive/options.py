"""`source_path` and `provider_filters`, as a person writes them, in one value.

A source path is `/` (all of My Drive, or of the shared drive), a folder's or drive's id, a path of
names (`/a/b`, `a/b`), or the folder's address as copied from the browser.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from providers.errors import Misconfigured
from providers.google_drive.errors import PROVIDER
from providers.google_drive.exports import KINDS

__all__ = ["Options", "narrow", "parse"]

_MARK = "\x1f"
_FILTERS = ("shared_drive_id", "acknowledge_abuse", "export_formats")
_ID = re.compile(r"[A-Za-z0-9_-]{1,128}").fullmatch
_IN_ADDRESS = re.compile(r"/(?:folders|drives|d)/([A-Za-z0-9_-]{10,128})")


@dataclass(frozen=True, slots=True)
class Options:
    """Where a sync looks and how it fetches. `names` is the path, or `id` the place itself."""

    text: str
    id: str | None = None
    resource_key: str = ""
    names: tuple[str, ...] = ()
    shared_drive_id: str | None = None
    acknowledge_abuse: bool = False
    export_formats: Mapping[str, str] = field(default_factory=dict)


def narrow(path: str, filters: Mapping[str, Any]) -> str:
    """`path` with its filters, opaque. Raises Misconfigured naming the filter that cannot work."""

    def refuse(why: str) -> Misconfigured:
        return Misconfigured(f"provider_filters.{why}", provider=PROVIDER, path=path)

    if not filters:
        return path
    unknown = sorted(filters.keys() - set(_FILTERS))
    if unknown:
        raise refuse(f"{unknown[0]} does not exist; there are {', '.join(_FILTERS)}")
    drive = filters.get("shared_drive_id")
    if drive is not None and not (isinstance(drive, str) and _ID(drive)):
        raise refuse("shared_drive_id must be the id of a shared drive, as in its address after /folders/")
    if not isinstance(filters.get("acknowledge_abuse", False), bool):
        raise refuse("acknowledge_abuse must be true or false")
    formats = filters.get("export_formats") or {}
    if not isinstance(formats, Mapping):
        raise refuse("export_formats must be an object such as {'document': 'pdf'}")
    for kind, extension in formats.items():
        if kind not in KINDS:
            raise refuse(f"export_formats.{kind} is no kind; there are {', '.join(KINDS)}")
        if extension not in KINDS[kind]:
            raise refuse(f"export_formats.{kind} must be one of {', '.join(KINDS[kind])}")
    return _MARK + json.dumps({"path": path, **filters}, sort_keys=True)


def parse(path: str, shared_drive_id: str | None = None) -> Options:
    """Inverse of `narrow`; `shared_drive_id` is the connection's, used where the filters have none."""
    filters: dict[str, Any] = {}
    if path.startswith(_MARK):
        filters = json.loads(path[1:])
        path = filters.pop("path")
    more: dict[str, Any] = {
        "shared_drive_id": filters.get("shared_drive_id") or shared_drive_id or None,
        "acknowledge_abuse": filters.get("acknowledge_abuse", False),
        "export_formats": filters.get("export_formats") or {},
    }
    if path.startswith(("https://", "http://")):
        parts = urlsplit(path)
        found = _IN_ADDRESS.search(parts.path)
        query = parse_qs(parts.query)
        identifier = found.group(1) if found else (query.get("id") or [""])[0]
        if not (_ID(identifier) and (parts.hostname or "").endswith("google.com")):
            if parts.path.rstrip("/").endswith("/my-drive"):
                return Options(path, **more)
            raise Misconfigured(
                "source_path is an address without a folder's id: open the folder in Drive and copy its address",
                provider=PROVIDER,
                path=path,
            )
        key = (query.get("resourcekey") or [""])[0]
        return Options(path, id=identifier, resource_key=key if _ID(key or "-") else "", **more)
    names = tuple(name for name in path.split("/") if name)
    if path and not path.startswith("/") and len(names) == 1 and _ID(names[0]):
        # An id, or the name of a folder at the top: whoever resolves it tries both.
        return Options(path, id=names[0], names=names, **more)
    return Options(path, names=names, **more)
