"""Which source objects a sync leaves out (`file_filters`, `sync_from`), and why. Pure.

All conditions must hold. What the contract leaves open is decided like this:

- Patterns are globs over the whole name or path: `*` and `?` also match `/`, as in Python's fnmatch, so that
  `*/drafts/*` means any depth; `**/` also matches nothing; a leading `/` stands for the source root, a trailing
  one for everything below. Case counts, as it does in keys.
- Extensions and MIME types disregard case; `tar.gz` is an extension. A MIME type that the source does not state
  is taken from the extension.
- Sizes are inclusive bounds, times exclusive ones. An object whose size or time is unknown passes: not knowing is
  no reason to leave something out.
- Metadata filters look at `metadata.NAME` or `tags.NAME` if so written, else at user metadata (any case),
  provider properties (any case) and tags (exact), in this order. Texts are compared without regard to case. If
  both sides are numbers, dates or truth values, or texts of such, they are compared as these. `contains` on a
  list asks for an element; other comparisons of a list are false. A missing field (or null) passes
  `not_equals`, `not_contains` and `exists: false` and fails everything else.
"""

from __future__ import annotations

import fnmatch
import itertools
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from activities.media import mime_type_of
from providers.base import Attributes, SourceObject

__all__ = ["Filter", "compile_filters"]

_MAX_OPTIONAL_FOLDERS = 5
_MISSING = object()

_ORDERED: Mapping[str, Callable[[Any, Any], bool]] = {
    "gt": operator.gt,
    "lt": operator.lt,
    "gte": operator.ge,
    "lte": operator.le,
}


class Filter:
    """Compiled by `compile_filters`. Reasons are the words of `skipped_by_reason`."""

    __slots__ = (
        "_after",
        "_before",
        "_conditions",
        "_exclude_names",
        "_exclude_paths",
        "_extensions",
        "_include_names",
        "_include_paths",
        "_max_size",
        "_mime_types",
        "_min_size",
        "_sync_from",
        "needs_attributes",
    )

    def __init__(self, filters: Mapping[str, Any], sync_from: datetime | None) -> None:
        self._include_names, self._include_paths = _compile_patterns(filters.get("include_patterns"))
        self._exclude_names, self._exclude_paths = _compile_patterns(filters.get("exclude_patterns"))
        extensions = [extension.lower().lstrip(".") for extension in filters.get("extensions") or ()]
        self._extensions = tuple(f".{extension}" for extension in extensions if extension)
        mime_types = [mime_type.strip().lower() for mime_type in filters.get("mime_types") or ()]
        self._mime_types = _any_of([fnmatch.translate(mime_type) for mime_type in mime_types if mime_type])
        self._min_size: int | None = filters.get("min_size_bytes")
        self._max_size: int | None = filters.get("max_size_bytes")
        self._after = _instant(filters.get("modified_after"))
        self._before = _instant(filters.get("modified_before"))
        self._sync_from = sync_from
        self._conditions = [_Condition(condition) for condition in filters.get("metadata_filters") or ()]
        self.needs_attributes: tuple[bool, bool] = (
            any(condition.tags for condition in self._conditions),
            any(condition.metadata for condition in self._conditions),
        )

    def reject(self, source: SourceObject) -> str | None:
        """Why this object is left out, judging by what the listing says; None if it is not."""
        if self._include_names or self._include_paths or self._exclude_names or self._exclude_paths:
            path, name = source.path, source.name
            if (self._include_names or self._include_paths) and not (
                (self._include_names and self._include_names.match(name))
                or (self._include_paths and self._include_paths.match(path))
            ):
                return "filtered_pattern"
            if (self._exclude_names and self._exclude_names.match(name)) or (
                self._exclude_paths and self._exclude_paths.match(path)
            ):
                return "filtered_pattern"
        if self._extensions and not source.path.lower().endswith(self._extensions):
            return "filtered_extension"
        if self._mime_types and not self._mime_types.match(mime_type_of(source.name, source.mime_type)):
            return "filtered_mime_type"
        size = source.size
        if size is not None and (
            (self._min_size is not None and size < self._min_size)
            or (self._max_size is not None and size > self._max_size)
        ):
            return "filtered_size"
        modified = source.modified_at
        if modified is not None:
            if (self._after is not None and modified <= self._after) or (
                self._before is not None and modified >= self._before
            ):
                return "filtered_modified"
            if self._sync_from is not None and modified <= self._sync_from:
                return "before_sync_from"
        return None

    def reject_attributes(self, source: SourceObject, attributes: Attributes) -> str | None:
        """The same, judging by attributes that cost a request of their own."""
        del source
        for condition in self._conditions:
            if not condition.holds(attributes):
                return "filtered_metadata"
        return None


def compile_filters(file_filters: Mapping[str, Any] | None, sync_from: datetime | str | None) -> Filter | None:
    """The filter of a sync config as stored; None when nothing is configured, so that the caller can skip it."""
    given = {name: value for name, value in (file_filters or {}).items() if value is not None and value != []}
    if not given and sync_from is None:
        return None
    return Filter(given, _instant(sync_from))


