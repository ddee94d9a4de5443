"""Source paths: what a person writes or copies from the browser, as a place to look for. Pure.

/sites/Name[/Library[/folder...]]     also /teams/Name, /personal/user_domain, and subsites
/users/user@domain[/folder...]        a user's OneDrive          /me[/folder...]  the signed-in user's
/Library/folder                       below the connection's site_id, else the tenant's root site
/folder                               below the connection's drive_id
/ or nothing                          the connection's drive_id or site_id, else every site of the tenant
https://...                           an address of a site, library, folder, list view or a sharing link
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import parse_qs, unquote, urlsplit

from providers.errors import Misconfigured

__all__ = ["Address", "parse_address"]

_SITES = frozenset({"sites", "teams", "personal", "portals"})
# Pages of SharePoint itself, not folders: what follows is not part of a path to files.
_PAGES = frozenset({"sitepages", "forms", "pages"})


@dataclass(frozen=True, slots=True)
class Address:
    """Where to look. `names` are decoded path segments whose meaning depends on `kind`.

    `server`: server-relative path of a site and what is below it; `site`, `drive`: below `id`;
    `user`: below the OneDrive of `id`; `me`; `share`: `id` is the whole link; `tenant`: every site.
    """

    kind: Literal["server", "site", "drive", "user", "me", "share", "tenant"]
    names: tuple[str, ...] = ()
    id: str = ""
    host: str = ""


def parse_address(source_path: str, config: Mapping[str, Any]) -> Address:
    """The place that a source path means with a connection's configuration. Raises Misconfigured."""
    text = source_path.strip()
    if text.lower().startswith(("https://", "http://")):
        return _from_url(text)
    names = _names(text, source_path)
    first = names[0].lower() if names else ""
    if first in _SITES and len(names) > 1:
        return Address("server", names)
    if first == "users" and len(names) > 1:
        return Address("user", names[2:], id=names[1])
    if first == "me":
        return Address("me", names[1:])
    base = _names(str(config.get("folder_path") or ""), "folder_path")
    if drive_id := config.get("drive_id"):
        return Address("drive", base + names, id=str(drive_id))
    if first == "sites":
        names = ()
    if site_id := config.get("site_id"):
        return Address("site", base + names, id=str(site_id))
    if base or names:
        return Address("server", base + names)
    return Address("tenant")


def _names(text: str, shown: str) -> tuple[str, ...]:
    names = tuple(name for name in text.split("/") if name)
    if any(name in {".", ".."} for name in names):
        raise Misconfigured("source_path must not contain '.' or '..'", provider="sharepoint", path=shown)
    if any(ord(character) < 32 for character in text):
        raise Misconfigured("source_path must not contain control characters", provider="sharepoint", path=shown)
    return names


def _from_url(text: str) -> Address:
    try:
        parts = urlsplit(text)
        host = (parts.hostname or "").lower()
    except ValueError:
        host = ""
        parts = urlsplit("")
    if not host:
        raise Misconfigured("source_path is not an address", provider="sharepoint", path=text)
    query = {name.lower(): values[0] for name, values in parse_qs(parts.query).items()}
    segments = [segment for segment in parts.path.split("/") if segment]
    if segments and segments[0].startswith(":") and segments[0].endswith(":"):
        # `/:f:/r/sites/...` is a plain path behind a marker; `/:f:/s/...` and others are sharing links.
        if len(segments) > 1 and segments[1] == "r":
            segments = segments[2:]
        else:
            return Address("share", id=text, host=host)
    if host in {"1drv.ms", "onedrive.live.com"}:
        return Address("share", id=text, host=host)
    named = query.get("id") or query.get("rootfolder")
    if named and named.startswith("/"):
        return Address("server", _names(named, text), host=host)
    names = _names("/".join(unquote(segment) for segment in segments), text)
    return Address("server", _without_page(names), host=host)


def _without_page(names: tuple[str, ...]) -> tuple[str, ...]:
    """A view of a library (`Library/Forms/AllItems.aspx`) is the library, a page of a site is the site."""
    for index, name in enumerate(names):
        following = names[index + 1].lower() if index + 1 < len(names) else ""
        if name.lower() == "_layouts" or (name.lower() in _PAGES and following.endswith(".aspx")):
            return names[:index]
    return names[:-1] if names and names[-1].lower().endswith(".aspx") else names
