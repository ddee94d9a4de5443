"""Bodies and replies of the object operations."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

from models.buckets import BucketSchemaFieldType
from models.common import OpenRequest, Reply, Request, TaskStatus, UtcDatetime
from models.paging import Limit, Offset, PageNumber, PaginationResponse, Query, QueryBool

__all__ = [
    "BlobModel",
    "CreateBlobRequest",
    "CreateObjectQuery",
    "CreateObjectRequest",
    "Filter",
    "FilterCondition",
    "ListObjectsRequest",
    "ListObjectsResponse",
    "LogicalOperator",
    "ObjectQuery",
    "ObjectResponse",
    "SortOption",
]

FilterOperator = Literal[
    "eq", "ne", "gt", "lt", "gte", "lte", "in", "nin", "contains", "starts_with", "ends_with", "regex", "exists",
    "is_null", "text", "phrase", "words", "geo_radius", "geo_bounding_box", "geo_polygon",
]  # fmt: skip


class FilterCondition(Request):
    """One condition. Clients add `case_sensitive` to every one; it matters for text operators only."""

    field: Annotated[str, Field(min_length=1)]
    operator: FilterOperator | None = "eq"
    value: Any = None
    case_sensitive: bool | None = False


class LogicalOperator(Request):
    """Groups of conditions; groups side by side must all hold.

    The contract allows undeclared keys here; a misspelt group would then select everything, so they are refused.
    """

    AND: list[Filter] | None = None
    OR: list[Filter] | None = None
    NOT: list[Filter] | None = None
    case_sensitive: bool | None = False


def _shape(value: Any) -> str:
    named = value.get("field") is not None if isinstance(value, dict) else isinstance(value, FilterCondition)
    return "condition" if named else "group"


Filter = Annotated[
    Annotated[FilterCondition, Tag("condition")] | Annotated[LogicalOperator, Tag("group")], Discriminator(_shape)
]


class SortOption(Request):
    """Order of a list."""

    field: Annotated[str, Field(min_length=1)]
    direction: Literal["asc", "desc"] | None = "asc"


class ListObjectsRequest(OpenRequest):
    """Conditions, order and page of the object list."""

    may_be_absent: ClassVar[bool] = True

    filters: Filter | None = None
    sort: SortOption | None = None
    search: str | None = None
    select: list[str] | None = None
    return_presigned_urls: bool | None = False
    # Clients send the page in the body too; the body wins.
    limit: Limit | None = None
    page_size: Limit | None = None
    offset: Offset | None = None
    page: PageNumber | None = None
    cursor: str | None = None
    next_cursor: str | None = None
    after: str | None = None
    include_total: bool | None = None


class EdgeModel(OpenRequest):
    """A named relation to another object; other keys are kept too."""

    type: str
    target_object_id: str
    target_collection_id: str | None = None
    direction: Literal["out", "in"] | None = "out"
    attributes: dict[str, Any] | None = None


class CreateBlobRequest(Request):
    """Content for a property: `data` is a URL, base64 (bare or a data URL), text, or JSON."""

    property: Annotated[str, Field(min_length=1, max_length=100)]
    key_prefix: str | None = None
    type: BucketSchemaFieldType
    data: str | int | float | bool | dict[str, Any] | list[Any] | None = None
    upload_id: Annotated[str, Field(pattern=r"^upl_[a-zA-Z0-9_-]+$")] | None = None
    checksum: str | None = None
    metadata: dict[str, Any] | None = None
    canonicalize_source: bool | None = None
    force_remirror: bool | None = None


class CreateObjectRequest(OpenRequest):
    """A new object: every other key is a custom field of it."""

    keeps_extra: ClassVar[bool] = True

    key_prefix: str | None = None
    blobs: list[CreateBlobRequest] | None = None
    skip_duplicates: bool | None = False
    canonicalize_source: bool | None = True
    force_remirror: bool | None = False
    edges: list[EdgeModel] | None = None
    idempotency_key: Annotated[str, Field(max_length=255)] | None = None


class CreateObjectQuery(Query):
    """What happens when the unique key is taken, and whether to process at once."""

    policy: Literal["insert", "update", "upsert"] | None = None
    auto_process: QueryBool | None = None


class ObjectQuery(Query):
    """What to add to an object."""

    return_presigned_urls: QueryBool | None = False
    include_document_count: QueryBool | None = True


class BlobDetails(Reply):
    """Facts about a blob's bytes; `hash` is `algorithm:hex`."""

    filename: str | None = None
    size_bytes: int | None = None
    mime_type: str | None = None
    hash: str | None = None


class BlobModel(Reply):
    """One blob of an object. The presigned URL also stands in `properties`."""

    blob_id: str | None = None
    property: str
    key_prefix: str | None = None
    type: BucketSchemaFieldType
    properties: dict[str, Any] | None = None
    presigned_url: str | None = None
    details: BlobDetails | None = None


class SourceDetails(BaseModel):
    """Where an object came from. `type` is the contract's word; `provider_type` says which provider."""

    model_config = ConfigDict(extra="allow")

    type: Literal["bucket", "collection", "taxonomy", "cluster", "direct_upsert", "signals", "none"]
    source_id: str


class ObjectResponse(BaseModel):
    """An object; custom fields stand beside its own properties."""

    model_config = ConfigDict(extra="allow")

    object_id: str | None = None
    bucket_id: str
    key_prefix: str | None = None
    blobs: list[BlobModel] | None = None
    source_details: list[SourceDetails] | None = None
    edges: list[dict[str, Any]] | None = None
    status: TaskStatus | None = None
    error: str | None = None
    created_at: UtcDatetime | None = None
    updated_at: UtcDatetime | None = None
    document_count: int | None = None
    consistency: dict[str, Any] | None = None
    hash: str | None = None


class ListObjectsResponse(Reply):
    """One page of objects."""

    results: list[ObjectResponse]
    pagination: PaginationResponse
    stats: dict[str, Any] | None = None
