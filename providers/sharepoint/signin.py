"""What Microsoft's token service refuses with, and what a person has to change then.

AADSTS codes: https://learn.microsoft.com/entra/identity-platform/reference-error-codes
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from providers.errors import Denied, ProviderError, Throttled, Transient

__all__ = ["signin_error"]

_REAUTHORISE = "re-authorise: sign in again as the user and store the new refresh_token"
# What only the user can put right by signing in again.
_SIGN_IN_AGAIN: Mapping[str, str] = {
    "50076": "multi-factor authentication is now required",
    "50079": "the user has to set up multi-factor authentication",
    "50074": "strong authentication is required",
    "50078": "the multi-factor sign-in has expired",
    "50158": "an external security challenge was not satisfied",
    "53000": "conditional access wants a compliant device",
    "53003": "conditional access blocked the token",
    "50173": "the grant was revoked (password changed or sessions signed out)",
    "50132": "the session was revoked",
    "50133": "the session ended with a password change",
    "50055": "the user's password has expired",
    "50089": "the authentication has expired",
    "65001": "neither the user nor an administrator has consented to the application's rights",
    "70000": "the refresh token is not valid for this application",
    "70008": "the refresh token has expired",
    "70043": "the refresh token has expired by a sign-in frequency policy",
    "700082": "the refresh token was not used for 90 days",
    "700084": "the refresh token's fixed life is over",
    "54005": "the code or token was already redeemed",
}
_CHANGE: Mapping[str, str] = {
    "7000215": "client_secret is wrong: store the secret's value, not its id",
    "7000222": "client_secret has expired: create a new one in the app registration and store it",
    "700016": "client_id is not known in this tenant: check client_id and tenant_id",
    "700027": "the client's certificate or secret is not registered: check the app registration",
    "7000112": "the application is disabled: enable it under Enterprise applications",
    "7000218": "client_secret is missing",
    "700024": "the clocks differ: set this machine's time (NTP)",
    "90002": "tenant_id is not a known tenant: check tenant_id",
    "900023": "tenant_id is neither a tenant's GUID nor its domain: check tenant_id",
    "900021": "tenant_id is empty: check tenant_id",
    "50059": "tenant_id does not name a tenant: check tenant_id",
    "50034": "the user does not exist in this tenant: check tenant_id and the account",
    "50057": "the user's account is disabled: enable it or authorise as another user",
    "50126": "user name or password is wrong",
    "50020": "the user is not of this tenant: invite them or check tenant_id",
    "500011": "Microsoft Graph is not known in this tenant: check tenant_id and the cloud (TIDEMARK_GRAPH_ENDPOINT)",
    "500014": "Microsoft Graph is disabled in this tenant: ask its administrator",
    "501051": "the application is not assigned to a role: assign it under Enterprise applications",
    "50105": "the user is not assigned to the application: assign them under Enterprise applications",
    "53011": "the user is blocked as a risk: ask the tenant's administrator",
    "70011": "the application has no such scope: add Microsoft Graph rights to it",
    "1002016": "the service wants TLS 1.2 or newer",
    "9002313": "the request is malformed: check client_id, client_secret and refresh_token for stray characters",
}
_TRANSIENT = frozenset({"90033", "90024", "90006", "50000", "50001", "90012", "900382"})
_THROTTLED = frozenset({"50196", "90055", "9001011"})


def signin_error(result: Mapping[str, Any]) -> ProviderError:
    """The error for a token answer without a token. Its text names the AADSTS code, never a secret."""
    description = str(result.get("error_description") or "")
    found = re.search(r"AADSTS(\d+)", description)
    codes = result.get("error_codes") or []
    code = found.group(1) if found else (str(codes[0]) if codes else "")
    upstream = f"AADSTS{code}" if code else str(result.get("error") or "unknown")
    if code in _THROTTLED:
        return Throttled("the token service asks to slow down", provider="sharepoint", retry_after=60.0, code=upstream)
    if code in _TRANSIENT or result.get("error") in {"temporarily_unavailable", "server_error"}:
        return Transient("the token service is in trouble", provider="sharepoint", code=upstream)
    if code in _SIGN_IN_AGAIN:
        message = f"{_SIGN_IN_AGAIN[code]}; {_REAUTHORISE}"
        return Denied(message, provider="sharepoint", reason="reauthorise", code=upstream, status=400)
    status = 401 if result.get("error") in {"invalid_client", "unauthorized_client"} else 400
    if code in _CHANGE:
        return Denied(_CHANGE[code], provider="sharepoint", reason="sign_in_refused", code=upstream, status=status)
    if result.get("error") in {"invalid_grant", "interaction_required"}:
        message = f"the refresh token was refused; {_REAUTHORISE}"
        return Denied(message, provider="sharepoint", reason="reauthorise", code=upstream, status=400)
    said = re.sub(r"^AADSTS\d+:\s*", "", re.split(r"\s*(?:Trace ID|Correlation ID|\r|\n)", description)[0])[:200]
    message = f"sign-in was refused: {said or 'no reason given'}; check tenant_id, client_id and client_secret"
    return Denied(message, provider="sharepoint", reason="sign_in_refused", code=upstream, status=status)
