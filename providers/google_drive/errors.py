"""Google's answers in the words of `providers.errors`: the only place where they are translated.

The `reason` of the error body decides where there is one, the HTTP status otherwise, so that the map
is total. Sources: https://developers.google.com/workspace/drive/api/guides/handle-errors and
https://developers.google.com/identity/protocols/oauth2/service-account#jwt-auth-errors
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import orjson

from providers.errors import Denied, Gone, Misconfigured, Permanent, ProviderError, Throttled, Transient
from providers.http import TransportError, retry_after

__all__ = ["PROVIDER", "from_status", "from_token_answer", "from_transport", "reason_of"]

PROVIDER = "google_drive"
_DAY_QUOTA_WAIT = 3600.0
"""A quota of the day resets at midnight Pacific time; asking once an hour finds out without knowing zones."""

_THROTTLED = frozenset(
    (
        "userRateLimitExceeded",
        "rateLimitExceeded",
        "RATE_LIMIT_EXCEEDED",
        "sharingRateLimitExceeded",
        "quotaExceeded",
        "concurrentLimitExceeded",
        "limitExceeded",
    )
)
_DAILY = frozenset(("dailyLimitExceeded", "variableTermLimitExceeded"))
_DENIED = {
    "authError": "Google refuses the access token: give the connection current credentials",
    "required": "Google asks for credentials: give the connection current ones",
    "expired": "the credentials have expired: re-authorise the connection",
    "insufficientPermissions": "the grant lacks the scope drive.readonly: authorise it with that scope",
    "insufficientScopes": "the grant lacks the scope drive.readonly: authorise it with that scope",
    "ACCESS_TOKEN_SCOPE_INSUFFICIENT": "the grant lacks the scope drive.readonly: authorise it with that scope",
    "dailyLimitExceededUnreg": "the request came without credentials: give the connection current ones",
    "domainPolicy": "the domain's administrators have disabled Drive apps: ask them to allow this one",
    "accountDisabled": "the Google account is disabled: ask its administrator",
    "accountDeleted": "the Google account no longer exists: use another one",
    "userAccess": "the user may not use this API: ask the Workspace administrator",
    "activeItemCreationLimitExceeded": "the account is over its limit of items: ask its owner",
    "ACCESS_TOKEN_TYPE_UNSUPPORTED": "this kind of access token is not taken: use a service account or OAuth",
    "ACCOUNT_STATE_INVALID": "the Google account is suspended or deleted: ask its administrator",
    "teamDriveMembershipRequired": "the account is no member of the shared drive: add it as a viewer",
    "teamDriveDomainUsersOnlyRestriction": "the shared drive admits users of its domain only: use one of them",
    "teamDriveTeamMembersOnlyRestriction": "the shared drive admits its members only: add the account as a viewer",
}
_NOT_ENABLED = frozenset(("accessNotConfigured", "SERVICE_DISABLED", "serviceDisabled"))
_FILE = {
    "cannotDownloadAbusiveFile": (
        "abusive_file",
        "Google flags it as malware; an owner or organiser may set provider_filters.acknowledge_abuse = true",
    ),
    "downloadQuotaExceeded": (
        "download_quota_exceeded",
        "its download quota is used up; it is tried again when a day has passed",
    ),
    "cannotDownloadFile": ("download_disabled", "its owner has disabled downloading for viewers"),
    "cannotExportFile": ("export_disabled", "its owner has disabled exporting for viewers"),
    "fileNotDownloadable": ("not_downloadable", "it has no bytes to download"),
    "fileNotExportable": ("not_exportable", "it cannot be exported"),
    "exportSizeLimitExceeded": ("export_too_large", "it is too large to be exported"),
    "appNotAuthorizedToFile": ("access_denied", "the app has not been authorised for it: use the scope drive.readonly"),
    "insufficientFilePermissions": ("access_denied", "the account may not read it: share it as a viewer"),
    "conversionUnsupportedConversionPath": ("not_exportable", "it cannot be exported to that format"),
    "invalidConversion": ("not_exportable", "it cannot be exported to that format"),
}
_TRANSIENT = frozenset(("backendError", "internalError", "transientError", "conversionFailed", "backendNotConnected"))
_KNOWN = frozenset((*_THROTTLED, *_DAILY, *_DENIED, *_NOT_ENABLED, *_FILE, *_TRANSIENT))
_PROJECT = re.compile(r"project[ =/](\d{6,20})").search
_WORD = re.compile(r"[\w.-]{1,80}").fullmatch


def _parse(body: bytes | None) -> Mapping[str, Any]:
    try:
        found = orjson.loads(body or b"")
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def _reasons(error: Mapping[str, Any]) -> list[str]:
    found = [one.get("reason") for one in error.get("errors") or () if isinstance(one, dict)]
    found += [one.get("reason") for one in error.get("details") or () if isinstance(one, dict)]
    return [reason for reason in found if isinstance(reason, str) and _WORD(reason)]


def reason_of(body: bytes | None) -> str | None:
    """The reason that says most: one that a table here names, else the first."""
    error = _parse(body).get("error")
    reasons = _reasons(error) if isinstance(error, dict) else []
    known = (reason for reason in reasons if reason in _KNOWN)
    return next(known, reasons[0] if reasons else None)


def from_status(
    status: int, headers: Mapping[str, str], body: bytes | None, *, path: str, of_file: bool
) -> ProviderError:
    """The error that an answer other than success means.

    `of_file`: the request was about the bytes of one file, not about the source as a whole.
    """
    reason = reason_of(body)
    told: dict[str, Any] = {"provider": PROVIDER, "path": path, "code": reason, "status": status}
    if reason in _DAILY:
        return Throttled("the day's quota of the Google project is used up", retry_after=_DAY_QUOTA_WAIT, **told)
    if status == 429 or reason in _THROTTLED or (status == 503 and "retry-after" in headers):
        return Throttled("asked to slow down", retry_after=retry_after(headers), **told)
    if reason in _NOT_ENABLED:
        project = _PROJECT(str(_parse(body).get("error")))
        name = f" {project.group(1)}" if project else ""
        return Misconfigured(
            f"the Drive API is not enabled in the Google Cloud project{name}: enable it at"
            " https://console.cloud.google.com/apis/library/drive.googleapis.com and wait some minutes",
            **told,
        )
    if reason in _DENIED:
        return Denied(_DENIED[reason], **told)
    if status == 401:
        return Denied(_DENIED["authError"], **told)
    if status >= 500 or status == 408 or reason in _TRANSIENT:
        return Transient("Google failed to answer", **told)
    return _of_file(status, told) if of_file else _of_source(status, told)


def _of_source(status: int, told: dict[str, Any]) -> ProviderError:
    if status == 404:
        return Misconfigured(
            "nothing that this account can see: check the id and share it with the account as a viewer", **told
        )
    if status == 403:
        return Denied("the account may not read this: share it with the account as a viewer", **told)
    if status < 300:
        return Transient("not an answer of Google Drive", reason="foreign_answer", **told)
    if 300 <= status < 400:
        return Misconfigured("redirected elsewhere: check TIDEMARK_GOOGLE_API_ENDPOINT", **told)
    if status == 410:
        return Transient("the place in the listing is no longer known", reason="cursor_refused", **told)
    return Misconfigured("Google refuses the request: check source_path and shared_drive_id", **told)


def _of_file(status: int, told: dict[str, Any]) -> ProviderError:
    if status in {404, 410}:
        return Gone("no longer there, or no longer visible to the account", **told)
    if told["code"] in _FILE:
        reason, message = _FILE[told["code"]]
        return Permanent(message, reason=reason, **told)
    if status == 403:
        return Permanent("the account may not download it", reason="access_denied", **told)
    if status < 300:
        return Transient("not an answer to this request", reason="foreign_answer", **told)
    return Permanent("Google refuses to give it", reason=f"http_{status}", **told)


def from_transport(error: TransportError, *, path: str) -> ProviderError:
    """The error that no (whole) answer means."""
    if error.kind == "refused":
        return Misconfigured(f"endpoint refused: {error}", provider=PROVIDER, path=path, reason="endpoint_refused")
    if error.kind == "certificate":
        return Misconfigured(
            f"the endpoint's certificate is not trusted ({error}): set REQUESTS_CA_BUNDLE",
            provider=PROVIDER,
            path=path,
            reason="certificate",
        )
    return Transient(str(error), provider=PROVIDER, path=path, reason=f"network_{error.kind}")


def from_token_answer(
    status: int, headers: Mapping[str, str], body: bytes | None, *, account: str, user: str | None, oauth: bool
) -> ProviderError:
    """The error of the token endpoint. `account`: who signs in; `user`: whom a service account stands in for."""
    answer = _parse(body)
    code = answer.get("error") if isinstance(answer.get("error"), str) else None
    described = str(answer.get("error_description") or "")
    told: dict[str, Any] = {"provider": PROVIDER, "code": code if code and _WORD(code) else None, "status": status}
    if status == 429 or code in {"rate_limit_exceeded", "slow_down"}:
        return Throttled("the token endpoint asks to slow down", retry_after=retry_after(headers), **told)
    if status >= 500 or status == 408 or code in {"internal_failure", "server_error", "temporarily_unavailable"}:
        return Transient("the token endpoint failed to answer", **told)
    if code is None:
        if status < 300:
            return Transient("not an answer of the token endpoint", reason="foreign_answer", **told)
        return Misconfigured("the token endpoint is not one: check TIDEMARK_GOOGLE_TOKEN_URI", **told)
    return Denied(_token_advice(code, described.lower(), account, user, oauth=oauth), **told)


def _token_advice(code: str, described: str, account: str, user: str | None, *, oauth: bool) -> str:
    if oauth:
        return {
            "invalid_grant": "the refresh token is expired or revoked: re-authorise the connection (a Google app in"
            " status Testing loses its grants after 7 days: publish it)",
            "invalid_client": "client_id or client_secret is wrong: give those of the OAuth client",
            "unauthorized_client": "the refresh token belongs to another OAuth client: give the client_id it was"
            " issued to, or re-authorise the connection",
            "invalid_scope": "the grant lacks the scope drive.readonly: re-authorise the connection with it",
            "admin_policy_enforced": "the Workspace administrator does not allow this OAuth client: ask to trust it",
        }.get(code, "Google refuses the grant: re-authorise the connection")
    if "reasonable timeframe" in described or "short-lived" in described or "iat" in described.split():
        return "the clock of this host is wrong, so the signed request counts as expired: set it right (NTP)"
    if code == "invalid_grant" and "signature" in described:
        return f"private_key is no current key of {account}: create a new key and give its JSON's fields"
    if code == "invalid_grant" and user and ("user" in described or "email" in described):
        return f"impersonate_user {user!r} is no active user of the domain: give an existing, unsuspended one"
    if code == "invalid_grant":
        return f"the service account {account!r} does not exist or is disabled: check client_email"
    if code in {"unauthorized_client", "access_denied", "invalid_scope"} and user:
        return (
            f"the service account may not stand in for {user!r}: in the Workspace admin console, Security >"
            " API controls > Domain-wide delegation, add its client_id with the scope"
            " https://www.googleapis.com/auth/drive.readonly, and wait up to a day; or leave impersonate_user out"
        )
    if code == "invalid_client":
        return f"Google does not know {account!r}: check client_email and private_key"
    return f"Google gives {account!r} no token: check the service account and its key"
