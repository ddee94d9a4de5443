"""Calls of Drive v3: built by Google's client library, sent by ours, errors translated.

The library checks names and types of parameters against Drive's description and encodes them; it sends
nothing itself, because its transport blocks, retries and holds bodies whole.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from functools import cache
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import orjson
from googleapiclient.discovery import build

from providers.errors import Transient
from providers.google_drive.auth import TokenSource
from providers.google_drive.errors import PROVIDER, from_status, from_transport
from providers.google_drive.transport import Transport, unpacked
from providers.http import Response, TransportError

__all__ = ["DriveClient", "foreign"]

_ANSWER_BYTES = 64 * 1024 * 1024
_ERROR_BYTES = 256 * 1024
_REDIRECTS = 5
_PLAIN = re.compile(r"[A-Za-z0-9_.-]{1,128}").fullmatch
_LISTS = frozenset(("files.list", "changes.list", "drives.list"))
_DRIVES_TOO = frozenset(("files.list", "files.get", "changes.list", "changes.getStartPageToken"))


class _NoTransport:
    """Stands where the library expects an HTTP client; it must never send anything."""

    def request(self, *_: Any, **__: Any) -> Any:
        raise AssertionError


@cache
def _service() -> Any:
    return build(
        "drive",
        "v3",
        http=_NoTransport(),
        client_options={"api_endpoint": "/drive/v3/"},
        cache_discovery=False,
        static_discovery=True,
    )


@cache
def _resource(name: str) -> Any:
    """The library's builder of requests, without a host.

    Kept: making it takes 0.1 s for the service, and 4 ms for a collection of it, which each call would cost.
    """
    return getattr(_service(), name)()


def foreign(what: str, path: str = "") -> Transient:
    """A 200 that is not provably the whole answer."""
    return Transient(
        f"the answer is not a whole one: {what}", provider=PROVIDER, path=path, reason="listing_incomplete"
    )


class DriveClient:
    """One account's calls. Raises errors of `providers.errors` only."""

    def __init__(self, transport: Transport, tokens: TokenSource, *, endpoint: str, quota_user: str) -> None:
        self._transport = transport
        self._tokens = tokens
        self._endpoint = endpoint
        self._host = urlsplit(endpoint).netloc
        # Google counts its per-user quota by this word, so that one tenant's flood does not use up another's.
        self._quota_user = hashlib.sha256(quota_user.encode()).hexdigest()[:40]

    @property
    def account(self) -> str:
        """Whom to share folders with."""
        return self._tokens.account

    @property
    def requests(self) -> int:
        """Requests sent so far, those for tokens too."""
        return self._transport.requests

    async def call(
        self, name: str, *, path: str = "", keys: Mapping[str, str] | None = None, of_file: bool = False, **params: Any
    ) -> dict[str, Any]:
        """Call `resource.method`; shared drives are always included. `keys`: resource keys by file id."""
        if name in _DRIVES_TOO:
            params["supportsAllDrives"] = True
            if name in _LISTS:
                params["includeItemsFromAllDrives"] = True
        resource, _, method = name.partition(".")
        given = {key: value for key, value in params.items() if value is not None}
        request = getattr(_resource(resource), method)(quotaUser=self._quota_user, **given)
        headers = {"accept": "application/json", "accept-encoding": "gzip", **_key_header(keys)}
        uri = f"{self._endpoint}{request.uri}"
        response = await self._authorised(request.method, uri, headers, path, whole_up_to=_ANSWER_BYTES)
        try:
            body = unpacked(response, await response.read(_ANSWER_BYTES), _ANSWER_BYTES)
        except TransportError as error:
            raise from_transport(error, path=path) from None
        if response.status != 200:
            raise from_status(response.status, response.headers, body, path=path, of_file=of_file)
        try:
            answer = orjson.loads(body)
        except orjson.JSONDecodeError:
            raise foreign("no JSON", path) from None
        if not isinstance(answer, dict):
            raise foreign("no object", path)
        return answer

    async def media(
        self,
        file_id: str,
        *,
        path: str,
        keys: Mapping[str, str],
        acknowledge: bool = False,
        offset: int = 0,
        whole_up_to: int,
    ) -> Response:
        """The bytes of a binary file, from `offset` on. Any status: the caller looks."""
        query = {"alt": "media", "supportsAllDrives": "true", "quotaUser": self._quota_user}
        if acknowledge:
            query["acknowledgeAbuse"] = "true"
        url = self._url(f"files/{quote(file_id, safe='')}", query)
        return await self.fetch(url, path=path, keys=keys, whole_up_to=whole_up_to, offset=offset)

    async def export(
        self, file_id: str, mime_type: str, *, path: str, keys: Mapping[str, str], whole_up_to: int
    ) -> Response:
        """A native document in another format. Any status: the caller looks."""
        query = {"mimeType": mime_type, "alt": "media", "quotaUser": self._quota_user}
        url = self._url(f"files/{quote(file_id, safe='')}/export", query)
        return await self.fetch(url, path=path, keys=keys, whole_up_to=whole_up_to)

    def _url(self, target: str, query: Mapping[str, str]) -> str:
        return f"{self._endpoint}/drive/v3/{target}?{urlencode(query)}"

    async def fetch(
        self, url: str, *, path: str, keys: Mapping[str, str] | None = None, whole_up_to: int, offset: int = 0
    ) -> Response:
        """GET an address that Google gave, from byte `offset` on; redirects stay at Google's hosts."""
        for _ in range(_REDIRECTS):
            if not self._is_google(url):
                raise Transient("led to a foreign host", provider=PROVIDER, path=path, reason="foreign_redirect")
            headers = {"accept": "*/*", "accept-encoding": "identity", **_key_header(keys)}
            if offset:
                headers["range"] = f"bytes={offset}-"
            response = await self._authorised("GET", url, headers, path, whole_up_to=whole_up_to)
            location = response.headers.get("location", "")
            if response.status not in {301, 302, 303, 307, 308} or not location.startswith(("http://", "https://")):
                return response
            response.release()
            url = location
        raise Transient("redirected in circles", provider=PROVIDER, path=path, reason="foreign_redirect")

    def _is_google(self, url: str) -> bool:
        """The only hosts that ever see the token: the endpoint of the settings, and Google's over TLS."""
        parts = urlsplit(url)
        host = parts.hostname or ""
        google = host.endswith((".google.com", ".googleapis.com", ".googleusercontent.com"))
        return parts.netloc == self._host or (parts.scheme == "https" and google)

    async def _authorised(
        self, method: str, url: str, headers: Mapping[str, str], path: str, *, whole_up_to: int
    ) -> Response:
        """Send with the current token, and once more with a new one where Google takes it no longer."""
        refused = ""
        while True:
            token = await self._tokens.token(refused=refused)
            try:
                response = await self._transport.send(
                    method, url, {**headers, "authorization": f"Bearer {token}"}, whole_up_to=whole_up_to
                )
                if response.status != 401 or refused:
                    if response.status >= 300 and response.body is None:
                        response.body = await response.read(_ERROR_BYTES)
                    return response
                response.release()
            except TransportError as error:
                raise from_transport(error, path=path) from None
            refused = token


def _key_header(keys: Mapping[str, str] | None) -> dict[str, str]:
    pairs = [f"{i}/{key}" for i, key in (keys or {}).items() if _PLAIN(key) and _PLAIN(i)]
    return {"x-goog-drive-resource-keys": ",".join(pairs)} if pairs else {}
