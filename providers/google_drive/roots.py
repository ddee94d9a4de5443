"""From a source path to the folder it means, and from a file up to that folder.

A place that is not there, that is in the bin or that has more than one meaning is Misconfigured, with what to
change; it is never an empty listing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from providers.errors import Misconfigured
from providers.google_drive.client import DriveClient, foreign
from providers.google_drive.errors import PROVIDER
from providers.google_drive.exports import FOLDER, SHORTCUT
from providers.google_drive.files import safe_name
from providers.google_drive.options import Options

__all__ = ["Ancestors", "Root", "corpus", "find_root", "list_folders", "look_at", "quoted"]

_PLACE = "id,name,mimeType,parents,driveId,trashed,resourceKey,shortcutDetails(targetId,targetResourceKey)"
_SHOWN = 8
_MAX_DEPTH = 300  # Drive allows 100 levels; a chain that goes on is a circle
_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Root:
    """The folder of a source path. `drive` is its shared drive, None in My Drive and for folders shared alone."""

    id: str
    name: str
    drive: str | None = None
    resource_key: str = ""

    @property
    def keys(self) -> dict[str, str]:
        """What requests below it have to carry."""
        return {self.id: self.resource_key} if self.resource_key else {}


def quoted(text: str) -> str:
    """A string of Drive's query language."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def corpus(drive: str | None) -> dict[str, Any]:
    """Which corpus a listing is about."""
    return {"corpora": "drive", "driveId": drive} if drive else {"corpora": "user"}


async def look_at(
    client: DriveClient, file_id: str, *, keys: Mapping[str, str] | None = None, fields: str = _PLACE
) -> dict[str, Any] | None:
    """One file's metadata, None where the account sees none."""
    try:
        found = await client.call("files.get", fileId=file_id, fields=fields, keys=keys, path=file_id)
    except Misconfigured as error:
        if error.status == 404:
            return None
        raise
    if not isinstance(found.get("id"), str):
        raise foreign("no file", file_id)
    return found


async def list_folders(client: DriveClient, query: str, drive: str | None, limit: int = 100) -> list[dict[str, Any]]:
    """Folders, and shortcuts to folders, that a query finds: at most `limit`."""
    found: list[dict[str, Any]] = []
    token: str | None = None
    while True:
        answer = await client.call(
            "files.list",
            q=f"{query} and (mimeType = '{FOLDER}' or mimeType = '{SHORTCUT}') and trashed = false",
            fields=f"nextPageToken,incompleteSearch,files({_PLACE})",
            pageSize=min(limit, 1000),
            pageToken=token,
            **corpus(drive),
        )
        if not isinstance(answer.get("files"), list):
            raise foreign("no list of files")
        found += answer["files"]
        token = answer.get("nextPageToken")
        if not token or len(found) >= limit:
            return found[:limit]


async def find_root(client: DriveClient, options: Options) -> Root:
    """The folder that `options` name. Raises Misconfigured, Denied, Transient, Throttled."""
    if options.id and options.id != "root":
        keys = {options.id: options.resource_key} if options.resource_key else None
        found = await look_at(client, options.id, keys=keys)
        if found is not None:
            return await _as_root(client, found, options)
        if not options.names:
            raise _not_there(client, options, f"no folder or shared drive {options.id!r} that the account can see")
    base = await _base(client, options)
    names = options.names
    if options.id == "root" and not await _named(client, base, "root"):
        names = ()  # Drive's own word for the top, unless there is a folder of that name
    if not names:
        return await _as_root(client, base, options)
    places = [base]
    for depth, name in enumerate(names):
        below = await asyncio.gather(*(_named(client, place, name) for place in places[:_SHOWN]))
        found_here = {str(folder["id"]): folder for folders in below for folder in folders}
        if not found_here and depth == 0 and not options.shared_drive_id:
            # A folder that was shared with the account hangs below no folder of its own.
            shared = await list_folders(client, f"sharedWithMe = true and name = {quoted(name)}", None)
            found_here = {str(folder["id"]): folder for folder in shared if folder.get("name") == name}
        if not found_here:
            within = "/" + "/".join(names[:depth])
            raise _not_there(client, options, f"there is no folder {name!r} in {within!r} that the account can see")
        places = list(found_here.values())
    if len(places) > 1:
        listed = ", ".join(f"{place['id']} (in {(place.get('parents') or ['?'])[0]})" for place in places[:_SHOWN])
        raise Misconfigured(
            f"{len(places)} folders are meant by this path: {listed}. Give the id of one of them as source_path",
            provider=PROVIDER,
            path=options.text,
            reason="ambiguous_path",
        )
    return await _as_root(client, places[0], options)


