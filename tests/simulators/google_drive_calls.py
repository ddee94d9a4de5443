"""The calls of Drive v3 on a simulated tree: parameters checked, error bodies as published."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from tests.simulators.google_drive_query import InvalidQueryError, compile_query
from tests.simulators.google_drive_tree import APPS, File, Tree

__all__ = ["Calls", "Refusal"]

Reply = tuple[int, bytes, dict[str, str]]
_ROUTES = (
    (r"/token", "token", None),
    (r"/drive/v3/about", "about.get", None),
    (r"/drive/v3/drives", "drives.list", None),
    (r"/drive/v3/drives/([^/]+)", "drives.get", None),
    (r"/drive/v3/changes/startPageToken", "changes.getStartPageToken", None),
    (r"/drive/v3/changes", "changes.list", None),
    (r"/drive/v3/files", "files.list", None),
    (r"/drive/v3/files/([^/]+)/export", "files.export", None),
    (r"/drive/v3/files/([^/]+)", "files.get", "files.media"),
    (r"/exportLink/([^/]+)", "exportLink", None),
)


class Refusal(Exception):
    """An error answer of Drive."""

    def __init__(self, status: int, reason: str, message: str = "", location: str = "") -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.message = message or reason
        self.location = location

    def body(self) -> bytes:
        """As published in Drive's guide to errors."""
        error: dict[str, Any] = {"domain": "global", "reason": self.reason, "message": self.message}
        if "imit" in self.reason or "uota" in self.reason:
            error["domain"] = "usageLimits"
        if self.location:
            error |= {"locationType": "parameter", "location": self.location}
        return json.dumps({"error": {"errors": [error], "code": self.status, "message": self.message}}).encode()


def not_found(file_id: str) -> Refusal:
    """Also the answer for what may not be seen."""
    return Refusal(404, "notFound", f"File not found: {file_id}.", "fileId")


