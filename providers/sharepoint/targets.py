"""Where a shortcut (`remoteItem`) leads: a folder or file of another drive, read by that drive's own delta."""

from __future__ import annotations

from urllib.parse import quote

from providers.errors import Gone, Misconfigured, Permanent
from providers.sharepoint.cursors import Feed, Shortcut
from providers.sharepoint.errors import Kind
from providers.sharepoint.folders import FolderTree
from providers.sharepoint.graph import Graph

__all__ = ["open_shortcut"]


async def open_shortcut(graph: Graph, shortcut: Shortcut) -> Feed:
    """The feed behind a shortcut. Raises Misconfigured where it leads nowhere (any more)."""
    where = f"/drives/{quote(shortcut.drive, safe='!')}/items/{quote(shortcut.item, safe='!')}"
    try:
        item = await graph.get(
            f"{where}?$select=id,name,root,folder,file,parentReference", kind=Kind.ITEM, path=shortcut.path
        )
        if "root" in item:
            folder = ""
        else:
            folder = await FolderTree(graph, shortcut.drive).path_of(item, shown=shortcut.path) or ""
    except (Gone, Permanent) as error:
        message = "the shortcut leads to what cannot be read"
        raise Misconfigured(
            message, provider="sharepoint", path=shortcut.path, code=error.code, status=error.status
        ) from None
    return Feed(
        drive=shortcut.drive,
        name=shortcut.path,
        folder=folder,
        prefix=f"{shortcut.path}/",
        target=shortcut.item,
        single="file" in item,
        shortcut=True,
    )
