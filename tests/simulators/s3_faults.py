"""A small real S3 server whose faults are scripted: what moto and versitygw cannot be made to do.

    with FaultyS3.running() as s3:
        s3.put("bucket", "a/b.txt", b"…", storage_class="GLACIER")
        s3.faults.slow_down = 0.10                      # a share of all requests
        s3.script("list", Answer(body=b"<html>…"), times=1)   # or a certain answer, next
        provider(endpoint_url=s3.url)
        assert s3.counts["get"] == 1

It runs in a thread of its own, so that worker processes and a test's own loop can reach it. It
checks no signatures (versitygw does), but the signed region where `faults.region` is set.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
import re
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any
from urllib.parse import parse_qsl, unquote
from xml.sax.saxutils import escape

from aiohttp import web

from tests.simulators.s3_xml import error_xml, listing_xml, tagging_xml
from tests.simulators.serving import in_thread, listening

__all__ = ["Answer", "Faults", "FaultyS3", "StoredObject"]


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One object and how the server shows it."""

    body: bytes
    etag: str
    modified: datetime
    storage_class: str = "STANDARD"
    restore: str | None = None
    """None, `ongoing` or `done`."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    content_type: str = "application/octet-stream"
    content_encoding: str | None = None
    listed_size: int | None = None
    """What the listing says where that differs from the body."""
    customer_key: bool = False
    denied: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """A scripted answer. `cut`: the body ends after so many bytes although more were announced."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: int | None = None
    drop: bool = False
    """Close the connection without an answer."""
    delay: float = 0.0
    """Seconds before the answer."""
    slow: float = 0.0
    """Seconds between the two halves of the body."""


@dataclass(slots=True)
class Faults:
    """Standing faults; shares are between 0 and 1."""

    slow_down: float = 0.0
    retry_after: str | None = None
    cut_bodies: float = 0.0
    list_delay: float = 0.0
    get_delay: float = 0.0
    get_allowance: int | None = None
    """How many GETs are answered; those beyond wait until it is raised."""
    region: str | None = None
    """Requests signed for another region are answered 301 with this one's name."""
    requester_pays: bool = False
    directory_bucket: bool = False
    """List in no order and refuse start-after, as S3 Express does."""
    order: str = "bytes"
    """`bytes`, `utf16` (as some clones sort), `none`."""
    loop_tokens: bool = False
    """The second page's token leads to the first page, for ever."""
    same_page: bool = False
    """Every token leads to the first page."""
    ignore_if_match: bool = False
    ignore_start_after: bool = False
    bare_head: int | None = None
    """HEAD is answered with this status and nothing else."""
    gzip_on_the_fly: bool = False


