"""From what a source says about an object to the fields and the blob of ours (`schema_mapping`). Pure.

What the contract leaves open is decided like this:

- The folder path is the one from the source root, empty segments left out; an object in the root has no folder,
  and a segment beyond the path is missing. What is missing leaves its field out, unless `required`.
- lowercase, uppercase and trim leave what is not text as it is; `json_parse` wants JSON that MongoDB can hold.
- One blob entry, of the file itself. Its property is `blob_property`; where that is the default and the bucket
  has no such property but one of the entry's name, it is that one.
- The MIME type is the override, or what the provider states, or what the extension says. `auto` goes by it;
  where it says nothing, by the bucket's declared type of that property, else `text`.
- Addresses as blobs (`column` or `metadata` source of a blob entry) are not supported yet, and refused at creation.

A regular expression that needs more than a tenth of a second on one file name is a bad value, not a stuck worker.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping as MappingOf
from dataclasses import dataclass
from typing import Any

import orjson
import regex

from activities.bucket_schema import BLOB_TYPES, unstorable, validate_fields
from activities.media import blob_type_of, mime_type_of
from providers.base import Attributes, SourceObject
from providers.errors import Permanent

__all__ = ["MappedObject", "Mapping", "compile_mapping", "validate_fields", "validate_mapping"]

_DEFAULT_PROPERTY = "content"
_REGEX_SECONDS = 0.1
_SHOWN = 100

Document = MappingOf[str, Any]
Extract = Callable[[SourceObject, Attributes], Any]


class _Missing:
    """The source has no such value; null is a value."""


_MISSING = _Missing()


@dataclass(slots=True)
class MappedObject:
    """What becomes of one source object. `blob_type` is never `auto`."""

    fields: dict[str, Any]
    blob_property: str
    blob_type: str
    mime_type: str


class Mapping:
    """Compiled by `compile_mapping`."""

    __slots__ = ("_fields", "_mime_type", "_property", "_type", "_unknown_type", "needs")

    def __init__(self, mappings: Document, properties: Document) -> None:
        self._fields = [_Field(name, entry) for name, entry in mappings.items() if _target(entry) == "field"]
        self._property, self._type, self._mime_type = _DEFAULT_PROPERTY, "auto", None
        blobs = {name: entry for name, entry in mappings.items() if _target(entry) == "blob"}
        if len(blobs) > 1:
            raise ValueError(f"mappings.{sorted(blobs)[1]}: only one blob entry is supported, an object holds one file")
        for name, entry in blobs.items():
            self._property, self._type, self._mime_type = _blob(name, entry, properties)
        declared = (properties.get(self._property) or {}).get("type")
        self._unknown_type: str = declared if declared in BLOB_TYPES else "text"
        self.needs: tuple[bool, bool] = (
            any(field.source_type == "tag" for field in self._fields),
            any(field.source_type in ("metadata", "column", "drive_property") for field in self._fields),
        )

    def apply(self, source: SourceObject, attributes: Attributes, mime_type: str | None = None) -> MappedObject:
        """Map one object; `mime_type` is what came with its bytes, which is better than what its listing said.

        Raises Permanent with reason `mapping_required_missing` or `mapping_bad_value`.
        """
        mime = self._mime_type or mime_type_of(source.path, mime_type or source.mime_type)
        kind = self._type if self._type != "auto" else blob_type_of(mime) or self._unknown_type
        fields: dict[str, Any] = {}
        for field in self._fields:
            value = field.value(source, attributes)
            if value is not _MISSING:
                fields[field.name] = value
        return MappedObject(fields, self._property, kind, mime)


def compile_mapping(schema_mapping: Document | None, bucket_schema: Document | None = None) -> Mapping:
    """The mapping of a sync config as stored; without one the file becomes the blob `content`.

    Raises ValueError naming the entry that cannot work.
    """
    return Mapping((schema_mapping or {}).get("mappings") or {}, (bucket_schema or {}).get("properties") or {})


def validate_mapping(schema_mapping: Document | None) -> str | None:
    """Why a mapping cannot work, for the person who sends it; None if it can."""
    try:
        compile_mapping(schema_mapping)
    except ValueError as error:
        return str(error)
    return None


class _Field:
    """One field entry."""

    __slots__ = ("_extract", "_required", "_transform", "_what", "name", "source_type")

    def __init__(self, name: str, entry: Document) -> None:
        source = entry.get("source") or {}
        self.name = name
        self.source_type: str = source.get("type") or ""
        make = _EXTRACTORS.get(self.source_type)
        if make is None:
            raise ValueError(f"mappings.{name}: no field can come from the source {self.source_type!r}")
        try:
            self._extract: Extract = make(source)
        except (KeyError, ValueError, regex.error) as error:
            raise ValueError(f"mappings.{name}: {error}") from None
        transform = entry.get("transform")
        if transform is not None and transform not in _TRANSFORMS:
            raise ValueError(f"mappings.{name}: unknown transform {transform!r}, not one of {', '.join(_TRANSFORMS)}")
        self._transform = _TRANSFORMS[transform] if transform else None
        self._required = bool(entry.get("required"))
        what = source.get("key") or source.get("name") or source.get("pattern") or ""
        self._what = f"{self.source_type} {what!r}" if what else self.source_type

    def value(self, source: SourceObject, attributes: Attributes) -> Any:
        """The field's value or `_MISSING`."""
        try:
            value = self._extract(source, attributes)
        except TimeoutError:
            raise self._bad(source, source.name, f"the pattern took more than {_REGEX_SECONDS} s") from None
        if value is _MISSING:
            if self._required:
                raise Permanent(
                    f"field {self.name!r} is required, but the object has no {self._what}",
                    provider="schema_mapping",
                    path=source.path,
                    reason="mapping_required_missing",
                )
            return value
        if self._transform is not None and isinstance(value, str):
            try:
                value = self._transform(value)
            except orjson.JSONDecodeError as error:
                raise self._bad(source, value, f"not JSON ({error.msg})") from None
        if problem := unstorable(value):
            raise self._bad(source, value, problem)
        return value

    def _bad(self, source: SourceObject, value: Any, problem: str) -> Permanent:
        shown = repr(value)
        shown = shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}…"
        return Permanent(
            f"field {self.name!r} from {self._what}: {problem}: {shown}",
            provider="schema_mapping",
            path=source.path,
            reason="mapping_bad_value",
        )


