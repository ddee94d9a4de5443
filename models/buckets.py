"""Bodies and replies of the bucket operations."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, ConfigDict, Field

from models.common import Count, DegradedEntry, Reply, Request, TaskStatus, UtcDatetime
from models.paging import Limit, Offset, PageNumber, PageQuery, PaginationResponse, Query, QueryBool

__all__ = [
    "BucketChangeQuery",
    "BucketCreateRequest",
    "BucketDeleteQuery",
    "BucketDeleteResponse",
    "BucketListQuery",
    "BucketPatchRequest",
    "BucketResponse",
    "BucketSchema",
    "BucketSchemaField",
    "BucketUpdateRequest",
    "ListBucketsRequest",
    "ListBucketsResponse",
    "UniqueKeyConfig",
]

BucketSchemaFieldType = Literal[
    "string", "number", "integer", "float", "boolean", "object", "array", "date", "datetime",
    "text", "image", "audio", "video", "pdf", "excel",
]  # fmt: skip
StorageClass = Literal["standard", "nearline", "coldline", "archive"]


class BucketSchemaField(Request):
    """One property of a bucket's schema."""

    model_config = ConfigDict(extra="allow")

    type: BucketSchemaFieldType
    default: Any = None
    items: BucketSchemaField | None = None
    properties: dict[str, BucketSchemaField] | None = None
    examples: list[Any] | None = None
    description: str | None = None
    enum: list[Any] | None = None
    required: bool | None = False


class BucketSchema(Request):
    """The properties that objects of a bucket have."""

    model_config = ConfigDict(extra="allow")

    properties: dict[str, BucketSchemaField]


class UniqueKeyConfig(Request):
    """Fields that together name an object."""

    fields: Annotated[list[str], Field(min_length=1)]
    default_policy: Literal["insert", "update", "upsert"] | None = None


def _reachable(name: str) -> str:
    if name.startswith("bkt_"):
        raise ValueError("a name that starts with 'bkt_' would be taken for an id in addresses")
    if not name.strip() or name.strip() != name:
        raise ValueError("a name is not empty and has no space at its ends")
    return name


BucketName = Annotated[str, Field(min_length=1, max_length=256), AfterValidator(_reachable)]


class BucketCreateRequest(Request):
    """A new bucket."""

    bucket_name: BucketName
    description: str | None = None
    bucket_schema: BucketSchema
    unique_key: UniqueKeyConfig | None = None
    metadata: dict[str, Any] | None = None
    storage_class: StorageClass | None = None
    destination: dict[str, Any] | None = None
    ingest_filter: dict[str, Any] | None = None
    source_adapter: dict[str, Any] | None = None


class BucketPatchRequest(Request):
    """What to change of a bucket: absent keeps, null clears."""

    bucket_name: BucketName | None = None
    description: str | None = None
    metadata: dict[str, Any] | None = None
    bucket_schema: BucketSchema | None = None
    source_adapter: dict[str, Any] | None = None
    unique_key: UniqueKeyConfig | None = None
    destination: dict[str, Any] | None = None
    ingest_filter: dict[str, Any] | None = None


class BucketUpdateRequest(Request):
    """The same for PUT, with the storage class."""

    bucket_name: BucketName | None = None
    description: str | None = None
    metadata: dict[str, Any] | None = None
    bucket_schema: BucketSchema | None = None
    storage_class: StorageClass | None = None
    destination: dict[str, Any] | None = None
    ingest_filter: dict[str, Any] | None = None
    unique_key: UniqueKeyConfig | None = None


class BucketChangeQuery(Query):
    """Whether a schema may stop fitting the objects that are there."""

    force_schema_break: QueryBool | None = False


class BucketDeleteQuery(Query):
    """Whether running syncs are cancelled at once instead of being let end in order."""

    force_foreclose: QueryBool | None = False


class BucketListQuery(PageQuery):
    """Page and search text of the bucket list."""

    search: str | None = None


class ListBucketsRequest(Request):
    """Conditions, order and page of the bucket list. `cursor` is accepted here too: clients send it."""

    may_be_absent: ClassVar[bool] = True

    limit: Limit | None = None
    page_size: Limit | None = None
    offset: Offset | None = None
    page: PageNumber | None = None
    cursor: str | None = None
    next_cursor: str | None = None
    after: str | None = None
    include_total: bool | None = None
    search: str | None = None
    filters: dict[str, Any] | None = None
    sort: dict[str, Any] | None = None
    sorts: list[dict[str, Any]] | None = None
    case_sensitive: bool | None = False


class BucketResponse(Reply):
    """A bucket with its totals."""

    bucket_id: str | None = None
    bucket_name: str
    description: str | None = None
    bucket_schema: BucketSchema | None = None
    unique_key: UniqueKeyConfig | None = None
    metadata: dict[str, Any] | None = None
    storage_class: StorageClass | None = None
    destination: dict[str, Any] | None = None
    ingest_filter: dict[str, Any] | None = None
    object_count: Count
    failed_object_count: Count | None = 0
    total_size_bytes: Count
    created_at: UtcDatetime | None = None
    updated_at: UtcDatetime | None = None
    last_upload_at: UtcDatetime | None = None
    stats_updated_at: UtcDatetime | None = None
    status: TaskStatus | None = None
    is_locked: bool | None = False
    batch_stats: dict[str, Any] | None = None
    storage_stats: dict[str, Any] | None = None
    source_adapter: dict[str, Any] | None = None


class BucketDeleteResponse(Reply):
    """The task that deletes a bucket."""

    task_id: str
    status: TaskStatus
    bucket_id: str
    bucket_name: str
    object_count: Count


class ListBucketsResponse(Reply):
    """One page of buckets."""

    results: list[BucketResponse]
    total_count: Count
    pagination: PaginationResponse
    stats: dict[str, Any] | None = None
    warnings: list[DegradedEntry] | None = None
