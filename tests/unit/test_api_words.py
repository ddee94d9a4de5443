"""Every operation, field and parameter of the document is described, with an example that holds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
from pydantic import BaseModel

from api.glossary import glossary
from api.openapi import document
from api.operations import NoBody
from api.server import OPERATIONS

JSON = dict[str, Any]
DESCRIBED = document(OPERATIONS)
SCHEMAS: JSON = DESCRIBED["components"]["schemas"]


def _operations() -> Iterator[tuple[str, JSON]]:
    for path, methods in DESCRIBED["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def _fields() -> Iterator[tuple[str, str, JSON]]:
    for owner, schema in SCHEMAS.items():
        for name, field in schema.get("properties", {}).items():
            yield owner, name, field


def _valid(value: Any, schema: JSON) -> None:
    jsonschema.Draft202012Validator({**schema, "components": DESCRIBED["components"]}).validate(value)


def test_every_operation_is_described() -> None:
    assert [name for name, operation in _operations() if not operation["summary"] or not operation["description"]] == []


def test_every_component_is_described() -> None:
    assert [name for name, schema in SCHEMAS.items() if not schema.get("description")] == []


def test_every_field_is_described_and_has_an_example_of_its_type() -> None:
    words = glossary()
    nameless = [f"{owner}.{name}" for owner, name, field in _fields() if not field.get("description")]
    assert nameless == []
    for owner, name, field in _fields():
        word = words.find(owner, name)
        assert word is not None
        if not word.silent:
            _valid(field["examples"][0], {key: value for key, value in field.items() if key != "examples"})


def test_every_parameter_is_described_and_has_an_example_of_its_type() -> None:
    for where, operation in _operations():
        for parameter in operation["parameters"]:
            assert parameter.get("description"), (where, parameter["name"])
            _valid(parameter["example"], parameter["schema"])


def test_no_word_is_left_over() -> None:
    words = glossary()
    used: set[str] = set()

    def use(owner: str, name: str) -> None:
        word = words.find(owner, name)
        assert word is not None, (owner, name)
        used.add(word.key)

    for owner, name, _ in _fields():
        use(owner, name)
    for operation in OPERATIONS:
        for name in operation.query.model_fields:
            use(operation.query.__name__, name)
    for _, described in _operations():
        for parameter in described["parameters"]:
            if parameter["in"] == "path":
                use(described["operationId"], parameter["name"])
    assert words.words.keys() - used == set()
    assert {name for name in words.bodies if name not in SCHEMAS} == set()


def _models() -> dict[str, type[BaseModel]]:
    asked = [operation.body for operation in OPERATIONS if operation.body is not NoBody]
    answered = [operation.answers for operation in OPERATIONS if operation.answers is not None]
    return {model.__name__: model for model in (*asked, *answered)}


@pytest.mark.parametrize("name", sorted(glossary().bodies))
def test_a_body_written_down_is_one_that_is_taken(name: str) -> None:
    _models()[name].model_validate_json(json.dumps(glossary().bodies[name]))


def test_every_body_has_an_example_that_its_schema_takes() -> None:
    seen = 0
    for where, operation in _operations():
        parts = [operation.get("requestBody", {}), *operation["responses"].values()]
        for content in (part["content"] for part in parts if "content" in part):
            if "application/json" not in content:
                continue
            example = content["application/json"]["example"]
            assert example, where
            _valid(example, content["application/json"]["schema"])
            seen += 1
    assert seen > 100


def test_requests_are_written_down_by_hand() -> None:
    missing = {operation.body.__name__ for operation in OPERATIONS if operation.body is not NoBody}
    assert missing - glossary().bodies.keys() == set()
