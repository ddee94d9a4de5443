"""Microsoft Graph and its token service in small: sites, libraries, delta, downloads, over TLS with a CA of its own.

    with GraphSimulator.running() as graph:
        library = graph.tree.add_library(graph.tree.add_site("sites/Sales"), "Documents")
        graph.tree.put(library, "a/b.txt", b"...")
        graph.script("delta", Answer(429, headers={"Retry-After": "7"}))    # the next delta
        provider(TIDEMARK_GRAPH_ENDPOINT=graph.url, TIDEMARK_MICROSOFT_AUTHORITY=graph.authority)
        assert graph.counts["delta"] == 1

Clients have to trust `graph.ca_file` (REQUESTS_CA_BUNDLE). `python -m tests.simulators.run graph --port 8443` runs
it with sample data. Written from https://learn.microsoft.com/graph/api/driveitem-delta and its neighbours.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import ssl
import tempfile
import uuid
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote
from weakref import WeakSet

import trustme
from aiohttp import web

from tests.simulators.graph_json import drive_json, error_json, item_json, selected, site_json
from tests.simulators.graph_tokens import TokenService
from tests.simulators.graph_tree import Drive, Item, Tree
from tests.simulators.serving import in_thread, listening

__all__ = ["Answer", "Faults", "GraphSimulator"]


@dataclass(frozen=True, slots=True)
class Answer:
    """A scripted answer. `cut`: the body ends after so many bytes of those announced; `slow`: seconds before it."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: int | None = None
    drop: bool = False
    slow: float = 0.0


@dataclass(slots=True)
class Faults:
    """Standing faults."""

    headers: dict[str, str] = field(default_factory=dict)
    """Put on every answer of Graph (RateLimit-...)."""
    bare_deletes: bool = False
    """Deleted items are shown with nothing but their id."""
    paths_in_delta: bool = False
    doubled: bool = False
    """The last item of a page is shown on the next page again."""
    default_top: int = 200
    max_top: int = 1_000_000
    delays: dict[str, float] = field(default_factory=dict)
    """Kind of call -> seconds before its answer."""
    no_download_urls: bool = False
    serve: dict[str, bytes] = field(default_factory=dict)
    """Item id -> the bytes that are really served."""
    cut_at: dict[str, list[int]] = field(default_factory=dict)
    """Item id -> where its next downloads are cut."""


