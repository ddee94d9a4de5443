"""The one shape of every error reply, and the exception that becomes it.

    400 bad_request · 401 unauthorized · 403 forbidden · 404 not_found · 405 method_not_allowed ·
    409 conflict · 413 body_too_large · 422 validation_error · 429 rate_limited · 500 internal_error ·
    503 unavailable (with Retry-After)

`details` is always an object; messages never hold a secret, a stack trace or a database error.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from aiohttp import web

__all__ = [
    "ApiError",
    "bad_request",
    "conflict",
    "error_response",
    "forbidden",
    "invalid",
    "not_found",
    "unauthorized",
    "unavailable",
]

_MESSAGE_LIMIT = 1000
RETRY_AFTER_SECONDS = 5


class ApiError(Exception):
    """A reply other than success. Raised anywhere below a handler, answered in one place."""

    def __init__(
        self,
        status: int,
        kind: str,
        message: str,
        *,
        code: str | None = None,
        details: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.message = message[:_MESSAGE_LIMIT]
        self.code = code
        self.details = dict(details) if details else None
        self.headers = dict(headers or {})


def bad_request(message: str, **more: Any) -> ApiError:
    """400: the request makes no sense as it is."""
    return ApiError(400, "bad_request", message, **more)


def unauthorized(message: str = "send a valid API key: Authorization: Bearer <key>") -> ApiError:
    """401: nobody we know."""
    return ApiError(401, "unauthorized", message, headers={"WWW-Authenticate": "Bearer"})


def forbidden(message: str, **more: Any) -> ApiError:
    """403: known, but not allowed to."""
    return ApiError(403, "forbidden", message, **more)


def not_found(what: str, identifier: str) -> ApiError:
    """404: unknown, deleted, or someone else's; all answered alike."""
    return ApiError(404, "not_found", f"there is no {what} {identifier!r}"[:_MESSAGE_LIMIT])


def conflict(message: str, **more: Any) -> ApiError:
    """409: it clashes with what is there."""
    return ApiError(409, "conflict", message, **more)


def invalid(message: str, *, code: str = "invalid_value", field: str | None = None, **details: Any) -> ApiError:
    """422: understood, but a value cannot be right."""
    facts = {**({"field": field} if field else {}), **details}
    return ApiError(422, "validation_error", message, code=code, details=facts or None)


def unavailable(message: str, *, code: str = "unavailable") -> ApiError:
    """503: something behind the API does not answer."""
    return ApiError(
        503,
        "unavailable",
        message,
        code=code,
        details={"retry_after_seconds": RETRY_AFTER_SECONDS, "retryable": True},
        headers={"Retry-After": str(RETRY_AFTER_SECONDS)},
    )


def error_response(error: ApiError) -> web.Response:
    """The reply for an error."""
    body: dict[str, Any] = {"message": error.message, "type": error.kind}
    if error.code:
        body["code"] = error.code
    if error.details:
        body["details"] = error.details
    return web.Response(
        status=error.status,
        body=orjson.dumps({"success": False, "status": error.status, "error": body}),
        content_type="application/json",
        headers=error.headers,
    )
