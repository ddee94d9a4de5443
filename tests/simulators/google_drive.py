"""A small real server that speaks Drive v3 and Google's token endpoint, with scripted faults.

    with DriveSimulator.running() as drive:
        drive.tree.put("reports/a.txt", b"...")
        drive.script("files.list", Answer(429, headers={"Retry-After": "3"}))
        provider(endpoint=drive.url, token_uri=drive.token_uri, credentials=drive.service_account())
        assert drive.counts["files.list"] == 1

Calls are named as in the API: files.list, files.get, files.media, files.export, exportLink, changes.list,
changes.getStartPageToken, drives.list, drives.get, about.get, token. By hand, with sample data:
`python -m tests.simulators.run google_drive --port 9100`.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import secrets
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from aiohttp import web
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from google.auth import jwt

from tests.simulators.google_drive_calls import Calls, Refusal
from tests.simulators.google_drive_tree import Tree
from tests.simulators.serving import in_thread, listening

__all__ = ["Answer", "DriveSimulator", "foreign_key"]

_ROBOT = "robot@project.iam.gserviceaccount.com"
# Google's are 2,048; each opening of a connection checks its key anew, and a test should not spend its time on that.
_KEY_BITS = 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """A scripted answer. `cut`: the body ends early. `drop`: no answer. `delay`: seconds before it, -1 for ever."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: int | None = None
    drop: bool = False
    delay: float = 0.0
    genuine: bool = False
    """Answer as usual, but late or cut."""

    @classmethod
    def error(cls, status: int, reason: str, message: str = "", **headers: str) -> Answer:
        """An error body as Drive sends it."""
        refusal = Refusal(status, reason, message)
        return cls(status, refusal.body(), {k.replace("_", "-"): v for k, v in headers.items()})


@cache
def _key() -> rsa.RSAPrivateKey:
    """One for all simulators of a process: making one takes as long as a test."""
    return rsa.generate_private_key(65537, _KEY_BITS)


