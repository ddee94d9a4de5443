"""Calls of Microsoft Graph by aiohttp: token, gate, user agent, errors. No retries; addresses are guarded."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import orjson
from yarl import URL

from providers.errors import Denied, ProviderError, Transient
from providers.http.tls import trusting
from providers.settings import ProviderSettings
from providers.sharepoint.errors import Kind, from_status
from providers.sharepoint.gate import shared_gate
from providers.sharepoint.guard import GuardedResolver, check_literal
from providers.sharepoint.links import relative
from providers.sharepoint.tokens import Tokens

__all__ = ["USER_AGENT", "Graph"]

# The form Microsoft asks for, so that traffic can be told apart when it throttles.
USER_AGENT = "ISV|Tidemark|Tidemark/0.1"
_LONGEST_ANSWER = 64 * 1024 * 1024
_LONGEST_ERROR = 64 * 1024


class Graph:
    """One connection's client. `get` takes paths below the endpoint: links are made relative before they are kept."""

    def __init__(self, credentials: Mapping[str, Any], settings: ProviderSettings) -> None:
        self.tokens = Tokens(credentials, settings)
        self._settings = settings
        self.endpoint = settings.graph_endpoint.rstrip("/")
        self._own_host = urlsplit(self.endpoint).hostname or ""
        self.gate = shared_gate(self.endpoint, self.tokens.tenant, self.tokens.client_id)
        self.requests = 0
        self._session: aiohttp.ClientSession | None = None
        self._closed = False

    async def get(self, target: str, *, kind: Kind, path: str) -> dict[str, Any]:
        """The JSON object at `target`. Raises an error of ours, never an empty answer."""
        body = await self._send(target, kind=kind, path=path)
        try:
            answer = orjson.loads(body)
        except orjson.JSONDecodeError:
            answer = None
        if not isinstance(answer, dict):
            raise Transient("the answer is no JSON object", provider="sharepoint", path=path, reason="malformed")
        return answer

    async def pages(self, target: str, *, kind: Kind, path: str) -> list[dict[str, Any]]:
        """Every entry of a paged collection that is known to be small (sites, libraries)."""
        found: list[dict[str, Any]] = []
        seen: set[str] = set()
        while target:
            if target in seen:
                raise Transient("pages go in circles", provider="sharepoint", path=path, reason="listing_incomplete")
            seen.add(target)
            answer = await self.get(target, kind=kind, path=path)
            if not isinstance(answer.get("value"), list):
                raise Transient("not a collection", provider="sharepoint", path=path, reason="listing_incomplete")
            found += answer["value"]
            target = relative(answer.get("@odata.nextLink") or "", self.endpoint, path=path)
        return found

    async def redirect(self, target: str, *, path: str) -> str:
        """Where `target` (an item's content) is to be had. The address is a secret."""
        answer = await self._answer(target, path=path)
        try:
            if answer.status not in {301, 302, 303, 307, 308} or "Location" not in answer.headers:
                raise from_status(
                    answer.status, answer.headers, await self._body(answer, _LONGEST_ERROR, path),
                    kind=Kind.ITEM, path=path, gate=self.gate,
                )  # fmt: skip
            self.gate.note_success(answer.headers)
            return answer.headers["Location"]
        finally:
            answer.release()

    async def _send(self, target: str, *, kind: Kind, path: str) -> bytes:
        answer = await self._answer(target, path=path)
        try:
            if answer.status == 200:
                body = await self._body(answer, _LONGEST_ANSWER, path)
                self.gate.note_success(answer.headers)
                return body
            body = await self._body(answer, _LONGEST_ERROR, path)
        finally:
            answer.release()
        raise from_status(answer.status, answer.headers, body, kind=kind, path=path, gate=self.gate)

    async def _answer(self, target: str, *, path: str) -> aiohttp.ClientResponse:
        """The answer to one GET; a token that died meanwhile is renewed once."""
        token = await self.tokens.get()
        answer = await self._once(target, token, path)
        if answer.status == 401:
            answer.release()
            renewed = await self.tokens.renew(token)
            if renewed is None:
                message = "Microsoft Graph refuses a token just made: check the app's rights and this machine's clock"
                raise Denied(message, provider="sharepoint", path=path, status=401)
            answer = await self._once(target, renewed, path)
        return answer

    async def _once(self, target: str, token: str, path: str) -> aiohttp.ClientResponse:
        self.gate.enter(path=path)
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
        return await self.fetch(f"{self.endpoint}{target}", headers, path=path)

    async def fetch(self, url: str, headers: Mapping[str, str], *, path: str) -> aiohttp.ClientResponse:
        """One GET of any address, without following redirects. Raises Transient; its text never has the address."""
        self.requests += 1
        try:
            check_literal(url, allow_private=self._settings.allow_private_endpoints, own_host=self._own_host)
            return await self._open().get(
                _exact(url), headers={"User-Agent": USER_AGENT, **headers}, allow_redirects=False
            )
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise self.translate(error, path) from None

    async def _body(self, answer: aiohttp.ClientResponse, limit: int, path: str) -> bytes:
        parts: list[bytes] = []
        size = 0
        try:
            async for part in answer.content.iter_any():
                parts.append(part)
                size += len(part)
                if size > limit:
                    raise Transient("the answer is too long", provider="sharepoint", path=path, reason="malformed")
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self.translate(error, path) from None
        return b"".join(parts)

    def translate(self, error: Exception, path: str) -> ProviderError:
        """A failure of transport. Addresses stay out of the text: they may be signed."""
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, ssl.SSLCertVerificationError):
            cause = cause.__cause__ or getattr(cause, "os_error", None)
        if isinstance(error, aiohttp.ClientConnectorCertificateError) or cause is not None:
            what, reason = "the certificate is not trusted: set REQUESTS_CA_BUNDLE", "certificate"
        elif isinstance(error, TimeoutError):
            what, reason = "no answer in time", "timeout"
        elif isinstance(error, aiohttp.ClientPayloadError):
            what, reason = "the answer was cut short", "cut"
        elif isinstance(error, aiohttp.ServerDisconnectedError | ConnectionResetError):
            what, reason = "the connection was closed without an answer", "reset"
        else:
            what, reason = f"no connection ({type(error).__name__})", "connect"
        return Transient(what, provider="sharepoint", path=path, reason=reason)

    def _open(self) -> aiohttp.ClientSession:
        if self._closed:
            raise ConnectionResetError("client is closed")
        if self._session is None:
            settings = self._settings
            named = (os.environ.get(name) for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"))
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=128,
                    ssl=trusting(*filter(None, named)),
                    resolver=GuardedResolver(settings.allow_private_endpoints, self._own_host),
                ),
                timeout=aiohttp.ClientTimeout(
                    total=None,
                    connect=None,
                    sock_connect=settings.connect_timeout,
                    sock_read=settings.read_timeout,
                ),
                trust_env=True,
                read_bufsize=256 * 1024,
            )
        return self._session

    async def close(self) -> None:
        """Release sockets. Idempotent."""
        self._closed = True
        self.tokens.close()
        session, self._session = self._session, None
        if session is not None:
            await session.close()
            await asyncio.sleep(0)


def _exact(url: str) -> Any:
    """The address as it is: Graph's tokens and paths are escaped already."""
    return URL(url, encoded=True)
