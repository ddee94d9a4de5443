"""Access tokens: of a service account, for itself or for a user of its domain, or by a user's refresh token.

One token serves a whole provider and is renewed before it ends, or when Google refuses it early.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import orjson
from google.auth import crypt, jwt

from providers.errors import Misconfigured, Transient
from providers.google_drive.errors import PROVIDER, from_token_answer, from_transport
from providers.google_drive.transport import Transport
from providers.http import TransportError

__all__ = ["SCOPE", "TokenSource"]

SCOPE = "https://www.googleapis.com/auth/drive.readonly"
_ASSERTION_SECONDS = 3600
# Google checks this word, wherever the request is sent: a gateway before its endpoint changes nothing of it.
_AUDIENCE = "https://oauth2.googleapis.com/token"
# Renewed so long before its end, so that no request starts with a token that ends under way.
_MARGIN_SECONDS = 300.0
_ANSWER_BYTES = 256 * 1024


class TokenSource:
    """Gives the current token; safe for many tasks. Raises Denied, Misconfigured, Transient, Throttled."""

    def __init__(
        self, transport: Transport, credentials: Mapping[str, Any], *, token_uri: str, user: str | None
    ) -> None:
        self._transport = transport
        self._credentials = credentials
        self._token_uri = token_uri
        self._user = user or None
        self._oauth = credentials.get("type") == "oauth" or "refresh_token" in credentials
        self._lock = asyncio.Lock()
        self._token = ""
        self._until = 0.0
        self._signer: Any = None
        self.renewals = 0

    @property
    def account(self) -> str:
        """Whom to share folders with, for messages: the user stood in for, or the service account."""
        return self._user or str(self._credentials.get("client_email") or "") or "the authorised Google account"

    async def token(self, *, refused: str = "") -> str:
        """The current token; `refused` is one that Google has just not taken."""
        if self._token and self._token != refused and time.monotonic() < self._until:
            return self._token
        async with self._lock:
            if not self._token or self._token == refused or time.monotonic() >= self._until:
                await self._renew()
            return self._token

    async def _renew(self) -> None:
        began = time.monotonic()
        form = self._refresh_form() if self._oauth else self._assertion_form()
        try:
            response = await self._transport.send(
                "POST",
                self._token_uri,
                {"content-type": "application/x-www-form-urlencoded", "accept": "application/json"},
                body=urlencode(form).encode(),
                whole_up_to=_ANSWER_BYTES,
            )
            body = await response.read(_ANSWER_BYTES)
        except TransportError as error:
            raise from_transport(error, path="") from None
        self.renewals += 1
        answer: Any = None
        if response.status == 200:
            try:
                answer = orjson.loads(body)
            except orjson.JSONDecodeError:
                answer = None
        token = answer.get("access_token") if isinstance(answer, dict) else None
        if not isinstance(token, str) or not token or not token.isascii() or not token.isprintable():
            raise from_token_answer(
                response.status,
                response.headers,
                body,
                account=self.account if self._oauth else str(self._credentials.get("client_email") or ""),
                user=self._user,
                oauth=self._oauth,
            )
        try:
            seconds = float(answer.get("expires_in", 3600))
        except (TypeError, ValueError):
            raise Transient("not an answer of the token endpoint", provider=PROVIDER, reason="foreign_answer") from None
        self._token = token
        self._until = began + seconds - min(_MARGIN_SECONDS, seconds / 4)

    def _refresh_form(self) -> dict[str, str]:
        given = self._credentials
        return {
            "grant_type": "refresh_token",
            "client_id": str(given.get("client_id") or ""),
            "client_secret": str(given.get("client_secret") or ""),
            "refresh_token": str(given.get("refresh_token") or ""),
        }

    def _assertion_form(self) -> dict[str, str]:
        now = int(time.time())
        claims = {
            "iss": self._credentials.get("client_email"),
            "scope": SCOPE,
            "aud": _AUDIENCE,
            "iat": now,
            "exp": now + _ASSERTION_SECONDS,
        }
        if self._user:
            claims["sub"] = self._user
        if self._signer is None:
            self._signer = self._open_key()
        assertion: bytes = jwt.encode(self._signer, claims)  # type: ignore[no-untyped-call]
        return {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": assertion.decode()}

    def _open_key(self) -> Any:
        # A key pasted out of the JSON file often keeps its `\n` as two characters.
        text = str(self._credentials.get("private_key") or "").replace("\\n", "\n").strip() + "\n"
        try:
            return crypt.RSASigner.from_string(text, self._credentials.get("private_key_id") or None)  # type: ignore[no-untyped-call]
        except (ValueError, TypeError):
            raise Misconfigured(
                "private_key is no RSA key in PEM form: give the field private_key of the service account's JSON file,"
                " from -----BEGIN PRIVATE KEY----- to the end",
                provider=PROVIDER,
                reason="bad_private_key",
            ) from None