class _Condition:
    """One metadata filter."""

    __slots__ = ("_name", "_operator", "_value", "metadata", "tags")

    def __init__(self, condition: Mapping[str, Any]) -> None:
        field: str = condition["field"]
        where, _, rest = field.partition(".")
        self.tags = where == "tags" or not (where == "metadata" and rest)
        self.metadata = where == "metadata" or not (where == "tags" and rest)
        if not (self.tags and self.metadata):
            field = rest
        self._name = field
        self._operator: str = condition.get("operator") or "contains"
        self._value = condition.get("value")

    def holds(self, attributes: Attributes) -> bool:
        found = self._look_up(attributes)
        there = found is not _MISSING and found is not None
        expected = self._value
        if self._operator == "exists":
            wanted = expected is None or _typed(expected) not in (False, 0)
            return there == wanted
        if self._operator in ("not_equals", "not_contains"):
            return not there or not _CHECKS[self._operator.removeprefix("not_")](found, expected)
        if self._operator in _ORDERED:
            return there and _compare(found, expected, _ORDERED[self._operator])
        return there and _CHECKS[self._operator](found, expected)

    def _look_up(self, attributes: Attributes) -> Any:
        if self.metadata:
            for place in (attributes.metadata, attributes.properties) if self.tags else (attributes.metadata,):
                if (found := _any_case(place, self._name)) is not _MISSING:
                    return found
        return attributes.tags.get(self._name, _MISSING) if self.tags else _MISSING


def _any_case(place: Mapping[str, Any], name: str) -> Any:
    if name in place:
        return place[name]
    folded = name.casefold()
    return next((value for key, value in place.items() if key.casefold() == folded), _MISSING)


def _typed(value: Any) -> Any:
    """What a value means: a truth value, number or instant if it reads as one, else its text in one case."""
    if isinstance(value, datetime):
        return _instant(value)
    if not isinstance(value, str):
        return value
    text = value.strip().casefold()
    if text in ("true", "false"):
        return text == "true"
    try:
        # Leading zeros are a name, not a number: 007 is not 7.
        if re.fullmatch(r"[+-]?(0|[1-9]\d*)", text, re.ASCII):
            return int(text)
        if re.fullmatch(r"[+-]?(0|[1-9]\d*)(\.\d+)?(e[+-]?\d+)?", text, re.ASCII):
            return float(text)
        if re.match(r"\d{4}-\d\d-\d\d", text, re.ASCII):
            return _instant(text.upper())
    except ValueError:
        pass
    return value.casefold()


def _same_kind(left: Any, right: Any) -> bool:
    numbers = (int, float, Decimal)
    if isinstance(left, bool) or isinstance(right, bool):
        return isinstance(left, bool) and isinstance(right, bool)
    return (isinstance(left, numbers) and isinstance(right, numbers)) or type(left) is type(right)


def _compare(found: Any, expected: Any, order: Callable[[Any, Any], bool]) -> bool:
    if expected is None or isinstance(found, list | dict):
        return False
    left, right = _typed(found), _typed(expected)
    if not _same_kind(left, right):
        left, right = _text(found), _text(expected)
    try:
        return bool(order(left, right))
    except TypeError:
        return False


def _text(value: Any) -> str:
    return str(value).casefold()


def _equals(found: Any, expected: Any) -> bool:
    return expected is not None and _compare(found, expected, operator.eq)


def _contains(found: Any, expected: Any) -> bool:
    if expected is None:
        return False
    if isinstance(found, Sequence) and not isinstance(found, str):
        return any(_equals(element, expected) for element in found)
    return _text(expected) in _text(found)


_CHECKS: Mapping[str, Callable[[Any, Any], bool]] = {"equals": _equals, "contains": _contains}


def _compile_patterns(patterns: Sequence[str] | None) -> tuple[re.Pattern[str] | None, re.Pattern[str] | None]:
    """Globs for names and globs for paths, each as one expression."""
    names = [fnmatch.translate(pattern) for pattern in patterns or () if "/" not in pattern and pattern]
    paths: list[str] = []
    for pattern in patterns or ():
        if "/" not in pattern:
            continue
        whole = pattern + "*" if pattern.endswith("/") else pattern
        # A key may itself begin with a slash, so the pattern as written counts too.
        for variant in {whole, whole.removeprefix("/")}:
            paths += map(fnmatch.translate, _without_optional_folders(variant))
    return _any_of(names), _any_of(paths)


def _without_optional_folders(pattern: str) -> list[str]:
    """`a/**/b` matches `a/b` too: every way of leaving such folders out, for the first few of them."""
    head, *tail = pattern.split("**/")
    if len(tail) > _MAX_OPTIONAL_FOLDERS:
        tail = [*tail[: _MAX_OPTIONAL_FOLDERS - 1], "*/".join(tail[_MAX_OPTIONAL_FOLDERS - 1 :])]
    return [
        head + "".join(glue + part for glue, part in zip(glues, tail, strict=True))
        for glues in itertools.product(("*/", ""), repeat=len(tail))
    ]


def _any_of(expressions: list[str]) -> re.Pattern[str] | None:
    return re.compile("|".join(expressions)) if expressions else None


def _instant(value: datetime | str | None) -> datetime | None:
    """An aware datetime; one without an offset is UTC."""
    if value is None:
        return None
    instant = datetime.fromisoformat(value) if isinstance(value, str) else value
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant
