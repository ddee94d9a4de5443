"""A look into an account before there is a sync: its folders, its files."""

from __future__ import annotations

from typing import Any

from providers.google_drive.client import DriveClient, foreign
from providers.google_drive.exports import FOLDER, SHORTCUT
from providers.google_drive.files import FIELDS, row_of
from providers.google_drive.options import Options
from providers.google_drive.roots import Root, corpus, find_root, list_folders, quoted

__all__ = ["preview_files", "preview_folders"]

_MOST_FOLDERS = 1000


async def preview_folders(client: DriveClient, options: Options) -> list[dict[str, str]]:
    """Folders directly in a place; at the top also shared drives and folders shared with the account.

    Each as id, name, path and mime_type. `path` is what to give as source_path: names where they lead there, else
    the id.
    """
    root = await find_root(client, options)
    below = await list_folders(client, f"{quoted(root.id)} in parents", root.drive, _MOST_FOLDERS)
    shown = [_folder(one, _path(options, str(one["name"]))) for one in below if one.get("mimeType") == FOLDER]
    names = [one["name"] for one in shown]
    for one in shown:
        if names.count(one["name"]) > 1 or "/" in one["name"]:
            one["path"] = one["id"]
    if options.id is None and not options.names and not options.shared_drive_id:
        answer = await client.call("drives.list", pageSize=100, fields="nextPageToken,drives(id,name)")
        shown += [_folder({**drive, "mimeType": FOLDER}, str(drive["id"])) for drive in answer.get("drives") or ()]
        shared = await list_folders(client, "sharedWithMe = true", None, _MOST_FOLDERS)
        shown += [_folder(one, str(one["id"])) for one in shared if one.get("mimeType") == FOLDER]
    return shown


async def preview_files(client: DriveClient, options: Options, max_results: int) -> dict[str, Any]:
    """At most `max_results` files directly in a place, and whether there are more."""
    root: Root = await find_root(client, options)
    answer = await client.call(
        "files.list",
        q=f"{quoted(root.id)} in parents and trashed = false and mimeType != '{FOLDER}'",
        fields=f"nextPageToken,incompleteSearch,files({FIELDS})",
        pageSize=max_results,
        keys=root.keys,
        path=root.name,
        **corpus(root.drive),
    )
    if not isinstance(answer.get("files"), list):
        raise foreign("no list of files", root.name)
    files = []
    for file in answer["files"][:max_results]:
        row = row_of(file, "", options.export_formats)
        files.append(
            {
                "id": row.source.id,
                "name": str(file.get("name") or ""),
                "path": _path(options, str(file.get("name") or "")),
                "mime_type": str(file.get("mimeType") or ""),
                "size_bytes": row.source.size,
                "modified_at": file.get("modifiedTime"),
                "skipped": row.skip if file.get("mimeType") != SHORTCUT or row.skip != "shortcut_dangling" else None,
            }
        )
    return {"folder": {"id": root.id, "name": root.name}, "files": files, "has_more": bool(answer.get("nextPageToken"))}


def _folder(folder: dict[str, Any], path: str) -> dict[str, str]:
    return {
        "id": str(folder["id"]),
        "name": str(folder.get("name") or ""),
        "path": path,
        "mime_type": str(folder.get("mimeType") or FOLDER),
    }


def _path(options: Options, name: str) -> str:
    return "/" + "/".join([*options.names, name])
