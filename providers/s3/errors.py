"""S3's answers in the words of `providers.errors`: the only place where they are translated.

An error code decides where there is one; the HTTP status only where there is none (a HEAD has no
body). A code that no table names is decided by its status, so that the map is total.
Source of the codes: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from typing import Any

from providers.errors import Changed, Denied, Gone, Misconfigured, Permanent, ProviderError, Throttled, Transient
from providers.http import TransportError, retry_after

__all__ = ["error_code", "error_field", "from_status", "from_transport"]

_DENIED = {
    "InvalidAccessKeyId": "the store does not know this access key: give a current access_key_id",
    "SignatureDoesNotMatch": "the secret_access_key does not belong to the access_key_id: give the right pair",
    "ExpiredToken": "the session token has expired: give new credentials",
    "ExpiredTokenException": "the session token has expired: give new credentials",
    "TokenRefreshRequired": "the session token has expired: give new credentials",
    "InvalidToken": "the session token is not valid: give new credentials",
    "XAdminUserNotFound": "the store does not know this access key: give a current access_key_id",  # versitygw
    "InvalidClientTokenId": "the store does not know this access key: give a current access_key_id",
    "RequestTimeTooSkewed": "the clock of this host is more than 15 minutes off: set it right",
    "RequestExpired": "the clock of this host is off: set it right",
    "AccountProblem": "the store has closed the account: ask its owner",
    "AllAccessDisabled": "the store has disabled all access: ask the owner of the account",
    "NotSignedUp": "the account is not signed up for S3: ask its owner",
    "InvalidSecurity": "the credentials are not valid: give new ones",
    "UnauthorizedAccess": "the credentials are not valid in this partition: check the region",
}
_MISCONFIGURED = {
    "NoSuchBucket": "the bucket does not exist: check source_path",
    "InvalidBucketName": "this is no bucket name: check source_path",
    "PermanentRedirect": "the bucket is in another region: set region",
    "TemporaryRedirect": "the bucket is in another region: set region",
    "AuthorizationHeaderMalformed": "the region is wrong: set region",
    "IllegalLocationConstraintException": "the bucket is in another region: set region",
    "AuthorizationQueryParametersError": "the region is wrong: set region",
}
_THROTTLED = re.compile(
    r"SlowDown\w*|Throttl\w+|RequestThrottled\w*|RequestLimitExceeded|TooManyRequests\w*|BandwidthLimitExceeded"
    r"|LimitExceededException|ProvisionedThroughputExceededException|EC2ThrottledException|PriorRequestNotComplete"
).fullmatch
_TRANSIENT = {"RequestTimeout", "InternalError", "ServiceUnavailable", "OperationAborted", "IncompleteBody"}
_ARCHIVED = {"InvalidObjectState", "ObjectNotInActiveTierError"}
_GONE = {"NoSuchKey", "NoSuchVersion", "NotFound"}
_CUSTOMER_KEY = re.compile(rb"Server Side Encryption|SSE-C|customer.{0,20}key|encryption key", re.IGNORECASE).search
_FIELD = {
    name: re.compile(rb"<" + name.encode() + rb">\s*([^<>]{1,200}?)\s*</" + name.encode() + rb">")
    for name in ("Code", "Region", "Endpoint")
}
_ROOT_RIGHTS = (
    "the credentials may not read this: grant s3:ListBucket on the bucket and s3:GetObject on its objects"
    ' (a requester-pays bucket also needs provider_filters.request_payer = "requester")'
)

_SHEDS_LOAD_BY = {"tigris": 408}
"""A status by which a store asks to slow down, beside those that all use."""


def error_field(body: bytes | None, name: str) -> str | None:
    """A field of an S3 error body, or None. Works on a body that is cut or has no declaration."""
    match = _FIELD[name].search(body[:65536]) if body else None
    return html.unescape(match.group(1).decode("utf-8", "replace")) if match else None


def error_code(body: bytes | None) -> str | None:
    """The error code, if the body is one of S3's and the code looks like one."""
    code = error_field(body, "Code")
    return code if code and re.fullmatch(r"[\w.-]{1,80}", code) else None


def from_status(
    status: int, headers: Mapping[str, str], body: bytes | None, *, provider: str, path: str, root: bool
) -> ProviderError:
    """The error that an answer other than success means.

    `root`: the request was about the source as a whole (list, check), not about one object.
    """
    code = error_code(body)
    told: dict[str, Any] = {"provider": provider, "path": path, "code": code, "status": status}
    sheds_load = status == 429 or (status == 503 and "retry-after" in headers) or status == _SHEDS_LOAD_BY.get(provider)
    if sheds_load or (code and _THROTTLED(code)):
        return Throttled("asked to slow down", retry_after=retry_after(headers), **told)
    if code in _DENIED:
        return Denied(_DENIED[code], **told)
    if code in _MISCONFIGURED:
        return Misconfigured(_MISCONFIGURED[code], **told)
    if status == 401:
        return Denied("the store asks for other credentials", **told)
    if code in _TRANSIENT or status >= 500 or status == 408:
        return Transient("the store failed to answer", **told)
    return _of_root(status, told) if root else _of_object(status, headers, body, told)


def _of_root(status: int, told: dict[str, Any]) -> ProviderError:
    if status == 403:
        return Denied(_ROOT_RIGHTS, **told)
    if 300 <= status < 400:
        return Misconfigured("redirected elsewhere: check endpoint_url and region", **told)
    if status == 404:
        return Misconfigured("nothing there: check endpoint_url and the bucket in source_path", **told)
    if status < 300:
        return Transient("not an answer of S3", reason="foreign_answer", **told)
    return Misconfigured("the store refuses the request: check endpoint_url and source_path", **told)


def _of_object(status: int, headers: Mapping[str, str], body: bytes | None, told: dict[str, Any]) -> ProviderError:
    code = told["code"]
    if code in _GONE or status in {404, 410} or (status == 405 and headers.get("x-amz-delete-marker") == "true"):
        return Gone("no longer there", **told)
    if status == 412:
        return Changed("no longer the listed version", **told)
    if code in _ARCHIVED:
        return Permanent("in an archive tier: restore it first", reason="archived", **told)
    if code and code.startswith("KMS."):
        return Permanent("its KMS key cannot be used", reason="kms_key_unusable", **told)
    if status == 400 and _CUSTOMER_KEY(body or b""):
        return Permanent("encrypted with a customer's key (SSE-C)", reason="needs_customer_key", **told)
    if status == 403:
        return Permanent("the credentials may not read this object", reason="access_denied", **told)
    if status < 300:
        return Transient("not an answer to this request", reason="foreign_answer", **told)
    return Permanent("the store refuses to give it", reason=f"http_{status}", **told)


def from_transport(error: TransportError, *, provider: str, path: str) -> ProviderError:
    """The error that no (whole) answer means."""
    if error.kind == "refused":
        return Misconfigured(f"endpoint refused: {error}", provider=provider, path=path, reason="endpoint_refused")
    if error.kind == "certificate":
        return Misconfigured(
            f"the endpoint's certificate is not trusted ({error}): set verify_ssl=false or a CA bundle (AWS_CA_BUNDLE)",
            provider=provider,
            path=path,
            reason="certificate",
        )
    hint = " (if it stays so: check endpoint_url, proxy and firewall)" if error.kind in {"connect", "tls"} else ""
    return Transient(f"{error}{hint}", provider=provider, path=path, reason=f"network_{error.kind}")
