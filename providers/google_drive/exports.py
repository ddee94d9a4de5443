"""Native documents, which have no bytes of their own: the formats they are exported to.

Source: https://developers.google.com/workspace/drive/api/guides/ref-export-formats
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

__all__ = ["FOLDER", "FORMATS", "KINDS", "NATIVE", "SHORTCUT", "Export", "export_of", "fallback_of", "is_native"]

NATIVE = "application/vnd.google-apps."
FOLDER = f"{NATIVE}folder"
SHORTCUT = f"{NATIVE}shortcut"
_OFFICE = "application/vnd.openxmlformats-officedocument."


class Export(NamedTuple):
    """A format: its extension and media type."""

    extension: str
    mime_type: str


FORMATS: Mapping[str, str] = {
    "docx": f"{_OFFICE}wordprocessingml.document",
    "xlsx": f"{_OFFICE}spreadsheetml.sheet",
    "pptx": f"{_OFFICE}presentationml.presentation",
    "odt": "application/vnd.oasis.opendocument.text",
    "ods": "application/x-vnd.oasis.opendocument.spreadsheet",
    "odp": "application/vnd.oasis.opendocument.presentation",
    "rtf": "application/rtf",
    "pdf": "application/pdf",
    "txt": "text/plain",
    "md": "text/markdown",
    "html": "text/html",
    "epub": "application/epub+zip",
    "zip": "application/zip",
    "csv": "text/csv",
    "tsv": "text/tab-separated-values",
    "jpg": "image/jpeg",
    "png": "image/png",
    "svg": "image/svg+xml",
    "json": f"{NATIVE}script+json",
    "mp4": "video/mp4",
}
KINDS: Mapping[str, tuple[str, ...]] = {
    "document": ("docx", "odt", "rtf", "pdf", "txt", "md", "html", "epub", "zip"),
    "spreadsheet": ("xlsx", "ods", "pdf", "csv", "tsv", "zip"),
    "presentation": ("pptx", "odp", "pdf", "txt"),
    "drawing": ("png", "pdf", "jpg", "svg"),
    "script": ("json",),
    "vid": ("mp4",),
}
"""What each kind can be exported to; the first is the default. Kinds that are not here cannot be exported."""


def is_native(mime_type: str) -> bool:
    """Whether a file has no bytes of its own."""
    return mime_type.startswith(NATIVE)


def export_of(mime_type: str, wanted: Mapping[str, str]) -> Export | None:
    """The format for a native document; `wanted`: kind -> extension, where not the default. None: no export."""
    kind = mime_type.removeprefix(NATIVE)
    if kind not in KINDS:
        return None
    extension = wanted.get(kind, KINDS[kind][0])
    return Export(extension, FORMATS[extension])


def fallback_of(mime_type: str, export: str) -> str | None:
    """The media type that is tried where the wanted one is too large to be exported in any way."""
    kind = mime_type.removeprefix(NATIVE)
    pdf = FORMATS["pdf"]
    return pdf if "pdf" in KINDS.get(kind, ()) and export != pdf else None
