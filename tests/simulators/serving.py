"""How a simulator runs: a server in a thread of its own, where worker processes and a test's own loop can reach it."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager

from aiohttp import web

__all__ = ["in_thread", "listening"]

_SECONDS = 10


@contextlib.contextmanager
def in_thread(name: str, server: AbstractAsyncContextManager[object]) -> Iterator[None]:
    """Hold `server` open, in the loop of a thread called `name`, until the end of the block."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name=name, daemon=True)
    thread.start()
    opened = contextlib.AsyncExitStack()
    asyncio.run_coroutine_threadsafe(opened.enter_async_context(server), loop).result(_SECONDS)
    try:
        yield
    finally:
        asyncio.run_coroutine_threadsafe(opened.aclose(), loop).result(_SECONDS)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(_SECONDS)
        loop.close()


@contextlib.asynccontextmanager
async def listening(
    handle: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
    port: int,
    *,
    ssl_context: ssl.SSLContext | None = None,
) -> AsyncIterator[int]:
    """A server on the loopback address; gives its port, which is any free one where `port` is 0."""
    runner = web.ServerRunner(web.Server(handle), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, ssl_context=ssl_context).start()
    try:
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()
