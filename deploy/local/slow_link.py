"""A TCP link with the latency of a real store, between Tidemark and a server on this machine."""

from __future__ import annotations

import asyncio
import contextlib
from types import TracebackType
from typing import Self

from deploy.local.ports import Ports

__all__ = ["SlowLink"]


class SlowLink:
    """Forwards `endpoint` to `port` on loopback; every answer waits `seconds` first."""

    def __init__(self, port: int, seconds: float) -> None:
        self._port = port
        self._seconds = seconds
        self._listen = Ports.pick(metrics=0).s3
        self._writers: set[asyncio.StreamWriter] = set()
        self.endpoint = f"http://127.0.0.1:{self._listen}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self._listen, backlog=256)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for writer in self._writers:
            writer.close()
        await self._server.wait_closed()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            with contextlib.suppress(OSError):  # either side may hang up at any time
                await self._forward(reader, writer)
        finally:
            writer.close()
            self._writers.discard(writer)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._port)
        asked = False

        async def requests() -> None:
            nonlocal asked
            while part := await reader.read(1 << 16):
                asked = True
                up_writer.write(part)
                await up_writer.drain()
            up_writer.close()

        async def answers() -> None:
            nonlocal asked
            while part := await up_reader.read(1 << 18):
                if asked:
                    asked = False
                    await asyncio.sleep(self._seconds)
                writer.write(part)
                await writer.drain()
            writer.close()

        try:
            await asyncio.gather(requests(), answers())
        finally:
            up_writer.close()
