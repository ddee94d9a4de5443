"""One HTTP/1.1 connection: sends a request, parses its response, holds back what nobody reads yet."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import httptools

__all__ = ["SCRATCH_BYTES", "Connection", "TransportError"]

# Bytes of a body without a length that may wait here for a slow reader before the socket is paused.
_PAUSE_AT = 1024 * 1024
SCRATCH_BYTES = 256 * 1024
"""What one read of a socket brings at most, where nobody has given it a place to go to."""
# More than any store sends; a peer that goes on and on must not fill our memory.
_MAX_HEADER_BYTES = 64 * 1024


class TransportError(Exception):
    """No (whole) answer came. `kind` is one of connect, timeout, reset, cut, malformed, refused, certificate, tls."""

    def __init__(self, kind: str, message: str) -> None:
        self.kind = kind
        super().__init__(message)


class Connection(asyncio.BufferedProtocol):
    """A protocol with at most one exchange at a time. All methods run on the event loop.

    `scratch` may be shared by all connections of the loop: what is read into it is taken out at once. The body of an
    answer with a length is read from the socket straight to where its reader wants it; while no reader waits for
    it, it stays in the kernel, where it holds the sender back.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, scratch: bytearray) -> None:
        self._loop = loop
        self._scratch = memoryview(scratch)
        self.transport: asyncio.Transport | None = None
        self.closed = False
        self.idle_since = 0.0
        self._arrived = 0
        self._paused = False
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
        self._target: memoryview | None = None
        self._filled = 0
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

    async def read_into(self, target: memoryview, timeout: float) -> int:  # noqa: ASYNC109
        """Read on into `target`; 0 at the end of the body. Raises TransportError when nothing comes any more.

        A body with a length fills it whole unless it ends or is cut before; after a cut, the next call raises.
        """
        while not (filled := self._drain(target)) and not self.done:
            if self._error is not None:
                raise self._error
            if self._missing:
                break
            await self._wait(timeout)
        if filled == len(target) or self.done or self._error is not None or not self._missing:
            return filled
        self._target, self._filled = target, filled
        try:
            await self._wait(timeout)
        except TransportError:
            if not self._filled:
                raise
        finally:
            # From here on not a byte goes there, whatever still arrives.
            self._target = None
            self._hold()
        return self._filled

    def _drain(self, target: memoryview) -> int:
        """Move what waits here."""
        filled = 0
        while self._chunks and filled < len(target):
            chunk = self._chunks[0]
            some = chunk[: len(target) - filled]
            target[filled : filled + len(some)] = some
            filled += len(some)
            if len(some) == len(chunk):
                del self._chunks[0]
            else:
                self._chunks[0] = chunk[len(some) :]
        self._buffered -= filled
        return filled

    @property
    def exhausted(self) -> bool:
        """Whether the body has been read to its end."""
        return self.done and not self._chunks

    def take(self) -> bytes:
        """The whole body, once it is there."""
        chunks, self._chunks, self._buffered = self._chunks, [], 0
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def abort(self) -> None:
        """Close at once; what was not read is lost."""
        self.closed = True
        if self._timer is not None:
            self._timer.cancel()
        if self.transport is not None:
            self.transport.abort()

    def _wait(self, timeout: float) -> asyncio.Future[None]:
        self._waiter = self._loop.create_future()
        self._flow()
        self._timer = self._loop.call_later(timeout, self._expire, timeout, self._arrived)
        return self._waiter

    def _expire(self, timeout: float, arrived: int) -> None:
        """The time to wait counts from the last byte."""
        if self._arrived == arrived:
            self._fail("timeout", f"no byte for {timeout:g} s")
        else:
            self._timer = self._loop.call_later(timeout, self._expire, timeout, self._arrived)

    def _hold(self) -> None:
        if not (self._paused or self.done or self.closed) and self.transport is not None:
            self._paused = True
            self.transport.pause_reading()

    def _flow(self) -> None:
        if self._paused and not self.closed and self.transport is not None:
            self._paused = False
            self.transport.resume_reading()

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

    def get_buffer(self, sizehint: int) -> memoryview:
        """See asyncio.BufferedProtocol."""
        del sizehint
        if self._target is None:
            return self._scratch
        return self._target[self._filled : self._filled + self._missing]

    def buffer_updated(self, nbytes: int) -> None:
        """See asyncio.BufferedProtocol."""
        self._arrived += nbytes
        if self._target is None:
            self._received(bytes(self._scratch[:nbytes]))
            return
        self._filled += nbytes
        self.received += nbytes
        self._missing -= nbytes
        if not self._missing:
            self._end()
        if self.done or self._filled == len(self._target):
            self._target = None
            self._hold()
            self._wake()

    def _received(self, data: bytes) -> None:
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
            self._end()

    def _end(self) -> None:
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
        if self._buffered and self._ready() and (self._missing or self._buffered >= _PAUSE_AT):
            self._hold()

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
