"""Bodies that are read from the socket to where they are wanted: on both event loops, in clear and over TLS."""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from pathlib import Path

import pytest
import uvloop

from providers.http import HttpClient, TransportError
from tests.unit.test_http_client import REQUEST, RawServer, certificate, origin, serve

BODY = random.Random(1).randbytes(3_000_000)
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BODY)
MARK = 0x55
Story = Callable[[HttpClient, RawServer, str], Awaitable[None]]


@pytest.fixture(params=["asyncio", "uvloop"])
def loop(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["http", "https"])
def scheme(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def play(story: Story, loop: str, scheme: str, folder: Path) -> None:
    """Run a story with a client and a server on a loop of its own."""

    async def run(context: ssl.SSLContext | None) -> None:
        raw = RawServer()
        server, raw.port = await serve(raw.handle, context)
        client = HttpClient(allow_private=True, verify_tls=False, connect_timeout=5, read_timeout=1)
        try:
            await story(client, raw, scheme)
        finally:
            await client.close()
            server.close()
            # What serves ends by itself now; the loop must not be closed before.
            if serving := asyncio.all_tasks() - {asyncio.current_task()}:
                await asyncio.wait(serving, timeout=5)
            await asyncio.sleep(0.05)

    context = certificate(folder) if scheme == "https" else None
    with asyncio.Runner(loop_factory=uvloop.new_event_loop if loop == "uvloop" else asyncio.new_event_loop) as runner:
        runner.run(run(context))


@pytest.mark.parametrize("size", [1, 4096, 50_021, 1 << 20, len(BODY), 1 << 22])
def test_a_body_lands_where_it_is_wanted(size: int, loop: str, scheme: str, tmp_path: Path) -> None:
    body = BODY[:20_000] if size == 1 else BODY

    async def story(client: HttpClient, raw: RawServer, scheme: str) -> None:
        raw.answers = [b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body] * 3
        for _ in range(3):
            response = await client.request(origin(raw.port, scheme, "localhost"), REQUEST, whole_up_to=1000)
            found = bytearray()
            targets = []

            def room() -> memoryview:
                # Fresh each time, and marked: what was filled once must stay as it is.
                targets.append(bytearray([MARK]) * size)  # noqa: B023 - used within this round
                return memoryview(targets[-1])  # noqa: B023

            async with aclosing(response.fill(room)) as counts:
                async for count in counts:
                    assert 0 < count <= size
                    assert targets[-1][count:] == bytearray([MARK]) * (size - count)
                    found += targets[-1][:count]
            assert found == body
            assert response.received == len(body)
        assert raw.connections == 1

    play(story, loop, scheme, tmp_path)


def test_a_read_that_was_given_up_puts_nothing_there_any_more(loop: str, scheme: str, tmp_path: Path) -> None:
    async def story(client: HttpClient, raw: RawServer, scheme: str) -> None:
        more, sent = asyncio.Event(), asyncio.Event()

        async def in_two_halves(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(HEAD + BODY[:1_500_000])
            await more.wait()
            writer.write(BODY[1_500_000:])
            sent.set()
            await reader.read()
            writer.close()

        server, port = await serve(in_two_halves, certificate(tmp_path) if scheme == "https" else None)
        response = await client.request(origin(port, scheme, "localhost"), REQUEST, whole_up_to=1000)
        target = memoryview(bytearray(1 << 22))

        async def read() -> None:
            async with aclosing(response.fill(lambda: target)) as counts:
                async for _ in counts:
                    raise AssertionError

        reading = asyncio.create_task(read())
        while target[1_400_000] != BODY[1_400_000]:
            await asyncio.sleep(0.01)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        target[:] = bytes([MARK]) * len(target)
        more.set()
        await sent.wait()
        await asyncio.sleep(0.1)
        assert target == bytes([MARK]) * len(target)
        server.close()

    play(story, loop, scheme, tmp_path)


def test_a_cut_body_gives_what_came_and_then_fails(loop: str, scheme: str, tmp_path: Path) -> None:
    async def story(client: HttpClient, raw: RawServer, scheme: str) -> None:
        raw.answers, raw.close_after = [HEAD + BODY[:2_000_000]], True
        response = await client.request(origin(raw.port, scheme, "localhost"), REQUEST, whole_up_to=1000)
        target = memoryview(bytearray(1 << 22))
        found = bytearray()

        async def read() -> None:
            async with aclosing(response.fill(lambda: target)) as counts:
                async for count in counts:
                    found.extend(target[:count])

        with pytest.raises(TransportError) as error:
            await read()
        assert error.value.kind == "cut"
        assert found == BODY[:2_000_000]

    play(story, loop, scheme, tmp_path)


def test_a_body_that_comes_slowly_is_waited_for_while_it_comes(loop: str, scheme: str, tmp_path: Path) -> None:
    async def story(client: HttpClient, raw: RawServer, scheme: str) -> None:
        async def in_pieces(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(HEAD)
            for start in range(0, len(BODY), 500_000):
                writer.write(BODY[start : start + 500_000])
                await asyncio.sleep(0.4)  # 2.4 s in all, where 1 s without a byte is too long
            await reader.read()
            writer.close()

        server, port = await serve(in_pieces, certificate(tmp_path) if scheme == "https" else None)
        response = await client.request(origin(port, scheme, "localhost"), REQUEST, whole_up_to=1000)
        target = memoryview(bytearray(1 << 22))
        found = bytearray()
        async with aclosing(response.fill(lambda: target)) as counts:
            async for count in counts:
                found += target[:count]
        assert found == BODY
        server.close()

    play(story, loop, scheme, tmp_path)


def test_bytes_after_the_body_end_the_connection(loop: str, scheme: str, tmp_path: Path) -> None:
    async def story(client: HttpClient, raw: RawServer, scheme: str) -> None:
        raw.answers = [HEAD + BODY + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"]
        where = origin(raw.port, scheme, "localhost")
        response = await client.request(where, REQUEST, whole_up_to=1000)
        assert await response.read(len(BODY)) == BODY
        raw.answers = [b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\ny"] * 2
        await asyncio.sleep(0.05)
        assert (await client.request(where, REQUEST)).body == b"y"
        assert raw.connections == 2

    play(story, loop, scheme, tmp_path)
