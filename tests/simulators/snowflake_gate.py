"""A gate before fakesnow's server: logins checked, requests counted, faults scripted, long queries and result chunks.

    with SnowflakeGate.running(upstream="http://127.0.0.1:18555") as gate:
        gate.users["LOADER"] = GateUser(password="secret")
        gate.script("query", refusal("000606", "No active warehouse selected"), sql="FROM .*ORDERS")
        gate.chunk_rows = 100                    # larger results come as chunks behind addresses of their own
        provider(host="127.0.0.1", port=gate.port)
        assert gate.counts["login"] == 1

fakesnow checks no password, knows no chunks, no cancelling and no expiry; this does, as far as the connector's
protocol shows it. It runs in a thread of its own, so that worker processes and a test's own loop can reach it.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gzip
import json
import re
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import web

from tests.simulators.serving import in_thread, listening
from tests.simulators.snowflake_login import GateUser, check_login

__all__ = ["GateAnswer", "GateUser", "SnowflakeGate", "refusal", "rows_answer"]

Body = dict[str, Any]


@dataclass(frozen=True, slots=True)
class GateAnswer:
    """A scripted answer; `body` None passes the request on, after `delay` seconds and with the other faults."""

    status: int = 200
    body: Body | bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    cut: bool = False
    """The connection breaks after half of the body."""
    drop: bool = False
    """The connection breaks without an answer."""
    slow: float = 0.0
    """Seconds between the two halves of the body."""


def refusal(code: str, message: str, *, status: int = 200, sql_state: str = "42000") -> GateAnswer:
    """Snowflake's way of saying no."""
    return GateAnswer(status, _error(code, message, sql_state))


def rows_answer(columns: Sequence[tuple[str, str, int]], rows: Sequence[Sequence[str | None]]) -> GateAnswer:
    """A result of (name, type of the protocol, scale) columns, values as the protocol writes them."""
    return GateAnswer(200, _result(columns, rows))


