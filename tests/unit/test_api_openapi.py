"""The served OpenAPI document against the contract's."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from api.openapi import document
from api.server import OPERATIONS
from tests.api_rig import contract
from tests.contract_superset import lacks, operations


def test_every_operation_of_the_contract_has_its_place() -> None:
    ours, theirs = operations(document(OPERATIONS)), operations(contract())
    assert theirs.keys() - ours.keys() == set()
    for key, operation in theirs.items():
        assert ours[key]["operationId"] == operation["operationId"]
        assert ours[key]["tags"] == operation["tags"]
        assert ours[key].get("security", []) == operation.get("security", [])


# Requests that are taken less widely than the contract's classes say, each for a reason.
_EMPTY = "nothing is called or found by an empty or endless name"
_STATED = "the contract says so in prose only"
_TYPO = "a misspelt key would select everything"
_NULL = "null says nothing: left out or named, the alternatives can be told apart"
DELIBERATE = {
    **{f"Bucket{kind}Request.bucket_name: {bound}, not None": _EMPTY
       for kind in ("Create", "Patch", "Update") for bound in ("minLength is 1", "maxLength is 256")},
    "FilterCondition.field: minLength is 1, not None": _EMPTY,
    "SortOption.field: minLength is 1, not None": _EMPTY,
    "SyncCreateRequest.source_path: minLength is 1, not None": _EMPTY,
    "SyncCreateRequest.source_path: maxLength is 2048, not None": _EMPTY,
    **{f"Sync{kind}Request.{rule}, not None": _STATED
       for kind in ("Create", "Update") for rule in ("description: maxLength is 500", "metadata: maxProperties is 50")},
    "POST /v1/buckets/{bucket_identifier}/objects ?policy: values [] are not all of ['insert', 'update', 'upsert']":
        _STATED,
    "LogicalOperatorInput: additionalProperties is False": _TYPO,
    "SyncCreateRequest.file_filters: additionalProperties is False": _TYPO,
    "FilterCondition: required are ['field'], not ['field', 'value']": "exists and is_null need no value",
    **{f"{entry}MappingEntry.target_type: type null, beside ['string']": _NULL for entry in ("Field", "Blob")},
    **{f"{source}Source.type: type null, beside ['string']": _NULL
       for source in ("S3Tag", "S3Metadata", "FilenameRegex", "Column", "DriveProperty", "FolderPath", "File",
                      "Constant")},
}  # fmt: skip


def test_the_document_has_all_of_the_contract() -> None:
    assert sorted(lacks(contract(), document(OPERATIONS))) == sorted(DELIBERATE)


def _broken(change: Any) -> list[str]:
    ours = copy.deepcopy(document(OPERATIONS))
    change(ours["paths"], ours["components"]["schemas"])
    return sorted(set(lacks(contract(), ours)) - DELIBERATE.keys())


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda paths, _: paths.pop("/v1/tasks/{task_id}"), "GET /v1/tasks/{task_id}: missing"),
        (
            lambda paths, _: paths["/v1/health"]["get"]["responses"].pop("200"),
            "GET /v1/health 200: missing",
        ),
        (
            lambda _, schemas: schemas["SyncCreateRequest"]["properties"].pop("batch_size"),
            "SyncCreateRequest.batch_size: missing",
        ),
        (
            lambda _, schemas: schemas["SyncCreateRequest"]["properties"]["batch_size"].update(default=51),
            "SyncCreateRequest.batch_size: default is 51, not 50",
        ),
        (
            lambda _, schemas: schemas["SyncJobModel"]["required"].remove("internal_id"),
            "SyncJobModel: required are",
        ),
        (
            lambda _, schemas: schemas["TaskResponse"]["properties"]["status"]["enum"].append("NEW"),
            "TaskResponse.status: values",
        ),
        (
            lambda _, schemas: schemas["BatchModel"]["properties"].update(bucket_id={"type": "integer"}),
            "BatchModel.bucket_id: type integer",
        ),
        (
            lambda _, schemas: schemas["StorageConnectionCreateRequest"]["properties"]["name"].update(maxLength=99),
            "StorageConnectionCreateRequest.name: maxLength is 99, not 100",
        ),
    ],
)
def test_what_is_missing_would_be_found(change: Any, expected: str) -> None:
    (found,) = _broken(change)
    assert found.startswith(expected)
