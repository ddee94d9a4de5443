"""Keep-alive pool, TLS, proxies and address checks around `Connection`."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

from providers.base import Room, copied
from providers.endpoints import RefusedAddressError, resolve
from providers.http.connection import SCRATCH_BYTES, Connection, TransportError
from providers.http.proxy import Proxy, find_proxy
from providers.http.tls import trusting

__all__ = ["HttpClient", "Origin", "Response"]

# An idle connection is not trusted for longer: S3 closes them after some 20 s, and meeting that
# moment costs a round trip.
_IDLE_SECONDS = 15.0
_MAX_IDLE = 128


class Origin(NamedTuple):
    """Where requests go. `guard`: whether private addresses are refused (an AWS host may be a private link)."""

    scheme: str
    host: str
    port: int
    guard: bool

    @property
    def authority(self) -> str:
        """The value of the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        default = self.port == (443 if self.scheme == "https" else 80)
        return host if default else f"{host}:{self.port}"


@dataclass(slots=True)
class Response:
    """An answer. `body` is the whole body when it was small enough, else None: read `chunks()` or `release()`."""

    status: int
    headers: dict[str, str]
    body: bytes | None
    _connection: Connection | None
    _client: HttpClient
    _origin: Origin
    received: int = field(default=0)

    async def fill(self, room: Room) -> AsyncGenerator[int]:
        """The body, once, read to where `room` says; how many bytes of it each time.

        `room()` is asked when there is something to read. Raises TransportError when it is cut.
        """
        connection = self._connection
        if connection is None:
            for count in copied(self.body or b"", room):
                yield count
            return
        try:
            while not connection.exhausted:
                count = await connection.read_into(room(), self._client.read_timeout)
                self.received += count
                if count:
                    yield count
        finally:
            self.release()

    async def chunks(self) -> AsyncGenerator[bytes]:
        """The body in pieces, once. Raises TransportError when it is cut."""
        piece = memoryview(bytearray(SCRATCH_BYTES))
        async with aclosing(self.fill(lambda: piece)) as counts:
            async for count in counts:
                yield bytes(piece[:count])

    async def read(self, limit: int) -> bytes:
        """The whole body, at most `limit` bytes. Raises TransportError."""
        if self.body is not None:
            return self.body
        parts: list[bytes] = []
        size = 0
        async for part in self.chunks():
            parts.append(part)
            size += len(part)
            if size > limit:
                self.release()
                raise TransportError("malformed", f"answer is longer than {limit} bytes")
        return b"".join(parts)

    def release(self) -> None:
        """Give the connection back, or close it when its body was not read to the end. Idempotent."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._client.put_back(self._origin, connection)


class HttpClient:
    """Safe for many tasks of one event loop. Raises TransportError only."""

    def __init__(
        self,
        *,
        allow_private: bool,
        verify_tls: bool = True,
        connect_timeout: float = 10.0,
        read_timeout: float = 60.0,
    ) -> None:
        self.allow_private = allow_private
        self.verify_tls = verify_tls
        self.connect_timeout = connect_timeout
        self.read_timeout = read_timeout
        self._idle: dict[Origin, list[Connection]] = {}
        self._busy: set[Connection] = set()
        self._closed = False
        self._scratch = bytearray(SCRATCH_BYTES)

    async def request(
        self, origin: Origin, head: bytes, *, head_only: bool = False, whole_up_to: int = 1024 * 1024
    ) -> Response:
        """Send `head` (request line, headers, blank line; no body) and wait for the answer.

        A body of at most `whole_up_to` bytes is delivered whole in `Response.body`. A kept
        connection that turns out to have been closed by the peer meanwhile, before it answered a
        single byte, is replaced by a new one once (RFC 9112 9.3.1); that is not a retry.
        """
        connection = self._take(origin)
        reused = connection is not None
        while True:
            if connection is None:
                connection = await self._connect(origin)
            self._busy.add(connection)
            try:
                await connection.send(head, head_only=head_only, whole_up_to=whole_up_to, timeout=self.read_timeout)
            except TransportError as error:
                self._busy.discard(connection)
                if reused and error.kind == "reset" and connection.silent:
                    reused, connection = False, None
                    continue
                raise
            except BaseException:
                self._busy.discard(connection)
                connection.abort()
                raise
            break
        response = Response(connection.status, connection.headers, None, connection, self, origin)
        if connection.done:
            response.body = connection.take()
            response.received = len(response.body)
            response.release()
        return response

    def _take(self, origin: Origin) -> Connection | None:
        idle = self._idle.get(origin)
        oldest = asyncio.get_running_loop().time() - _IDLE_SECONDS
        while idle:
            connection = idle.pop()
            if not connection.closed and connection.idle_since >= oldest:
                return connection
            connection.abort()
        return None

    def put_back(self, origin: Origin, connection: Connection) -> None:
        """Keep a connection whose answer was read to its end; close any other."""
        self._busy.discard(connection)
        idle = self._idle.setdefault(origin, [])
        reusable = connection.done and connection.keep_alive and not connection.closed
        if reusable and not self._closed and len(idle) < _MAX_IDLE:
            connection.idle_since = asyncio.get_running_loop().time()
            idle.append(connection)
        else:
            connection.abort()

    async def _connect(self, origin: Origin) -> Connection:
        if self._closed:
            raise TransportError("connect", "client is closed")
        make = partial(Connection, asyncio.get_running_loop(), self._scratch)
        proxy = find_proxy(origin.scheme, origin.host)
        try:
            async with asyncio.timeout(self.connect_timeout):
                addresses = await self._addresses(origin, proxy)
                tls = self._context() if origin.scheme == "https" else None
                if proxy is not None:
                    return await proxy.connect(make, origin.authority, origin.host, tls)
                return await self._first(make, addresses, origin, tls)
        except TimeoutError:
            raise TransportError("timeout", f"{origin.host}: no connection within {self.connect_timeout:g} s") from None
        except RefusedAddressError as error:
            raise TransportError("refused", str(error)) from None
        except ssl.SSLCertVerificationError as error:
            raise TransportError("certificate", f"{origin.host}: {error.verify_message}") from None
        except ssl.SSLError as error:
            raise TransportError("tls", f"{origin.host}: {error.reason or 'TLS failed'}") from None
        except (OSError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or type(error).__name__
            raise TransportError("connect", f"{origin.host}: {reason}") from None

    async def _addresses(self, origin: Origin, proxy: Proxy | None) -> list[str]:
        try:
            return await resolve(origin.host, origin.port, allow_private=self.allow_private or not origin.guard)
        except RefusedAddressError:
            raise
        except OSError:
            if proxy is None:
                raise
            return []  # only the proxy can see that name; where it may go is the proxy's business

    async def _first(
        self, make: Callable[[], Connection], addresses: list[str], origin: Origin, tls: ssl.SSLContext | None
    ) -> Connection:
        """Connect to the first address that answers: the checked address itself, never the name again."""
        loop = asyncio.get_running_loop()
        for position, address in enumerate(addresses):
            try:
                _, connection = await loop.create_connection(
                    make,
                    address,
                    origin.port,
                    ssl=tls,
                    server_hostname=origin.host if tls else None,
                )
                return connection
            except ssl.SSLError:
                raise
            except OSError:
                if position == len(addresses) - 1:
                    raise
        raise OSError(f"{origin.host} has no address")

    def _context(self) -> ssl.SSLContext:
        bundle = os.environ.get("AWS_CA_BUNDLE") or os.environ.get("REQUESTS_CA_BUNDLE")
        bundles = [bundle] if bundle else []
        return trusting(*bundles, system=not bundle, verify=self.verify_tls)

    async def close(self) -> None:
        """Close every connection, also those in use."""
        self._closed = True
        for connection in [*self._busy, *(one for idle in self._idle.values() for one in idle)]:
            connection.abort()
        self._idle.clear()
        self._busy.clear()
        await asyncio.sleep(0)
