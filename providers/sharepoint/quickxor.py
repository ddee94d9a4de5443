"""QuickXorHash, the only content hash that SharePoint and OneDrive for Business give.

Byte i of a file is XORed, shifted left by 11·i bits, into a ring of 160 bits; the length goes into the
last 64 bits. Since 11·160 is a multiple of 160, bytes 160 apart meet at the same place: a block can be
folded to 160 bytes with whole-number XORs, which Python does at memory speed.
https://learn.microsoft.com/onedrive/developer/code-snippets/quickxorhash
"""

from __future__ import annotations

import base64

__all__ = ["QuickXorHash"]

_PERIOD = 160
_BITS = 160
_MASK = (1 << _BITS) - 1
# Folded at a time: large enough that the cost per call vanishes, small enough for the processor's cache.
_BLOCK = _PERIOD * 512


class QuickXorHash:
    """Feed it with `update`, ask with `digest`."""

    def __init__(self) -> None:
        self._columns = 0
        self._length = 0
        self._rest = bytearray()

    def update(self, data: bytes) -> None:
        """Add bytes."""
        self._length += len(data)
        if self._rest or len(data) < _PERIOD:
            self._rest += data
            if len(self._rest) < _BLOCK:
                return
            data, self._rest = bytes(self._rest), bytearray()
        whole = len(data) - len(data) % _PERIOD
        for start in range(0, whole, _BLOCK):
            self._columns ^= _fold(data[start : min(start + _BLOCK, whole)])
        self._rest += data[whole:]

    def digest(self) -> str:
        """The hash so far in base64, as Graph writes it."""
        rest = bytes(self._rest)
        padded = rest + bytes(-len(rest) % _PERIOD)
        columns = self._columns ^ (_fold(padded) if padded else 0)
        ring = 0
        for index, byte in enumerate(columns.to_bytes(_PERIOD, "little")):
            if byte:
                shift = index * 11 % _BITS
                moved = byte << shift
                ring ^= (moved & _MASK) ^ (moved >> _BITS)
        result = bytearray(ring.to_bytes(_BITS // 8, "little"))
        for index, byte in enumerate(self._length.to_bytes(8, "little")):
            result[12 + index] ^= byte
        return base64.b64encode(bytes(result)).decode()


def _fold(data: bytes) -> int:
    """XOR of the 160-byte rows of `data`, whose length is a multiple of 160."""
    rows = len(data) // _PERIOD
    value = int.from_bytes(data, "little")
    while rows > 1:
        low = (rows + 1) // 2
        bits = low * _PERIOD * 8
        value = (value >> bits) ^ (value & ((1 << bits) - 1))
        rows = low
    return value
