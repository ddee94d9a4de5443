"""A way into a running simulator from another process: change its files, make it slow.

    PUT, GET, DELETE /simulator/files/{path}     one file
    POST /simulator/move?from={path}&to={path}   rename or move
    PUT /simulator/latency                       seconds (the body) before every answer
    POST /simulator/sql                          a statement (the body) as the account's owner

No service has such addresses; answers are 200, 404, or 400 with what was wrong.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol
from urllib.parse import unquote

from aiohttp import web

from tests.simulators.google_drive_tree import Tree as DriveTree
from tests.simulators.graph_tree import Drive as Library
from tests.simulators.graph_tree import Tree as GraphTree

__all__ = ["Control", "DriveFiles", "Files", "LibraryFiles"]

_FILES = "/simulator/files/"


class Files(Protocol):
    """What there is to change, by path."""

    def put(self, path: str, body: bytes) -> None:
        """Write a file."""

    def read(self, path: str) -> bytes | None:
        """Its bytes; None if there is no such file."""

    def move(self, path: str, to: str) -> None:
        """Rename or move it."""

    def remove(self, path: str) -> None:
        """Delete it."""


class Control:
    """Give `before` to a simulator: it is asked before each answer, and answers what is meant for it."""

    def __init__(self, files: Files | None = None, sql: Callable[[str], None] | None = None) -> None:
        self._files = files
        self._sql = sql
        self._seconds = 0.0

    async def before(self, request: web.BaseRequest) -> web.Response | None:
        """The answer to a request of ours; None, a little later if so ordered, for all others."""
        if not request.path.startswith("/simulator/"):
            if self._seconds:
                await asyncio.sleep(self._seconds)
            return None
        body = await request.read()
        try:
            return await self._answer(request, body)
        except (KeyError, ValueError, AssertionError) as error:
            return web.Response(status=400, text=f"{type(error).__name__}: {error}")

    async def _answer(self, request: web.BaseRequest, body: bytes) -> web.Response:
        target = request.raw_path.partition("?")[0]
        if target == "/simulator/latency" and request.method == "PUT":
            self._seconds = float(body)
        elif target == "/simulator/sql" and self._sql is not None:
            await asyncio.to_thread(self._sql, body.decode())
        elif target == "/simulator/move" and self._files is not None:
            self._files.move(request.query["from"], request.query["to"])
        elif target.startswith(_FILES) and self._files is not None:
            return self._file(request.method, unquote(target.removeprefix(_FILES)), body, self._files)
        else:
            return web.Response(status=404)
        return web.Response()

    @staticmethod
    def _file(method: str, path: str, body: bytes, files: Files) -> web.Response:
        if method == "PUT":
            files.put(path, body)
            return web.Response()
        found = files.read(path)
        if found is None:
            return web.Response(status=404)
        if method == "DELETE":
            files.remove(path)
        return web.Response(body=found)


class DriveFiles:
    """My Drive of the tree's owner."""

    def __init__(self, tree: DriveTree) -> None:
        self._tree = tree
        self._ids: dict[str, str] = {}

    def put(self, path: str, body: bytes) -> None:
        """See Files."""
        if (known := self._id(path)) is not None:
            self._tree.write(known, body)
        else:
            folder, _, name = path.rpartition("/")
            self._ids[path] = self._tree.add(name, "text/plain", self._folder(folder), body).id

    def read(self, path: str) -> bytes | None:
        """See Files."""
        known = self._id(path)
        return None if known is None else self._tree.files[known].body

    def move(self, path: str, to: str) -> None:
        """See Files."""
        known = self._id(path)
        if known is None:
            raise KeyError(path)
        folder, _, name = to.rpartition("/")
        if name != path.rpartition("/")[2]:
            self._tree.rename(known, name)
        if folder != path.rpartition("/")[0]:
            self._tree.move(known, self._folder(folder))
        self._ids[to] = self._ids.pop(path)

    def remove(self, path: str) -> None:
        """See Files."""
        known = self._id(path)
        if known is None:
            raise KeyError(path)
        self._tree.delete(known)
        del self._ids[path]

    def _folder(self, path: str) -> str:
        if path not in self._ids:
            self._ids[path] = self._tree.folder(path)
        return self._ids[path]

    def _id(self, path: str) -> str | None:
        """By what was put here before, else by a look at the tree: it is asked thousands of times."""
        known = self._ids.get(path)
        if known is not None:
            return known
        folder = path.rpartition("/")[0]
        for file in self._tree.children(self._folder(folder)) if folder not in self._ids else ():
            if not file.trashed:
                self._ids.setdefault(f"{folder}/{file.name}" if folder else file.name, file.id)
        return self._ids.get(path)


class LibraryFiles:
    """One library of a tenant."""

    def __init__(self, tree: GraphTree, library: Library) -> None:
        self._tree = tree
        self._library = library

    def put(self, path: str, body: bytes) -> None:
        """See Files."""
        self._tree.put(self._library, path, body)

    def read(self, path: str) -> bytes | None:
        """See Files."""
        item = self._library.find(path)
        return None if item is None else item.body

    def move(self, path: str, to: str) -> None:
        """See Files."""
        self._tree.move(self._library, path, to)

    def remove(self, path: str) -> None:
        """See Files."""
        self._tree.remove(self._library, path)
