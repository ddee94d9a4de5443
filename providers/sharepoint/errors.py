"""Graph's error answers as errors of ours: the one place where they are translated.

https://learn.microsoft.com/graph/errors, https://learn.microsoft.com/onedrive/developer/rest-api/concepts/errors
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import Enum
from typing import Any

from providers.errors import Changed, Denied, Gone, Misconfigured, Permanent, ProviderError, Transient
from providers.sharepoint.gate import Gate

__all__ = ["Kind", "Resync", "codes", "from_status", "may_go_on"]

_NO_RIGHT = (
    "the application may not read this: grant it Sites.Read.All, or Sites.Selected and this site "
    "(Microsoft Graph, application permissions, with an administrator's consent)"
)


class Kind(Enum):
    """What a call was for, since a status means different things."""

    ROOT = "root"
    """What the configuration names: a site, a drive, the folder."""
    DELTA = "delta"
    ITEM = "item"
    CHECK = "check"


class Resync(Transient):
    """410: the place in a drive's feed is no longer good. `upload`: what is missing afterwards may be ours alone."""

    default_reason = "cursor_refused"

    def __init__(self, message: str, *, path: str, code: str, location: str, upload: bool) -> None:
        super().__init__(message, provider="sharepoint", path=path, code=code or None, status=410)
        self.location = location
        self.upload = upload


def codes(body: bytes) -> tuple[list[str], str]:
    """The error codes of an answer, the outermost first, and its message. Empty where it is no Graph error."""
    try:
        node: Any = json.loads(body).get("error")
    except (ValueError, AttributeError):
        return [], ""
    found: list[str] = []
    message = ""
    while isinstance(node, Mapping):
        if isinstance(node.get("code"), str):
            found.append(node["code"])
        if not message and isinstance(node.get("message"), str):
            message = node["message"]
        node = node.get("innererror") or node.get("innerError")
    return found, message


def from_status(
    status: int, headers: Mapping[str, str], body: bytes, *, kind: Kind, path: str, gate: Gate
) -> ProviderError:
    """The error for any answer that is not a success. Total: whatever status comes, an error of ours goes."""
    found, message = codes(body)
    code = found[0] if found else ""
    inner = {one.lower() for one in found}
    upstream: dict[str, Any] = {"provider": "sharepoint", "path": path, "code": code or None, "status": status}
    if status in {429, 509} or (status == 503 and (kind is not Kind.ITEM or "Retry-After" in headers)):
        return gate.refused(status, code, headers, path=path)
    if kind is Kind.DELTA and (resync := _resync(status, headers, found, path)):
        return resync
    if "malwaredetected" in inner or "virussuspicious" in inner:
        return Permanent("the file is marked as malware", reason="quarantined", **upstream)
    if status == 401:
        clock = " (or this machine's clock is wrong)" if "lifetime" in message.lower() else ""
        return Denied(f"Microsoft Graph refuses the token{clock}: check tenant_id and the app's rights", **upstream)
    if kind is Kind.ITEM:
        return _of_item(status, inner, upstream)
    return _of_place(status, inner, message, upstream)


def _resync(status: int, headers: Mapping[str, str], found: list[str], path: str) -> Resync | None:
    inner = {one.lower() for one in found}
    code = found[-1] if found else ""
    if status == 410:
        upload = any("uploaddifferences" in one for one in inner)
        return Resync(
            "the place is no longer good", path=path, code=code, location=headers.get("Location", ""), upload=upload
        )
    if status == 400 and inner & {"invaliddeltatoken", "resyncrequired", "syncstatenotfound"}:
        return Resync("the place was refused", path=path, code=code, location="", upload=False)
    return None


def _of_place(status: int, inner: set[str], message: str, upstream: Mapping[str, Any]) -> ProviderError:
    if status == 403:
        return Denied(_NO_RIGHT, **upstream)
    if status in {404, 410}:
        return Misconfigured("there is no such site, library or folder: check source_path", **upstream)
    if status == 423 or "notallowed" in inner:
        return Misconfigured("the site or library is locked or archived: have it unlocked", **upstream)
    if status == 400 and ("spo license" in message.lower() or "spolicense" in message.lower()):
        return Denied("the tenant has no SharePoint licence", **upstream)
    if status in {400, 405, 406, 411, 413, 414, 415, 422}:
        return Misconfigured("Microsoft Graph does not accept this address: check source_path", **upstream)
    if 300 <= status < 400:
        return Misconfigured("Microsoft Graph answers with a redirect: check TIDEMARK_GRAPH_ENDPOINT", **upstream)
    return Transient("Microsoft Graph is in trouble", **upstream)


def _of_item(status: int, inner: set[str], upstream: Mapping[str, Any]) -> ProviderError:
    if status in {404, 410}:
        return Gone("no longer there", **upstream)
    if status == 412:
        return Changed("no longer the listed version", **upstream)
    if status == 403:
        return Permanent("this file may not be read", reason="access_denied", **upstream)
    if status == 423:
        return Permanent("locked, or encrypted by a sensitivity label", reason="locked_or_label_encrypted", **upstream)
    if status == 406 or inner & {"notsupported", "invalidrange"} or status in {400, 405, 422}:
        return Permanent("this item has no content that can be read", reason="not_downloadable", **upstream)
    return Transient("Microsoft Graph is in trouble", **upstream)


def may_go_on(error: ProviderError) -> bool:
    """Whether one library's error lets the other libraries of a sync go on."""
    return isinstance(error, (Denied, Misconfigured)) and error.status in {400, 403, 404, 410, 423}
