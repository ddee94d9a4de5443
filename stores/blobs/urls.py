"""Signed, expiring addresses of blobs: who may read one without an API key, and until when.

`GET /v1/blobs/{object_id}/{index}?expires=<unix seconds>&signature=<hex>`. The signature covers the object, the
index and the expiry, not the host, so that a proxy may sit in front. It names the object, not the bytes:
an address stops working with the object, and shows what the object has now.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from urllib.parse import urlencode

from models.settings import Settings

__all__ = ["sign", "signing_key", "verify"]

_PURPOSE = b"tidemark blob url v1"


def signing_key(settings: Settings) -> bytes:
    """The key of `TIDEMARK_URL_SIGNING_KEY`, or one derived from the local master key: the same in every process.

    Raises ValueError when there is neither.
    """
    if settings.url_signing_key is not None:
        material = settings.url_signing_key.get_secret_value().encode()
    elif settings.kms_provider == "local":
        try:
            material = settings.kms_local_key_file.read_bytes()
        except OSError as error:
            raise ValueError(
                f"no key to sign blob addresses: set TIDEMARK_URL_SIGNING_KEY or make the master key file "
                f"{settings.kms_local_key_file} ({error.strerror})"
            ) from None
    else:
        raise ValueError("no key to sign blob addresses: TIDEMARK_URL_SIGNING_KEY is needed without a local master key")
    return hmac.new(material, _PURPOSE, hashlib.sha256).digest()


def sign(key: bytes, object_id: str, blob_index: int, expires: int) -> str:
    """The query string of an address that is good until `expires` (Unix seconds)."""
    return urlencode({"expires": expires, "signature": _signature(key, object_id, blob_index, expires)})


def verify(
    key: bytes, object_id: str, blob_index: int, expires: str, signature: str, *, now: float | None = None
) -> bool:
    """Whether both query values, as received, are ours and still good. Compares in constant time."""
    if not (expires.isascii() and expires.isdigit() and len(expires) <= 12 and signature.isascii()):
        return False
    genuine = hmac.compare_digest(_signature(key, object_id, blob_index, int(expires)), signature)
    return genuine and int(expires) >= (time.time() if now is None else now)


def _signature(key: bytes, object_id: str, blob_index: int, expires: int) -> str:
    text = f"{object_id}\n{blob_index}\n{expires}".encode()
    return hmac.new(key, text, hashlib.sha256).hexdigest()