async def _base(client: DriveClient, options: Options) -> dict[str, Any]:
    if not options.shared_drive_id:
        base = await look_at(client, "root")
        if base is None:
            raise _not_there(client, options, "the account has no My Drive")
        return base
    base = await look_at(client, options.shared_drive_id)
    if base is None:
        raise Misconfigured(
            f"shared_drive_id {options.shared_drive_id!r} is no shared drive that the account can see: check the id,"
            f" and add {client.account} to the drive as a viewer",
            provider=PROVIDER,
            path=options.text,
            reason="drive_not_found",
            status=404,
        )
    return base


async def _named(client: DriveClient, place: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    folder = str(place["id"])
    if place.get("mimeType") == SHORTCUT:
        folder = str((place.get("shortcutDetails") or {}).get("targetId") or folder)
    found = await list_folders(client, f"{quoted(folder)} in parents and name = {quoted(name)}", place.get("driveId"))
    # Drive's `=` does not tell cases apart; a shortcut is no rival of a folder of the same name.
    exact = [one for one in found if one.get("name") == name]
    return [one for one in exact if one.get("mimeType") == FOLDER] or exact


def _not_there(client: DriveClient, options: Options, what: str) -> Misconfigured:
    return Misconfigured(
        f"{what}: check source_path, and share the folder with {client.account} as a viewer",
        provider=PROVIDER,
        path=options.text,
        reason="not_found",
        status=404,
    )


async def _as_root(client: DriveClient, found: Mapping[str, Any], options: Options) -> Root:
    if found.get("mimeType") == SHORTCUT:
        details = found.get("shortcutDetails") or {}
        target = str(details.get("targetId") or "")
        key = {target: str(details["targetResourceKey"])} if details.get("targetResourceKey") else None
        real = await look_at(client, target, keys=key) if target else None
        if real is None:
            raise _not_there(
                client, options, f"{found.get('name')!r} is a shortcut to something the account cannot see"
            )
        found = real
    if found.get("mimeType") != FOLDER:
        raise Misconfigured(
            f"{found.get('name')!r} is a file: give the folder it is in as source_path",
            provider=PROVIDER,
            path=options.text,
            reason="not_a_folder",
        )
    if found.get("trashed"):
        raise Misconfigured(
            f"the folder {found.get('name')!r} is in the bin: restore it or give another source_path",
            provider=PROVIDER,
            path=options.text,
            reason="root_trashed",
        )
    key_of_root = options.resource_key or str(found.get("resourceKey") or "")
    return Root(str(found["id"]), str(found.get("name") or ""), found.get("driveId"), key_of_root)


class Ancestors:
    """Paths of folders (or files) below a root, found by asking upwards. Lives for one page: folders move."""

    def __init__(self, client: DriveClient, root: Root) -> None:
        self._client = client
        self._root = root
        self._known: dict[str, asyncio.Task[dict[str, Any] | None]] = {}
        self._permits = asyncio.Semaphore(_AT_ONCE)

    def learn(self, folder: Mapping[str, Any]) -> None:
        """Take over what an answer told about a folder anyway."""

        async def told() -> dict[str, Any] | None:
            return dict(folder)

        self._known[str(folder["id"])] = asyncio.ensure_future(told())

    async def path(self, folder_id: str) -> str | None:
        """The path of one of them from the root ("" is the root itself), None where it is not below the root."""
        names: list[str] = []
        for _ in range(_MAX_DEPTH):
            if folder_id == self._root.id:
                return "/".join(reversed(names))
            folder = await self._look(folder_id)
            if folder is None or folder.get("trashed") or not folder.get("parents"):
                return None
            names.append(safe_name(str(folder.get("name") or "")))
            folder_id = str(folder["parents"][0])
        return None

    async def paths(self, folder_ids: Iterable[str]) -> dict[str, str | None]:
        """`path` of several."""
        wanted = list(dict.fromkeys(folder_ids))
        return dict(zip(wanted, await asyncio.gather(*map(self.path, wanted)), strict=True))

    async def below_any(self, folder_id: str, others: Container[str]) -> bool:
        """Whether a folder between this one and the root is one of `others`."""
        for _ in range(_MAX_DEPTH):
            folder = await self._look(folder_id) if folder_id != self._root.id else None
            if folder is None or not folder.get("parents"):
                return False
            folder_id = str(folder["parents"][0])
            if folder_id in others:
                return True
        return False

    async def _look(self, folder_id: str) -> dict[str, Any] | None:
        if folder_id not in self._known:
            self._known[folder_id] = asyncio.ensure_future(self._ask(folder_id))
        return await asyncio.shield(self._known[folder_id])

    async def _ask(self, folder_id: str) -> dict[str, Any] | None:
        async with self._permits:
            return await look_at(self._client, folder_id, keys=self._root.keys)

    async def close(self) -> None:
        """End what is still being asked."""
        for task in self._known.values():
            task.cancel()
        await asyncio.gather(*self._known.values(), return_exceptions=True)
