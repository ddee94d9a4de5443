"""Bodies that are cut on their way: a small one is asked for once more, a large one goes on where it ended.

Not a retry of what the source refused (that is Temporal's): the answer was right, the line was bad. Three attempts
at a terabyte, each from its first byte, would never end on a line that is cut once an hour.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing

from providers.base import Room
from providers.errors import Transient
from providers.http import Response, TransportError

__all__ = ["goes_on", "resumed", "small_once_more"]

# Of a body that comes in pieces smaller than this, so many are taken; larger ones without end.
_PIECES = 3
_PIECE_BYTES = 16 * 1024 * 1024


async def small_once_more(ask: Callable[[], Awaitable[Response]]) -> Response:
    """What `ask` answers; where its small body was cut, what it answers the second time. Raises what it raises."""
    try:
        return await ask()
    except Transient as error:
        if error.reason != "network_cut":
            raise
    return await ask()


async def resumed(
    response: Response, go_on: Callable[[int], Awaitable[Response]] | None, room: Room
) -> AsyncGenerator[int]:
    """The body of `response` as `Response.fill` gives it, by further requests where it is cut or falls silent.

    `go_on(offset)` asks for the rest from that byte on, and answers for its being of the same body; None where the
    source cannot do that. Raises TransportError, and what `go_on` raises. Responses are released whatever happens.
    """
    offset = pieces = 0
    try:
        while True:
            began = offset
            try:
                async with aclosing(response.fill(room)) as counts:
                    async for count in counts:
                        offset += count
                        yield count
                return
            except TransportError:
                came = offset - began
                pieces = 0 if came >= _PIECE_BYTES else pieces + 1
                if go_on is None or not came or pieces > _PIECES:
                    raise
            response.release()
            response = await go_on(offset)
    finally:
        response.release()


def goes_on(status: int, headers: Mapping[str, str], offset: int, total: int) -> bool:
    """Whether an answer is the rest, from byte `offset` on, of a body of `total` bytes (RFC 9110 14.4)."""
    found = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", headers.get("content-range", ""))
    return status == 206 and found is not None and [int(part) for part in found.groups()] == [offset, total - 1, total]
