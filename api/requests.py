"""From an HTTP request to a handler and back: identify, authorize, validate, call, answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import orjson
from aiohttp import web
from pydantic import BaseModel

from api.errors import not_found, unauthorized
from api.operations import CALLER, Answer, Call, NoBody, Operation, ignored_keys, namespace_needed
from api.rate_limits import rate_class
from api.services import Services
from api.validation import parse_body, parse_query
from models.scope import Role
from stores.organizations import Caller

__all__ = ["endpoint"]

NOBODY = Caller("", Role.READ, "", "")
_BEARER = "bearer "


def endpoint(operation: Operation, services: Services) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """The aiohttp handler of an operation."""
    kind = rate_class(operation.operation_id, operation.tag)

    async def handle(request: web.Request) -> web.StreamResponse:
        caller = NOBODY if operation.role is None else await _identify(request, services)
        request[CALLER] = caller
        if operation.role is not None:
            services.rate_limiter.take(caller.key_id, kind)
        asked = request.headers.get("X-Namespace")
        namespace_id = await _namespace(operation, services, caller, asked)
        call: Call[Any, Any] = Call(
            request=request,
            services=services,
            path=dict(request.match_info),
            body=NoBody(),
            query=parse_query(operation.query, request.query.items()),
            caller=caller,
            namespace_id=namespace_id,
            asked_namespace=asked,
        )
        if operation.role is not None:
            call.need(operation.role)
        if operation.body is not NoBody:
            call.body = parse_body(operation.body, await request.read())
        response = answer(operation, await operation.handler(call), call.body)
        if not response.prepared:
            response.headers.update(call.reply_headers)
        return response

    return handle


async def _identify(request: web.Request, services: Services) -> Caller:
    header = request.headers.get("Authorization", "")
    if not header[: len(_BEARER)].lower() == _BEARER:
        raise unauthorized()
    caller = await services.organizations.authenticate(header[len(_BEARER) :].strip())
    if caller is None:
        raise unauthorized()
    return caller


async def _namespace(operation: Operation, services: Services, caller: Caller, asked: str | None) -> str | None:
    """The id of the namespace a namespaced operation works in. Elsewhere the header means nothing."""
    if not operation.namespaced:
        return None
    if not asked:
        raise namespace_needed()
    # Bytes that are no UTF-8 arrive as lone surrogates: no namespace is called that.
    sane = asked.isprintable()
    found = await services.organizations.namespace(caller.internal_id, asked) if sane else None
    if found is not None:
        return str(found["_id"])
    if operation.lenient_namespace:
        return None
    raise not_found("namespace", asked)


def answer(operation: Operation, result: Answer, body: BaseModel) -> web.StreamResponse:
    """The reply for what a handler returned; undeclared keys of an open body are named in `warnings`."""
    if isinstance(result, web.StreamResponse):
        return result
    warnings = ignored_keys(body)
    if isinstance(result, BaseModel) and not warnings:
        raw = result.model_dump_json().encode()
    else:
        content: Mapping[str, Any] = result.model_dump(mode="json") if isinstance(result, BaseModel) else result
        raw = orjson.dumps({**content, "warnings": warnings} if warnings else content)
    return web.Response(status=operation.status, body=raw, content_type="application/json")