class Calls:
    """Answers calls. The switches are faults that real servers have shown."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.url = ""
        self.groups_answer_nothing = False
        """Queries for the children of several folders find nothing."""
        self.groups_forget: set[str] = set()
        """Folders whose children are left out where several folders are asked for."""
        self.lists_forget: set[str] = set()
        """Files and folders that no listing shows, though they can be asked for by id."""
        self.flat_share = 1.0
        """The share of files that a listing without a folder shows."""
        self.incomplete_search = False
        self.forget_tokens = False
        """Page and change tokens are no longer taken."""
        self.listed_size: dict[str, int] = {}

    @staticmethod
    def name(method: str, path: str, query: Mapping[str, str]) -> tuple[str, str]:
        """The call's name and the id in its path."""
        del method
        for pattern, call, media in _ROUTES:
            if match := re.fullmatch(pattern, path):
                chosen = media if media and query.get("alt") == "media" else call
                return chosen, match.group(1) if match.groups() else ""
        return "unknown", ""

    def answer(self, call: str, file_id: str, query: Mapping[str, str], user: str, headers: Mapping[str, str]) -> Reply:
        """The genuine answer."""
        if call == "about.get":
            if "fields" not in query:
                raise Refusal(400, "required", "The 'fields' parameter is required for this method.", "fields")
            return _json({"user": {"emailAddress": user, "displayName": user.partition("@")[0]}}, query)
        if call == "drives.list":
            mine = [_drive(d) for d in self.tree.drives.values() if user in d["members"]]
            return _json({"kind": "drive#driveList", "drives": mine}, query)
        if call == "drives.get":
            return _json(_drive(self._drive(file_id, user)), query)
        if call == "files.list":
            return self._list(query, user)
        if call == "changes.getStartPageToken":
            if query.get("driveId"):
                self._drive(query["driveId"], user)
            return _json({"kind": "drive#startPageToken", "startPageToken": str(len(self.tree.log) + 1)}, query)
        if call == "changes.list":
            return self._changes(query, user)
        if call in {"files.get", "files.media", "files.export", "exportLink"}:
            return self._file(call, self._see(file_id, query, user, headers), query, user, headers)
        raise Refusal(404, "notFound", "Not Found")

    # --- listing

    def _drive(self, drive_id: str, user: str) -> dict[str, Any]:
        drive = self.tree.drives.get(drive_id)
        if drive is None or user not in drive["members"]:
            raise Refusal(404, "notFound", f"Shared drive not found: {drive_id}", "driveId")
        return drive

    def _list(self, query: Mapping[str, str], user: str) -> Reply:
        q, size = query.get("q", ""), int(query.get("pageSize", 100))
        drive = query.get("driveId")
        everywhere = query.get("supportsAllDrives") == query.get("includeItemsFromAllDrives") == "true"
        self._check_list(query, size, user, everywhere=everywhere)
        parents = re.findall(r"'([^']+)' in parents", q)
        for parent in parents:
            folder = self.tree.files.get(self._id(parent, user))
            if folder is None or not self.tree.visible(folder, user):
                raise not_found(".")
        try:
            wanted = compile_query(q)
        except InvalidQueryError:
            raise Refusal(400, "invalid", "Invalid Value", "q") from None
        start = self._start(query.get("pageToken"), q)
        found = [one for one in self._candidates(parents, drive, user, everywhere=everywhere) if wanted(one)]
        if len(set(parents)) > 1 and self.groups_answer_nothing:
            found = []
        if len(set(parents)) > 1:
            found = [one for one in found if not self.groups_forget & set(one["parents"])]
        found = [one for one in found if one["id"] not in self.lists_forget]
        if not parents:
            found = found[: int(len(found) * self.flat_share)]
        page = found[start : start + size]
        answer: dict[str, Any] = {
            "kind": "drive#fileList",
            "incompleteSearch": self.incomplete_search,
            "files": page,
        }
        if start + size < len(found):
            place = json.dumps([hashlib.md5(q.encode()).hexdigest()[:8], start + size])
            answer["nextPageToken"] = "~!!~" + base64.urlsafe_b64encode(place.encode()).decode()
        return _json(answer, query)

    def _check_list(self, query: Mapping[str, str], size: int, user: str, *, everywhere: bool) -> None:
        drive = query.get("driveId")
        if drive and query.get("corpora") != "drive":
            raise Refusal(400, "invalid", "The driveId parameter must be used with corpora=drive", "driveId")
        if drive:
            self._drive(drive, user)
        if not 1 <= size <= 1000:
            raise Refusal(400, "invalid", "Invalid value", "pageSize")
        if drive and not everywhere:
            raise Refusal(403, "teamDrivesNotSupported", "supportsAllDrives is required")

    def _candidates(
        self, parents: list[str], drive: str | None, user: str, *, everywhere: bool
    ) -> list[dict[str, Any]]:
        among = [c for p in dict.fromkeys(parents) for c in self.tree.children(self._id(p, user))]
        return [
            self.tree.resource(file, user)
            for file in (among if parents else self.tree.files.values())
            if file.parent is not None
            and self.tree.visible(file, user)
            and not (drive and file.drive != drive)
            and not (file.drive and not everywhere)
        ]

    def _id(self, file_id: str, user: str) -> str:
        return self.tree.root_of(user) if file_id == "root" else file_id

    def _start(self, token: str | None, q: str) -> int:
        if token is None:
            return 0
        try:
            made_for, start = json.loads(base64.urlsafe_b64decode(token.removeprefix("~!!~")))
        except ValueError:
            made_for, start = "", 0
        if made_for != hashlib.md5(q.encode()).hexdigest()[:8] or self.forget_tokens:
            raise Refusal(400, "invalid", "Invalid Value", "pageToken")
        return int(start)

    def _changes(self, query: Mapping[str, str], user: str) -> Reply:
        drive, size = query.get("driveId"), int(query.get("pageSize", 100))
        if drive:
            self._drive(drive, user)
        token = query.get("pageToken", "")
        if not token.isdigit() or self.forget_tokens or int(token) > len(self.tree.log) + 1:
            raise Refusal(400, "invalid", "Invalid Value", "pageToken")
        seen: dict[str, int] = {}
        for index in range(int(token) - 1, len(self.tree.log)):
            entry = self.tree.log[index]
            seen.pop(entry.get("file") or entry["drive"], None)
            seen[entry.get("file") or entry["drive"]] = index
        decided = [(index, self._change(self.tree.log[index], drive, user)) for index in seen.values()]
        told = [(index, change) for index, change in decided if change is not None]
        answer: dict[str, Any] = {"kind": "drive#changeList", "changes": [change for _, change in told[:size]]}
        if len(told) > size:
            answer["nextPageToken"] = str(told[size - 1][0] + 2)
        else:
            answer["newStartPageToken"] = str(len(self.tree.log) + 1)
        return _json(answer, query)

    def _change(self, entry: Mapping[str, Any], drive: str | None, user: str) -> dict[str, Any] | None:
        if entry["kind"] == "drive":
            return {"changeType": "drive", "driveId": entry["drive"], "removed": True}
        file = self.tree.files.get(entry["file"])
        concerned = entry["drive"] == drive if drive else entry["owner"] == user or user in entry["seen_by"]
        if file is not None and self.tree.visible(file, user) and (file.drive == drive or not drive):
            if not drive and file.drive:
                return None
            shown = self.tree.resource(file, user)
            return {"changeType": "file", "fileId": file.id, "removed": False, "file": shown}
        if concerned:
            return {"changeType": "file", "fileId": entry["file"], "removed": True}
        return None

    # --- one file

    def _see(self, file_id: str, query: Mapping[str, str], user: str, headers: Mapping[str, str]) -> File:
        file = self.tree.files.get(self._id(file_id, user))
        if file is None:
            raise not_found(file_id)
        if not self.tree.visible(file, user):
            key = file.shown.get("resourceKey")
            if key is None or f"{file_id}/{key}" not in headers.get("X-Goog-Drive-Resource-Keys", ""):
                raise not_found(file_id)
        if file.drive and query.get("supportsAllDrives") != "true" and not file.mime_type.startswith(APPS):
            raise not_found(file_id)
        return file

    def _file(self, call: str, file: File, query: Mapping[str, str], user: str, headers: Mapping[str, str]) -> Reply:
        if call == "files.get":
            shown = self.tree.resource(file, user)
            if file.links and file.exports:
                shown["exportLinks"] = {
                    mime: f"{self.url}/exportLink/{file.id}?format={mime.replace('+', '%2B')}" for mime in file.exports
                }
            return _json(shown, query)
        if file.refuse and not (file.refuse[1] == "cannotDownloadAbusiveFile" and query.get("acknowledgeAbuse")):
            raise Refusal(*file.refuse)
        if call == "files.media":
            if file.mime_type.startswith(APPS):
                message = "Only files with binary content can be downloaded. Use Export with Docs Editors files."
                raise Refusal(403, "fileNotDownloadable", message, "alt")
            return _bytes(file.body if file.served is None else file.served, file.mime_type, headers)
        mime = query.get("mimeType") or query.get("format") or ""
        if mime not in file.exports:
            raise Refusal(400, "badRequest", "The requested conversion is not supported.", "convertTo")
        if call == "files.export" and len(file.exports[mime]) > file.export_limit:
            raise Refusal(403, "exportSizeLimitExceeded", "This file is too large to be exported.")
        return 200, file.exports[mime], {"Content-Type": mime, "X-Chunked": "1"}


