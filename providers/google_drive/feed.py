"""Drive's change log: what changed since a token, decided against the root of a sync.

An entry names a file or folder and shows it as it is now. Files are decided by asking upwards from their parents;
folders that came, were renamed or left are walked, because the log names the folder only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from providers.errors import Misconfigured, Transient
from providers.google_drive.client import DriveClient, foreign
from providers.google_drive.errors import PROVIDER
from providers.google_drive.exports import FOLDER
from providers.google_drive.files import FIELDS
from providers.google_drive.known import KnownFolders, path_digest
from providers.google_drive.roots import Ancestors, Root

__all__ = ["Changes", "Verdicts", "changes_since", "judge", "start_token"]


@dataclass(slots=True)
class Changes:
    """One page of the log. Exactly one of the tokens is there: of the next page, or of the next visit."""

    entries: list[dict[str, Any]]
    following: str | None
    end: str | None


@dataclass(slots=True)
class Verdicts:
    """What a page of the log means for a root."""

    files: list[tuple[dict[str, Any], str]] = field(default_factory=list)
    removed: dict[str, str] = field(default_factory=dict)
    entered: list[str] = field(default_factory=list)
    """Folders to be walked, with what is below them: they came, or have another path."""
    left: list[str] = field(default_factory=list)
    """Folders to be walked for what is no longer here."""
    known: list[tuple[str, str | None]] = field(default_factory=list)
    rescan: str = ""


async def start_token(client: DriveClient, root: Root) -> str:
    """Where the log ends now."""
    answer = await client.call("changes.getStartPageToken", driveId=root.drive, path=root.name)
    if not isinstance(answer.get("startPageToken"), str):
        raise foreign("no start page token", root.name)
    return str(answer["startPageToken"])


async def changes_since(client: DriveClient, root: Root, token: str, limit: int) -> Changes:
    """A page of the log. Raises Transient `cursor_refused` where the token is no longer taken."""
    try:
        answer = await client.call(
            "changes.list",
            pageToken=token,
            pageSize=min(limit, 1000),
            driveId=root.drive,
            spaces="drive",
            includeRemoved=True,
            fields=(
                "nextPageToken,newStartPageToken,"
                f"changes(changeType,removed,fileId,driveId,time,file({FIELDS}),drive(id,name))"
            ),
            path=root.name,
        )
    except Misconfigured as error:
        if error.status == 400 or (error.status == 404 and not root.drive):
            raise _refused(root, error) from None
        raise
    entries = answer.get("changes")
    following, end = answer.get("nextPageToken"), answer.get("newStartPageToken")
    if not isinstance(entries, list) or not (following or end) or following == token:
        raise foreign("no page of changes", root.name)
    return Changes(entries, following or None, None if following else end)


def _refused(root: Root, error: Misconfigured) -> Transient:
    return Transient(
        "the change token is no longer taken",
        provider=PROVIDER,
        path=root.name,
        reason="cursor_refused",
        code=error.code,
        status=error.status,
    )


async def judge(
    ancestors: Ancestors, root: Root, entries: Sequence[Mapping[str, Any]], known: KnownFolders | None
) -> Verdicts:
    """Decide a page. `known` None: a full pass catching up; folders that left need no decision then."""
    latest = _latest(root, entries)
    verdicts = Verdicts()
    standing = [entry["file"] for entry in latest.values() if _stands(entry)]
    for file in standing:
        if file.get("mimeType") == FOLDER:
            ancestors.learn(file)
    places = await ancestors.paths(str(file["parents"][0]) for file in standing if file.get("parents"))
    for file_id, entry in latest.items():
        file = entry.get("file") or {}
        parents = file.get("parents") or []
        here = places.get(str(parents[0])) if _stands(entry) and parents else None
        reason = (
            "not_visible" if not file or entry.get("removed") else "trashed" if file.get("trashed") else "moved_out"
        )
        if file_id == root.id:
            if not _stands(entry):
                raise lost(root)
        elif file.get("mimeType") == FOLDER:
            await _judge_folder(verdicts, ancestors, file_id, reason, known, here=here is not None)
        elif here is not None:
            verdicts.files.append((dict(file), here))
        else:
            verdicts.removed[file_id] = reason
            if known is not None and reason == "not_visible" and known.path(file_id) is not None:
                verdicts.rescan = f"folder {file_id} is no longer visible, and what was in it cannot be listed"
    entered = frozenset(verdicts.entered)
    verdicts.entered = [one for one in verdicts.entered if not await ancestors.below_any(one, entered)]
    return verdicts


def _latest(root: Root, entries: Sequence[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """The last entry of each file, in the order of the log. Raises where the shared drive itself has gone."""
    latest: dict[str, Mapping[str, Any]] = {}
    for entry in entries:
        if entry.get("changeType") == "drive" or (entry.get("driveId") and not entry.get("fileId")):
            if entry.get("removed") and entry.get("driveId") == root.drive:
                raise lost(root)
            continue
        if not isinstance(entry.get("fileId"), str):
            raise foreign("a change of nothing", root.name)
        latest.pop(entry["fileId"], None)
        latest[entry["fileId"]] = entry
    return latest


async def _judge_folder(
    verdicts: Verdicts, ancestors: Ancestors, folder_id: str, reason: str, known: KnownFolders | None, *, here: bool
) -> None:
    before = known.path(folder_id) if known is not None else None
    if here:
        path = await ancestors.path(folder_id) or ""
        if before != path_digest(path):
            verdicts.entered.append(folder_id)
            verdicts.known.append((folder_id, path))
    elif before is not None:
        verdicts.known.append((folder_id, None))
        if reason == "not_visible":
            verdicts.rescan = f"folder {folder_id} is no longer visible, and what was in it cannot be listed"
        else:
            verdicts.left.append(folder_id)


def _stands(entry: Mapping[str, Any]) -> bool:
    file = entry.get("file")
    return bool(file) and not entry.get("removed") and not file.get("trashed")  # type: ignore[union-attr]


def lost(root: Root) -> Misconfigured:
    """The root itself has gone: nothing may be concluded from what is no longer shown."""
    what = "shared drive" if root.drive else "folder"
    return Misconfigured(
        f"the {what} {root.name!r} was deleted, put into the bin, or is no longer shared with the account:"
        " restore it, share it again as a viewer, or give another source_path",
        provider=PROVIDER,
        path=root.name,
        reason="root_lost",
        status=404,
    )
