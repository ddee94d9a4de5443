"""The token service of the Graph simulator: v2.0 tokens and metadata, refusals as Microsoft words them."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Mapping
from typing import Any

__all__ = ["TokenService"]

_TEXTS = {
    "7000215": ("invalid_client", "Invalid client secret provided."),
    "700016": ("unauthorized_client", "Application with identifier was not found in the directory"),
    "700082": ("invalid_grant", "The refresh token has expired due to inactivity."),
    "70000": ("invalid_grant", "Provided grant is invalid or malformed."),
    "50076": ("invalid_grant", "You must use multi-factor authentication."),
}  # fmt: skip


class TokenService:
    """Who may sign in, and which tokens are good."""

    def __init__(self) -> None:
        self.tenants = {"contoso"}
        self.secrets = {"app": "secret"}
        self.refresh_tokens = {"refresh"}
        self.refuse = ""
        """An AADSTS code with which every sign-in is refused."""
        self.lifetime = 3600
        self._good: dict[str, float] = {}

    @property
    def given_out(self) -> list[str]:
        """The access tokens that are good."""
        return list(self._good)

    def revoke(self) -> None:
        """No token given out so far is good any more."""
        self._good.clear()

    def is_good(self, authorization: str) -> bool:
        return self._good.get(authorization.removeprefix("Bearer "), 0) > time.monotonic()

    def answer(self, kind: str, target: str, authority: str, form: Mapping[str, Any]) -> tuple[int, bytes]:
        tenant = target.split("/")[1]
        if tenant not in self.tenants:
            return self._refusal("90002", "invalid_request", f"Tenant '{tenant}' not found.", 400)
        base = f"{authority}/{tenant}"
        if kind == "openid":
            metadata = {
                "token_endpoint": f"{base}/oauth2/v2.0/token",
                "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
                "issuer": f"{base}/v2.0",
                "jwks_uri": f"{base}/discovery/v2.0/keys",
                "device_authorization_endpoint": f"{base}/oauth2/v2.0/devicecode",
            }
            return 200, json.dumps(metadata).encode()
        if code := self._wrong(form):
            error, text = _TEXTS.get(code, ("invalid_grant", "Refused."))
            return self._refusal(code, error, text, 401 if error == "invalid_client" else 400)
        token = f"token-{uuid.uuid4().hex}"
        self._good[token] = time.monotonic() + self.lifetime
        made: dict[str, Any] = {"token_type": "Bearer", "expires_in": self.lifetime, "access_token": token}
        if form.get("grant_type") == "refresh_token":
            made["refresh_token"] = form["refresh_token"]
        return 200, json.dumps(made).encode()

    def _wrong(self, form: Mapping[str, Any]) -> str:
        if self.refuse:
            return self.refuse
        if form.get("client_id") not in self.secrets:
            return "700016"
        if form.get("client_secret") != self.secrets[form["client_id"]]:
            return "7000215"
        if form.get("grant_type") == "refresh_token" and form.get("refresh_token") not in self.refresh_tokens:
            return "70000"
        return ""

    @staticmethod
    def _refusal(code: str, error: str, text: str, status: int) -> tuple[int, bytes]:
        trace = "Trace ID: 0 Correlation ID: 0 Timestamp: 2026-11-25 15:00:00Z"
        plain = {"error": error, "error_description": f"AADSTS{code}: {text} {trace}", "error_codes": [int(code)]}
        return status, json.dumps(plain).encode()
