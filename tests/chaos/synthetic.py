"""An S3 server of any size that holds nothing: `python -m tests.chaos.synthetic`, in a process of its own.

Bucket `many-N` has N keys of a few bytes each, bucket `giant-N` one object of N bytes. Keys, ETags and
bodies follow from the number, so a listing of a million keys costs no memory.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qsl

__all__ = ["body_of", "fingerprint_of", "giant_block", "key_of", "synthetic_s3"]

_TIME = "2026-01-01T00:00:00.000Z"
_PAGE = 1000
_BLOCK = bytes(range(256)) * 4096


def key_of(number: int) -> str:
    """The key of an object of `many-N`."""
    return f"d{number // 10_000:04}/k{number:08}"


def body_of(number: int) -> bytes:
    """Its body."""
    return b"object %d" % number


def fingerprint_of(number: int) -> str:
    """The fingerprint that the S3 provider makes of its row."""
    return f"{number:032x}:{len(body_of(number))}|{_TIME}"


def giant_block() -> bytes:
    """What the giant consists of, again and again."""
    return _BLOCK


class _Server(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._out = transport
        self._buffer = b""
        self._writable = asyncio.Event()
        self._writable.set()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while b"\r\n\r\n" in self._buffer:
            head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
            target = head.split(b" ", 2)[1].decode()
            self._answer(target)

    def _answer(self, target: str) -> None:
        path, _, query = target.partition("?")
        bucket, _, key = path.removeprefix("/").partition("/")
        kind, _, size = bucket.partition("-")
        if not bucket:
            self._send(b"<ListAllMyBucketsResult><Buckets></Buckets></ListAllMyBucketsResult>", "application/xml", "-")
        elif not key:
            rows = _giant_listing(int(size)) if kind == "giant" else _listing(int(size), dict(parse_qsl(query)))
            self._send(rows, "application/xml", "-")
        elif kind == "giant":
            self._stream = asyncio.create_task(self._send_giant(int(size)))
        else:
            number = int(key.rpartition("k")[2])
            self._send(body_of(number), "text/plain", f"{number:032x}")

    def _send(self, body: bytes, content_type: str, etag: str) -> None:
        self._out.write(_head(len(body), content_type, etag) + body)

    async def _send_giant(self, size: int) -> None:
        self._out.write(_head(size, "application/octet-stream", "giant"))
        while size:
            await self._writable.wait()
            self._out.write(_BLOCK[:size])
            size -= min(size, len(_BLOCK))


def _head(length: int, content_type: str, etag: str) -> bytes:
    return (
        f'HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nContent-Type: {content_type}\r\nETag: "{etag}"\r\n'
        "Last-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\n\r\n"
    ).encode()


def _listing(count: int, query: dict[str, str]) -> bytes:
    if "continuation-token" in query:
        first = int(query["continuation-token"])
    else:
        first = int(query["start-after"].rpartition("k")[2]) + 1 if "start-after" in query else 0
    last = min(count, first + _PAGE)
    rows = "".join(
        f"<Contents><Key>{key_of(n)}</Key><LastModified>{_TIME}</LastModified><ETag>&quot;{n:032x}&quot;</ETag>"
        f"<Size>{len(body_of(n))}</Size><StorageClass>STANDARD</StorageClass></Contents>"
        for n in range(first, last)
    )
    return _result(rows, last - first, last if last < count else None)


def _giant_listing(size: int) -> bytes:
    rows = (
        f"<Contents><Key>giant</Key><LastModified>{_TIME}</LastModified><ETag>&quot;giant&quot;</ETag>"
        f"<Size>{size}</Size><StorageClass>STANDARD</StorageClass></Contents>"
    )
    return _result(rows, 1, None)


def _result(rows: str, count: int, token: int | None) -> bytes:
    more = f"<NextContinuationToken>{token}</NextContinuationToken>" if token is not None else ""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<Name>b</Name><Prefix></Prefix><KeyCount>{count}</KeyCount><MaxKeys>{_PAGE}</MaxKeys>"
        f"<EncodingType>url</EncodingType><IsTruncated>{str(token is not None).lower()}</IsTruncated>{more}{rows}"
        "</ListBucketResult>"
    ).encode()


@contextmanager
def synthetic_s3() -> Iterator[str]:
    """The server's address, until the end of the block."""
    command = [sys.executable, "-m", "tests.chaos.synthetic"]
    root = Path(__file__).resolve().parents[2]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.kill()


async def _serve() -> None:
    server = await asyncio.get_running_loop().create_server(_Server, "127.0.0.1", 0)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve())
