"""A proxy between a client and a server that checks every reply against the contract.

    async with ContractProxy("http://127.0.0.1:8080") as proxy:
        ...  # a client of proxy.url
    proxy.assert_kept()

The client and the server stay as they are; what is checked is what went over the wire.
"""

from __future__ import annotations

from collections import defaultdict
from types import TracebackType
from typing import Any, Self

import aiohttp
import jsonschema
from aiohttp import web
from yarl import URL

from deploy.local.ports import Ports
from tests.api_rig import check_reply, contract, operation_at

_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "content-encoding", "host"}


class ContractProxy:
    """Forwards to `upstream`; `seen` says which statuses each operation of the contract was answered with."""

    def __init__(self, upstream: str) -> None:
        self._upstream = upstream
        self._port = Ports.pick(metrics=0).api
        self.url = f"http://127.0.0.1:{self._port}"
        self.seen: dict[str, list[int]] = defaultdict(list)
        self.broken: list[str] = []

    async def __aenter__(self) -> Self:
        # Redirects and compression are the client's business.
        self._session = aiohttp.ClientSession(auto_decompress=False, timeout=aiohttp.ClientTimeout(total=60))
        app = web.Application(client_max_size=1 << 30)
        app.router.add_route("*", "/{path:.*}", self._forward)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port).start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._runner.cleanup()
        await self._session.close()

    async def _forward(self, request: web.Request) -> web.Response:
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _HOP_BY_HOP}
        # The address as it came: `%2F` must arrive as it was sent.
        url = URL(self._upstream + request.raw_path, encoded=True)
        async with self._session.request(
            request.method, url, headers=headers, data=await request.read(), allow_redirects=False
        ) as reply:
            body = await reply.read()
        self._check(request, reply, body)
        kept = {name: value for name, value in reply.headers.items() if name.lower() not in _HOP_BY_HOP}
        return web.Response(status=reply.status, headers=kept, body=body)

    def _check(self, request: web.Request, reply: aiohttp.ClientResponse, body: bytes) -> None:
        operation: dict[str, Any] | None = operation_at(request.method, str(request.url))
        if operation is None:
            return
        name, told = operation["operationId"], f"{request.method} {request.raw_path} {reply.status}"
        self.seen[name].append(reply.status)
        if body and reply.content_type != "application/json":
            self.broken.append(f"{told}: a reply of type {reply.content_type}")
        elif "X-Request-Id" not in reply.headers:
            self.broken.append(f"{told}: no request id")
        try:
            check_reply(request.method, str(request.url), reply.status, body)
        except (AssertionError, ValueError, jsonschema.ValidationError) as error:
            self.broken.append(f"{told}: {error}")

    def assert_kept(self) -> None:
        """Fail if any reply broke the contract."""
        assert self.broken == []

    def unanswered(self) -> set[str]:
        """Operations of the contract that were never answered with success."""
        listed = {
            operation["operationId"]
            for methods in contract()["paths"].values()
            for operation in methods.values()
            if isinstance(operation, dict)
        }
        return listed - {name for name, statuses in self.seen.items() if any(code < 300 for code in statuses)}
