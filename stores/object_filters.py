"""From a filter tree of the contract to a MongoDB query over object documents.

Only declared paths can be reached: a field is one of an object's own, or a custom field under
`fields`. Values are compared, never interpreted, so no operator of MongoDB can be smuggled in.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from models.common import as_utc
from models.objects import Filter, FilterCondition

__all__ = ["FilterError", "document_path", "to_query"]

_PATHS: Mapping[str, str] = {
    "object_id": "_id",
    "status": "status",
    "hash": "hash",
    "error": "error",
    "created_at": "created_at",
    "updated_at": "updated_at",
    "size_bytes": "size_bytes",
    "sync_config_id": "sync_config_id",
    "connection_id": "connection_id",
    "provider_type": "provider_type",
    "batch_id": "batch_id",
    "key_prefix": "key_prefix",
    "source_id": "source_object_id",
    "source_object_id": "source_object_id",
    "source_path": "source.path",
    "source_details.source_id": "source_object_id",
    "source_details.source_path": "source.path",
    "source_details.sync_config_id": "sync_config_id",
    "source_details.version": "source.version",
    "source_details.modified_at": "source.modified_at",
    "source_details.size_bytes": "source.size_bytes",
    "blobs.property": "blobs.property",
    "blobs.type": "blobs.type",
    "blobs.details.filename": "blobs.details.filename",
    "blobs.details.mime_type": "blobs.details.mime_type",
    "blobs.details.size_bytes": "blobs.details.size_bytes",
    "blobs.details.hash": "blobs.details.hash",
}
_TIMES = {"created_at", "updated_at", "source.modified_at"}
_UNSERVED = {"text", "phrase", "words", "geo_radius", "geo_bounding_box", "geo_polygon"}
_MAX_DEPTH = 8
_MAX_CONDITIONS = 100
_MAX_PATTERN = 256


class FilterError(ValueError):
    """A filter that cannot be carried out; the message is for its author."""


def document_path(field: str) -> str:
    """Where a field of the API lies in a stored object."""
    if field in _PATHS:
        return _PATHS[field]
    if not field or "\0" in field or any(not part or part.startswith("$") for part in field.split(".")):
        raise FilterError(f"{field!r} is not the name of a field")
    return field if field.startswith("fields.") else f"fields.{field}"


def to_query(tree: Filter) -> dict[str, Any]:
    """The query of a whole tree. Raises FilterError."""
    budget = [_MAX_CONDITIONS]
    return _group(tree, 0, budget)


def _group(node: Filter, depth: int, budget: list[int]) -> dict[str, Any]:
    if depth > _MAX_DEPTH:
        raise FilterError(f"filters are nested deeper than {_MAX_DEPTH}")
    if isinstance(node, FilterCondition):
        budget[0] -= 1
        if budget[0] < 0:
            raise FilterError(f"more than {_MAX_CONDITIONS} conditions")
        return _condition(node)
    parts: list[dict[str, Any]] = []
    for operator, members in (("$and", node.AND), ("$or", node.OR), ("$nor", node.NOT)):
        if members:
            parts.append({operator: [_group(member, depth + 1, budget) for member in members]})
    return parts[0] if len(parts) == 1 else {"$and": parts} if parts else {}


def _condition(leaf: FilterCondition) -> dict[str, Any]:
    operator = leaf.operator or "eq"
    if operator in _UNSERVED:
        raise FilterError(f"operator '{operator}' needs a search index, which is not part of this system")
    path = document_path(leaf.field)
    if isinstance(leaf.value, dict) and leaf.value.get("type") == "dynamic":
        raise FilterError(f"{leaf.field}: dynamic values belong to retrievers, which are not part of this system")
    return {path: _OPERATORS[operator](_typed(path, leaf.value), leaf)}


def _typed(path: str, value: Any) -> Any:
    if path not in _TIMES:
        return value
    if isinstance(value, list):
        return [_typed(path, item) for item in value]
    if not isinstance(value, str):
        return value
    try:
        return as_utc(datetime.fromisoformat(value))
    except ValueError as error:
        raise FilterError(f"{value!r} is not a time; write 2026-01-31T12:00:00Z") from error


def _compare(name: str) -> Callable[[Any, FilterCondition], dict[str, Any]]:
    return lambda value, _leaf: {name: value}


def _among(name: str) -> Callable[[Any, FilterCondition], dict[str, Any]]:
    def build(value: Any, leaf: FilterCondition) -> dict[str, Any]:
        if not isinstance(value, list):
            raise FilterError(f"{leaf.field}: '{leaf.operator}' takes a list")
        return {name: value}

    return build


def _text(shape: str) -> Callable[[Any, FilterCondition], dict[str, Any]]:
    def build(value: Any, leaf: FilterCondition) -> dict[str, Any]:
        if not isinstance(value, str):
            raise FilterError(f"{leaf.field}: '{leaf.operator}' takes a text")
        return {"$regex": shape.format(re.escape(value)), "$options": "" if leaf.case_sensitive else "i"}

    return build


def _regex(value: Any, leaf: FilterCondition) -> dict[str, Any]:
    if not isinstance(value, str) or len(value) > _MAX_PATTERN or "\0" in value:
        raise FilterError(f"{leaf.field}: 'regex' takes a pattern of at most {_MAX_PATTERN} characters")
    try:
        re.compile(value)
    except (re.error, OverflowError) as error:
        raise FilterError(f"{leaf.field}: not a regular expression: {error}") from error
    return {"$regex": value, "$options": "" if leaf.case_sensitive else "i"}


def _contains(value: Any, leaf: FilterCondition) -> dict[str, Any]:
    return _text("{}")(value, leaf) if isinstance(value, str) else {"$eq": value}


def _exists(value: Any, _leaf: FilterCondition) -> dict[str, Any]:
    return {"$exists": value is not False}


def _is_null(value: Any, _leaf: FilterCondition) -> dict[str, Any]:
    return {"$eq": None} if value is not False else {"$ne": None}


_OPERATORS: Mapping[str, Callable[[Any, FilterCondition], dict[str, Any]]] = {
    "eq": _compare("$eq"),
    "ne": _compare("$ne"),
    "gt": _compare("$gt"),
    "lt": _compare("$lt"),
    "gte": _compare("$gte"),
    "lte": _compare("$lte"),
    "in": _among("$in"),
    "nin": _among("$nin"),
    "contains": _contains,
    "starts_with": _text("^{}"),
    "ends_with": _text("{}$"),
    "regex": _regex,
    "exists": _exists,
    "is_null": _is_null,
}
