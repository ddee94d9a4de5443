"""Access tokens by msal, cached and renewed before they end. msal is synchronous, so it runs in a thread."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Mapping
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import msal
import requests

from providers.errors import Denied, Misconfigured, ProviderError, Transient
from providers.settings import ProviderSettings
from providers.sharepoint.signin import signin_error

__all__ = ["Tokens"]

# Renewed this long before the end, so that no request meets a dying token.
_MARGIN = 300.0
# A token refused sooner after it was made is not too old: a new one would be refused as well.
_NO_SOONER = 60.0
_CLOUDS = frozenset(
    {
        "graph.microsoft.com",
        "graph.microsoft.us",
        "dod-graph.microsoft.us",
        "microsoftgraph.chinacloudapi.cn",
        "canary.graph.microsoft.com",
    }
)


class Tokens:
    """The tokens of one connection. Safe for many tasks; at most one of them signs in at a time."""

    def __init__(self, credentials: Mapping[str, Any], settings: ProviderSettings) -> None:
        self.tenant = _required(credentials, "tenant_id")
        self.client_id = _required(credentials, "client_id")
        self._secret = _required(credentials, "client_secret")
        self.delegated = credentials.get("type") == "delegated" or bool(credentials.get("refresh_token"))
        self._refresh_token = _required(credentials, "refresh_token") if self.delegated else ""
        if not re.fullmatch(r"[A-Za-z0-9.-]+", self.tenant):
            raise Misconfigured("tenant_id must be a tenant's GUID or domain", provider="sharepoint")
        if urlsplit(settings.microsoft_authority).scheme != "https":
            raise Misconfigured("TIDEMARK_MICROSOFT_AUTHORITY must begin with https://", provider="sharepoint")
        self._authority = f"{settings.microsoft_authority.rstrip('/')}/{self.tenant}"
        self._timeout = settings.connect_timeout + settings.read_timeout / 2
        # A gateway or a simulator before Graph still wants tokens made out to Graph.
        host = urlsplit(settings.graph_endpoint).hostname or ""
        self._scopes = [f"https://{host if host in _CLOUDS else 'graph.microsoft.com'}/.default"]
        self._lock = asyncio.Lock()
        self._http = requests.Session()
        self._http.request = partial(self._http.request, timeout=self._timeout)  # type: ignore[method-assign]
        self._app: msal.ConfidentialClientApplication | None = None
        self._token = ""
        self._expires = 0.0
        self._made = 0.0
        self.renewals = 0

    async def get(self) -> str:
        """A token that lives for some minutes yet. Raises Denied, Misconfigured, Throttled, Transient."""
        if time.monotonic() < self._expires:
            return self._token
        async with self._lock:
            if time.monotonic() >= self._expires:
                await self._renew()
            return self._token

    async def renew(self, refused: str) -> str | None:
        """A new token for one that was refused with 401; None if a new one could not do better."""
        async with self._lock:
            if refused == self._token:
                if time.monotonic() - self._made < _NO_SOONER and self.renewals > 1:
                    return None
                await self._renew(afresh=True)
            return self._token

    def close(self) -> None:
        """Release sockets. Idempotent."""
        self._http.close()

    async def _renew(self, *, afresh: bool = False) -> None:
        result = await asyncio.to_thread(self._sign_in, afresh)
        if "access_token" not in result:
            raise signin_error(result)
        now = time.monotonic()
        life = float(result.get("expires_in") or 3600)
        self._token, self._made = str(result["access_token"]), now
        self._expires = now + life - min(_MARGIN, life / 2)
        # Microsoft hands out a younger refresh token now and then; it is good for as long as this process lives.
        self._refresh_token = result.get("refresh_token") or self._refresh_token
        self.renewals += 1

    def _sign_in(self, afresh: bool) -> dict[str, Any]:  # noqa: FBT001 - in a thread, by position
        try:
            if self._app is None:
                self._app = msal.ConfidentialClientApplication(
                    self.client_id,
                    client_credential=self._secret,
                    authority=self._authority,
                    instance_discovery=False,
                    http_client=self._http,
                )
            if self.delegated:
                found = self._app.acquire_token_by_refresh_token(self._refresh_token, scopes=self._scopes)
            else:
                if afresh:
                    self._app.remove_tokens_for_client()
                found = self._app.acquire_token_for_client(scopes=self._scopes)
        except requests.exceptions.SSLError:
            raise self._transport("its certificate is not trusted: set REQUESTS_CA_BUNDLE", "certificate") from None
        except requests.exceptions.Timeout:
            raise self._transport("no answer in time", "timeout") from None
        except requests.exceptions.HTTPError as error:
            status = error.response.status_code if error.response is not None else None
            raise self._transport("it answers with an error", "transient", status) from None
        except requests.exceptions.RequestException as error:
            raise self._transport(f"no connection ({type(error).__name__})", "transient") from None
        except msal.exceptions.MsalError:
            raise self._transport("it answers with an error", "transient") from None
        except ValueError as error:
            raise self._discovery(error) from None
        return dict(found or {})

    def _transport(self, what: str, reason: str, status: int | None = None) -> Transient:
        host = urlsplit(self._authority).netloc
        return Transient(f"token service {host}: {what}", provider="sharepoint", reason=reason, status=status)

    def _discovery(self, error: ValueError) -> ProviderError:
        """Msal looks the tenant up first, and puts the same words on a refusal and on an answer that is none."""
        causes: list[BaseException] = []
        cause: BaseException | None = error
        while cause is not None:
            causes.append(cause)
            cause = cause.__context__
        text = " ".join(str(one) for one in causes)
        if found := re.search(r"AADSTS\d+", text):
            return signin_error({"error": "invalid_tenant", "error_description": found.group(0) + ": refused"})
        if any(isinstance(one, json.JSONDecodeError) for one in causes) or "invalid_tenant" not in text:
            return self._transport("its answer is not understood", "malformed")
        message = "the tenant is not known to the token service: check tenant_id"
        return Denied(message, provider="sharepoint", reason="sign_in_refused", code="invalid_tenant", status=400)


def _required(credentials: Mapping[str, Any], name: str) -> str:
    value = credentials.get(name)
    if not isinstance(value, str) or not value.strip():
        raise Misconfigured(f"credentials.{name} is missing", provider="sharepoint")
    return value.strip()
