"""How the Graph simulator writes things down: items, sites, drives, errors."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any
from urllib.parse import quote

from tests.simulators.graph_tree import Drive, Item, Site, Tree, quick_xor

__all__ = ["drive_json", "error_json", "item_json", "selected", "site_json"]


def _time(when: datetime) -> str:
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")


def error_json(code: str, message: str = "", *inner: str) -> bytes:
    """An error body; `inner` are the codes of nested innererrors."""
    node: dict[str, Any] = {"date": "2026-11-25T15:00:00", "request-id": "0", "client-request-id": "0"}
    for name in reversed(inner):
        node = {"code": name, "innererror": node}
    return json.dumps({"error": {"code": code, "message": message or code, "innererror": node}}).encode()


def site_json(site: Site) -> dict[str, Any]:
    return {
        "id": site.id,
        "name": site.path.rpartition("/")[2],
        "displayName": site.name,
        "webUrl": site.url,
        "isPersonalSite": site.personal,
        "siteCollection": {"hostname": site.host},
    }


def drive_json(tree: Tree, drive: Drive) -> dict[str, Any]:
    return {
        "id": drive.id,
        "name": drive.name,
        "driveType": drive.type,
        "webUrl": f"{tree.sites[drive.site].url}/{quote(drive.segment)}",
    }


def item_json(
    drive: Drive, item: Item, *, download: str = "", with_path: bool = False, bare: bool = False
) -> dict[str, Any]:
    """An item; `with_path`: with the path of its parent, as single items have it and delta has not."""
    parent: dict[str, Any] = {"driveId": drive.id, "driveType": drive.type}
    if item.parent:
        parent["id"] = item.parent
        if with_path:
            above = drive.path_of(drive.items[item.parent])
            parent["path"] = f"/drives/{drive.id}/root:" + (f"/{quote(above)}" if above else "")
    if item.deleted:
        gone: dict[str, Any] = {"id": item.id, "deleted": {"state": "deleted"}}
        return (
            gone
            if bare
            else {**gone, "parentReference": parent, item.kind if item.kind in {"file", "folder"} else "file": {}}
        )
    shown: dict[str, Any] = {
        "@odata.etag": f'"{{{item.id}}},{item.version}"',
        "id": item.id,
        "name": item.name,
        "eTag": f'"{{{item.id}}},{item.version}"',
        "createdDateTime": _time(item.created),
        "lastModifiedDateTime": _time(item.modified),
        "parentReference": parent,
        "size": len(item.body),
        "webUrl": f"https://contoso.sharepoint.com/{drive.segment}/{quote(drive.path_of(item))}",
        "createdBy": {"user": {"displayName": "Adele Vance"}},
    }
    if item.kind == "root":
        shown |= {"root": {}, "folder": {"childCount": 1}}
    elif item.kind == "folder":
        children = sum(i.parent == item.id and not i.deleted for i in drive.items.values())
        shown |= {"folder": {"childCount": children}}
    elif item.kind == "package":
        shown |= {"package": {"type": "oneNote"}}
    elif item.kind == "remote":
        assert item.remote is not None
        remote_drive, remote_item = item.remote
        shown |= {
            "remoteItem": {
                "id": remote_item,
                "name": item.name,
                "folder": {},
                "parentReference": {"driveId": remote_drive},
            }
        }
    else:
        shown |= {"file": {"mimeType": "application/octet-stream", "hashes": {"quickXorHash": quick_xor(item.body)}}}
        if download:
            shown["@microsoft.graph.downloadUrl"] = download
    shown |= item.shown
    return {name: value for name, value in shown.items() if value is not None}


def selected(plain: dict[str, Any], fields: str) -> dict[str, Any]:
    """Only the fields of a `$select`; annotations are always shown, as Graph does, but for the download address."""
    if not fields:
        return plain
    wanted = set(fields.split(","))
    return {name: value for name, value in plain.items() if name in wanted or name == "@odata.etag"}