def _pem(key: rsa.RSAPrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def foreign_key() -> str:
    """A private key that no simulator knows, as PEM."""
    return _pem(rsa.generate_private_key(65537, _KEY_BITS))


class DriveSimulator:
    """See the module. `requests` keeps (call, query, headers) of each request."""

    def __init__(self, key_file: Path | None = None) -> None:
        self.before: Callable[[web.BaseRequest], Awaitable[web.StreamResponse | None]] | None = None
        """Asked before each answer: what it answers is sent instead."""
        self.tree = Tree()
        self.robot = _ROBOT
        self.counts: Counter[str] = Counter()
        self.requests: list[tuple[str, dict[str, str], dict[str, str]]] = []
        self.url = ""
        self.token_seconds = 3600
        self.client_secret = "secret"
        self.refresh_tokens: dict[str, str] = {"refresh-1": "me@example.com"}
        self.calls = Calls(self.tree)
        self._scripts: dict[str, deque[Answer]] = {}
        self._tokens: dict[str, tuple[str, float]] = {}
        kept = key_file is not None and key_file.exists()
        key = _load(key_file) if key_file is not None and kept else _key()
        self.private_key = _pem(key)
        if key_file is not None and not kept:
            key_file.touch(mode=0o600)
            key_file.write_text(self.private_key)
        self._public = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    # --- what a test uses

    @property
    def token_uri(self) -> str:
        """Where tokens are given."""
        return f"{self.url}/token"

    def service_account(self) -> dict[str, str]:
        """Credentials of the service account."""
        return {
            "type": "service_account",
            "project_id": "project",
            "private_key_id": "key-1",
            "private_key": self.private_key,
            "client_email": self.robot,
            "client_id": "123",
        }

    def oauth(self, refresh_token: str = "refresh-1") -> dict[str, str]:
        """Credentials of a user."""
        return {
            "type": "oauth",
            "client_id": "client",
            "client_secret": self.client_secret,
            "refresh_token": refresh_token,
        }

    def script(self, call: str, *answers: Answer, times: int = 1) -> None:
        """Answer the next requests of a call so; the genuine answers follow."""
        self._scripts.setdefault(call, deque()).extend(list(answers) * times)

    @property
    def tokens(self) -> list[str]:
        """The access tokens given out."""
        return list(self._tokens)

    def clear_scripts(self) -> None:
        """Answer as usual from now on."""
        self._scripts.clear()

    def expire_tokens(self) -> None:
        """All access tokens end now."""
        self._tokens.clear()

    def total(self) -> int:
        """Requests so far, those for tokens left out."""
        return sum(count for call, count in self.counts.items() if call != "token")

    # --- running

    @classmethod
    @contextlib.contextmanager
    def running(cls, port: int = 0, key_file: Path | None = None) -> Iterator[DriveSimulator]:
        """The server, listening on `url` until the end of the block, in a thread of its own.

        `key_file` keeps the service account's key from one time to the next.
        """
        server = cls(key_file)
        with in_thread("drive-simulator", server._serving(port)):
            yield server

    @contextlib.asynccontextmanager
    async def _serving(self, port: int) -> AsyncIterator[None]:
        async with listening(self._handle, port) as found:
            self.url = self.calls.url = f"http://127.0.0.1:{found}"
            yield

    # --- answering

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if self.before is not None and (instead := await self.before(request)) is not None:
            return instead
        query = dict(request.query)
        form = {k: v[0] for k, v in parse_qs((await request.read()).decode()).items()}
        call, file_id = self.calls.name(request.method, request.path, query)
        self.counts[call] += 1
        self.requests.append((call, query, {k.lower(): v for k, v in request.headers.items()}))
        script = self._scripts.get(call)
        answer = script.popleft() if script else Answer(genuine=True)
        if answer.delay:
            await asyncio.sleep(answer.delay if answer.delay > 0 else 3600)
        if answer.genuine:
            try:
                status, body, headers = self._answer(call, file_id, query, form, request)
            except Refusal as refusal:
                status, body, headers = refusal.status, refusal.body(), {"Content-Type": "application/json"}
            answer = Answer(status, body, headers, cut=answer.cut)
        return await self._send(request, answer)

    def _answer(
        self, call: str, file_id: str, query: Mapping[str, str], form: Mapping[str, str], request: web.BaseRequest
    ) -> tuple[int, bytes, dict[str, str]]:
        if call == "token":
            return self._token(form)
        bearer = request.headers.get("Authorization", "").removeprefix("Bearer ")
        user, until = self._tokens.get(bearer, ("", 0.0))
        if time.monotonic() >= until:
            raise Refusal(401, "authError", "Invalid Credentials")
        return self.calls.answer(call, file_id, query, user, request.headers)

    def _token(self, form: Mapping[str, str]) -> tuple[int, bytes, dict[str, str]]:
        def refuse(error: str, described: str, status: int = 400) -> tuple[int, bytes, dict[str, str]]:
            body = json.dumps({"error": error, "error_description": described}).encode()
            return status, body, {"Content-Type": "application/json"}

        if form.get("grant_type") == "refresh_token":
            if form.get("client_id") != "client" or form.get("client_secret") != self.client_secret:
                return refuse("invalid_client", "The OAuth client was not found.", 401)
            user = self.refresh_tokens.get(form.get("refresh_token", ""), "")
            if not user:
                return refuse("invalid_grant", "Token has been expired or revoked.")
        else:
            try:
                claims = self._claims(form.get("assertion", ""))
            except ValueError:
                return refuse("invalid_grant", "Invalid JWT Signature.")
            if abs(claims["iat"] - time.time()) > 600 or not 0 < claims["exp"] - claims["iat"] <= 3600:
                return refuse(
                    "invalid_grant",
                    "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe."
                    " Check your iat and exp values in the JWT claim.",
                )
            if claims["iss"] != self.robot or claims["aud"] != "https://oauth2.googleapis.com/token":
                return refuse("invalid_grant", "Invalid grant: account not found")
            user = claims.get("sub") or self.robot
            if user != self.robot and not self.tree.delegation:
                return refuse(
                    "unauthorized_client",
                    "Client is unauthorized to retrieve access tokens using this method, or client not authorized for"
                    " any of the scopes requested.",
                    401,
                )
            if user != self.robot and (user not in self.tree.domain or user in self.tree.suspended):
                return refuse("invalid_grant", "Invalid email or User ID")
        token = f"ya29.{secrets.token_urlsafe(24)}"
        self._tokens[token] = (user, time.monotonic() + self.token_seconds)
        body = {"access_token": token, "expires_in": self.token_seconds, "token_type": "Bearer"}
        return 200, json.dumps(body).encode(), {"Content-Type": "application/json"}

    def _claims(self, assertion: str) -> dict[str, Any]:
        # `verify=False` leaves expiry to the checks above, which answer as Google does.
        header, payload, signature = assertion.split(".")
        key = serialization.load_pem_public_key(self._public)
        assert isinstance(key, rsa.RSAPublicKey)
        try:
            raw = base64.urlsafe_b64decode(signature + "=" * (-len(signature) % 4))
            key.verify(raw, f"{header}.{payload}".encode(), padding.PKCS1v15(), hashes.SHA256())
        except InvalidSignature:
            raise ValueError from None
        claims: dict[str, Any] = jwt.decode(assertion, verify=False)  # type: ignore[no-untyped-call]
        return claims

    async def _send(self, request: web.BaseRequest, answer: Answer) -> web.StreamResponse:
        if answer.drop and request.transport is not None:
            request.transport.close()
            return web.Response()
        response = web.StreamResponse(status=answer.status, headers=answer.headers)
        if "Content-Length" not in response.headers and answer.headers.get("X-Chunked"):
            response.enable_chunked_encoding()
        else:
            response.content_length = len(answer.body)
        await response.prepare(request)
        body = answer.body if answer.cut is None else answer.body[: answer.cut]
        if body:
            await response.write(body)
        if answer.cut is not None:
            if request.transport is not None:
                request.transport.close()
            return response
        await response.write_eof()
        return response


def _load(key_file: Path) -> rsa.RSAPrivateKey:
    key = serialization.load_pem_private_key(key_file.read_bytes(), None)
    assert isinstance(key, rsa.RSAPrivateKey)
    return key
