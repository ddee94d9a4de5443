"""Which addresses a connection may reach."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from providers.endpoints import RefusedAddressError, check_endpoint, is_refused, resolve
from providers.errors import Misconfigured
from providers.http import HttpClient, Origin, TransportError

ALWAYS = [
    "169.254.169.254", "169.254.0.1", "fe80::1", "fe80::1%eth0", "0.0.0.0", "0.1.2.3", "::", "224.0.0.1", "ff02::1",
    "255.255.255.255", "240.0.0.1", "fd00:ec2::254", "100.100.100.200", "168.63.129.16", "192.0.0.192",
    "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1",
]  # fmt: skip
PRIVATE = ["127.0.0.1", "127.9.9.9", "10.0.0.1", "172.16.0.1", "192.168.1.1", "::1", "fd12::1", "100.64.0.1",
           "::ffff:10.0.0.1", "198.18.0.1", "64:ff9b::a00:1"]  # fmt: skip
PUBLIC = ["8.8.8.8", "52.216.1.1", "2600::1", "64:ff9b::808:808"]


@pytest.mark.parametrize("address", ALWAYS)
def test_refused_always(address: str) -> None:
    assert is_refused(address, allow_private=False) and is_refused(address, allow_private=True)


@pytest.mark.parametrize("address", PRIVATE)
def test_refused_unless_allowed(address: str) -> None:
    assert is_refused(address, allow_private=False) and not is_refused(address, allow_private=True)


@pytest.mark.parametrize("address", PUBLIC)
def test_public(address: str) -> None:
    assert not is_refused(address, allow_private=False)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.com", "file:///etc/passwd", "example.com", "http://", "http://user:pw@8.8.8.8", "http://u@8.8.8.8",
        "http://8.8.8.8/?x=1", "http://8.8.8.8/#x", "http://8.8.8.8:99999", "http://[::1", "http://no-such-host.invalid",
        "http://127.0.0.1:9000", "http://localhost", "http://2130706433", "http://0x7f.1", "http://127.1", "http://[::1]",
        "http://[::ffff:127.0.0.1]", "http://169.254.169.254/latest", "http://a..b", f"http://{'x' * 70}.com",
    ],
)  # fmt: skip
async def test_endpoints_that_are_refused(url: str) -> None:
    with pytest.raises(Misconfigured) as error:
        await check_endpoint(url, allow_private=False)
    assert error.value.reason == "endpoint_refused"


async def test_endpoints_that_are_allowed() -> None:
    await check_endpoint("https://8.8.8.8", allow_private=False)
    await check_endpoint("http://127.0.0.1:9000/base", allow_private=True)
    with pytest.raises(Misconfigured):
        await check_endpoint("http://169.254.169.254", allow_private=True)


def answer(*addresses: str) -> Any:
    async def getaddrinfo(*_: object, **__: object) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 80)) for address in addresses]

    return getaddrinfo


async def test_one_refused_address_refuses_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(loop, "getaddrinfo", answer("8.8.8.8", "10.0.0.1"))
    with pytest.raises(RefusedAddressError):
        await resolve("mixed.example", 80, allow_private=False)
    assert sorted(await resolve("mixed.example", 80, allow_private=True)) == ["10.0.0.1", "8.8.8.8"]


async def test_dns_rebinding_meets_the_check_at_every_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """The name was public when it was checked and is not when it is connected to."""
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(loop, "getaddrinfo", answer("8.8.8.8"))
    await check_endpoint("http://rebind.example", allow_private=False)
    monkeypatch.setattr(loop, "getaddrinfo", answer("169.254.169.254"))
    client = HttpClient(allow_private=True)
    with pytest.raises(TransportError) as error:
        await client.request(Origin("http", "rebind.example", 80, guard=True), b"GET / HTTP/1.1\r\n\r\n")
    assert error.value.kind == "refused"
    await client.close()
