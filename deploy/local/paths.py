"""Where set-up and the local stack keep things."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["CHECKOUT", "cache_home"]

CHECKOUT = Path(__file__).resolve().parents[2]
"""The folder with worker.py and starter.py."""


def cache_home() -> Path:
    """The user's cache folder for binaries, shared by all clones on this machine."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "tidemark" / "bin"
