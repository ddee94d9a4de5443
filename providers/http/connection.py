"""One HTTP/1.1 connection: sends a request, parses its response, holds back what nobody reads yet."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import httptools

__all__ = ["Connection", "TransportError"]

# Bytes of a body that may wait here for a slow reader before the socket is paused.
_PAUSE_AT = 1024 * 1024
# More than any store sends; a peer that goes on and on must not fill our memory.
_MAX_HEADER_BYTES = 64 * 1024


class TransportError(Exception):
    """No (whole) answer came. `kind` is one of connect, timeout, reset, cut, malformed, refused, certificate, tls."""

    def __init__(self, kind: str, message: str) -> None:
        self.kind = kind
        super().__init__(message)


class Connection(asyncio.Protocol):
    """A protocol with at most one exchange at a time. All methods run on the event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.transport: asyncio.Transport | None = None
        self.closed = False
        self.idle_since = 0.0
        self._parser: Any = httptools.HttpResponseParser(self)
        self._head_only = False
        self._whole_up_to = 0
        self._reset()
        self.done = True

    def _reset(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.received = 0
        self.done = False
        self.keep_alive = False
        self.silent = True
        self._header_bytes = 0
        self._headers_complete = False
        self._length: int | None = None
        self._missing = 0
        self._chunks: list[bytes] = []
        self._buffered = 0
        self._paused = False
        self._error: TransportError | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    # --- what the client calls

    def send(self, data: bytes, *, head_only: bool, whole_up_to: int, timeout: float) -> asyncio.Future[None]:
        """Send a request. The future ends when the head is there and the body is whole or above `whole_up_to`."""
        self._reset()
        self._head_only = head_only
        self._whole_up_to = whole_up_to
        waiter = self._wait(timeout)
        if self.closed or self.transport is None:
            self._fail("reset", "connection is closed")
        else:
            self.transport.write(data)
        return waiter

    async def read(self, timeout: float) -> list[bytes]:  # noqa: ASYNC109
        """What has arrived of the body since the last call; empty at its end. Raises TransportError."""
        while not self._chunks and not self.done:
            if self._error is not None:
                raise self._error
            await self._wait(timeout)
        if self._error is not None and not self.done:
            raise self._error
        chunks, self._chunks = self._chunks, []
        self._buffered = 0
        if self._paused and self.transport is not None:
            self._paused = False
            self.transport.resume_reading()
        return chunks

    def abort(self) -> None:
        """Close at once; what was not read is lost."""
        self.closed = True
        if self._timer is not None:
            self._timer.cancel()
        if self.transport is not None:
            self.transport.abort()

    def _wait(self, timeout: float) -> asyncio.Future[None]:
        self._waiter = self._loop.create_future()
        self._timer = self._loop.call_later(timeout, self._fail, "timeout", f"no byte for {timeout:g} s")
        return self._waiter

    def _wake(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _fail(self, kind: str, message: str) -> None:
        self._error = self._error or TransportError(kind, message)
        waiter, self._waiter = self._waiter, None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if waiter is not None and not waiter.done():
            waiter.set_exception(self._error)
        self.abort()

    # --- what the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        if self.done or self._error is not None:
            # Bytes that nobody asked for: the peer is out of step, nothing on this connection can be trusted.
            self.keep_alive = False
            self.abort()
            return
        self.silent = False
        if self._missing:
            self._take(data)
        else:
            self._parse(data)
        self._settle()

    def _take(self, data: bytes) -> None:
        """The rest of a body of known length goes around the parser, which would copy it."""
        if len(data) > self._missing:
            data, self.keep_alive = data[: self._missing], False
        self._missing -= len(data)
        self.on_body(data)
        if not self._missing:
            self._parser = httptools.HttpResponseParser(self)
            self.done = True

    def _parse(self, data: bytes) -> None:
        if not self._headers_complete:
            self._header_bytes += len(data)
            if self._header_bytes > _MAX_HEADER_BYTES + 256 * 1024:  # one read may bring that much of the body
                self._fail("malformed", "response head is too long")
                return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            if not self.done:
                self._fail("malformed", "response is not HTTP/1.1")
            return
        if not self.done and self._length is not None:
            self._missing = self._length - self.received

    def _settle(self) -> None:
        """Wake who waits, and hold the peer back while nobody reads."""
        if self.done or (self._buffered and self._ready()):
            self._wake()
        if self._buffered >= _PAUSE_AT and self.received > self._whole_up_to and not (self._paused or self.done):
            self._paused = True
            assert self.transport is not None
            self.transport.pause_reading()

    def _ready(self) -> bool:
        """Whether a waiting reader should be woken although the body is not whole."""
        return max(self.received, self._length or 0) > self._whole_up_to

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        self.closed = True
        if self.done or self._error is not None:
            return
        if self._headers_complete and exc is None and not self._framed():
            self.done = True
            self._wake()
        elif self._headers_complete:
            self._fail("cut", "connection closed in the middle of the body")
        else:
            self._fail("reset", "connection closed without an answer")

    def _framed(self) -> bool:
        return "content-length" in self.headers or "transfer-encoding" in self.headers

    # --- what the parser calls

    def on_header(self, name: bytes, value: bytes) -> None:
        """Collect one header, lower-cased; repeated ones are joined as RFC 9110 5.3 says."""
        key = name.decode("latin-1").lower()
        text = value.decode("latin-1")
        if key in self.headers:
            text = f"{self.headers[key]}, {text}"
        self.headers[key] = text

    def on_headers_complete(self) -> None:
        """The head is whole."""
        self.status = self._parser.get_status_code()
        if self.status < 200:
            self.headers = {}
            return
        self.keep_alive = self._parser.should_keep_alive() and self._framed()
        self._headers_complete = True
        if "transfer-encoding" not in self.headers and "content-length" in self.headers:
            self._length = int(self.headers["content-length"])
        if self._head_only:
            # The parser waits for a body that a HEAD never has, so it cannot be used again.
            self._parser = httptools.HttpResponseParser(self)
            self.done = True

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        if not self._head_only:
            self._chunks.append(body)
            self._buffered += len(body)
            self.received += len(body)

    def on_message_complete(self) -> None:
        """The body is whole."""
        if self._headers_complete:
            self.done = True
