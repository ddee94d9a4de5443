"""Tigris: S3 with other defaults, and a header that makes reads of a global bucket consistent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from providers.s3 import S3Provider

__all__ = ["TigrisProvider"]


class TigrisProvider(S3Provider):
    """A Tigris account. Both endpoints work: https://fly.storage.tigris.dev (older) and https://t3.storage.dev."""

    name: ClassVar[str] = "tigris"
    default_region: ClassVar[str] = "auto"
    default_endpoint: ClassVar[str | None] = "https://fly.storage.tigris.dev"
    headers: ClassVar[Sequence[tuple[str, str]]] = (("x-tigris-consistent", "true"),)
