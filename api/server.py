"""The aiohttp application: every operation at its address, what goes around it, start and stop."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator

import orjson
from aiohttp import web
from aiohttp.typedefs import Handler

from api import (
    batch_changes,
    batches,
    blobs,
    bucket_changes,  # noqa: F401 - declares its operations beside those of buckets
    buckets,
    connections,
    health,
    object_changes,  # noqa: F401 - the same for objects
    objects,
    openapi,
    previews,
    runs,
    startup,
    sync_commands,
    syncs,
)
from api.docs import add_docs
from api.middleware import around
from api.operations import REQUEST_ID, Operation
from api.requests import endpoint
from api.services import Services

__all__ = ["OPERATIONS", "make_app"]

OPERATIONS: tuple[Operation, ...] = tuple(
    operation
    for resource in (
        health.operations,
        connections.operations,
        previews.operations,
        buckets.operations,
        objects.operations,
        syncs.operations,
        sync_commands.operations,
        runs.operations,
        batches.batches,
        batch_changes.operations,
        batches.tasks,
        blobs.operations,
    )
    for operation in resource.all
)

_NAME = re.compile(r"\{(\w+)\}")
# Task ids hold a slash, and some clients send it as it is.
_PATTERNS = {"task_id": ".+"}
# This last part of an address is never the name of something, as OpenAPI has it; such routes come first.
_LITERAL = "/list"


def _refuse_method(allowed: str) -> Handler:
    async def refuse(request: web.Request) -> web.StreamResponse:
        raise web.HTTPMethodNotAllowed(request.method, {allowed})

    return refuse


async def _sign(request: web.Request, response: web.StreamResponse) -> None:
    """Headers of every reply, streams and errors included."""
    response.headers["X-Request-Id"] = request.get(REQUEST_ID, "")
    response.headers["Server"] = "tidemark"


def make_app(services: Services, *, reconcile: bool = True) -> web.Application:
    """The application. With `reconcile`, missing workflows are started in the background once it is up."""
    app = web.Application(
        client_max_size=services.settings.api_max_body_bytes,
        middlewares=[around(services.settings)],
    )
    for operation in sorted(OPERATIONS, key=lambda one: not one.path.endswith(_LITERAL)):
        # aiohttp matches the address before decoding `%2F`, so a name may hold a slash; its default
        # pattern would refuse braces in a name.
        path = _NAME.sub(lambda found: f"{{{found[1]}:{_PATTERNS.get(found[1], '[^/]+')}}}", operation.path)
        app.router.add_route(operation.method, path, endpoint(operation, services))
        if operation.streams:
            app.router.add_route("HEAD", path, endpoint(operation, services))
        if operation.path.endswith(_LITERAL):
            app.router.add_route("*", path, _refuse_method(operation.method))

    app.on_response_prepare.append(_sign)
    described = orjson.dumps(openapi.document(OPERATIONS))

    async def describe(_request: web.Request) -> web.Response:
        return web.Response(body=described, content_type="application/json")

    app.router.add_get("/openapi.json", describe)
    add_docs(app)

    async def background(_app: web.Application) -> AsyncIterator[None]:
        task = asyncio.create_task(startup.start_missing(services))
        yield
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    if reconcile:
        app.cleanup_ctx.append(background)
    return app
