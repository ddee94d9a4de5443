"""An S3 store that knows nothing of the checksums which younger clients add by themselves.

    with OldClone.before(moto.endpoint_url) as clone:
        ...  # clone.url answers like the store behind it
        assert not clone.refused

It refuses a body in signed chunks with a trailer, and what names a checksum algorithm
(https://github.com/boto/boto3/issues/4392), and hands all else to the store behind it.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from tests.simulators.s3_xml import error_xml

__all__ = ["OldClone"]

_UNKNOWN = ("x-amz-sdk-checksum-algorithm", "x-amz-trailer", "x-amz-checksum-")


class OldClone:
    """See the module. `seen` keeps (method, path with query), `refused` what was refused and for which header."""

    def __init__(self, upstream: str) -> None:
        self.upstream = urlsplit(upstream).netloc
        self.seen: list[tuple[str, str]] = []
        self.refused: list[tuple[str, str, str]] = []
        self.url = ""

    @classmethod
    @contextlib.contextmanager
    def before(cls, upstream: str) -> Iterator[OldClone]:
        """The server, until the end of the block."""
        clone = cls(upstream)
        server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"clone": clone}))
        clone.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), name="old-clone", daemon=True)
        thread.start()
        try:
            yield clone
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    clone: OldClone

    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_"):
            return self._answer
        raise AttributeError(name)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class calls it so
        del format, args

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        self.clone.seen.append((self.command, self.path))
        unknown = [name for name in self.headers if name.lower().startswith(_UNKNOWN)]
        if "aws-chunked" in (self.headers.get("content-encoding") or ""):
            unknown.append("content-encoding")
        if unknown:
            self.clone.refused.append((self.command, self.path, unknown[0]))
            self._send(501, [], error_xml("NotImplemented"))
            return
        upstream = HTTPConnection(self.clone.upstream, timeout=30)
        try:
            upstream.request(self.command, self.path, body, dict(self.headers))
            reply = upstream.getresponse()
            self._send(reply.status, reply.getheaders(), reply.read())
        finally:
            upstream.close()

    def _send(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.send_response_only(status)
        hop = {"transfer-encoding", "connection"}
        told = {name.lower(): value for name, value in headers if name.lower() not in hop}
        if self.command != "HEAD":
            told["content-length"] = str(len(body))
        for name, value in told.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
