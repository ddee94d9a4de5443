"""What is at hand while a walk goes on: memory of a pass (it can all be found out again), and the page being made."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field

from providers.base import SourceObject
from providers.errors import ProviderError
from providers.sharepoint.cursors import Shortcut
from providers.sharepoint.places import Library, Site
from providers.sharepoint.taking import Answer, Taker

__all__ = ["Pass", "Sheet", "SiteFacts", "Walks"]

_PASSES_KEPT = 16


@dataclass(frozen=True, slots=True)
class SiteFacts:
    """A site's libraries, or why they are not known. What follows from it is told whenever the site is entered."""

    libraries: list[Library] = field(default_factory=list)
    rows: Mapping[str, str] = field(default_factory=dict)
    gone: bool = False
    error: ProviderError | None = None


@dataclass(slots=True)
class Pass:
    """What one process remembers of one pass; everything in it can be found out again."""

    sites: list[Site] | None = None
    facts: dict[str, SiteFacts] = field(default_factory=dict)
    takers: OrderedDict[str, Taker] = field(default_factory=OrderedDict)
    answers: dict[str, tuple[Answer, list[Shortcut]]] = field(default_factory=dict)


class Walks:
    """The passes this process has a part in."""

    def __init__(self) -> None:
        self._passes: OrderedDict[str, Pass] = OrderedDict()

    def of(self, pass_id: str) -> Pass:
        """What is remembered of a pass."""
        found = self._passes.setdefault(pass_id, Pass())
        self._passes.move_to_end(pass_id)
        if len(self._passes) > _PASSES_KEPT:
            self._passes.popitem(last=False)
        return found


@dataclass(slots=True)
class Sheet:
    """A page being made."""

    rows: list[SourceObject] = field(default_factory=list)
    skips: dict[int, str] = field(default_factory=dict)
    removed: dict[str, str] = field(default_factory=dict)
    positions: dict[str, str] = field(default_factory=dict)
    proven: list[tuple[str, str | None]] = field(default_factory=list)
    unproven: list[tuple[str, str | None, str]] = field(default_factory=list)
    rescan: str = ""

    @property
    def enough(self) -> bool:
        """Whether the page has something to say."""
        return bool(self.rows or self.removed or self.rescan)

    def notice(self, source_id: str, path: str, reason: str) -> None:
        """A row that stands for a library about which something has to be said; never ingested."""
        self.skips[len(self.rows)] = reason
        self.rows.append(SourceObject(source_id, path, f"!|{reason}"))
