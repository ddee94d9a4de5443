"""From a connection's account and credentials to the arguments of a login. Nothing here is sent or logged."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from providers.errors import Denied, Misconfigured

__all__ = ["account_identifier", "login_arguments"]

_ACCOUNT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*(\.[A-Za-z0-9][A-Za-z0-9_-]*)*")
_DOMAIN = re.compile(r"\.snowflakecomputing\.(com|cn)$", re.IGNORECASE)


def account_identifier(account: str, *, provider: str) -> tuple[str, str]:
    """(account identifier, domain) of what a person copied: `org-name`, a locator with region, or an address."""
    text = re.sub(r"^https?://", "", account.strip(), flags=re.IGNORECASE).split("/", maxsplit=1)[0]
    match = _DOMAIN.search(text)
    text = _DOMAIN.sub("", text)
    if not _ACCOUNT.fullmatch(text):
        raise Misconfigured(
            "account is not an account identifier: use ORGANIZATION-NAME, as in https://ORGANIZATION-NAME"
            ".snowflakecomputing.com",
            provider=provider,
            path=account[:100],
        )
    return text, match[0].lower() if match else ".snowflakecomputing.com"


def login_arguments(credentials: Mapping[str, Any], *, provider: str) -> dict[str, Any]:
    """User and secret for the connector. Raises Denied where the key cannot be read."""
    user = credentials.get("username") or ""
    kind = credentials.get("type") or ("key_pair" if credentials.get("private_key") else "username_password")
    if kind == "key_pair":
        key = _private_key(credentials.get("private_key") or "", credentials.get("private_key_passphrase"), provider)
        return {"user": user, "authenticator": "SNOWFLAKE_JWT", "private_key": key}
    return {"user": user, "password": credentials.get("password") or ""}


def _private_key(text: str, passphrase: str | None, provider: str) -> bytes:
    """Unencrypted PKCS8 in DER, from PEM or base64 DER, encrypted or not."""
    secret = passphrase.encode() if passphrase else None
    # A key pasted into one line arrives with literal \n; base64 may be wrapped.
    text = text.replace("\\n", "\n").strip()
    try:
        if "-----BEGIN" in text:
            key = _load(serialization.load_pem_private_key, _pem(text), secret)
        else:
            der = base64.b64decode("".join(text.split()), validate=True)
            key = _load(serialization.load_der_private_key, der, secret)
        return bytes(
            key.private_bytes(
                serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
    except TypeError:
        why = "is encrypted: give private_key_passphrase"
    except (ValueError, binascii.Error, UnsupportedAlgorithm):
        why = "cannot be read: it must be PKCS8 (PEM, or base64 of DER)"
        if secret is not None:
            why += ", and private_key_passphrase must be the one it was encrypted with"
    raise Denied(f"private_key {why}", provider=provider, reason="private_key")


def _load(load: Any, raw: bytes, secret: bytes | None) -> Any:
    """A passphrase for a key that has none is of no harm."""
    try:
        return load(raw, password=secret)
    except TypeError:
        if secret is None:
            raise
        return load(raw, password=None)


def _pem(text: str) -> bytes:
    """PEM whose line breaks became spaces, as forms and environment variables do."""
    match = re.fullmatch(r"(-----BEGIN [A-Z ]+-----)\s*(.*?)\s*(-----END [A-Z ]+-----)", text, re.DOTALL)
    if match is None or "\n" in match[2].strip() or ":" in match[2]:
        return text.encode()
    body = "".join(match[2].split())
    lines = [body[i : i + 64] for i in range(0, len(body), 64)]
    return "\n".join([match[1], *lines, match[3], ""]).encode()