def _target(entry: Document | None) -> str:
    if not isinstance(entry, MappingOf):
        raise ValueError(f"a mapping entry is an object, not {type(entry).__name__}")  # noqa: TRY004 - one kind of error
    return str(entry.get("target_type") or ("blob" if (entry.get("source") or {}).get("type") == "file" else "field"))


def _blob(name: str, entry: Document, properties: Document) -> tuple[str, str, str | None]:
    source_type = (entry.get("source") or {}).get("type")
    if source_type in ("column", "metadata"):
        raise ValueError(f"mappings.{name}: a blob from an address in a {source_type} is not supported yet")
    if source_type != "file":
        raise ValueError(f"mappings.{name}: the source of a blob is 'file', not {source_type!r}")
    kind = entry.get("blob_type") or "auto"
    if kind != "auto" and kind not in BLOB_TYPES:
        raise ValueError(f"mappings.{name}: unknown blob_type {kind!r}")
    wanted = entry.get("blob_property") or _DEFAULT_PROPERTY
    if wanted == _DEFAULT_PROPERTY and wanted not in properties and name in properties:
        wanted = name
    return wanted, kind, entry.get("mime_type_override") or None


def _tag(source: Document) -> Extract:
    key: str = source["key"]
    return lambda _, attributes: attributes.tags.get(key, _MISSING)


def _metadata(source: Document) -> Extract:
    key: str = source["key"].lower()

    def extract(_: SourceObject, attributes: Attributes) -> Any:
        metadata = attributes.metadata
        if key in metadata:
            return metadata[key]
        return next((value for name, value in metadata.items() if name.lower() == key), _MISSING)

    return extract


def _property(source: Document) -> Extract:
    key: str = source["key"]
    return lambda _, attributes: attributes.properties.get(key, _MISSING)


def _column(source: Document) -> Extract:
    name: str = source["name"]
    upper = name.upper()

    def extract(_: SourceObject, attributes: Attributes) -> Any:
        columns = attributes.properties
        return columns[name] if name in columns else columns.get(upper, _MISSING)

    return extract


def _filename_regex(source: Document) -> Extract:
    pattern = regex.compile(source["pattern"])
    if pattern.groups != 1:
        raise ValueError(f"the pattern must have exactly one capture group, not {pattern.groups}")
    default = source.get("default")
    fallback = _MISSING if default is None else default

    def extract(file: SourceObject, _: Attributes) -> Any:
        match = pattern.search(file.name, timeout=_REGEX_SECONDS)
        found = match[1] if match else None
        return fallback if found is None else found

    return extract


def _folder_path(source: Document) -> Extract:
    full, segment = source.get("full_path"), source.get("segment")
    index = -1 if segment is None else segment

    def extract(file: SourceObject, _: Attributes) -> Any:
        folders = [name for name in file.path.split("/")[:-1] if name]
        if full:
            return "/".join(folders) if folders else _MISSING
        return folders[index] if -len(folders) <= index < len(folders) else _MISSING

    return extract


def _constant(source: Document) -> Extract:
    value = source["value"]
    if problem := unstorable(value):
        raise ValueError(problem)
    return lambda _file, _attributes: value


_EXTRACTORS: MappingOf[str, Callable[[Document], Extract]] = {
    "tag": _tag,
    "metadata": _metadata,
    "column": _column,
    "drive_property": _property,
    "filename_regex": _filename_regex,
    "folder_path": _folder_path,
    "constant": _constant,
}

_TRANSFORMS: MappingOf[str, Callable[[str], Any]] = {
    "lowercase": str.lower,
    "uppercase": str.upper,
    "trim": str.strip,
    "json_parse": orjson.loads,
}
