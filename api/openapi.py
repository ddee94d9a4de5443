"""The OpenAPI document, generated from the same operations and models that serve and validate."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from api.operations import NoBody, NoQuery, Operation
from models.common import ErrorResponse

__all__ = ["document"]

_REF = "#/components/schemas/{model}"
_ERRORS = (400, 401, 403, 404, 409, 422, 429, 500, 503)
_PATH_NAME = re.compile(r"\{(\w+)\}")
JsonObject = dict[str, Any]


def document(operations: Iterable[Operation]) -> JsonObject:
    """The whole document."""
    listed = list(operations)
    models = {
        model
        for operation in listed
        for model in (operation.body, operation.answers)
        if model is not None and model is not NoBody
    } | {ErrorResponse}
    ordered = sorted(models, key=lambda model: model.__name__)
    _, definitions = models_json_schema([(model, "validation") for model in ordered], ref_template=_REF)
    paths: JsonObject = {}
    for operation in listed:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Tidemark", "version": "0.1.0", "description": "Keeps buckets in step with outside storage."},
        "paths": paths,
        "components": {
            "schemas": definitions["$defs"],
            "securitySchemes": {
                "BearerAuth": {"type": "http", "scheme": "bearer"},
                "NamespaceHeader": {"type": "apiKey", "in": "header", "name": "X-Namespace"},
            },
        },
    }


def _operation(operation: Operation) -> JsonObject:
    described: JsonObject = {
        "operationId": operation.operation_id,
        "tags": [operation.tag],
        "summary": operation.summary,
        "parameters": [*_path_parameters(operation.path), *_query_parameters(operation.query)],
        "responses": {str(operation.status): _success(operation)},
        "security": _security(operation),
    }
    error = {"description": "refused", "content": {"application/json": {"schema": _ref(ErrorResponse)}}}
    described["responses"] |= {str(status): error for status in _ERRORS}
    if operation.body is not NoBody:
        described["requestBody"] = {
            "required": not getattr(operation.body, "may_be_absent", False),
            "content": {"application/json": {"schema": _ref(operation.body)}},
        }
    return described


def _success(operation: Operation) -> JsonObject:
    if operation.status == 204:
        return {"description": "done"}
    if operation.streams:
        return {"description": "the bytes", "content": {"*/*": {"schema": {}}}}
    schema = _ref(operation.answers) if operation.answers is not None else {"type": "object"}
    return {"description": "done", "content": {"application/json": {"schema": schema}}}


def _path_parameters(path: str) -> list[JsonObject]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in _PATH_NAME.findall(path)
    ]


def _query_parameters(model: type[BaseModel]) -> list[JsonObject]:
    if model is NoQuery:
        return []
    properties = model.model_json_schema(mode="validation")["properties"]
    return [{"name": name, "in": "query", "schema": _without_null(schema)} for name, schema in properties.items()]


def _without_null(schema: JsonObject) -> JsonObject:
    """A query parameter is left out, never null."""
    kept = {name: value for name, value in schema.items() if name != "title"}
    if kept.get("default", ...) is None:
        del kept["default"]
    kinds = [kind for kind in kept.pop("anyOf", []) if kind != {"type": "null"}]
    return {**kept, **kinds[0]} if kinds else kept


def _security(operation: Operation) -> list[JsonObject]:
    if operation.role is None:
        return []
    return [{"NamespaceHeader": [], "BearerAuth": []} if operation.namespaced else {"BearerAuth": []}]


def _ref(model: type[BaseModel]) -> JsonObject:
    return {"$ref": _REF.format(model=model.__name__)}
