"""Bodies and replies of the connection operations."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, Field, RootModel

from models.common import Count, OpenRequest, Reply, Request, StorageProvider, TaskStatus, Text1000, UtcDatetime
from models.paging import PaginationResponse, Query, QueryBool

__all__ = [
    "ConnectionDeleteQuery",
    "ConnectionDeleteResponse",
    "ListStorageConnectionsRequest",
    "StorageConnectionCreateRequest",
    "StorageConnectionListResponse",
    "StorageConnectionModel",
    "StorageConnectionTestResponse",
    "StorageConnectionUpdateRequest",
]


def _reachable(name: str) -> str:
    if name.startswith("conn_"):
        raise ValueError("a name that starts with 'conn_' would be taken for an id in addresses")
    if name.strip() != name:
        raise ValueError("a name has no space at its ends")
    return name


ConnectionName = Annotated[str, Field(min_length=1, max_length=100), AfterValidator(_reachable)]
Description = Annotated[str, Field(max_length=500)]


class StorageConnectionCreateRequest(Request):
    """A new connection. With `test_before_save` it is only saved if it works."""

    name: ConnectionName
    provider_type: StorageProvider
    provider_config: dict[str, Any]
    description: Description | None = None
    metadata: dict[str, Any] | None = None
    write_enabled: bool | None = False
    test_before_save: bool | None = True


class StorageConnectionUpdateRequest(OpenRequest):
    """What to change. `provider_config` replaces, but credential fields left out stay while the type is the same."""

    name: ConnectionName | None = None
    description: Description | None = None
    metadata: dict[str, Any] | None = None
    status: TaskStatus | None = None
    is_active: bool | None = None
    write_enabled: bool | None = None
    provider_config: dict[str, Any] | None = None


class ConnectionDeleteQuery(Query):
    """Whether syncs that use the connection are paused instead of standing in the way (not of the contract)."""

    force: QueryBool | None = False


class ListStorageConnectionsRequest(Request):
    """Conditions of the list."""

    may_be_absent: ClassVar[bool] = True

    provider_type: StorageProvider | None = None
    status: TaskStatus | None = None
    is_active: bool | None = None


class StorageConnectionModel(Reply):
    """A connection; of its credentials only the type."""

    connection_id: str | None = None
    internal_id: str
    provider_type: StorageProvider
    provider_config: dict[str, Any]
    write_enabled: bool | None = False
    name: Annotated[str, Field(min_length=1, max_length=100)]
    description: Description | None = None
    status: TaskStatus | None = None
    is_active: bool | None = True
    last_used_at: UtcDatetime | None = None
    last_error: Text1000 | None = None
    consecutive_failures: Count | None = 0
    created_at: UtcDatetime | None = None
    updated_at: UtcDatetime | None = None
    created_by_user_id: str
    metadata: dict[str, Any] | None = None


class StorageConnectionListResponse(Reply):
    """One page of connections."""

    results: list[StorageConnectionModel]
    pagination: PaginationResponse
    total: Count


class ConnectionDeleteResponse(RootModel[dict[str, str]]):
    """What was archived, and the syncs that were paused for it."""


class StorageConnectionTestResponse(Reply):
    """Whether a connection works, and if not, why."""

    success: bool
    message: str
    details: dict[str, Any] | None = None
