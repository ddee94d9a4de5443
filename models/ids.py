"""Identifiers: how they look and how they are made (contract/notes.md, section 1)."""

from __future__ import annotations

import hashlib
import secrets
import string
from collections.abc import Sequence

import orjson

__all__ = ["new_id", "object_id", "unique_object_id"]

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


def unique_object_id(bucket_id: str, values: Sequence[str | float | bool]) -> str:
    """The object of a bucket whose unique key has these values: the database's own `_id` keeps it unique."""
    # 1 and 1.0 are one value to the database, so they are one here.
    plain = [int(value) if isinstance(value, float) and value.is_integer() else value for value in values]
    key = f"{bucket_id}\0unique\0".encode() + orjson.dumps(plain)
    return "obj_" + hashlib.blake2b(key, digest_size=12).hexdigest()
