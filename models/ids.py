"""Identifiers: how they look and how they are made (contract/notes.md, section 1)."""

from __future__ import annotations

import hashlib
import secrets
import string

__all__ = ["new_id", "object_id"]

_ALPHABET = string.ascii_lowercase + string.digits
_LENGTHS = {
    "conn": 15,
    "int": 24,
    "usr": 15,
    "btch": 12,
    "bkt": 12,
    "ns": 12,
    "sync": 15,
    "job": 18,
    "key": 12,
    "obj": 24,
}


def new_id(prefix: str) -> str:
    """A random identifier such as `conn_x1y2…`. Not for use inside a workflow."""
    return f"{prefix}_" + "".join(secrets.choice(_ALPHABET) for _ in range(_LENGTHS[prefix]))


def object_id(bucket_id: str, connection_id: str, source_object_id: str) -> str:
    """The object that a source object becomes: the same every time, so a repeated write doubles nothing."""
    key = f"{bucket_id}\0{connection_id}\0{source_object_id}".encode("utf-8", "surrogatepass")
    return "obj_" + hashlib.blake2b(key, digest_size=12).hexdigest()
