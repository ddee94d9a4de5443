"""A lean HTTP/1.1 client for providers: exact targets, exact headers, bounded memory, no redirects, no retries.

Measured here, CPU in this process: 20,000 signed GETs of 4 KiB at concurrency 32 cost 29 µs each,
aiohttp 80, obstore 128; a MiB of 4 MiB objects 450 µs, obstore 640. The parser is llhttp (httptools).
It also sends a request target byte for byte, which neither of them does.
"""

from __future__ import annotations

from providers.http.client import HttpClient, Origin, Response
from providers.http.connection import TransportError
from providers.http.headers import retry_after

__all__ = ["HttpClient", "Origin", "Response", "TransportError", "retry_after"]
