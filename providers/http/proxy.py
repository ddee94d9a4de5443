"""HTTP proxies by the usual variables: HTTPS_PROXY, HTTP_PROXY, NO_PROXY in either case."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies_environment, proxy_bypass_environment  # type: ignore[attr-defined]

from providers.http.connection import Connection, TransportError

__all__ = ["Proxy", "find_proxy"]


class Proxy(NamedTuple):
    """A proxy that tunnels by CONNECT, for http and https targets alike."""

    host: str
    port: int
    authorization: str | None

    async def connect(
        self, make: Callable[[], Connection], authority: str, server_name: str, tls: ssl.SSLContext | None
    ) -> Connection:
        """A connection to `authority` (host[:port]) through the proxy. Raises OSError, TransportError."""
        loop = asyncio.get_running_loop()
        target = authority if ":" in authority.rpartition("]")[2] else f"{authority}:{443 if tls else 80}"
        transport, connection = await loop.create_connection(make, self.host, self.port)
        lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
        if self.authorization:
            lines.append(f"Proxy-Authorization: {self.authorization}")
        try:
            # The answer to CONNECT has no body, like that to HEAD.
            await connection.send(("\r\n".join(lines) + "\r\n\r\n").encode(), head_only=True, whole_up_to=0, timeout=30)
            if tls is not None and connection.status == 200:
                upgraded = await loop.start_tls(transport, connection, tls, server_hostname=server_name)
                assert upgraded is not None
                connection.connection_made(upgraded)
        except BaseException:
            connection.abort()
            raise
        if connection.status != 200:
            connection.abort()
            raise TransportError("connect", f"proxy answered {connection.status} to CONNECT")
        return connection


def find_proxy(scheme: str, host: str) -> Proxy | None:
    """The proxy for a target, from the environment; None: connect directly."""
    proxies = getproxies_environment()
    url = proxies.get(scheme) or proxies.get("all")
    if not url or proxy_bypass_environment(host, proxies):
        return None
    parts = urlsplit(url if "://" in url else f"http://{url}")
    if not parts.hostname:
        return None
    authorization = None
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        authorization = "Basic " + base64.b64encode(pair.encode()).decode()
    return Proxy(parts.hostname, parts.port or 3128, authorization)
