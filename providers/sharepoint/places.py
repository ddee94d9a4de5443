"""From an address to what is walked: sites, their libraries, a folder. Names are compared exactly, then by case."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from providers.errors import Denied, Misconfigured
from providers.sharepoint.addresses import Address
from providers.sharepoint.errors import Kind
from providers.sharepoint.graph import Graph
from providers.sharepoint.links import escape, relative

__all__ = ["Library", "Places", "Site", "folder_path_of"]

_DRIVE_FIELDS = "$select=id,name,webUrl,driveType"
_ITEM_FIELDS = "$select=id,name,folder,file,package,remoteItem,root,parentReference"


@dataclass(frozen=True, slots=True)
class Site:
    """A site whose libraries are all walked. `prefix` is put before their names in paths (empty or ends in `/`)."""

    id: str
    name: str
    prefix: str = ""


@dataclass(frozen=True, slots=True)
class Library:
    """One drive to be walked, wholly or below `folder` (its path from the root, empty: all of it).

    `prefix` is put before the paths of its files. `target` is the item a shortcut leads to.
    """

    drive: str
    name: str
    folder: str = ""
    prefix: str = ""
    target: str = ""
    single: bool = False
    """Whether `folder` may be a file itself (a shortcut to one)."""


class Places:
    """Looks places up on Graph. What never changes (host name, ids of sites) is remembered."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._host = ""
        self._sites: dict[str, dict[str, Any]] = {}

    async def resolve(self, address: Address, shown: str) -> Library | list[Site]:
        """What an address means: one library (or part of it), or sites of which every library is meant."""
        try:
            return await self._resolve(address, shown)
        except Misconfigured:
            # A site may have been deleted and made again under the same address.
            self._sites.clear()
            raise

    async def _resolve(self, address: Address, shown: str) -> Library | list[Site]:
        if address.kind == "tenant":
            return await self._every_site(shown)
        if address.kind == "share":
            token = base64.urlsafe_b64encode(address.id.encode()).decode().rstrip("=")
            item = await self._get(f"/shares/u!{token}/driveItem?{_ITEM_FIELDS}", shown)
            return self._below(str((item.get("parentReference") or {}).get("driveId") or ""), "", item, shown)
        if address.kind in {"drive", "user", "me"}:
            where = {
                "drive": f"/drives/{quote(address.id, safe='!')}",
                "user": f"/users/{quote(address.id, safe='@')}/drive",
                "me": "/me/drive",
            }[address.kind]
            drive = await self._get(f"{where}?{_DRIVE_FIELDS}", shown)
            return await self._folder(drive, address.names, shown)
        if address.kind == "site":
            site = await self._get(f"/sites/{quote(address.id, safe=',')}?$select=id,name,webUrl,displayName", shown)
            return await self._in_site(site, address.names, shown)
        return await self._by_server_path(address, shown)

    async def libraries(self, site: Site) -> list[Library]:
        """Every library of a site, in the order of their ids. Raises like any call."""
        drives = await self._drives(site.id, site.name)
        return [
            Library(str(drive["id"]), f"{site.name}/{_label(drive)}", prefix=f"{site.prefix}{_label(drive)}/")
            for drive in sorted(drives, key=lambda drive: str(drive["id"]))
        ]

    # --- sites

    async def _every_site(self, shown: str) -> list[Site]:
        graph = self._graph
        fields = "$select=id,name,displayName,webUrl,isPersonalSite"
        target = f"/sites?search=*&{fields}" if graph.tokens.delegated else f"/sites/getAllSites?{fields}"
        found: dict[str, Site] = {}
        for site in await graph.pages(target, kind=Kind.ROOT, path=shown):
            path = unquote(urlsplit(str(site.get("webUrl") or "")).path).strip("/")
            # Personal OneDrives are synced when named; containers of SharePoint Embedded belong to other applications.
            if (
                not site.get("id")
                or site.get("isPersonalSite")
                or path.lower().startswith(("contentstorage/", "personal/"))
            ):
                continue
            found[str(site["id"])] = Site(str(site["id"]), f"/{path}", prefix=f"{path or 'root'}/")
        return [found[key] for key in sorted(found)]

    async def _by_server_path(self, address: Address, shown: str) -> Library | list[Site]:
        names = address.names
        depth = 2 if names and names[0].lower() in {"sites", "teams", "personal", "portals"} else 0
        host = address.host or await self._host_of(names, shown)
        site = await self._site(host, names[:depth], shown)
        drives: list[dict[str, Any]] | None = None
        while len(names) > depth:
            drives = await self._drives(str(site["id"]), shown)
            if _match(drives, names[depth], shown) is not None:
                break
            # No library of that name: a subsite, or a mistake that names what there is.
            try:
                site = await self._site(host, names[: depth + 1], shown)
            except Misconfigured as error:
                if error.status != 404:
                    raise
                raise _no_library(drives, names[depth], shown) from None
            depth, drives = depth + 1, None
        return await self._in_site(site, names[depth:], shown, drives)

    async def _host_of(self, names: Sequence[str], shown: str) -> str:
        if not self._host:
            try:
                root = await self._get("/sites/root?$select=id,webUrl,siteCollection", shown)
            except Denied as error:
                if error.status != 403:
                    raise
                message = (
                    "the tenant's host name cannot be looked up with these rights (Sites.Selected): write source_path "
                    "as the full address, https://TENANT.sharepoint.com/sites/Name/Library/folder"
                )
                raise Denied(message, provider="sharepoint", path=shown, status=error.status, code=error.code) from None
            host = (root.get("siteCollection") or {}).get("hostname") or urlsplit(str(root.get("webUrl") or "")).netloc
            self._host = str(host or str(root.get("id") or "").partition(",")[0])
        if names and names[0].lower() == "personal":
            tenant, _, rest = self._host.partition(".")
            return self._host if tenant.endswith("-my") else f"{tenant}-my.{rest}"
        return self._host

    async def _site(self, host: str, names: Sequence[str], shown: str) -> dict[str, Any]:
        key = f"{host}:/{'/'.join(names)}"
        if key not in self._sites:
            where = f"/sites/{host}:/{escape('/'.join(names))}" if names else f"/sites/{host}"
            self._sites[key] = await self._get(f"{where}?$select=id,name,webUrl,displayName", shown)
        return self._sites[key]

    # --- libraries and folders

    async def _in_site(
        self,
        site: Mapping[str, Any],
        names: Sequence[str],
        shown: str,
        drives: list[dict[str, Any]] | None = None,
    ) -> Library | list[Site]:
        name = str(site.get("displayName") or site.get("name") or site["id"])
        if not names:
            return [Site(str(site["id"]), name)]
        if drives is None:
            drives = await self._drives(str(site["id"]), shown)
        drive = _match(drives, names[0], shown)
        if drive is None:
            raise _no_library(drives, names[0], shown)
        return await self._folder(drive, names[1:], shown)

    async def _drives(self, site_id: str, shown: str) -> list[dict[str, Any]]:
        target = f"/sites/{quote(site_id, safe=',')}/drives?{_DRIVE_FIELDS}"
        drives = await self._graph.pages(target, kind=Kind.ROOT, path=shown)
        return [drive for drive in drives if drive.get("id")]

    async def _folder(self, drive: Mapping[str, Any], names: Sequence[str], shown: str) -> Library:
        drive_id, label = str(drive["id"]), _label(drive)
        if not names:
            return Library(drive_id, label)
        return self._below(drive_id, label, await self.item_at(drive_id, names, shown), shown)

    async def item_at(self, drive_id: str, names: Sequence[str], shown: str) -> dict[str, Any]:
        """The item at a path of a drive. Names copied from an address may still be escaped."""
        where = f"/drives/{quote(drive_id, safe='!')}/root:/"
        try:
            return await self._get(f"{where}{escape('/'.join(names))}?{_ITEM_FIELDS}", shown)
        except Misconfigured as error:
            plain = [unquote(name) for name in names]
            if error.status != 404 or plain == list(names):
                raise
            return await self._get(f"{where}{escape('/'.join(plain))}?{_ITEM_FIELDS}", shown)

    def _below(self, drive_id: str, label: str, item: Mapping[str, Any], shown: str) -> Library:
        if remote := item.get("remoteItem"):
            target_drive = str((remote.get("parentReference") or {}).get("driveId") or "")
            if target_drive and remote.get("id"):
                return Library(target_drive, str(item.get("name") or label), target=str(remote["id"]))
        if "root" in item or not drive_id:
            return Library(drive_id, label)
        if "folder" not in item:
            message = "source_path names a file: name the folder it is in, and the file by file_filters"
            raise Misconfigured(message, provider="sharepoint", path=shown, reason="not_a_folder")
        parent = item.get("parentReference") or {}
        return Library(drive_id, label, folder=folder_path_of(parent, str(item["name"])), target=str(item["id"]))

    async def _get(self, target: str, shown: str) -> dict[str, Any]:
        return await self._graph.get(target, kind=Kind.ROOT, path=shown)

    def link(self, link: str, shown: str) -> str:
        """A link of Graph as a path of ours."""
        return relative(link, self._graph.endpoint, path=shown)


