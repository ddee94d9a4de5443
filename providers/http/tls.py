"""TLS contexts, one of a process for each set of trusted certificates.

Making one reads some hundred certificates: 0.1 s and more in which the event loop does nothing else.
"""

from __future__ import annotations

import ssl
from functools import lru_cache
from pathlib import Path

__all__ = ["trusting"]


def trusting(*bundles: str, system: bool = True, verify: bool = True) -> ssl.SSLContext:
    """A context for HTTP/1.1 that trusts the certificates in the files `bundles` and, with `system`, the system's.

    One of the two has to be given. A file that has changed is read anew. Raises OSError if one cannot be read.
    """
    return _made(tuple((bundle, Path(bundle).stat().st_mtime_ns) for bundle in bundles), system, verify)


@lru_cache(maxsize=16)
def _made(bundles: tuple[tuple[str, int], ...], system: bool, verify: bool) -> ssl.SSLContext:  # noqa: FBT001 - a key
    context = ssl.create_default_context(cafile=None if system else bundles[0][0])
    for bundle, _ in bundles:
        context.load_verify_locations(cafile=bundle)
    context.set_alpn_protocols(["http/1.1"])
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
