"""Requests by full address over the lean client of `providers.http`."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from urllib.parse import urlsplit

from providers.errors import Misconfigured
from providers.google_drive.errors import PROVIDER
from providers.http import HttpClient, Origin, Response, TransportError

__all__ = ["Transport", "origin_of", "unpacked"]


def origin_of(url: str) -> Origin:
    """Where an address of the operator's settings, or of Google's own answers, leads. Raises Misconfigured."""
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        parts, port = urlsplit(""), 0
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise Misconfigured(
            "TIDEMARK_GOOGLE_API_ENDPOINT and TIDEMARK_GOOGLE_TOKEN_URI must be http(s) addresses",
            provider=PROVIDER,
            reason="endpoint_refused",
        )
    return Origin(parts.scheme, parts.hostname, port, guard=False)


class Transport:
    """Sends one request, once. Raises TransportError, Misconfigured."""

    def __init__(self, http: HttpClient, user_agent: str) -> None:
        self._http = http
        # Google compresses only for agents that have the word in their name.
        self._agent = f"{user_agent} (gzip)"
        self.requests = 0

    async def send(
        self, method: str, url: str, headers: Mapping[str, str], *, body: bytes = b"", whole_up_to: int
    ) -> Response:
        """Send; the answer's body is as the server sent it (see `unpacked`)."""
        origin = origin_of(url)
        parts = urlsplit(url)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        if not target.isascii() or not target.isprintable() or " " in target:
            raise TransportError("malformed", "an address that is none")
        lines = [f"{method} {target} HTTP/1.1", f"Host: {origin.authority}", f"User-Agent: {self._agent}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        if body or method == "POST":
            lines.append(f"Content-Length: {len(body)}")
        self.requests += 1
        return await self._http.request(
            origin, ("\r\n".join(lines) + "\r\n\r\n").encode() + body, whole_up_to=whole_up_to
        )


def unpacked(response: Response, body: bytes, limit: int) -> bytes:
    """The body without its content coding, at most `limit` bytes. Raises TransportError."""
    coding = response.headers.get("content-encoding", "identity").lower()
    if coding in {"", "identity"}:
        return body
    if coding != "gzip":
        raise TransportError("malformed", "an answer in an unknown coding")
    decoder = zlib.decompressobj(zlib.MAX_WBITS | 16)
    try:
        text = decoder.decompress(body, limit)
    except zlib.error:
        raise TransportError("malformed", "an answer that is no gzip") from None
    if not decoder.eof:
        raise TransportError("malformed", "an answer that is cut or too long")
    return text
