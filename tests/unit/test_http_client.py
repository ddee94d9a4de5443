"""The HTTP client against raw sockets: framing, limits, reuse, proxies, TLS."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from providers.http import HttpClient, Origin, TransportError

REQUEST = b"GET /x HTTP/1.1\r\nHost: h\r\n\r\n"
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class RawServer:
    """Answers each request with the next bytes of a list, and counts connections."""

    def __init__(self) -> None:
        self.answers: list[bytes] = []
        self.close_after = False
        self.connections = 0
        self.requests: list[bytes] = []
        self.sent = 0
        self.port = 0

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while self.answers:
                self.requests.append(await reader.readuntil(b"\r\n\r\n"))
                answer = self.answers.pop(0)
                for start in range(0, len(answer), 65536):
                    writer.write(answer[start : start + 65536])
                    await writer.drain()
                    self.sent += 65536
                if self.close_after:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


async def serve(handler: Handler, tls: ssl.SSLContext | None = None) -> tuple[asyncio.Server, int]:
    server = await asyncio.start_server(handler, "127.0.0.1", 0, ssl=tls)
    return server, server.sockets[0].getsockname()[1]


@pytest.fixture
async def raw() -> AsyncIterator[RawServer]:
    raw = RawServer()
    server, raw.port = await serve(raw.handle)
    yield raw
    server.close()


@pytest.fixture
async def client() -> AsyncIterator[HttpClient]:
    client = HttpClient(allow_private=True, connect_timeout=2, read_timeout=0.5)
    yield client
    await client.close()


def origin(port: int, scheme: str = "http", host: str = "127.0.0.1") -> Origin:
    return Origin(scheme, host, port, guard=True)


async def test_length_chunks_and_close_frame_a_body(raw: RawServer, client: HttpClient) -> None:
    raw.answers = [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: 1\r\nx-a: 2\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nT: r\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\nuntil the end",
    ]
    bodies = []
    for i in range(4):
        raw.close_after = i == 3
        response = await client.request(origin(raw.port), REQUEST)
        bodies.append((response.status, await response.read(100)))
        if i == 0:
            assert response.headers["x-a"] == "1, 2"
    assert bodies == [(200, b"hello"), (200, b"abcde"), (204, b""), (200, b"until the end")]


async def test_connections_are_kept(raw: RawServer, client: HttpClient) -> None:
    raw.answers = [b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx"] * 5
    for _ in range(5):
        assert (await client.request(origin(raw.port), REQUEST)).body == b"x"
    assert raw.connections == 1


async def test_head_has_no_body(raw: RawServer, client: HttpClient) -> None:
    raw.answers = [b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx"]
    head = await client.request(origin(raw.port), REQUEST, head_only=True)
    assert (head.body, head.headers["content-length"]) == (b"", "500")
    assert (await client.request(origin(raw.port), REQUEST)).body == b"x"


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (b"", "reset"),
        (b"HTTP/1.1 200 OK\r\nContent-Len", "reset"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort", "cut"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc", "cut"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "malformed"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx", "malformed"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nx", "malformed"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "malformed"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: " + b"y" * 500_000, "malformed"),
    ],
    ids=range(9),
)
async def test_broken_answers(raw: RawServer, client: HttpClient, answer: bytes, kind: str) -> None:
    raw.answers, raw.close_after = [answer], True
    with pytest.raises(TransportError) as error:
        await (await client.request(origin(raw.port), REQUEST)).read(100)
    assert error.value.kind == kind


async def test_a_kept_connection_that_died_is_replaced_once(raw: RawServer, client: HttpClient) -> None:
    raw.answers = [b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx"]
    await client.request(origin(raw.port), REQUEST)
    await asyncio.sleep(0.05)
    raw.answers = [b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\ny"]
    assert (await client.request(origin(raw.port), REQUEST)).body == b"y"
    raw.answers, raw.close_after = [b""], True
    with pytest.raises(TransportError):
        await client.request(origin(raw.port), REQUEST)


async def test_bytes_nobody_asked_for_end_the_connection(raw: RawServer, client: HttpClient) -> None:
    raw.answers = [b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nxHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"]
    assert (await client.request(origin(raw.port), REQUEST)).body == b"x"
    raw.answers = [b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\ny"] * 2
    await asyncio.sleep(0.05)
    assert (await client.request(origin(raw.port), REQUEST)).body == b"y"
    assert raw.connections == 2


async def test_a_slow_reader_holds_the_sender_back(raw: RawServer, client: HttpClient) -> None:
    size = 64 * 1024 * 1024
    raw.answers = [b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + bytes(size)]
    response = await client.request(origin(raw.port), REQUEST)
    assert response.body is None
    await asyncio.sleep(0.3)
    assert raw.sent < 24 * 1024 * 1024
    received = 0
    async for chunk in response.chunks():
        received += len(chunk)
    assert received == response.received == size


async def test_an_answer_without_end_is_cut_at_the_limit(raw: RawServer, client: HttpClient) -> None:
    raw.answers = [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"10000\r\n" + bytes(65536) + b"\r\n"]
    raw.answers[0] += (b"10000\r\n" + bytes(65536) + b"\r\n") * 100
    response = await client.request(origin(raw.port), REQUEST)
    with pytest.raises(TransportError, match="longer"):
        await response.read(2_000_000)


async def test_silence_times_out(client: HttpClient) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server, port = await serve(silent)
    with pytest.raises(TransportError) as error:
        await client.request(origin(port), REQUEST)
    assert error.value.kind == "timeout"
    server.close()


async def test_nobody_listens(client: HttpClient) -> None:
    for host in ("127.0.0.1", "no-such-host.invalid"):
        with pytest.raises(TransportError) as error:
            await client.request(origin(1, host=host), REQUEST)
        assert error.value.kind == "connect"


async def test_close_ends_what_runs(raw: RawServer) -> None:
    client = HttpClient(allow_private=True)
    raw.answers = [b"HTTP/1.1 200 OK\r\nContent-Length: 9000000\r\n\r\n" + bytes(3_000_000)]
    response = await client.request(origin(raw.port), REQUEST)
    await client.close()
    with pytest.raises(TransportError):
        await response.read(10_000_000)
    with pytest.raises(TransportError):
        await client.request(origin(raw.port), REQUEST)


def certificate(folder: Path) -> ssl.SSLContext:
    """A self-signed certificate for localhost in `folder`, and a server context of it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "ca.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "ca.pem", folder / "key.pem")
    return context


