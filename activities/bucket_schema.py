"""Whether mapped fields are what the bucket's schema asks for. Pure.

Text is read as a number, integer or truth value where the schema wants one and nothing is lost by it: tags and
user metadata are always text. Null counts as missing; a default fills what is missing. Fields that the schema
does not name are kept. Properties of blob types are about blobs, so a field there only has to be text.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import date, datetime
from typing import Any

from providers.errors import Permanent

__all__ = ["BLOB_TYPES", "unstorable", "validate_fields"]

BLOB_TYPES = frozenset({"image", "video", "audio", "text", "pdf", "excel"})

_MAX_DEPTH = 90
"""MongoDB refuses 100 levels; a field sits a few levels down."""
_MAX_TEXT = 1 << 20
_INT64 = 1 << 63
_SHOWN = 100
_A = {"integer": "an", "object": "an", "array": "an"}

Document = Mapping[str, Any]


def validate_fields(
    fields: dict[str, Any], bucket_schema: Document | None, *, path: str = "", blob_property: str | None = None
) -> dict[str, Any]:
    """The fields as the schema wants them; the same dict if it says nothing about any.

    `blob_property` is filled by the file, so that it is not missing. Raises Permanent (reason `schema_mismatch`).
    """
    properties = (bucket_schema or {}).get("properties")
    if not properties:
        return fields
    try:
        return _object(fields, properties, "", blob_property)
    except _Mismatch as error:
        raise Permanent(str(error), provider="bucket_schema", path=path, reason="schema_mismatch") from None


class _Mismatch(Exception):
    """A value that is not what the schema says."""

    def __init__(self, name: str, wanted: str, value: Any) -> None:
        shown = repr(value)
        super().__init__(f"field {name!r} {wanted}, got {shown if len(shown) <= _SHOWN else shown[:_SHOWN] + '…'}")


def _object(value: Document, properties: Document, prefix: str, blob_property: str | None = None) -> dict[str, Any]:
    result = dict(value)
    for name, rule in properties.items():
        full = f"{prefix}{name}"
        given = result.get(name)
        if given is None and rule.get("default") is not None and name != blob_property:
            given = rule["default"]
        if given is not None:
            result[name] = _checked(given, rule, full)
        elif rule.get("required") and name != blob_property and (prefix or rule.get("type") not in BLOB_TYPES):
            raise _Mismatch(full, "is required", given)
    return result


def _checked(value: Any, rule: Document, name: str) -> Any:
    kind = rule.get("type") or ""
    value = _of_type(value, kind, name)
    if kind == "object" and rule.get("properties"):
        value = _object(value, rule["properties"], f"{name}.")
    elif kind == "array" and rule.get("items"):
        value = [_checked(element, rule["items"], f"{name}[{i}]") for i, element in enumerate(value)]
    allowed = rule.get("enum")
    # In Python, true equals 1.
    if allowed and not any(value == one and isinstance(value, bool) == isinstance(one, bool) for one in allowed):
        raise _Mismatch(name, f"must be one of {allowed!r:.200}", value)
    return value


def _of_type(value: Any, kind: str, name: str) -> Any:
    fit = _FITS.get(kind)
    if fit is None:
        return value
    fitted = fit(value)
    if fitted is None:
        raise _Mismatch(name, f"must be {_A.get(kind, 'a')} {kind}", value)
    return fitted


def _number(value: Any) -> int | float | None:
    if isinstance(value, str):
        if "_" in value:
            return None
        for read in (int, float):
            try:
                value = read(value)
                break
            except ValueError:
                continue
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if -_INT64 <= value < _INT64 else None


def _integer(value: Any) -> int | float | None:
    number = _number(value)
    return None if number is None or number != int(number) else _number(int(number))


def _boolean(value: Any) -> bool | None:
    if isinstance(value, str):
        return {"true": True, "false": False}.get(value.strip().lower())
    return value if isinstance(value, bool) else None


def _instant(read: Callable[[str], date]) -> Callable[[Any], Any]:
    def fit(value: Any) -> Any:
        if isinstance(value, str):
            try:
                read(value)
            except ValueError:
                return None
            return value
        return value if isinstance(value, date) else None

    return fit


def _of(kind: type) -> Callable[[Any], Any]:
    return lambda value: value if isinstance(value, kind) else None


# Type of the schema to a function that gives the value back as that type, or None if it is not one.
_FITS: Mapping[str, Callable[[Any], Any]] = {
    "number": _number,
    "float": _number,
    "integer": _integer,
    "boolean": _boolean,
    "date": _instant(date.fromisoformat),
    "datetime": _instant(datetime.fromisoformat),
    "object": _of(dict),
    "array": _of(list),
    "string": _of(str),
    **dict.fromkeys(BLOB_TYPES, _of(str)),
}


def unstorable(value: Any, depth: int = 0) -> str | None:
    """Why MongoDB could not hold this value as a field; None if it can. One such value would fail its whole group."""
    if isinstance(value, str):
        return _unstorable_text(value)
    if isinstance(value, int):
        return None if -_INT64 <= value < _INT64 else "an integer of more than 64 bits"
    if isinstance(value, dict | list):
        if depth >= _MAX_DEPTH:
            return f"nested more than {_MAX_DEPTH} levels deep"
        if isinstance(value, dict) and any(not isinstance(key, str) or "\0" in key for key in value):
            return "a key that is not text or holds NUL"
        parts = [*value, *value.values()] if isinstance(value, dict) else value
        return next((problem for part in parts if (problem := unstorable(part, depth + 1))), None)
    if value is None or isinstance(value, float | datetime | bytes):
        return None
    return f"a value of the kind {type(value).__name__}"


def _unstorable_text(value: str) -> str | None:
    if len(value) > _MAX_TEXT:
        return f"longer than {_MAX_TEXT} characters"
    try:
        value.encode()
    except UnicodeEncodeError:
        return "not valid Unicode"
    return None