class GraphSimulator:
    """State and server. `counts` by kind of call: token, openid, site, sites, drives, drive, item, path, delta,
    download, content, shares, me, permissions, other."""

    def __init__(self) -> None:
        self.tree = Tree()
        self.tokens = TokenService()
        self.faults = Faults()
        self.counts: Counter[str] = Counter()
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.downloads: dict[str, tuple[str, str]] = {}
        self.me = ""
        self.before: Callable[[web.BaseRequest], Awaitable[web.StreamResponse | None]] | None = None
        """Asked before each answer: what it answers is sent instead."""
        self.url = self.authority = self.ca_file = ""
        self._scripts: dict[str, deque[Answer]] = {}
        self._transports: WeakSet[asyncio.Transport] = WeakSet()

    def script(self, kind: str, *answers: Answer, times: int = 1) -> None:
        """Answer the next calls of a kind so."""
        self._scripts.setdefault(kind, deque()).extend(answers * times)

    def clear(self) -> None:
        """Forget counts, requests and scripts."""
        self.counts.clear()
        self.requests.clear()
        self._scripts.clear()

    def expire_downloads(self) -> None:
        """Every download address given out is too old."""
        self.downloads.clear()

    # --- running

    @classmethod
    @contextlib.contextmanager
    def running(cls, port: int = 0, home: Path | None = None) -> Iterator[GraphSimulator]:
        """The server, until the end of the block, in a thread of its own; `home` keeps its CA for the next time."""
        server = cls()
        with in_thread("graph-simulator", server._serving(home or Path(_folder().name), port)):
            yield server

    @contextlib.asynccontextmanager
    async def _serving(self, folder: Path, port: int) -> AsyncIterator[None]:
        self.ca_file = str(folder / "ca.pem")
        authority = _certificates(folder / "ca.pem", folder / "ca-key.pem")
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
        async with listening(self._handle, port, ssl_context=context) as found:
            self.authority = f"https://127.0.0.1:{found}"
            self.url = f"{self.authority}/v1.0"
            yield
            # At once: a TLS connection would otherwise wait for the other side's farewell.
            for transport in self._transports:
                transport.abort()
        await asyncio.sleep(0.02)

    # --- answering

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if isinstance(request.transport, asyncio.Transport):
            self._transports.add(request.transport)
        if self.before is not None and (instead := await self.before(request)) is not None:
            return instead
        target, _, query_text = request.raw_path.partition("?")
        query = dict(parse_qsl(query_text, keep_blank_values=True))
        kind = _kind(target)
        self.counts[kind] += 1
        self.requests.append((kind, request.raw_path, {k.lower(): v for k, v in request.headers.items()}))
        if delay := self.faults.delays.get(kind):
            await asyncio.sleep(delay)
        if script := self._scripts.get(kind):
            return await self._send(request, script.popleft())
        if kind in {"token", "openid"}:
            status, body = self.tokens.answer(kind, target, self.authority, dict(await request.post()))
            return await self._send(request, Answer(status, body, {"Content-Type": "application/json"}))
        if kind == "download":
            return await self._send(request, self._download(request, target))
        if not self.tokens.is_good(request.headers.get("Authorization", "")):
            body = error_json("InvalidAuthenticationToken", "Lifetime validation failed, the token is expired.")
            return await self._send(request, Answer(401, body))
        answer = self._graph(unquote(target.removeprefix("/v1.0")), query)
        headers = {"Content-Type": "application/json", **self.faults.headers, **answer.headers}
        return await self._send(request, Answer(answer.status, answer.body, headers))

    def _graph(self, target: str, query: Mapping[str, str]) -> Answer:
        tree, fields = self.tree, query.get("$select", "")
        if target == "/sites/getAllSites" or (target == "/sites" and "search" in query):
            return _ok({"value": [site_json(site) for site in tree.sites.values() if site.path]})
        if target == "/me/drive" or target.startswith("/users/"):
            drive = tree.drives.get(self.me) if target == "/me/drive" else self._personal(target.split("/")[2])
            return _ok(drive_json(tree, drive)) if drive else _error(404, "itemNotFound", "User's mysite not found.")
        if target.startswith("/sites/"):
            return self._sites(target)
        if found := re.fullmatch(r"/shares/u!([^/]+)/driveItem", target):
            return _error(404, "itemNotFound", "The sharing link no longer exists, or you do not have permission")
        if found := re.fullmatch(r"/drives/([^/]+)(/.*)?", target):
            drive = tree.drives.get(found.group(1))
            if drive is None or drive.status != 200:
                status = drive.status if drive else 404
                return _error(status, _CODES[status])
            return self._drive(drive, found.group(2) or "", query, fields)
        return _error(400, "BadRequest", "Resource not found for the segment")

    def _sites(self, target: str) -> Answer:
        tree = self.tree
        if found := re.fullmatch(r"/sites/([^/]+)/drives", target):
            site = tree.sites.get(found.group(1))
            if site is None or site.status != 200:
                return _error(site.status if site else 404, _CODES[site.status if site else 404])
            return _ok({"value": [drive_json(tree, tree.drives[one]) for one in site.drives]})
        if found := re.fullmatch(r"/sites/([^:/]+)(?::/(.*))?", target):
            host, path = found.group(1), found.group(2) or ""
            for site in tree.sites.values():
                here = site.host == host or (host == "root" and site.host == tree.host)
                if site.id == host or (here and site.path.lower() == path.rstrip("/").lower()):
                    return _ok(site_json(site)) if site.status == 200 else _error(site.status, _CODES[site.status])
            return _error(404, "itemNotFound", "Requested site could not be found")
        return _error(400, "BadRequest", "Resource not found for the segment")

    def _personal(self, upn: str) -> Drive | None:
        path = "personal/" + re.sub(r"\W", "_", upn)
        return next((self.tree.drives[s.drives[0]] for s in self.tree.sites.values() if s.path == path), None)

    def _drive(self, drive: Drive, rest: str, query: Mapping[str, str], fields: str) -> Answer:
        if not rest:
            return _ok(drive_json(self.tree, drive))
        # Other spellings of the same address; Microsoft's own SDK uses these.
        rest = re.sub(r"^/items/root(?=/|$)", "/root", rest).removesuffix("()")
        if rest == "/root/delta":
            return self._delta(drive, query, fields)
        item: Item | None
        if rest.startswith("/root"):
            item = drive.find(rest.removeprefix("/root").removeprefix(":"))
        else:
            item = drive.items.get(rest.split("/")[2])
        if item is None or item.deleted:
            return _error(404, "itemNotFound", "The resource could not be found.")
        address = self._address(drive, item)
        if rest.endswith("/content"):
            return Answer(302, b"", {"Location": address})
        plain = item_json(drive, item, download="" if self.faults.no_download_urls else address, with_path=True)
        return _ok(selected(plain, fields))

    def _delta(self, drive: Drive, query: Mapping[str, str], fields: str) -> Answer:
        """Tokens: `e.{seq}.{after}` enumerates by order of making, `c.{since}.{upto}.{after}` goes through changes."""
        top = min(int(query.get("$top", self.faults.default_top)), self.faults.max_top)
        token = query.get("token", "")
        kind, *numbers = token.split(".") if token else ("e", str(drive.seq), "-1")
        if not re.fullmatch(r"[ec](\.-?\d+)+", ".".join([kind, *numbers])):
            return _error(400, "invalidRequest", "The token is malformed")
        seq = int(numbers[0])
        if token and seq < drive.oldest:
            fresh = f"{self.url}/drives/{drive.id}/root/delta?$top={top}&$select={fields}"
            return Answer(410, error_json("resyncRequired", "Resync required.", drive.gone_kind), {"Location": fresh})

        def link(*parts: int, name: str) -> str:
            again = f"&$select={fields}" if fields else ""
            return f"{self.url}/drives/{drive.id}/root/delta?$top={top}{again}&token={name}.{'.'.join(map(str, parts))}"

        upto = drive.seq
        if kind == "e":
            after = int(numbers[1])
            items = sorted(
                (i for i in drive.items.values() if not i.deleted and i.order > after), key=lambda i: i.order
            )
        else:
            upto, after = (int(numbers[1]), int(numbers[2])) if len(numbers) > 1 else (drive.seq, seq)
            changed = (
                i for i in drive.items.values() if max(seq, after) < i.seq <= upto and (i.listed or not i.deleted)
            )
            items = sorted(changed, key=lambda i: i.seq)
        page, more = items[:top], len(items) > top
        plain = [
            selected(item_json(drive, i, with_path=self.faults.paths_in_delta, bare=self.faults.bare_deletes), fields)
            for i in page
        ]
        if self.faults.doubled and after >= 0 and kind == "e":
            twice = [i for i in drive.items.values() if i.order == after and not i.deleted]
            plain = [*(selected(item_json(drive, i), fields) for i in twice), *plain]
        if more and kind == "e":
            ends = {"@odata.nextLink": link(seq, page[-1].order, name="e")}
        elif more:
            ends = {"@odata.nextLink": link(seq, upto, page[-1].seq, name="c")}
        else:
            ends = {"@odata.deltaLink": link(seq if kind == "e" else upto, name="c")}
        return _ok({"@odata.context": f"{self.url}/$metadata#Collection(driveItem)", "value": plain, **ends})

    def _address(self, drive: Drive, item: Item) -> str:
        token = uuid.uuid4().hex
        self.downloads[token] = (drive.id, item.id)
        return f"{self.authority}/download/{token}?tempauth=secret-{token}"

    def _download(self, request: web.BaseRequest, target: str) -> Answer:
        where = self.downloads.get(target.rpartition("/")[2])
        if where is None:
            return Answer(401, b"")
        item = self.tree.drives[where[0]].items[where[1]]
        if item.deleted:
            return Answer(404, b"")
        body = self.faults.serve.get(item.id, item.body)
        cuts = self.faults.cut_at.get(item.id)
        cut = cuts.pop(0) if cuts else None
        if found := re.fullmatch(r"bytes=(\d+)-", request.headers.get("Range", "")):
            start = int(found.group(1))
            headers = {"Content-Range": f"bytes {start}-{len(body) - 1}/{len(body)}"}
            return Answer(206, body[start:], headers, cut=cut)
        return Answer(200, body, {"Content-Type": "application/octet-stream"}, cut=cut)

    @staticmethod
    async def _send(request: web.BaseRequest, answer: Answer) -> web.StreamResponse:
        if answer.slow:
            await asyncio.sleep(answer.slow)
        if answer.drop and request.transport is not None:
            request.transport.close()
            return web.Response()
        response = web.StreamResponse(status=answer.status, headers=dict(answer.headers))
        response.content_length = len(answer.body)
        await response.prepare(request)
        if answer.cut is not None:
            await response.write(answer.body[: answer.cut])
            await asyncio.sleep(0.02)
            if request.transport is not None:
                request.transport.close()
            return response
        if answer.body:
            await response.write(answer.body)
        await response.write_eof()
        return response


