"""The served OpenAPI document against the contract's."""

from __future__ import annotations

from typing import Any

from api.openapi import document
from api.server import OPERATIONS
from tests.api_rig import contract


def _operations(described: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {
        (method, path): operation
        for path, methods in described["paths"].items()
        for method, operation in methods.items()
        if method in {"get", "post", "put", "patch", "delete"}
    }


def test_every_operation_of_the_contract_has_its_place() -> None:
    ours, theirs = _operations(document(OPERATIONS)), _operations(contract())
    assert theirs.keys() - ours.keys() == set()
    for key, operation in theirs.items():
        assert ours[key]["operationId"] == operation["operationId"]
        assert ours[key]["tags"] == operation["tags"]
        assert ours[key].get("security", []) == operation.get("security", [])


def test_served_operations_take_every_parameter_and_field_of_the_contract() -> None:
    described = document(OPERATIONS)
    ours = _operations(described)
    for key, theirs in _operations(contract()).items():
        mine = ours[key]
        names = {(one["in"], one["name"]) for one in mine["parameters"]}
        assert {(one["in"], one["name"]) for one in theirs.get("parameters", [])} <= names, key
        wanted, given = theirs.get("requestBody"), mine.get("requestBody")
        assert (wanted is None) == (given is None), key
        if wanted is None or given is None:
            continue
        name = wanted["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
        mine_name = given["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
        schema = contract()["components"]["schemas"][name]
        own = described["components"]["schemas"][mine_name]
        assert set(schema.get("properties", {})) <= set(own.get("properties", {})), (key, name)
        assert set(own.get("required", [])) == set(schema.get("required", [])), (key, name)


def test_declared_defaults_and_ranges_of_requests_are_the_contracts() -> None:
    described = document(OPERATIONS)["components"]["schemas"]
    theirs = contract()["components"]["schemas"]
    checked = 0
    for name in ("SyncCreateRequest", "SyncUpdateRequest", "StorageConnectionCreateRequest", "ListDLQRequest"):
        for field, wanted in theirs[name]["properties"].items():
            mine = described[name]["properties"][field]
            if "default" in wanted:
                assert mine.get("default") == wanted["default"], (name, field)
            for bound in ("minimum", "maximum", "maxLength", "minLength"):
                values = {option.get(bound) for option in (*wanted.get("anyOf", []), wanted)} - {None}
                own = {option.get(bound) for option in (*mine.get("anyOf", []), mine)} - {None}
                assert values <= own, (name, field, bound)
                checked += len(values)
    assert checked > 10
