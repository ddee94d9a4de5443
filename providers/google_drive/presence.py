"""Whether files that a walk did not show are there all the same: asked by id, which no index stands between."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from providers.errors import Denied
from providers.google_drive.client import DriveClient
from providers.google_drive.options import Options
from providers.google_drive.roots import Ancestors, find_root, look_at

__all__ = ["still_there"]

_AT_ONCE = 8


async def still_there(client: DriveClient, options: Options, ids: Sequence[str]) -> set[str]:
    """Those of `ids` that stand below the root; one request each, and few for their folders.

    A file that Google will not say anything about (403) counts as there: that is no proof of its absence.
    """
    root = await find_root(client, options)
    permits = asyncio.Semaphore(_AT_ONCE)

    async def look(file_id: str) -> dict[str, Any] | None:
        async with permits:
            try:
                return await look_at(client, file_id, keys=root.keys)
            except Denied as error:
                if error.status != 403:
                    raise
                return {"parents": [root.id]}

    files = dict(zip(ids, await asyncio.gather(*map(look, ids)), strict=True))
    folders = {i: str(file["parents"][0]) for i, file in files.items() if file and _stands(file)}
    ancestors = Ancestors(client, root)
    try:
        paths = await ancestors.paths(folders.values())
    finally:
        await ancestors.close()
    return {i for i, folder in folders.items() if paths[folder] is not None}


def _stands(file: dict[str, Any]) -> bool:
    return not file.get("trashed") and bool(file.get("parents"))
