"""Tags and user metadata of one object: a request each, made only when a mapping or filter needs them."""

from __future__ import annotations

from lxml import etree

from providers.base import Attributes, SourceObject
from providers.errors import Transient
from providers.http import Response, TransportError
from providers.s3.bytes import metadata_of
from providers.s3.client import S3Client
from providers.s3.errors import error_code, from_status, from_transport

__all__ = ["read_attributes"]

# A store without object tags has none on any object.
_NO_TAGS = {"NotImplemented", "MethodNotAllowed", "NoSuchTagSet", "NoSuchTagSetError"}


async def read_attributes(
    client: S3Client, source: SourceObject, *, tags: bool, metadata: bool, provider: str
) -> Attributes:
    """What was asked for, of the listed version where the store can tell. See `Provider.attributes`."""
    return Attributes(
        tags=await _tags(client, source, provider) if tags else {},
        metadata=await _metadata(client, source, provider) if metadata else {},
    )


async def _tags(client: S3Client, source: SourceObject, provider: str) -> dict[str, str]:
    response = await _send(client, source, "GET", query="tagging=")
    if response.status in {404, 405, 501} and error_code(response.body) in _NO_TAGS:
        return {}
    if response.status != 200:
        raise _error(response, source, provider)
    try:
        body = await response.read(1024 * 1024)
    except TransportError as error:
        raise from_transport(error, provider=provider, path=source.id) from None
    try:
        root = etree.fromstring(body, etree.XMLParser(resolve_entities=False, no_network=True))
    except etree.XMLSyntaxError:
        root = None
    if root is None or etree.QName(root).localname != "Tagging":
        raise Transient("not a set of tags", provider=provider, path=source.id, reason="foreign_answer", status=200)
    return {tag.findtext("{*}Key", ""): tag.findtext("{*}Value", "") for tag in root.iter("{*}Tag")}


async def _metadata(client: S3Client, source: SourceObject, provider: str) -> dict[str, str]:
    response = await _send(client, source, "HEAD", plain=_if_match(source))
    if response.status in {400, 403, 404}:
        # A HEAD has no body, so it cannot say why: the first byte decides. An empty object has no first byte.
        span = "Range: bytes=0-0\r\n" if source.size else ""
        response = await _send(client, source, "GET", plain=_if_match(source) + span)
    if response.status not in {200, 206}:
        raise _error(response, source, provider)
    response.release()
    if "e" in source.locator and "etag" not in response.headers:
        raise Transient(
            "not an object's headers", provider=provider, path=source.id, reason="foreign_answer", status=200
        )
    return metadata_of(response.headers)


async def _send(client: S3Client, source: SourceObject, method: str, *, query: str = "", plain: str = "") -> Response:
    locator = source.locator
    signed = [("x-amz-request-payer", "requester")] if locator.get("p") else []
    return await client.send(method, locator["b"], locator["k"], query=query, signed=signed, plain=plain)


def _if_match(source: SourceObject) -> str:
    return f'If-Match: "{source.locator["e"]}"\r\n' if "e" in source.locator else ""


def _error(response: Response, source: SourceObject, provider: str) -> Exception:
    response.release()
    return from_status(response.status, response.headers, response.body, provider=provider, path=source.id, root=False)
