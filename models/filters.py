"""Which source objects a sync takes (`file_filters`) and how it follows changes (`reconcile`)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from models.common import Count, Request, UtcDatetime

__all__ = ["FileFilters", "MetadataFilter", "ReconcileSettings"]

MetadataOperator = Literal[
    "equals", "not_equals", "contains", "not_contains", "gt", "lt", "gte", "lte", "exists"
]  # fmt: skip


class MetadataFilter(Request):
    """A condition on one attribute of a source object."""

    field: Annotated[str, Field(min_length=1)]
    operator: MetadataOperator | None = "contains"
    value: str | int | float | bool | None = None


class FileFilters(Request):
    """All conditions must hold. Patterns without `/` match the file name, others the path from the source root."""

    include_patterns: list[str] | None = None
    exclude_patterns: list[str] | None = None
    extensions: list[str] | None = None
    min_size_bytes: Count | None = None
    max_size_bytes: Count | None = None
    modified_after: UtcDatetime | None = None
    modified_before: UtcDatetime | None = None
    mime_types: list[str] | None = None
    metadata_filters: list[MetadataFilter] | None = None

    @model_validator(mode="after")
    def _possible(self) -> FileFilters:
        low, high = self.min_size_bytes, self.max_size_bytes
        if low is not None and high is not None and low > high:
            raise ValueError("min_size_bytes is greater than max_size_bytes: nothing could ever match")
        return self


class ReconcileSettings(Request):
    """What follows from a change at the source."""

    on_delete: bool | None = True
    on_update: bool | None = True
    on_filter_drift: bool | None = True
    re_extract_on_update: bool | None = True
    re_extract_fields: list[str] | None = None
