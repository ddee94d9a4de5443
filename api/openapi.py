"""The OpenAPI document, generated from the same operations and models that serve and validate."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from api.glossary import Glossary, glossary
from api.links import links_of
from api.operations import NoBody, NoQuery, Operation
from models.common import ErrorResponse

__all__ = ["document"]

_REF = "#/components/schemas/{model}"
_ERRORS = {
    400: "The request cannot be read, or names no namespace.",
    401: "No key, or not one of ours.",
    403: "The key's role does not reach.",
    404: "Nothing of that name within the key's reach.",
    409: "It stands against the state of things.",
    422: "A value is not allowed; `details` names it.",
    429: "Too many requests; `details` says how long to wait.",
    500: "A fault of this server's.",
    503: "The database, Temporal or a worker does not answer; try again.",
}
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
    schemas: dict[str, JsonObject] = definitions["$defs"]
    words = glossary()
    words.describe(schemas)
    paths: JsonObject = {}
    for operation in listed:
        described = _operation(operation, words, schemas)
        if links := links_of(operation, listed):
            described["responses"][str(operation.status)]["links"] = links
        paths.setdefault(operation.path, {})[operation.method.lower()] = described
    return {
        "openapi": "3.1.0",
        "info": {"title": "Tidemark", "version": "0.1.0", "description": "Keeps buckets in step with outside storage."},
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "BearerAuth": {"type": "http", "scheme": "bearer"},
                "NamespaceHeader": {"type": "apiKey", "in": "header", "name": "X-Namespace"},
            },
        },
    }


def _operation(operation: Operation, words: Glossary, schemas: Mapping[str, JsonObject]) -> JsonObject:
    described: JsonObject = {
        "operationId": operation.operation_id,
        "tags": [operation.tag],
        "summary": operation.summary,
        "description": operation.description,
        "parameters": [
            *_path_parameters(operation, words),
            *_query_parameters(operation.query, words),
        ],
        "responses": {str(operation.status): _success(operation, words, schemas)},
        "security": _security(operation),
    }
    content = _content(ErrorResponse, words, schemas)
    described["responses"] |= {
        str(status): {"description": meaning, "content": content} for status, meaning in _ERRORS.items()
    }
    if operation.body is not NoBody:
        described["requestBody"] = {
            "required": not getattr(operation.body, "may_be_absent", False),
            "content": _content(operation.body, words, schemas),
        }
    return described


def _content(model: type[BaseModel], words: Glossary, schemas: Mapping[str, JsonObject]) -> JsonObject:
    return {"application/json": {"schema": _ref(model), "example": words.whole(model.__name__, schemas)}}


def _success(operation: Operation, words: Glossary, schemas: Mapping[str, JsonObject]) -> JsonObject:
    if operation.status == 204:
        return {"description": "Done."}
    if operation.streams:
        return {"description": "The bytes.", "content": {"*/*": {"schema": {}}}}
    if operation.answers is None:
        raise TypeError(f"{operation.operation_id} does not say what it answers")
    return {"description": operation.answers.__doc__, "content": _content(operation.answers, words, schemas)}


def _path_parameters(operation: Operation, words: Glossary) -> list[JsonObject]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        | _meaning(words, operation.operation_id, name)
        for name in _PATH_NAME.findall(operation.path)
    ]


def _query_parameters(model: type[BaseModel], words: Glossary) -> list[JsonObject]:
    if model is NoQuery:
        return []
    properties = model.model_json_schema(mode="validation")["properties"]
    return [
        {"name": name, "in": "query", "schema": _without_null(schema)} | _meaning(words, model.__name__, name)
        for name, schema in properties.items()
    ]


def _meaning(words: Glossary, owner: str, name: str) -> JsonObject:
    word = words.find(owner, name)
    return {"description": word.meaning, "example": word.example} if word else {}


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
