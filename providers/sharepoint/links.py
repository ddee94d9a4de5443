"""Links of Graph (`@odata.nextLink`, `@odata.deltaLink`, `Location`) as paths below our own endpoint.

Kept relative they are shorter, survive a gateway in between, and cannot carry our token to another host.
"""

from __future__ import annotations

import re
from urllib.parse import quote

from providers.errors import Transient

__all__ = ["escape", "relative"]

_VERSIONED = re.compile(r"^https?://[^/]+(?:/[^?]*?)?/(?:v1\.0|beta)(/.*)$", re.IGNORECASE)


def relative(link: str, endpoint: str, *, path: str) -> str:
    """What follows the endpoint; empty for an empty link. Raises Transient for a link that is none of Graph's."""
    if not link:
        return ""
    if link.startswith(f"{endpoint}/"):
        found = link[len(endpoint) :]
    elif link.startswith("/"):
        found = link
    else:
        match = _VERSIONED.match(link)
        found = match.group(1) if match else ""
    if not found or re.search(r"[\s\x00-\x1f\x7f]", found):
        raise Transient("a link of the answer is foreign", provider="sharepoint", path=path, reason="malformed")
    return found


def escape(path: str) -> str:
    """A path of names as Graph wants it in an address, each name escaped."""
    return "/".join(quote(name, safe="") for name in path.split("/"))
