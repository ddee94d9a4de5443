"""Where providers may connect to: refuses addresses that would let a connection reach into our own network.

`check_endpoint` answers when a connection is saved; `resolve` answers again for every socket that
is opened, on the very addresses that will be connected to, so that neither a redirect nor a DNS
answer that changes afterwards gets around it.
"""

from __future__ import annotations

import asyncio
import ipaddress
import random
import socket
from urllib.parse import urlsplit

from providers.errors import Misconfigured

__all__ = ["RefusedAddressError", "check_endpoint", "is_refused", "resolve"]

# Metadata services that live on addresses which are not link-local.
_METADATA = frozenset(
    ipaddress.ip_address(address)
    for address in (
        "fd00:ec2::254",  # AWS, IPv6
        "100.100.100.200",  # Alibaba Cloud
        "168.63.129.16",  # Azure WireServer
        "192.0.0.192",  # Oracle Cloud
    )
)
_NEVER = (ipaddress.ip_network("0.0.0.0/8"), ipaddress.ip_network("240.0.0.0/4"))
"""This network (reaches the local host) and reserved addresses including broadcast."""
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class RefusedAddressError(OSError):
    """A host resolves to an address that Tidemark must not connect to."""


def _embedded(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that an IPv6 address stands for, if any."""
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour


def is_refused(text: str, *, allow_private: bool) -> bool:
    """Whether an IP address is out of bounds. Link-local, metadata, multicast and unspecified always are."""
    address: ipaddress.IPv4Address | ipaddress.IPv6Address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        address = _embedded(address) or address
    if address.is_link_local or address.is_multicast or address.is_unspecified or address in _METADATA:
        return True
    if any(address in network for network in _NEVER):
        return True
    return not allow_private and not address.is_global


async def resolve(host: str, port: int, *, allow_private: bool) -> list[str]:
    """The addresses of `host` in random order. Raises RefusedAddressError if any is out of bounds, else OSError.

    One refused address refuses the host: an answer that mixes public and private addresses is an attack.
    """
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = [str(sockaddr[0]) for _, _, _, _, sockaddr in found]
    if any(is_refused(address, allow_private=allow_private) for address in addresses):
        raise RefusedAddressError(f"{host} resolves to an address that is private, link-local or reserved")
    random.shuffle(addresses)
    return addresses


async def check_endpoint(url: str, *, allow_private: bool, provider: str = "s3") -> None:
    """Raise Misconfigured unless `url` may be an `endpoint_url`. A name that does not resolve is refused too."""

    def refuse(why: str) -> Misconfigured:
        return Misconfigured(f"endpoint_url {why}", provider=provider, reason="endpoint_refused")

    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise refuse("is not a URL") from None
    if parts.scheme not in {"http", "https"}:
        raise refuse("must begin with http:// or https://")
    if parts.username is not None or parts.password is not None:
        raise refuse("must not contain a user name or password")
    if not parts.hostname or parts.query or parts.fragment:
        raise refuse("must be scheme://host[:port] without a query")
    try:
        await resolve(parts.hostname, port or (443 if parts.scheme == "https" else 80), allow_private=allow_private)
    except RefusedAddressError:
        hint = "" if allow_private else "; TIDEMARK_ALLOW_PRIVATE_ENDPOINTS=true allows private and loopback ones"
        raise refuse(f"points to an address that is private, link-local or reserved{hint}") from None
    except (OSError, UnicodeError):
        raise refuse(f"names a host that cannot be resolved: {parts.hostname}") from None