class FaultyS3:
    """Buckets in a dict, faults, a script, and counts of requests by kind: list, get, head, tagging, buckets."""

    def __init__(self, seed: int = 1) -> None:
        self.buckets: dict[str, dict[str, StoredObject]] = {}
        self.faults = Faults()
        self.counts: Counter[str] = Counter()
        self.bytes_sent = 0
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.url = ""
        self._random = random.Random(seed)
        self._scripts: dict[str, deque[Answer]] = {}
        self._passed = 0

    # --- filling and scripting

    def put(self, bucket: str, key: str, body: bytes = b"", **shown: Any) -> StoredObject:
        """Store an object; `shown` are fields of StoredObject."""
        stored = StoredObject(
            body,
            **{"etag": hashlib.md5(body).hexdigest(), "modified": datetime(2026, 1, 1, tzinfo=UTC), **shown},
        )
        self.buckets.setdefault(bucket, {})[key] = stored
        return stored

    def change(self, bucket: str, key: str, **shown: Any) -> None:
        """Show an object otherwise."""
        self.buckets[bucket][key] = replace(self.buckets[bucket][key], **shown)

    def script(self, kind: str, answer: Answer, times: int = 1) -> None:
        """Answer the next `times` requests of a kind with `answer`."""
        self._scripts.setdefault(kind, deque()).extend([answer] * times)

    def clear_scripts(self) -> None:
        """Answer as usual from now on."""
        self._scripts.clear()

    # --- running

    @classmethod
    @contextlib.contextmanager
    def running(cls, port: int = 0, seed: int = 1) -> Iterator[FaultyS3]:
        """The server, listening on `url` until the end of the block."""
        server = cls(seed)
        with in_thread("faulty-s3", server._serving(port)):
            yield server

    @contextlib.asynccontextmanager
    async def _serving(self, port: int) -> AsyncIterator[None]:
        async with listening(self._handle, port) as found:
            self.url = f"http://127.0.0.1:{found}"
            yield

    # --- answering

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        target, _, query_text = request.raw_path.partition("?")
        bucket, _, raw_key = target.removeprefix("/").partition("/")
        key, query = unquote(raw_key), dict(parse_qsl(query_text, keep_blank_values=True))
        kind = self._kind(request.method, bucket, raw_key, query)
        self.counts[kind] += 1
        self.requests.append((kind, request.raw_path, {k.lower(): v for k, v in request.headers.items()}))
        if kind == "list" and self.faults.list_delay:
            await asyncio.sleep(self.faults.list_delay)
        elif kind == "get":
            await self._let_pass()
        script = self._scripts.get(kind)
        if script:
            return await self._send(request, script.popleft())
        return await self._send(request, self._common_fault(request) or self._answer(kind, request, bucket, key, query))

    async def _let_pass(self) -> None:
        """The standing faults of GETs that take time."""
        await asyncio.sleep(self.faults.get_delay)
        while (allowed := self.faults.get_allowance) is not None and self._passed >= allowed:
            await asyncio.sleep(0.02)
        self._passed += 1

    @staticmethod
    def _kind(method: str, bucket: str, key: str, query: Mapping[str, str]) -> str:
        if not bucket:
            return "buckets"
        if not key:
            return "list"
        if "tagging" in query:
            return "tagging"
        return method.lower()

    def _common_fault(self, request: web.BaseRequest) -> Answer | None:
        faults = self.faults
        if faults.slow_down and self._random.random() < faults.slow_down:
            self.counts["slow_down"] += 1
            headers = {"Retry-After": faults.retry_after} if faults.retry_after else {}
            return Answer(503, error_xml("SlowDown", "Please reduce your request rate."), headers)
        signed = re.search(r"Credential=[^/]+/\d+/([^/]+)/", request.headers.get("Authorization", ""))
        if faults.region and signed and signed.group(1) != faults.region:
            return Answer(301, error_xml("PermanentRedirect"), {"x-amz-bucket-region": faults.region})
        if faults.requester_pays and request.headers.get("x-amz-request-payer") != "requester":
            return Answer(403, error_xml("AccessDenied"))
        return None

    def _answer(self, kind: str, request: web.BaseRequest, bucket: str, key: str, query: Mapping[str, str]) -> Answer:
        if kind == "buckets":
            names = "".join(f"<Bucket><Name>{escape(name)}</Name></Bucket>" for name in self.buckets)
            return Answer(body=f"<ListAllMyBucketsResult><Buckets>{names}</Buckets></ListAllMyBucketsResult>".encode())
        if bucket not in self.buckets:
            return Answer(404, error_xml("NoSuchBucket"))
        if kind == "list":
            return self._list(bucket, query)
        stored = self.buckets[bucket].get(key)
        if kind == "head" and self.faults.bare_head:
            return Answer(self.faults.bare_head)
        if stored is None:
            return Answer(404, error_xml("NoSuchKey"))
        if kind == "tagging":
            return Answer(body=tagging_xml(stored.tags))
        return self._get(request, stored)

    def _list(self, bucket: str, query: Mapping[str, str]) -> Answer:
        faults, prefix = self.faults, query.get("prefix", "")
        keys = [key for key in self.buckets[bucket] if key.startswith(prefix)]
        orders: dict[str, Callable[[str], bytes]] = {
            "bytes": lambda key: key.encode("utf-8", "surrogateescape"),
            "utf16": lambda key: key.encode("utf-16-be"),
            "none": lambda key: hashlib.md5(key.encode()).digest(),
        }
        order = orders["none" if faults.directory_bucket else faults.order]
        keys.sort(key=order)
        if faults.directory_bucket and ("start-after" in query or (prefix and not prefix.endswith("/"))):
            return Answer(400, error_xml("InvalidRequest"))
        token: str | None
        after = query.get("continuation-token")
        if after is not None:
            if not after.isdigit():
                return Answer(400, error_xml("InvalidArgument", "The continuation token provided is incorrect"))
            start = int(after)
        else:
            start = 0
            if "start-after" in query and not faults.ignore_start_after:
                start = sum(order(key) <= order(query["start-after"]) for key in keys)
        size = min(int(query.get("max-keys", 1000)), 1000)
        if faults.same_page:
            page, token = keys[:size], str(start + size)
        elif faults.loop_tokens:
            page, token = keys[start : start + size], str(size if start == 0 else 0)
        else:
            page = keys[start : start + size]
            token = str(start + size) if start + size < len(keys) else None
        rows = [(key, self.buckets[bucket][key]) for key in page]
        return Answer(body=listing_xml(bucket, prefix, rows, token, encoded=query.get("encoding-type") == "url"))

    def _get(self, request: web.BaseRequest, stored: StoredObject) -> Answer:
        head = request.method == "HEAD"

        def refuse(status: int, code: str, message: str = "") -> Answer:
            return Answer(status, b"" if head else error_xml(code, message))

        if stored.denied:
            return refuse(403, "AccessDenied")
        if stored.customer_key:
            message = "The object was stored using a form of Server Side Encryption."
            return refuse(400, "InvalidRequest", message)
        if stored.storage_class in {"GLACIER", "DEEP_ARCHIVE"} and stored.restore != "done":
            return refuse(403, "InvalidObjectState")
        match = request.headers.get("If-Match")
        if match and match.strip('"') != stored.etag and not self.faults.ignore_if_match:
            return refuse(412, "PreconditionFailed")
        headers = {
            "ETag": f'"{stored.etag}"',
            "Last-Modified": format_datetime(stored.modified, usegmt=True),
            "Content-Type": stored.content_type,
            **{f"x-amz-meta-{name}": value for name, value in stored.metadata.items()},
        }
        if stored.content_encoding:
            headers["Content-Encoding"] = stored.content_encoding
        body, status = stored.body, 200
        if "Range" in request.headers:
            if not body:
                return refuse(416, "InvalidRange")
            first, last = request.headers["Range"].removeprefix("bytes=").split("-")
            part = body[int(first) : int(last) + 1 if last else None]
            headers["Content-Range"] = f"bytes {first}-{int(first) + len(part) - 1}/{len(body)}"
            body, status = part, 206
        cut = None
        if not head and self.faults.cut_bodies and self._random.random() < self.faults.cut_bodies:
            self.counts["cut"] += 1
            cut = len(body) // 2
        return Answer(status, body, headers, cut=cut)

    async def _send(self, request: web.BaseRequest, answer: Answer) -> web.StreamResponse:
        if answer.drop and request.transport is not None:
            request.transport.close()
            return web.Response()
        if answer.delay:
            await asyncio.sleep(answer.delay)
        response = web.StreamResponse(status=answer.status, headers=answer.headers)
        chunked = self.faults.gzip_on_the_fly and request.method == "GET" and answer.headers.get("ETag")
        if chunked:
            response.headers["Content-Encoding"] = "gzip"
            response.enable_chunked_encoding()
        else:
            response.content_length = len(answer.body)
        await response.prepare(request)
        body = b"" if request.method == "HEAD" else answer.body
        if answer.cut is not None:
            await response.write(body[: answer.cut])
            if request.transport is not None:
                request.transport.close()
            return response
        if answer.slow:
            await response.write(body[: len(body) // 2])
            await asyncio.sleep(answer.slow)
            body = body[len(body) // 2 :]
        self.bytes_sent += len(body)
        if body:
            await response.write(body)
        await response.write_eof()
        return response
