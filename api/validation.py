"""From bytes and query strings to validated models, and from validation problems to one readable 422."""

from __future__ import annotations

import math
import typing
from collections.abc import Iterable
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from api.errors import ApiError, bad_request, invalid

__all__ = ["parse_body", "parse_query", "problem"]

ModelT = TypeVar("ModelT", bound=BaseModel)
_SHOWN_PROBLEMS = 20
_DEEPEST = 40
_INT64 = 1 << 63


def parse_body(model: type[ModelT], raw: bytes) -> ModelT:
    """Validate a JSON body; no bytes at all mean `{}` (clients send optional bodies that way)."""
    try:
        body = model.model_validate_json(raw or b"{}")
        _refuse_unstorable(body.model_dump(), "")
        return body
    except ValidationError as error:
        raise problem(error, model) from None
    except (UnicodeDecodeError, RecursionError):
        raise bad_request("the body is not JSON in UTF-8", code="json_invalid") from None


def parse_query(model: type[ModelT], query: Iterable[tuple[str, str]]) -> ModelT:
    """Validate query parameters; of a repeated one the last counts."""
    given = dict(query)
    _refuse_unstorable(given, "")
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise problem(error, model, where="query") from None


def _refuse_unstorable(value: Any, path: str, depth: int = 0) -> None:
    """What JSON can say and the database cannot keep: huge integers, NaN, NUL characters, endless nesting."""
    if depth > _DEEPEST:
        raise invalid(f"{path}: nested deeper than {_DEEPEST}", code="too_deep", field=path)
    if isinstance(value, dict):
        for name, inner in value.items():
            _refuse_unstorable(name, f"a key in {path or 'the body'}")
            _refuse_unstorable(inner, f"{path}.{name}" if path else str(name), depth + 1)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            _refuse_unstorable(inner, f"{path}.{index}", depth + 1)
    elif isinstance(value, str) and "\0" in value:
        raise invalid(f"{path}: holds a NUL character", code="nul_character", field=path)
    elif isinstance(value, float) and not math.isfinite(value):
        raise invalid(f"{path}: not a finite number", code="not_finite", field=path)
    elif isinstance(value, int) and not -_INT64 <= value < _INT64:
        raise invalid(f"{path}: an integer beyond 64 bits", code="integer_too_large", field=path)


def problem(error: ValidationError, model: type[BaseModel], *, where: str = "body", prefix: str = "") -> ApiError:
    """One 422 that names every problem by its path, without the offending values: they may be secrets."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    if any(item["type"] == "json_invalid" for item in found):
        return bad_request(f"the body is not valid JSON: {found[0]['msg']}", code="json_invalid")
    problems: list[dict[str, Any]] = []
    for item in found[:_SHOWN_PROBLEMS]:
        path = prefix + ".".join(str(part) for part in item["loc"])
        entry: dict[str, Any] = {"field": path or where, "type": item["type"], "message": _plain(item["msg"])}
        if item["type"] == "extra_forbidden":
            entry["accepted"] = _accepted(model, item["loc"])
            entry["message"] = f"not an accepted key; accepted are {', '.join(entry['accepted'])}"
        problems.append(entry)
    first = problems[0]
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    kinds = {entry["type"] for entry in problems}
    return ApiError(
        422,
        "validation_error",
        f"{first['field']}: {first['message']}{more}",
        code=kinds.pop() if len(kinds) == 1 else "validation_error",
        details={"where": where, "errors": problems},
    )


def _plain(message: str) -> str:
    return message.removeprefix("Value error, ")


def _accepted(model: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    """The keys that are accepted where an undeclared one stood."""
    candidates: list[type[BaseModel]] = [model]
    for part in location[:-1]:
        inner = [
            found
            for candidate in candidates
            if part in candidate.model_fields
            for found in _models_in(candidate.model_fields[str(part)].annotation)
        ]
        # A part that is no field is an index, a dictionary key or the tag of a union: stay where we are.
        candidates = inner or [found for found in candidates if _tagged(found, part)] or candidates
    return sorted({field.alias or name for candidate in candidates for name, field in candidate.model_fields.items()})


def _tagged(model: type[BaseModel], tag: int | str) -> bool:
    return any(field.default == tag for name, field in model.model_fields.items() if name in {"type", "target_type"})


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    arguments = typing.get_args(annotation)
    if not arguments and isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for part in arguments for found in _models_in(part)]
