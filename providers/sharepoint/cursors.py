"""Places in a walk, as the caller keeps them: small, without secrets, good in any process."""

from __future__ import annotations

import base64
import json
import secrets
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from providers.errors import Transient
from providers.sharepoint.places import Library

__all__ = ["Cursor", "Feed", "Mode", "Shortcut"]

Mode = Literal["first", "changes", "anew", "kept"]
"""How a drive is read: never before; what changed; wholly, to prove what is gone; wholly, proving nothing."""


@dataclass(frozen=True, slots=True)
class Shortcut:
    """A folder (or file) of another drive, shown at `path` below the source path."""

    id: str
    drive: str
    item: str
    path: str


@dataclass(slots=True)
class Feed:
    """One drive being read: where, how far. `folder` and `prefix` as in `Library`."""

    drive: str
    name: str
    folder: str = ""
    prefix: str = ""
    target: str = ""
    single: bool = False
    shortcut: bool = False
    mode: Mode = "first"
    link: str = ""
    began: bool = False
    rows: int = 0
    """Rows of the folder record written so far."""
    shortcuts: int = 0
    moved: bool = False
    """A folder moved while it was being listed: paths may be wrong, the next pass reads the drive anew."""
    items: bool = False

    @classmethod
    def of(cls, library: Library, *, shortcut: bool = False) -> Feed:
        """The beginning of a library."""
        return cls(
            library.drive,
            library.name,
            library.folder,
            library.prefix,
            library.target,
            single=library.single,
            shortcut=shortcut,
        )

    @property
    def key(self) -> str:
        """Under what its position is kept."""
        return f"{self.drive}/{self.target}" if self.shortcut else self.drive

    def restarted(self, mode: Mode, link: str = "") -> Feed:
        """Read from the beginning (or `link`) in another mode."""
        return replace(self, mode=mode, link=link, began=True, rows=0, shortcuts=0, moved=False, items=False)


@dataclass(slots=True)
class Cursor:
    """Place in a walk of one library or of the libraries of several sites.

    `site` and `feed` say which library is being read, `sub` which shortcut of it (the `index`-th of the
    answer at hand, or of the kept ones). `fresh` are shortcuts that came up in a change feed.
    """

    pass_id: str = field(default_factory=lambda: secrets.token_hex(4))
    site: str = ""
    feed: Feed | None = None
    sub: Feed | None = None
    index: int = -1
    fresh: list[Shortcut] = field(default_factory=list)
    failed: int = 0
    blind: bool = False
    """Something failed whose ids are not known: a site, or too many libraries to name."""
    read: int = 0

    def encode(self) -> str:
        """As text."""
        plain = asdict(self)
        for name in ("feed", "sub"):
            if plain[name] is not None:
                plain[name] = {key: value for key, value in plain[name].items() if value or key in {"drive", "name"}}
        packed = zlib.compress(json.dumps(plain, separators=(",", ":")).encode(), 9)
        return base64.urlsafe_b64encode(packed).decode()

    @classmethod
    def decode(cls, text: str, *, path: str) -> Cursor:
        """Inverse of `encode`. Raises Transient (`cursor_refused`)."""
        try:
            plain: Mapping[str, Any] = json.loads(zlib.decompress(base64.urlsafe_b64decode(text)))
            feed, sub = plain["feed"], plain["sub"]
            return cls(
                **{
                    **plain,
                    "feed": Feed(**feed) if feed else None,
                    "sub": Feed(**sub) if sub else None,
                    "fresh": [Shortcut(**one) for one in plain["fresh"]],
                }
            )
        except (ValueError, TypeError, KeyError, zlib.error):
            message = "the cursor is not one of this provider"
            raise Transient(message, provider="sharepoint", path=path, reason="cursor_refused") from None