_CODES = {
    403: "accessDenied",
    404: "itemNotFound",
    410: "gone",
    423: "resourceLocked",
    429: "activityLimitReached",
    503: "serviceNotAvailable",
}


def _ok(plain: dict[str, Any]) -> Answer:
    return Answer(200, json.dumps(plain).encode())


def _error(status: int, code: str, message: str = "") -> Answer:
    return Answer(status, error_json(code, message))


def _kind(target: str) -> str:
    rest = unquote(target).removeprefix("/v1.0")
    for pattern, kind in (
        (r"/[^/]+/oauth2/v2\.0/token", "token"),
        (r"/[^/]+/v2\.0/\.well-known/openid-configuration", "openid"),
        (r"/download/.*", "download"),
        (r".*/permissions.*", "permissions"),
        (r"/drives/[^/]+/root/delta", "delta"),
        (r"/drives/[^/]+/items/[^/]+/content", "content"),
        (r"/drives/[^/]+/items/[^/]+", "item"),
        (r"/drives/[^/]+/root.*", "path"),
        (r"/sites/[^/]+/drives", "drives"),
        (r"/sites/getAllSites|/sites", "sites"),
        (r"/sites/.*", "site"),
        (r"/(drives/[^/]+|me/drive|users/[^/]+/drive)", "drive"),
        (r"/shares/.*", "shares"),
    ):
        if re.fullmatch(pattern, rest):
            return kind
    return "other"


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    """Where this process keeps one CA for all its simulators: a client reads what it trusts but once."""
    return tempfile.TemporaryDirectory(prefix="graph-simulator-")


def _certificates(ca_file: Path, key_file: Path) -> trustme.CA:
    """The CA that is kept in these files, made the first time."""
    if key_file.exists():
        return trustme.CA.from_pem(ca_file.read_bytes(), key_file.read_bytes())
    authority = trustme.CA(organization_name="Tidemark test CA")
    authority.cert_pem.write_to_path(str(ca_file))
    key_file.touch(mode=0o600)
    authority.private_key_pem.write_to_path(str(key_file))
    return authority
