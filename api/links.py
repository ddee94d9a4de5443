"""OpenAPI links: where the ids in a reply lead. Found in the operations, never written down."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel

from api.operations import Operation
from models.batches import BatchModel, TaskResponse
from models.buckets import BucketDeleteResponse, BucketResponse
from models.connections import StorageConnectionModel
from models.objects import ObjectResponse
from models.syncs import SyncCommandResponse, SyncConfigurationModel

__all__ = ["links_of"]

# Path parameter to the field of a reply that it is.
_FIELDS = {
    "bucket_id": "bucket_id",
    "bucket_identifier": "bucket_id",
    "object_identifier": "object_id",
    "batch_id": "batch_id",
    "task_id": "task_id",
    "sync_config_id": "sync_config_id",
    "sync_job_id": "sync_job_id",
    "connection_identifier": "connection_id",
}
# What a reply is about: the ids beside it belong to others.
_SUBJECTS: Mapping[type[BaseModel], str] = {
    StorageConnectionModel: "connection_id",
    BucketResponse: "bucket_id",
    BucketDeleteResponse: "task_id",
    ObjectResponse: "object_id",
    SyncConfigurationModel: "sync_config_id",
    SyncCommandResponse: "sync_job_id",
    BatchModel: "batch_id",
    TaskResponse: "task_id",
}
_NAME = re.compile(r"\{(\w+)\}")


def links_of(operation: Operation, others: Iterable[Operation]) -> dict[str, Any]:
    """Links from what a POST makes, and from the task of a deletion, to every operation on it."""
    subject = _SUBJECTS.get(operation.answers) if operation.answers else None
    known = {_FIELDS[name]: name for name in _NAME.findall(operation.path) if name in _FIELDS}
    if subject is None or subject in known or (operation.method != "POST" and subject != "task_id"):
        return {}
    links: dict[str, Any] = {}
    for other in others:
        names = _NAME.findall(other.path)
        fields = [_FIELDS.get(name, "") for name in names]
        if subject not in fields or not set(fields) <= {subject, *known}:
            continue
        values = [
            f"$response.body#/{subject}" if field == subject else f"$request.path.{known[field]}" for field in fields
        ]
        links[other.operation_id] = {
            "operationId": other.operation_id,
            "parameters": dict(zip(names, values, strict=True)),
        }
    return links
