"""Schema mapping: from what a source knows about a file or row to the fields and blobs of an object.

Stored as validated, with every default written out, so that a reader always finds `target_type`
and the source's `type` (clients cannot tell the alternatives apart without them).
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator

from models.common import Request

__all__ = [
    "RESERVED_FIELDS",
    "BlobMappingEntry",
    "ColumnSource",
    "ConstantSource",
    "DrivePropertySource",
    "FieldMappingEntry",
    "FileSource",
    "FilenameRegexSource",
    "FolderPathSource",
    "S3MetadataSource",
    "S3TagSource",
    "SchemaMapping",
    "unfit_source",
]

_PATTERN_LIMIT = 1000
# Names an object's own properties have in replies; a custom field of that name could never be read.
RESERVED_FIELDS = frozenset(
    {"object_id", "bucket_id", "key_prefix", "blobs", "source_details", "edges", "status", "error", "hash",
     "created_at", "updated_at", "document_count", "consistency"}
)  # fmt: skip


def _one_group(pattern: str) -> str:
    if len(pattern) > _PATTERN_LIMIT:
        raise ValueError(f"the pattern is longer than {_PATTERN_LIMIT} characters")
    try:
        groups = re.compile(pattern).groups
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"not a regular expression: {error}") from error
    if groups != 1:
        raise ValueError(f"the pattern must have exactly one capture group, not {groups}")
    return pattern


class S3TagSource(Request):
    """An object tag; the key is case-sensitive."""

    type: Literal["tag"] = "tag"
    key: Annotated[str, Field(min_length=1, max_length=128)]


class S3MetadataSource(Request):
    """User metadata; the key is case-insensitive and without `x-amz-meta-`."""

    type: Literal["metadata"] = "metadata"
    key: Annotated[str, Field(min_length=1, max_length=1024)]


class ColumnSource(Request):
    """A column of a row."""

    type: Literal["column"] = "column"
    name: Annotated[str, Field(min_length=1)]


class DrivePropertySource(Request):
    """A property of a Drive file, or one of its appProperties."""

    type: Literal["drive_property"] = "drive_property"
    key: Annotated[str, Field(min_length=1)]


class FilenameRegexSource(Request):
    """What the one capture group finds in the file name; without match and default the field is left out."""

    type: Literal["filename_regex"] = "filename_regex"
    pattern: Annotated[str, Field(min_length=1), AfterValidator(_one_group)]
    default: str | None = None


class FolderPathSource(Request):
    """A segment of the folder path (0 the first, -1 the last), or all of it; neither: the immediate parent."""

    type: Literal["folder_path"] = "folder_path"
    segment: int | None = None
    full_path: bool | None = False


class FileSource(Request):
    """The file itself; for blobs only."""

    type: Literal["file"] = "file"


class ConstantSource(Request):
    """The same value on every object."""

    type: Literal["constant"] = "constant"
    value: Any


def _kind(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else getattr(value, name, None)


# What a source without `type` must be, by the one key that only it has.
_TELLING = {
    "pattern": "filename_regex", "name": "column", "segment": "folder_path", "full_path": "folder_path",
    "value": "constant",
}  # fmt: skip


def _source(value: Any) -> Any:
    """`type`, or what the other keys leave no doubt about; a `key` alone could be three things."""
    named = _kind(value, "type")
    if named is not None or not isinstance(value, dict):
        return named
    found = {_TELLING[key] for key in value if key in _TELLING}
    return found.pop() if len(found) == 1 else None if value else "file"


Source = Annotated[
    Annotated[S3TagSource, Tag("tag")]
    | Annotated[S3MetadataSource, Tag("metadata")]
    | Annotated[FilenameRegexSource, Tag("filename_regex")]
    | Annotated[ColumnSource, Tag("column")]
    | Annotated[DrivePropertySource, Tag("drive_property")]
    | Annotated[FolderPathSource, Tag("folder_path")]
    | Annotated[FileSource, Tag("file")]
    | Annotated[ConstantSource, Tag("constant")],
    Discriminator(
        _source,
        custom_error_type="source_type_missing",
        custom_error_message="a source says its type: tag, metadata, filename_regex, column, drive_property, "
        "folder_path, file or constant",
    ),
]


class FieldMappingEntry(Request):
    """Fills a field of the object."""

    target_type: Literal["field"] = "field"
    source: Source
    transform: Literal["lowercase", "uppercase", "trim", "json_parse"] | None = None
    required: bool | None = False

    @model_validator(mode="after")
    def _not_a_file(self) -> FieldMappingEntry:
        if self.source.type == "file":
            raise ValueError("the source 'file' is for blobs: use target_type 'blob'")
        return self


class BlobMappingEntry(Request):
    """Fills a blob of the object. Other sources than `file` hold the address of its content."""

    target_type: Literal["blob"] = "blob"
    source: Source
    blob_type: Literal["auto", "image", "video", "audio", "text", "pdf", "excel"] | None = "auto"
    blob_property: Annotated[str, Field(min_length=1)] | None = "content"
    mime_type_override: str | None = None


_BLOB_KEYS = ("blob_type", "blob_property", "mime_type_override")


def _target(value: Any) -> str:
    """`target_type`, or what the other keys leave no doubt about when it is left out."""
    named = _kind(value, "target_type")
    if isinstance(named, str):
        return named
    blob = any(_kind(value, key) is not None for key in _BLOB_KEYS) or _kind(_kind(value, "source"), "type") == "file"
    return "blob" if blob else "field"


MappingEntry = Annotated[
    Annotated[FieldMappingEntry, Tag("field")] | Annotated[BlobMappingEntry, Tag("blob")], Discriminator(_target)
]


class SchemaMapping(Request):
    """Target name to entry. Without a mapping the file becomes the blob `content`."""

    mappings: dict[str, MappingEntry]

    @model_validator(mode="after")
    def _names(self) -> SchemaMapping:
        for name, entry in self.mappings.items():
            if isinstance(entry, FieldMappingEntry) and name in RESERVED_FIELDS:
                raise ValueError(f"'{name}' is a property every object has; choose another name for the field")
            if not name or name.startswith("$") or "." in name or "\0" in name:
                raise ValueError(f"{name!r} cannot be the name of a field: no '.', no leading '$', not empty")
        return self


_SOURCES_OF = {
    "tag": ("s3", "tigris"),
    "metadata": ("s3", "tigris"),
    "column": ("snowflake",),
    "drive_property": ("google_drive",),
}


def unfit_source(mapping: SchemaMapping, provider_type: str) -> str | None:
    """Why the mapping cannot work with this provider, or None."""
    for name, entry in mapping.mappings.items():
        providers = _SOURCES_OF.get(entry.source.type)
        if providers and provider_type not in providers:
            return (
                f"mappings.{name}: a {provider_type} connection has no '{entry.source.type}' source; "
                f"that is for {' and '.join(providers)}"
            )
    return None
