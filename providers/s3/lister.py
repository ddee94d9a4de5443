"""One page of a bucket: ask, prove that the answer is a whole page, give it back as columns.

The walk's place is a `Cursor`; it carries what the next page is checked against, so that a listing
that runs in circles or repeats itself ends as an error, on whatever worker it goes on.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Self

from providers.base import Page, SourceObject
from providers.errors import ProviderError, Transient
from providers.http import Response, TransportError
from providers.s3.client import S3Client, is_directory_bucket
from providers.s3.errors import error_code, from_status, from_transport
from providers.s3.listing_xml import Listing, NotAListingError, parse_listing
from providers.s3.paths import S3Path
from providers.s3.signing import encode_query

__all__ = ["Cursor", "is_archived", "list_page"]

PAGE_LIMIT = 1000
_LISTING_BYTES = 64 * 1024 * 1024  # 1,000 rows of the longest keys, every byte escaped, and room
_READABLE = frozenset(
    (
        "",
        "STANDARD",
        "REDUCED_REDUNDANCY",
        "STANDARD_IA",
        "ONEZONE_IA",
        "INTELLIGENT_TIERING",
        "GLACIER_IR",
        "EXPRESS_ONEZONE",
        "OUTPOSTS",
        "SNOW",
        "FSX_OPENZFS",
        "FSX_ONTAP",
        "NEARLINE",
        "COLDLINE",
    )
)
_ARCHIVE_WORDS = re.compile("GLACIER|ARCHIV|COLD|FROZEN|FREEZ|TAPE|VAULT|OFFLINE")


def is_archived(storage_class: str) -> bool:
    """Whether objects of a storage class must be restored before a GET. Judges unknown classes by their name."""
    name = storage_class.upper()
    return name not in _READABLE and _ARCHIVE_WORDS.search(name) is not None


@dataclass(slots=True)
class Cursor:
    """A place in a walk. `last` is the last key seen (in a range: at first the key after which it begins).

    `mark` is an earlier token that no later one may equal, moved on at pages 1, 2, 4, 8, ... (Brent):
    a cycle of any length is found within a few turns without keeping every token.
    """

    token: str | None = None
    last: str | None = None
    until: str | None = None
    page: int = 0
    mark: str | None = None

    def encode(self) -> str:
        """As a string; holds no secret."""
        return json.dumps({k: v for k, v in asdict(self).items() if v}, ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def decode(cls, text: str | None) -> Self:
        """Inverse of `encode`; None is the start."""
        return cls(**json.loads(text)) if text else cls()

    def next(self, token: str, last: str | None) -> Cursor:
        """The cursor after a page. Raises NotAListingError when the listing runs in circles."""
        if token in {self.token, self.mark}:
            raise NotAListingError("a token that was given before")
        page = self.page + 1
        mark = token if page & (page - 1) == 0 else self.mark
        return Cursor(token, last if last is not None else self.last, self.until, page, mark)


async def list_page(client: S3Client, where: S3Path, cursor: Cursor, limit: int, *, provider: str) -> Page:
    """List at most `limit` keys (1,000 at most) that begin with `where.prefix`, from `cursor` on."""
    directory = is_directory_bucket(where.bucket)
    # A directory bucket only takes prefixes that end in `/`; the rest is filtered here.
    asked = where.prefix[: where.prefix.rfind("/") + 1] if directory else where.prefix
    query = [("list-type", "2"), ("encoding-type", "url"), ("max-keys", str(min(limit, PAGE_LIMIT)))]
    if asked:
        query.append(("prefix", asked))
    if cursor.token:
        query.append(("continuation-token", cursor.token))
    elif cursor.last is not None:
        query.append(("start-after", cursor.last))
    signed = [] if directory else [("x-amz-optional-object-attributes", "RestoreStatus")]
    if where.request_payer:
        signed.append(("x-amz-request-payer", "requester"))
    path = f"{where.bucket}/{where.prefix}"
    response = await client.send(
        "GET", where.bucket, query=encode_query(query), signed=signed, whole_up_to=_LISTING_BYTES
    )
    try:
        if response.status != 200:
            raise _refused(response, cursor, provider=provider, path=path)
        listing = parse_listing(await response.read(_LISTING_BYTES))
        return _page(listing, where, asked, cursor)
    except NotAListingError as error:
        raise Transient(
            f"the answer is not a whole page: {error}",
            provider=provider,
            path=path,
            reason="listing_incomplete",
            status=response.status,
        ) from None
    except TransportError as error:
        raise from_transport(error, provider=provider, path=path) from None


def _refused(response: Response, cursor: Cursor, *, provider: str, path: str) -> ProviderError:
    error = from_status(response.status, response.headers, response.body, provider=provider, path=path, root=True)
    if cursor.token and response.status == 400 and error_code(response.body) in {"InvalidArgument", "InvalidToken"}:
        return Transient(
            "the store no longer takes the continuation token",
            provider=provider,
            path=path,
            reason="cursor_refused",
            code=error.code,
            status=error.status,
        )
    return error


def _page(listing: Listing, where: S3Path, asked: str, cursor: Cursor) -> Page:
    keys = list(listing.keys)
    in_order = keys == sorted(keys)
    if cursor.last is not None and keys:
        if keys[-1] == cursor.last:
            raise NotAListingError("the same page again")
        in_order = in_order and keys[0] > cursor.last
    suspects = (keys[0], keys[-1]) if in_order and keys else keys
    if asked and not all(key.startswith(asked) for key in suspects):
        raise NotAListingError("a key outside the prefix")
    following = cursor.next(listing.next_token, keys[-1] if keys else None) if listing.next_token else None
    if where.prefix != asked:
        _keep(listing, [i for i, key in enumerate(keys) if key.startswith(where.prefix)])
    if cursor.until is not None:
        until = cursor.until
        _keep(listing, [i for i, key in enumerate(listing.keys) if key <= until])
        if in_order and keys and keys[-1] >= until:
            following = None
    return _as_page(listing, where, following, in_order=in_order)


def _keep(listing: Listing, rows: list[int]) -> None:
    if len(rows) == len(listing.keys):
        return
    listing.restored = frozenset(new for new, old in enumerate(rows) if old in listing.restored)
    listing.unreadable = frozenset(new for new, old in enumerate(rows) if old in listing.unreadable)
    listing.keys = [listing.keys[i] for i in rows]
    listing.modified = [listing.modified[i] for i in rows]
    listing.etags = [listing.etags[i] for i in rows]
    listing.sizes = [listing.sizes[i] for i in rows]
    listing.classes = [listing.classes[i] for i in rows]


def _as_page(listing: Listing, where: S3Path, following: Cursor | None, *, in_order: bool) -> Page:
    bucket, root = where.bucket, where.root
    keys, etags, sizes, modified = listing.keys, listing.etags, listing.sizes, listing.modified
    # Without an ETag the time of the write is all that tells two versions apart.
    contents = etags if all(etags) else [etag or f"@{m}" for etag, m in zip(etags, modified, strict=True)]
    ids = [f"{bucket}/{key}" for key in keys]
    fingerprints = [f"{c}:{s}|{m}" for c, s, m in zip(contents, sizes, modified, strict=True)]

    def row(i: int) -> SourceObject:
        key = keys[i]
        locator: dict[str, Any] = {"b": bucket, "k": key}
        if etags[i]:
            locator["e"] = etags[i]
        if where.request_payer:
            locator["p"] = True
        return SourceObject(
            ids[i],
            key.removeprefix(root) or key,
            fingerprints[i],
            size=int(sizes[i]),
            modified_at=_instant(modified[i]),
            locator=locator,
        )

    return Page(
        ids,
        fingerprints,
        row,
        next_cursor=following.encode() if following else None,
        complete=following is None,
        skips=_skips(listing),
        in_order=in_order,
    )


def _skips(listing: Listing) -> dict[int, str]:
    """Rows that are there but must not be fetched."""
    skips: dict[int, str] = {}
    archived = {name for name in set(listing.classes) if is_archived(name)}
    if archived:
        for i, name in enumerate(listing.classes):
            if name in archived and i not in listing.restored:
                skips[i] = "archived"
    for i, key in enumerate(listing.keys):
        if key[-1] == "/" and listing.sizes[i] == "0":
            skips[i] = "folder_marker"
    for i in listing.unreadable:
        skips[i] = "invalid_key"
    return skips


def _instant(text: str) -> datetime | None:
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        return None
    return instant if instant.tzinfo else None
