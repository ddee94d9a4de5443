"""Whose data a request may touch. Every query of the API side is made through one of these."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

__all__ = ["Role", "Scope"]


class Role(IntEnum):
    """What a key may do; a higher role may do everything a lower one may."""

    READ = 1
    WRITE = 2
    ADMIN = 3


@dataclass(frozen=True, slots=True)
class Scope:
    """An organization (`internal_id`) and, where the resource lives in one, a namespace of it.

    Splatting `fields` into a query is the one place where tenants are kept apart: a foreign document
    does not match, so it is answered exactly like one that does not exist.
    """

    internal_id: str
    namespace_id: str | None = None

    @property
    def fields(self) -> dict[str, str]:
        """The equality conditions, and the fields a new document gets."""
        if self.namespace_id is None:
            return {"internal_id": self.internal_id}
        return {"internal_id": self.internal_id, "namespace_id": self.namespace_id}
