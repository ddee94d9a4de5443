"""Which addresses aiohttp may connect to: those of `providers.endpoints`, checked for every connection.

The operator's own Graph endpoint is trusted to be where it is; download addresses come from outside.
"""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import urlsplit

from aiohttp.abc import AbstractResolver, ResolveResult

from providers.endpoints import RefusedAddressError, is_refused, resolve

__all__ = ["GuardedResolver", "check_literal"]


def check_literal(url: str, *, allow_private: bool, own_host: str) -> None:
    """Raise RefusedAddressError for an address in numbers that is out of bounds: no resolver is asked for it."""
    host = urlsplit(url).hostname or ""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return
    if host != own_host and is_refused(host, allow_private=allow_private):
        raise RefusedAddressError(f"{host} is private, link-local or reserved")


class GuardedResolver(AbstractResolver):
    """Resolves by the system, refuses what `providers.endpoints` refuses."""

    def __init__(self, allow_private: bool, own_host: str) -> None:  # noqa: FBT001 - two words of one rule
        self._allow_private = allow_private
        self._own_host = own_host

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """See AbstractResolver."""
        del family
        addresses = await resolve(host, port, allow_private=self._allow_private or host == self._own_host)
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in addresses
        ]

    async def close(self) -> None:
        """See AbstractResolver."""