def folder_path_of(parent: Mapping[str, Any], name: str) -> str:
    """An item's path from its drive's root, from the (escaped) path in its `parentReference`."""
    above = unquote(str(parent.get("path") or "").partition("root:")[2]).strip("/")
    return f"{above}/{name}" if above else name


def _label(drive: Mapping[str, Any]) -> str:
    return str(drive.get("name") or drive["id"]).replace("/", "_")


def _match(drives: Sequence[dict[str, Any]], name: str, shown: str) -> dict[str, Any] | None:
    """The library that `name` means: by display name or by the last part of its address; never a guess."""

    def in_address(drive: Mapping[str, Any]) -> str:
        return unquote(urlsplit(str(drive.get("webUrl") or "")).path).rstrip("/").rpartition("/")[2]

    for wanted in dict.fromkeys((name, unquote(name))):
        folded = wanted.casefold()
        for found in (
            [drive for drive in drives if in_address(drive) == wanted],
            [drive for drive in drives if drive.get("name") == wanted],
            [drive for drive in drives if in_address(drive).casefold() == folded],
            [drive for drive in drives if str(drive.get("name")).casefold() == folded],
        ):
            if len(found) == 1:
                return found[0]
            if found:
                listed = ", ".join(str(drive.get("webUrl") or drive["id"]) for drive in found)
                message = f"several libraries are called {name!r}: {listed}; use the address, or drive_id"
                raise Misconfigured(message, provider="sharepoint", path=shown, reason="ambiguous")
    return None


def _no_library(drives: Sequence[Mapping[str, Any]], name: str, shown: str) -> Misconfigured:
    there = ", ".join(sorted(repr(str(drive.get("name"))) for drive in drives)) or "none"
    message = f"the site has no library {name!r}; there are {there}"
    return Misconfigured(message, provider="sharepoint", path=shown, reason="no_library", status=404)
