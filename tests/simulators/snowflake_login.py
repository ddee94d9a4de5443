"""The gate's logins: passwords, and key pairs by the JWT that Snowflake documents."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

__all__ = ["GateUser", "check_login"]

_BAD_PASSWORD = ("390100", "Incorrect username or password was specified.")
_BAD_TOKEN = ("390144", "JWT token is invalid.")


@dataclass(frozen=True, slots=True)
class GateUser:
    """A user. `refusal`: what every login of this user is answered with (code, message)."""

    password: str | None = None
    public_key: rsa.RSAPublicKey | None = None
    account: str = "ACME-MAIN"
    refusal: tuple[str, str] | None = None


def check_login(
    users: Mapping[str, GateUser], data: Mapping[str, Any], headers: Mapping[str, str]
) -> tuple[str, str] | None:
    """Why this login is refused (code, message); None if it is not."""
    del headers
    user = users.get(str(data.get("LOGIN_NAME", "")).upper())
    if user is None:
        return _BAD_PASSWORD
    if user.refusal is not None:
        return user.refusal
    if data.get("AUTHENTICATOR") == "SNOWFLAKE_JWT":
        return None if user.public_key is not None and _verified(user, data) else _BAD_TOKEN
    return None if user.password is not None and data.get("PASSWORD") == user.password else _BAD_PASSWORD


def _verified(user: GateUser, data: Mapping[str, Any]) -> bool:
    assert user.public_key is not None
    head, claims_text, signature = data["TOKEN"].split(".")
    try:
        user.public_key.verify(
            _decode(signature), f"{head}.{claims_text}".encode(), padding.PKCS1v15(), hashes.SHA256()
        )
    except InvalidSignature:
        return False
    claims = json.loads(_decode(claims_text))
    der = user.public_key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    fingerprint = base64.b64encode(hashlib.sha256(der).digest()).decode()
    subject = f"{user.account}.{str(data['LOGIN_NAME']).upper()}"
    return bool(
        claims["sub"] == subject
        and claims["iss"] == f"{subject}.SHA256:{fingerprint}"
        and claims["iat"] - 60 <= time.time() < claims["exp"]
    )


def _decode(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
