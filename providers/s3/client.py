"""Signed requests to buckets: addressing, the region that is learned, keys that are renewed, errors translated."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from providers.errors import Misconfigured
from providers.http import HttpClient, Origin, Response, TransportError
from providers.s3.credentials import KeySource
from providers.s3.errors import error_code, error_field, from_transport
from providers.s3.signing import Signer, encode_key

__all__ = ["Address", "S3Client", "is_directory_bucket"]

_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}").fullmatch
_VIRTUAL_HOSTED = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]").fullmatch
_REGION = re.compile(r"[a-z0-9-]{1,40}").fullmatch
_DOMAIN = {
    "cn-": "amazonaws.com.cn",
    "us-iso-": "c2s.ic.gov",
    "us-isob-": "sc2s.sgov.gov",
    "us-isof-": "csp.hci.ic.gov",
    "eu-isoe-": "cloud.adc-e.uk",
    "eusc-": "amazonaws.eu",
}
# Custom endpoints that no longer take the bucket in the path (new buckets of Tigris since February 2025).
_ONLY_VIRTUAL_HOSTED = re.compile(
    r"(fly\.storage\.tigris\.dev|t3\.storage\.dev|.*\.aliyuncs\.com|.*\.myqcloud\.com|.*\.volces\.com)"
).fullmatch
_ENDPOINT_REGION = re.compile(r"(?:^|\.)s3[.-]([a-z]{2,4}(?:-[a-z]+)+-\d)\.amazonaws").search
_ERROR_BYTES = 64 * 1024
_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "InvalidToken"}


def is_directory_bucket(bucket: str) -> bool:
    """Whether a bucket is one of S3 Express One Zone: unordered listings, no start-after, an endpoint of its zone."""
    return bucket.endswith("--x-s3")


@dataclass(frozen=True, slots=True)
class Address:
    """Where a bucket answers: origin, Host header, what stands before the key, and the signer of its region."""

    origin: Origin
    host: str
    base: str
    signer: Signer


class S3Client:
    """Sends signed requests without a body. Raises errors of `providers.errors` where no answer came."""

    def __init__(
        self,
        http: HttpClient,
        keys: KeySource,
        *,
        provider: str,
        region: str,
        endpoint_url: str | None,
        use_ssl: bool,
        user_agent: str,
        headers: Sequence[tuple[str, str]] = (),
    ) -> None:
        self._http = http
        self._keys = keys
        self._provider = provider
        self._region = region
        self._endpoint_url = endpoint_url
        self._use_ssl = use_ssl
        self._tail = f"User-Agent: {user_agent}\r\nAccept: */*\r\nAccept-Encoding: identity\r\n\r\n"
        self._headers = tuple(headers)
        self._addresses: dict[str, Address] = {}
        self.requests = 0

    def address(self, bucket: str) -> Address:
        """Where `bucket` answers ("": the account itself)."""
        known = self._addresses.get(bucket)
        if known is None:
            known = self._addresses[bucket] = self._find(bucket, self._region)
        return known

    def _find(self, bucket: str, region: str) -> Address:
        if bucket and not _BUCKET(bucket):
            raise Misconfigured("this is no bucket name", provider=self._provider, path=bucket)
        if not _REGION(region):
            raise Misconfigured("this is no region", provider=self._provider, path=region)
        signer = Signer("s3express" if is_directory_bucket(bucket) and not self._endpoint_url else "s3", region)
        if self._endpoint_url:
            parts = urlsplit(self._endpoint_url)
            scheme, guard = parts.scheme, True
            host, port = parts.hostname or "", parts.port or (443 if scheme == "https" else 80)
            base = parts.path.rstrip("/") + (f"/{bucket}" if bucket else "")
            if bucket and _ONLY_VIRTUAL_HOSTED(host) and _VIRTUAL_HOSTED(bucket):
                host, base = f"{bucket}.{host}", ""
        else:
            domain = next((name for start, name in _DOMAIN.items() if region.startswith(start)), "amazonaws.com")
            scheme, guard = ("https" if self._use_ssl else "http"), False
            port = 443 if self._use_ssl else 80
            host, base = f"s3.{region}.{domain}", f"/{bucket}" if bucket else ""
            if is_directory_bucket(bucket):
                zone = bucket.removesuffix("--x-s3").rpartition("--")[2]
                host, base = f"{bucket}.s3express-{zone}.{region}.{domain}", ""
            elif _VIRTUAL_HOSTED(bucket):
                host, base = f"{bucket}.{host}", ""
        origin = Origin(scheme, host, port, guard)
        return Address(origin, origin.authority, base, signer)

    async def send(
        self,
        method: str,
        bucket: str,
        key: str | None = None,
        *,
        query: str = "",
        signed: Sequence[tuple[str, str]] = (),
        plain: str = "",
        whole_up_to: int = 1024 * 1024,
    ) -> Response:
        """One signed request; `plain` are further header lines, each ended by CRLF.

        It is sent again only where the answer says what to sign otherwise: at most once for the
        region, at most once for renewed keys of an assumed role.
        """
        path = f"{bucket}/{key}" if key is not None else bucket
        renew = learned = False
        target = encode_key(key) if key is not None else ""
        if self._headers:
            signed = sorted([*self._headers, *signed])
        while True:
            address = self.address(bucket)
            keys = await self._keys.keys(renew=renew)
            uri = f"{address.base}/{target}" if target or not address.base else address.base
            request = (
                f"{method} {uri}{'?' if query else ''}{query} HTTP/1.1\r\nHost: {address.host}\r\n"
                + address.signer.sign(method, address.host, uri, query, keys=keys, extra=signed)
                + plain
                + self._tail
            )
            self.requests += 1
            try:
                response = await self._http.request(
                    address.origin, request.encode(), head_only=method == "HEAD", whole_up_to=whole_up_to
                )
                if response.status < 300:
                    return response
                if response.body is None:
                    response.body = await response.read(_ERROR_BYTES)
            except TransportError as error:
                raise from_transport(error, provider=self._provider, path=path) from None
            if not learned and self._learn(bucket, address, response):
                learned = True
            elif not renew and self._keys.renewable and error_code(response.body) in _EXPIRED:
                renew = True
            else:
                return response

    def _learn(self, bucket: str, address: Address, response: Response) -> bool:
        """Whether the answer names another region; if so it is remembered for the bucket.

        Only a region is taken from it, never a location: an answer must not choose where we connect.
        """
        if response.status not in {301, 307, 400, 403}:
            return False
        region = response.headers.get("x-amz-bucket-region") or error_field(response.body, "Region")
        if not region and (endpoint := _ENDPOINT_REGION(error_field(response.body, "Endpoint") or "")):
            region = endpoint.group(1)
        if not region or region == address.signer.region or not _REGION(region):
            return False
        if response.status == 403 and error_code(response.body) not in {None, "AuthorizationHeaderMalformed"}:
            return False
        self._addresses[bucket] = self._find(bucket, region)
        return True
