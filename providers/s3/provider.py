"""The S3 provider: the contract of `providers.base`, put together from the parts of this package."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from providers.base import Attributes, Capabilities, CheckReport, Content, Page, Provider, SourceObject
from providers.endpoints import check_endpoint
from providers.errors import Misconfigured
from providers.http import HttpClient
from providers.s3.attributes import read_attributes
from providers.s3.bytes import open_object
from providers.s3.client import S3Client, is_directory_bucket
from providers.s3.credentials import open_keys
from providers.s3.errors import error_code, from_status
from providers.s3.lister import PAGE_LIMIT, Cursor, list_page
from providers.s3.paths import S3Path, after_prefix, narrow, parse_path
from providers.settings import ProviderSettings

__all__ = ["S3Provider"]


class S3Provider(Provider):
    """One account of an S3 store. A source path is `bucket[/folder]`; see `providers.s3.paths`."""

    name: ClassVar[str] = "s3"
    default_region: ClassVar[str] = "us-east-1"
    default_endpoint: ClassVar[str | None] = None
    headers: ClassVar[Sequence[tuple[str, str]]] = ()

    def __init__(self, config: Mapping[str, Any], credentials: Mapping[str, Any], settings: ProviderSettings) -> None:
        self.capabilities = Capabilities(ordered=True, ranges=True, page_limit=PAGE_LIMIT)
        self._settings = settings
        region = config.get("region") or self.default_region
        endpoint = config.get("endpoint_url") or self.default_endpoint
        self._endpoint_url = endpoint.rstrip("/") if endpoint else None
        self._http = HttpClient(
            allow_private=settings.allow_private_endpoints,
            verify_tls=config.get("verify_ssl") is not False,
            connect_timeout=settings.connect_timeout,
            read_timeout=settings.read_timeout,
        )
        self._client = S3Client(
            self._http,
            open_keys(credentials, region=region, provider=self.name, sts_endpoint_url=settings.sts_endpoint_url),
            provider=self.name,
            region=region,
            endpoint_url=self._endpoint_url,
            use_ssl=config.get("use_ssl") is not False,
            user_agent=settings.user_agent,
            headers=self.headers,
        )

    def capabilities_for(self, path: str) -> Capabilities:
        """A directory bucket lists in no order and cannot begin in the middle."""
        if is_directory_bucket(parse_path(path, provider=self.name).bucket):
            return Capabilities(page_limit=PAGE_LIMIT)
        return self.capabilities

    def narrow(self, path: str, provider_filters: Mapping[str, Any]) -> str:
        """See Provider and `providers.s3.paths.narrow`."""
        return narrow(path, provider_filters, provider=self.name)

    async def check(self, path: str | None = None) -> CheckReport:
        """List one key of `path`, or the account's buckets when there is none."""
        if self._endpoint_url:
            await check_endpoint(
                self._endpoint_url, allow_private=self._settings.allow_private_endpoints, provider=self.name
            )
        if path:
            where = parse_path(path, provider=self.name)
            page = await self._list(where, Cursor(), 1)
            found = "" if page.ids else "; nothing is there yet"
            return CheckReport(
                f"bucket {where.bucket} can be listed{found}",
                {
                    "bucket": where.bucket,
                    "region": self._client.address(where.bucket).signer.region,
                    "empty": not page.ids,
                },
            )
        response = await self._client.send("GET", "")
        if response.status == 200:
            body = await response.read(16 * 1024 * 1024)
            if b"ListAllMyBucketsResult" not in body[:2048]:
                raise Misconfigured(
                    "the endpoint does not answer like S3: check endpoint_url", provider=self.name, status=200
                )
            return CheckReport("credentials work", {"buckets": body.count(b"<Bucket>")})
        if response.status == 403 and error_code(response.body) == "AccessDenied":
            # The signature was accepted; the right to list all buckets is one that Tidemark does not need.
            return CheckReport(
                "credentials are known to the store; they may not list its buckets, which is not needed",
                {"buckets": None},
            )
        raise from_status(response.status, response.headers, response.body, provider=self.name, path="", root=True)

    async def list_page(self, path: str, cursor: str | None, limit: int) -> Page:
        """See Provider."""
        return await self._list(parse_path(path, provider=self.name), Cursor.decode(cursor), limit)

    async def _list(self, where: S3Path, cursor: Cursor, limit: int) -> Page:
        return await list_page(self._client, where, cursor, limit, provider=self.name)

    async def open(self, source: SourceObject, *, any_version: bool = False) -> Content:
        """See Provider."""
        return await open_object(
            self._client,
            source,
            any_version=any_version,
            max_bytes=self._settings.max_object_bytes,
            provider=self.name,
        )

    async def attributes(self, source: SourceObject, *, tags: bool, metadata: bool) -> Attributes:
        """See Provider."""
        return await read_attributes(self._client, source, tags=tags, metadata=metadata, provider=self.name)

    def scope(self, path: str) -> tuple[str, str | None]:
        """See Provider."""
        where = parse_path(path, provider=self.name)
        low = f"{where.bucket}/{where.prefix}"
        return low, after_prefix(low)

    def range_cursor(self, path: str, after: str | None, until: str | None) -> str:
        """See Provider."""
        start = len(parse_path(path, provider=self.name).bucket) + 1
        return Cursor(last=after[start:] if after else None, until=until[start:] if until else None).encode()

    async def close(self) -> None:
        """See Provider."""
        await self._http.close()
