"""Around every request: an id, a time limit, one log line, and one shape for whatever goes wrong."""

from __future__ import annotations

import asyncio
import re
import time
import uuid

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from api.errors import ApiError, error_response, invalid, unavailable
from api.operations import CALLER, REQUEST_ID
from models.paging import PageTooDeepError
from models.settings import Settings
from stores.failures import UNAVAILABLE, BadCursorError
from stores.object_filters import FilterError

__all__ = ["around"]

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
# A handler waits for a workflow at most api_request_timeout_seconds; the rest is for the database.
_SPARE_SECONDS = 15.0
_STREAMED = "/v1/blobs/"
_HTTP_KINDS = {404: "not_found", 405: "method_not_allowed", 413: "body_too_large"}

log = structlog.get_logger("api")


def around(settings: Settings) -> Middleware:
    """The one middleware."""
    limit_seconds = settings.api_request_timeout_seconds + _SPARE_SECONDS

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        given = request.headers.get("X-Request-Id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else f"req_{uuid.uuid4().hex[:20]}"
        request[REQUEST_ID] = request_id
        began = time.perf_counter()
        response = await _answer(request, handler, limit_seconds)
        _log(request, response.status, time.perf_counter() - began)
        return response

    return middleware


async def _answer(request: web.Request, handler: Handler, limit_seconds: float) -> web.StreamResponse:
    limit = None if _route(request).startswith(_STREAMED) else limit_seconds
    try:
        async with asyncio.timeout(limit):
            return await handler(request)
    except ApiError as error:
        return error_response(error)
    except BadCursorError as error:
        return error_response(invalid(str(error), code="bad_cursor", field="cursor"))
    except PageTooDeepError as error:
        return error_response(invalid(str(error), code="page_too_deep", field="page"))
    except FilterError as error:
        return error_response(invalid(str(error), code="bad_filter", field="filters"))
    except web.HTTPException as error:
        return error_response(_of_aiohttp(request, error))
    except TimeoutError:
        return error_response(unavailable(f"not done within {limit_seconds:g} seconds", code="timeout"))
    except UNAVAILABLE as error:
        log.warning("database_unavailable", request_id=request[REQUEST_ID], error=type(error).__name__)
        return error_response(unavailable("the database does not answer", code="database_unavailable"))
    except ConnectionError:
        raise  # the client went away while it was being answered; aiohttp tidies up
    except Exception:
        # The edge of the process: logged with its trace, answered without.
        log.exception("request_failed", request_id=request[REQUEST_ID], route=_route(request))
        message = f"this is a fault of the server; it is logged as {request[REQUEST_ID]}"
        return error_response(ApiError(500, "internal_error", message))


def _route(request: web.Request) -> str:
    """The pattern, not the address: names and signatures stay out of the log."""
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else ""


def _of_aiohttp(request: web.Request, error: web.HTTPException) -> ApiError:
    headers = {}
    if isinstance(error, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(error.allowed_methods))
        message = f"{request.method} is not a method of this address; these are: {allowed}"
        headers["Allow"] = allowed
    elif error.status == 404:
        message = "there is nothing at this address"
    elif error.status == 413:
        message = "the body is larger than this server takes (TIDEMARK_API_MAX_BODY_BYTES)"
    else:
        message = error.reason
    return ApiError(error.status, _HTTP_KINDS.get(error.status, "bad_request"), message, headers=headers)


def _log(request: web.Request, status: int, seconds: float) -> None:
    caller = request.get(CALLER)
    log.info(
        "request",
        request_id=request[REQUEST_ID],
        method=request.method,
        route=_route(request),
        status=status,
        milliseconds=round(seconds * 1000, 1),
        organization=caller.internal_id if caller and caller.internal_id else None,
        key=caller.key_id if caller and caller.key_id else None,
    )
