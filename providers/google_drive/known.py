"""Which folders a sync has seen below its root, kept among its places.

It tells a folder that has left from one that was never here, and one that was renamed from one only touched.

Places `folders/000000`, `folders/000001`, ... are a log of 20 characters per entry: a digest of the folder's id
and one of its path, or `--------` for a folder that has left. Later entries win; a full pass begins a new log.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Self

from providers.base import Positions
from providers.google_drive.files import digest

__all__ = ["GONE", "KnownFolders", "entries", "path_digest"]

GONE = "-" * 8
_PREFIX = "folders/"
_PER_PLACE = 200


def path_digest(path: str) -> str:
    """Stands for a path."""
    return digest(path)[:8]


def _id_digest(folder_id: str) -> str:
    return digest(folder_id)[:12]


def entries(folders: Iterable[tuple[str, str | None]], generation: str, number: int) -> tuple[dict[str, str], int]:
    """Places for (folder id, path or None), from `number` on; and the next number."""
    told = [f"{_id_digest(i)}{GONE if path is None else path_digest(path)}" for i, path in folders]
    places = {}
    for start in range(0, len(told), _PER_PLACE):
        places[f"{_PREFIX}{number:06d}"] = f"{generation}:{''.join(told[start : start + _PER_PLACE])}"
        number += 1
    return places, number


class KnownFolders:
    """The log, read."""

    def __init__(self, paths: Mapping[str, str], following: int) -> None:
        self._paths = paths
        self.following = following

    @classmethod
    async def read(cls, positions: Positions, generation: str) -> Self:
        """Read what the full pass `generation` and the incremental ones after it have kept."""
        paths: dict[str, str] = {}
        following = 0
        for key, place in sorted((await positions.all()).items()):
            made, _, told = place.partition(":")
            if not key.startswith(_PREFIX) or made != generation:
                continue
            following = int(key.removeprefix(_PREFIX)) + 1
            for start in range(0, len(told), 20):
                paths[told[start : start + 12]] = told[start + 12 : start + 20]
        return cls(paths, following)

    def path(self, folder_id: str) -> str | None:
        """The digest of the path that was last known, None where the folder is not below the root."""
        found = self._paths.get(_id_digest(folder_id))
        return None if found == GONE else found
