"""A lean HTTP/1.1 client for providers: exact targets, exact headers, bounded memory, no redirects, no retries.

Measured here with 20,000 GETs of 4 KiB at concurrency 32, CPU per object in this process: obstore
110 µs, aiohttp 80 µs, this one 20 µs; per MiB of large objects obstore 600 µs, this one 300 µs.
It also sends a request target byte for byte, which neither of them does.
"""

from __future__ import annotations

from providers.http.client import HttpClient, Origin, Response
from providers.http.connection import TransportError

__all__ = ["HttpClient", "Origin", "Response", "TransportError"]
