"""STS, as far as a role is assumed: a small real server that can be told to refuse."""

from __future__ import annotations

import threading
from collections import Counter
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

__all__ = ["FakeSts"]


class FakeSts:
    """STS of a role: counts, remembers what it was asked, gives sessions of `lifetime` seconds."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.asked: list[dict[str, str]] = []
        self.lifetime = 3600.0
        self.refusal: tuple[int, str] | None = None
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
                outer.asked.append({name: values[0] for name, values in form.items()})
                outer.asked[-1]["credential"] = self.headers["Authorization"]
                outer.counts[form["Action"][0]] += 1
                status, body = outer.answer()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def answer(self) -> tuple[int, bytes]:
        if self.refusal:
            status, code = self.refusal
            return status, f"<ErrorResponse><Error><Code>{code}</Code></Error></ErrorResponse>".encode()
        number = self.counts["AssumeRole"]
        expires = (datetime.now(UTC) + timedelta(seconds=self.lifetime)).isoformat()
        return 200, (
            '<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials>'
            f"<AccessKeyId>ASIA{number}</AccessKeyId><SecretAccessKey>s{number}</SecretAccessKey>"
            f"<SessionToken>token-{number}</SessionToken><Expiration>{expires}</Expiration>"
            "</Credentials></AssumeRoleResult></AssumeRoleResponse>"
        ).encode()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)
