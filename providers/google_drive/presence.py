"""Whether files that a walk did not show are there all the same: asked by id, which no index stands between."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from providers.errors import Denied
from providers.google_drive.client import DriveClient
from providers.google_drive.options import Options
from providers.google_drive.roots import Ancestors, find_root

__all__ = ["still_there"]


async def still_there(client: DriveClient, options: Options, ids: Sequence[str]) -> set[str]:
    """Those of `ids` that stand below the root; one request each, and few for their folders.

    What Google will not say anything about (403) counts as there: that is no proof of absence.
    """
    ancestors = Ancestors(client, await find_root(client, options))

    async def stands(file_id: str) -> bool:
        try:
            return await ancestors.path(file_id) is not None
        except Denied as error:
            if error.status != 403:
                raise
            return True

    try:
        answers = await asyncio.gather(*map(stands, ids))
    finally:
        await ancestors.close()
    return {file_id for file_id, there in zip(ids, answers, strict=True) if there}
