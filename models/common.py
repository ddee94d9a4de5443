"""Building blocks of the HTTP contract's models: base classes, shared types and enumerations.

Requests are strict (`1.0`, `"1"` and `true` are not integers). In a request, null in an optional
field means its default on create, and "clear" on update; `model_fields_set` tells absent from null.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

__all__ = [
    "Amount",
    "Count",
    "DegradedEntry",
    "ErrorDetail",
    "ErrorResponse",
    "OpenRequest",
    "Percent",
    "Reply",
    "Request",
    "StorageProvider",
    "TaskStatus",
    "Text1000",
    "UtcDatetime",
    "as_utc",
    "cut",
]

TaskStatus = Literal[
    "PENDING", "QUEUED", "IN_PROGRESS", "PROCESSING", "COMPLETED", "COMPLETED_WITH_ERRORS", "FAILED", "CANCELED",
    "INTERRUPTED", "UNKNOWN", "SKIPPED", "DRAFT", "ACTIVE", "ARCHIVED", "SUSPENDED", "DEACTIVATED",
]  # fmt: skip
StorageProvider = Literal["google_drive", "s3", "snowflake", "sharepoint", "tigris"]

TASK_STATUSES: tuple[str, ...] = get_args(TaskStatus)
_TEXT_LIMIT = 1000


def cut(value: Any) -> Any:
    """The first 1,000 characters: clients refuse a longer error text."""
    return value[:_TEXT_LIMIT] if isinstance(value, str) else value


def as_utc(value: datetime) -> datetime:
    """The same moment in UTC; naive times are taken to be. Raises ValueError at the ends of time."""
    try:
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("the time is out of range") from error


def _percent(value: Any) -> Any:
    return min(100.0, max(0.0, value)) if isinstance(value, int | float) else value


UtcDatetime = Annotated[datetime, AfterValidator(as_utc)]
Text1000 = Annotated[str, BeforeValidator(cut), Field(max_length=_TEXT_LIMIT)]
Count = Annotated[int, Field(ge=0)]
# The bounds stand inside, or the document would not name them.
Percent = Annotated[Annotated[float, Field(ge=0, le=100)], BeforeValidator(_percent)]
Amount = Annotated[float, Field(ge=0)]


class Request(BaseModel):
    """A body, or part of one, whose keys are all declared: others are answered 422 `extra_forbidden`."""

    # Clients may leave the whole body out; no bytes mean `{}` everywhere, this is what the document says.
    may_be_absent: ClassVar[bool] = False

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

    def settled(self) -> dict[str, Any]:
        """Declared fields as plain values, with null standing for the default."""
        values = self.model_dump(mode="python", include=set(type(self).model_fields))
        for name, field in type(self).model_fields.items():
            if values[name] is None and not field.is_required():
                values[name] = field.get_default(call_default_factory=True, validated_data=values)
        return values


class OpenRequest(Request):
    """A body that may carry undeclared keys: they are ignored and named in the reply's `warnings`."""

    model_config = ConfigDict(extra="allow")


class Reply(BaseModel):
    """An answer. Built from documents, so keys that are not of the contract fall away."""

    model_config = ConfigDict(extra="ignore")


class ErrorDetail(Reply):
    """What went wrong: `message` for a person, `type` and `code` for a program."""

    message: str
    type: str
    code: str | None = None
    details: dict[str, Any] | None = None


class ErrorResponse(Reply):
    """The one shape of every error reply."""

    success: bool | None = False
    status: int
    error: ErrorDetail


class DegradedEntry(Reply):
    """Something in a request that was not honoured, and what to do about it."""

    resource: str
    id: str | None = None
    reason: str
    next_step: str
    stage: str | None = None