def _bytes(body: bytes, mime_type: str, headers: Mapping[str, str]) -> Reply:
    asked = re.fullmatch(r"bytes=(\d+)-(\d*)", headers.get("Range", ""))
    if asked is None:
        return 200, body, {"Content-Type": mime_type}
    first, last = int(asked.group(1)), int(asked.group(2) or len(body) - 1)
    if first >= len(body):
        raise Refusal(416, "requestedRangeNotSatisfiable", "Request range not satisfiable")
    part = body[first : last + 1]
    content_range = f"bytes {first}-{first + len(part) - 1}/{len(body)}"
    return 206, part, {"Content-Type": mime_type, "Content-Range": content_range}


def _drive(drive: Mapping[str, Any]) -> dict[str, Any]:
    return {"kind": "drive#drive", "id": drive["id"], "name": drive["name"]}


def _json(answer: dict[str, Any], query: Mapping[str, str]) -> Reply:
    wanted = query.get("fields")
    shown = _only(answer, wanted) if wanted and wanted != "*" else answer
    return 200, json.dumps(shown).encode(), {"Content-Type": "application/json; charset=UTF-8"}


def _only(value: Any, fields: str) -> Any:
    """A partial response: `a,b(c,d),e/f`."""
    if isinstance(value, list):
        return [_only(one, fields) for one in value]
    if not isinstance(value, dict):
        return value
    shown: dict[str, Any] = {}
    for name, inner in re.findall(r"([A-Za-z0-9*]+)(?:\(((?:[^()]|\([^()]*(?:\([^()]*\))?[^()]*\))*)\))?", fields):
        if name in value:
            shown[name] = _only(value[name], inner) if inner else value[name]
    return shown