async def test_tls_is_verified_unless_told_otherwise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = RawServer()
    server, port = await serve(raw.handle, certificate(tmp_path))
    where = origin(port, "https", "localhost")
    strict, lax = HttpClient(allow_private=True), HttpClient(allow_private=True, verify_tls=False)
    raw.answers = [b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx"] * 3
    with pytest.raises(TransportError) as error:
        await strict.request(where, REQUEST)
    assert error.value.kind == "certificate"
    assert (await lax.request(where, REQUEST)).body == b"x"
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "ca.pem"))
    trusting = HttpClient(allow_private=True)
    assert (await trusting.request(where, REQUEST)).body == b"x"
    for client in (strict, lax, trusting):
        await client.close()
    server.close()


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_proxy_tunnels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    raw, asked = RawServer(), []
    server, port = await serve(raw.handle, certificate(tmp_path) if scheme == "https" else None)

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        if b"Proxy-Authorization: Basic dTpwOnc=" not in asked[-1]:
            writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            writer.close()
            return
        upstream = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")

        async def pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
            while data := await source.read(65536):
                target.write(data)
            target.close()

        await asyncio.gather(pump(reader, upstream[1]), pump(upstream[0], writer), return_exceptions=True)

    proxy_server, proxy_port = await serve(proxy)
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "ca.pem")) if scheme == "https" else None
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setenv(f"{scheme}_proxy", f"http://u:p%3Aw@127.0.0.1:{proxy_port}")
    raw.answers = [b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx"] * 2
    client = HttpClient(allow_private=True, read_timeout=2)
    where = origin(port, scheme, "localhost")
    assert (await client.request(where, REQUEST)).body == b"x"
    assert (await client.request(where, REQUEST)).body == b"x"
    assert asked == [
        b"CONNECT localhost:%d HTTP/1.1\r\nHost: localhost:%d\r\nProxy-Authorization: Basic dTpwOnc=\r\n\r\n"
        % (port, port)
    ]
    monkeypatch.setenv(f"{scheme}_proxy", f"http://127.0.0.1:{proxy_port}")
    other = HttpClient(allow_private=True)
    with pytest.raises(TransportError, match="407"):
        await other.request(where, REQUEST)
    monkeypatch.setenv("no_proxy", "localhost")
    raw.answers = [b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx"]
    assert (await other.request(where, REQUEST)).body == b"x"
    assert len(asked) == 2
    await client.close()
    await other.close()
    server.close()
    proxy_server.close()