@dataclass(slots=True)
class _Session:
    upstream: str
    number: int
    refused: str = ""
    """Code with which every query is answered until the session is renewed."""
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Snowflake runs statements of one session side by side, fakesnow one after the other."""


@dataclass(slots=True)
class _Script:
    answer: GateAnswer
    sql: re.Pattern[str] | None
    times: int


class SnowflakeGate:
    """Counts by kind: login, query, chunk, renew, abort, logout, heartbeat. `statements`: every SQL text asked."""

    def __init__(self, upstream: str) -> None:
        self.upstream = upstream.rstrip("/")
        self.users: dict[str, GateUser] = {}
        """By upper-case login name; while empty, anyone may log in."""
        self.counts: Counter[str] = Counter()
        self.statements: list[str] = []
        self.logins: list[Body] = []
        self.cancelled: list[str] = []
        self.latest: Body = {}
        """The answer to the last query that was passed on."""
        self.chunk_rows = 0
        """Results of more rows than this come as chunks; 0: never."""
        self.port = 0
        self.before: Callable[[web.BaseRequest], Awaitable[web.StreamResponse | None]] | None = None
        """Asked before each answer: what it answers is sent instead."""
        self._scripts: dict[str, list[_Script]] = {}
        self._sessions: dict[str, _Session] = {}
        self._masters: dict[str, str] = {}
        self._chunks: dict[str, bytes] = {}
        self._running: dict[str, tuple[asyncio.Event, str]] = {}
        self._client: aiohttp.ClientSession | None = None

    # --- scripting

    def script(self, kind: str, answer: GateAnswer, *, sql: str = "", times: int = 1) -> None:
        """Answer the next `times` requests of a kind (and, for queries, of statements matching `sql`) with `answer`."""
        pattern = re.compile(sql, re.IGNORECASE | re.DOTALL) if sql else None
        self._scripts.setdefault(kind, []).append(_Script(answer, pattern, times))

    def reset(self) -> None:
        """Forget scripts, users and what was counted."""
        self._scripts.clear()
        self.users.clear()
        self.counts.clear()
        self.statements.clear()
        self.logins.clear()
        self.cancelled.clear()
        self.chunk_rows = 0

    @property
    def sessions(self) -> list[str]:
        """The tokens of the sessions that are open."""
        return list(self._sessions)

    def reset_scripts(self) -> None:
        """Answer as usual from now on."""
        self._scripts.clear()

    def expire_sessions(self, code: str = "390112") -> None:
        """390112: the session must be renewed; 390114: the user must log in again."""
        for session in self._sessions.values():
            session.refused = code
        if code == "390114":
            self._masters.clear()

    def asked(self, sql: str) -> list[str]:
        """The statements that match."""
        return [text for text in self.statements if re.search(sql, text, re.IGNORECASE | re.DOTALL)]

    # --- running

    @classmethod
    @contextlib.contextmanager
    def running(cls, upstream: str, port: int = 0) -> Iterator[SnowflakeGate]:
        """The gate, listening on `port` until the end of the block."""
        gate = cls(upstream)
        with in_thread("snowflake-gate", gate._serving(port)):
            yield gate

    @contextlib.asynccontextmanager
    async def _serving(self, port: int) -> AsyncIterator[None]:
        self._client = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60))
        async with listening(self._handle, port) as self.port:
            yield
            for event, _ in self._running.values():
                event.set()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await self._client.close()

    # --- answering

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if self.before is not None and (instead := await self.before(request)) is not None:
            return instead
        raw = await request.read()
        if request.headers.get("Content-Encoding") == "gzip" and raw[:2] == b"\x1f\x8b":
            raw = gzip.decompress(raw)
        body: Body = json.loads(raw) if raw[:1] == b"{" else {}
        kind = _kind(request.path)
        self.counts[kind] += 1
        if kind == "query":
            self.statements.append(body.get("sqlText", ""))
        answer = self._scripted(kind, body.get("sqlText", ""))
        if answer is not None and answer.delay and await self._cancelled_within(answer.delay, request, body):
            return await self._send(request, refusal("000604", "SQL execution canceled", sql_state="57014"))
        if answer is None or (answer.body is None and not answer.drop and answer.status == 200):
            whole = await getattr(self, f"_{kind}")(request, body)
            fault = answer or GateAnswer()
            answer = GateAnswer(200, whole, fault.headers, cut=fault.cut, slow=fault.slow)
        return await self._send(request, answer)

    def _scripted(self, kind: str, sql: str) -> GateAnswer | None:
        scripts = self._scripts.get(kind, [])
        for script in scripts:
            if script.sql is None or script.sql.search(sql):
                script.times -= 1
                if script.times <= 0:
                    scripts.remove(script)
                return script.answer
        return None

    async def _cancelled_within(self, delay: float, request: web.BaseRequest, body: Body) -> bool:
        """Whether somebody cancels this query before `delay` seconds are over."""
        event, request_id = asyncio.Event(), request.query.get("requestId", "")
        self._running[request_id] = event, body.get("sqlText", "")
        try:
            await asyncio.wait_for(event.wait(), delay)
        except TimeoutError:
            return False
        else:
            return True
        finally:
            del self._running[request_id]

    async def _login(self, request: web.BaseRequest, body: Body) -> Body:
        data = body["data"]
        self.logins.append(data)
        if self.users and (problem := check_login(self.users, data, request.headers)):
            code, message = problem
            return _error(code, message, "08001")
        answer = await self._forward(request, body)
        token, master, number = secrets.token_urlsafe(16), secrets.token_urlsafe(16), len(self.logins)
        self._sessions[token] = _Session(answer["data"]["token"], number)
        self._masters[master] = token
        answer["data"] |= {
            "token": token,
            "masterToken": master,
            "validityInSeconds": 3600,
            "masterValidityInSeconds": 14400,
            "sessionId": number,
        }
        return answer

    async def _renew(self, request: web.BaseRequest, body: Body) -> Body:
        old = self._masters.get(_token(request))
        if old is None or old not in self._sessions:
            return _error("390114", "Authentication token has expired. The user must authenticate again.", "08001")
        session, token = self._sessions.pop(old), secrets.token_urlsafe(16)
        session.refused = ""
        self._sessions[token] = session
        self._masters[_token(request)] = token
        return {
            "data": {
                "sessionToken": token,
                "validityInSecondsST": 3600,
                "masterToken": _token(request),
                "validityInSecondsMT": 14400,
                "sessionId": session.number,
            },
            "success": True,
            "code": None,
            "message": None,
        }

    async def _query(self, request: web.BaseRequest, body: Body) -> Body:
        session = self._sessions.get(_token(request))
        if session is None:
            return _error("390104", "User must login again to access the service.", "08001")
        if session.refused:
            return _error(session.refused, "Authentication token has expired.", "08001")
        async with session.turn:
            answer = self.latest = await self._forward(request, body, session)
        data = answer.get("data") or {}
        if self.chunk_rows and data.get("total", 0) > self.chunk_rows and data.get("rowsetBase64"):
            name = secrets.token_urlsafe(12)
            self._chunks[name] = base64.b64decode(data["rowsetBase64"])
            size = len(self._chunks[name])
            data["rowsetBase64"] = ""
            data["chunks"] = [
                {
                    "url": f"http://127.0.0.1:{self.port}/chunks/{name}",
                    "rowCount": data["total"],
                    "uncompressedSize": size,
                    "compressedSize": size,
                }
            ]
            data["chunkHeaders"] = {"x-amz-server-side-encryption-customer-algorithm": "AES256"}
        return answer

    async def _chunk(self, request: web.BaseRequest, body: Body) -> bytes:
        del body
        return self._chunks[request.path.rpartition("/")[2]]

    async def _abort(self, request: web.BaseRequest, body: Body) -> Body:
        request_id = body.get("requestId", "")
        if request_id in self._running:
            event, sql = self._running[request_id]
            self.cancelled.append(sql)
            event.set()
        return {"data": None, "success": True, "code": None, "message": None}

    async def _logout(self, request: web.BaseRequest, body: Body) -> Body:
        session = self._sessions.pop(_token(request), None)
        if session is not None:
            await self._forward(request, body, session)
        return {"data": None, "success": True, "code": None, "message": None}

    async def _heartbeat(self, request: web.BaseRequest, body: Body) -> Body:
        return {"data": None, "success": True, "code": None, "message": None}

    async def _other(self, request: web.BaseRequest, body: Body) -> Body:
        return {"data": None, "success": True, "code": None, "message": None}

    async def _forward(self, request: web.BaseRequest, body: Body, session: _Session | None = None) -> Body:
        assert self._client is not None
        headers = {"Authorization": f'Snowflake Token="{session.upstream}"'} if session else {}
        url = f"{self.upstream}{request.path_qs}"
        async with self._client.post(url, json=body, headers=headers) as reply:
            if reply.content_type != "application/json":
                return _error("002140", f"fakesnow cannot do this: {(await reply.text())[:500]}", "42601")
            answer: Body = await reply.json()
            return answer

    async def _send(self, request: web.BaseRequest, answer: GateAnswer) -> web.StreamResponse:
        if request.transport is None or request.transport.is_closing():
            return web.Response()  # nobody waits any more
        if answer.drop:
            request.transport.close()
            return web.Response()
        raw = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
        plain = isinstance(answer.body, bytes)
        headers = {"Content-Type": "application/octet-stream" if plain else "application/json", **answer.headers}
        response = web.StreamResponse(status=answer.status, headers=headers)
        response.content_length = len(raw)
        await response.prepare(request)
        if answer.cut:
            await response.write(raw[: len(raw) // 2])
            if request.transport is not None:
                request.transport.close()
            return response
        if answer.slow:
            await response.write(raw[: len(raw) // 2])
            await asyncio.sleep(answer.slow)
            raw = raw[len(raw) // 2 :]
        await response.write(raw)
        await response.write_eof()
        return response


def _kind(path: str) -> str:
    if path.endswith("/abort-request"):
        return "abort"
    if path.startswith("/chunks/"):
        return "chunk"
    return {
        "/session/v1/login-request": "login",
        "/session/token-request": "renew",
        "/session/heartbeat": "heartbeat",
        "/session": "logout",
        "/queries/v1/query-request": "query",
    }.get(path, "other")


def _token(request: web.BaseRequest) -> str:
    match = re.search(r'Token="([^"]*)"', request.headers.get("Authorization", ""))
    return match[1] if match else ""


def _error(code: str, message: str, sql_state: str) -> Body:
    data = {"errorCode": code, "sqlState": sql_state, "internalError": False, "queryId": "01b2-gate"}
    return {"data": data, "code": code, "message": message, "success": False, "headers": None}


def _result(columns: Sequence[tuple[str, str, int]], rows: Sequence[Sequence[str | None]]) -> Body:
    rowtype = [
        {
            "name": name,
            "type": kind,
            "scale": scale,
            "precision": 38,
            "nullable": True,
            "length": 16777216,
            "byteLength": 16777216,
        }
        for name, kind, scale in columns
    ]
    data = {
        "rowtype": rowtype,
        "rowset": [list(row) for row in rows],
        "total": len(rows),
        "returned": len(rows),
        "queryId": "01b2-gate",
        "queryResultFormat": "json",
        "statementTypeId": 4096,
        "parameters": [],
    }
    return {"data": data, "code": None, "message": None, "success": True}
