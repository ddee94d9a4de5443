"""What Snowflake says and what that means: the only place where its errors and the connector's become ours.

Codes: docs.snowflake.com has no one list of them; these are from its pages on logging in, on warehouses and on
key pairs, and from the connector. What has no code of its own is told by its words.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from providers.errors import Denied, Misconfigured, ProviderError, Throttled, Transient

__all__ = ["SESSION_LOST", "Who", "is_chunk_refused", "translate"]

# The session or its tokens have ended: log in again.
SESSION_LOST = frozenset({390104, 390108, 390110, 390111, 390112, 390113, 390114, 390115, 250002})
_NOT_THERE = frozenset({2003, 2043, 1757, 391920})
_STATUS = re.compile(r"(?:last status|error status:?) (\d{3})")
_SHOWN = 300


@dataclass(frozen=True, slots=True)
class Who:
    """Who asks: the names an error message should tell, none of them secret."""

    account: str
    user: str
    role: str
    warehouse: str


_Rule = tuple[type[ProviderError], str, str]

_BY_CODE: Mapping[int, _Rule] = {
    390100: (Denied, "wrong_secret", "user {user} or its password is not right: give the right username and password"),
    390101: (Denied, "user_locked", "user {user} is locked: wait, or ALTER USER {user} SET MINS_TO_UNLOCK = 0"),
    390102: (Denied, "user_disabled", "user {user} is disabled: ALTER USER {user} SET DISABLED = FALSE"),
    390106: (Denied, "password_expired", "the password of {user} has expired: set a new one, or use a key pair"),
    390120: (Denied, "user_locked", "user {user} is locked for too many failed logins: wait 15 minutes"),
    390144: (
        Denied,
        "key_refused",
        (
            "the key pair of {user} is not accepted: register its public key (ALTER USER {user} SET RSA_PUBLIC_KEY),"
            " give the account as ORGANIZATION-NAME, and check that the worker's clock is right to a minute"
        ),
    ),
    390186: (Misconfigured, "role", "role {role} does not exist or is not granted: GRANT ROLE {role} TO USER {user}"),
    390189: (Misconfigured, "role", "role {role} does not exist or is not granted: GRANT ROLE {role} TO USER {user}"),
    390201: (Misconfigured, "database", "database, schema or warehouse of the connection does not exist"),
    390202: (Denied, "password_only", ""),
    390420: (Denied, "network_policy", ""),
    390422: (Denied, "network_policy", ""),
    394300: (Denied, "clock", "the login token had expired on arrival: the worker's clock is more than a minute off"),
    606: (
        Misconfigured,
        "warehouse",
        (
            "warehouse {warehouse} cannot be used: it does not exist, or role {role} lacks the right: GRANT USAGE ON"
            " WAREHOUSE {warehouse} TO ROLE {role}"
        ),
    ),
    604: (Transient, "query_cancelled", "the query was cancelled at the server"),
    630: (
        Transient,
        "query_timeout",
        (
            "the query ran into query_timeout_seconds and was cancelled: raise it, use a larger warehouse, or cluster"
            " the table by its key"
        ),
    ),
    3001: (
        Denied,
        "privileges",
        "role {role} may not read this: GRANT SELECT on the table and USAGE on its database and schema to it",
    ),
    904: (Misconfigured, "column_missing", "a column is not there (any more): {said}"),
}
_ONE_FACTOR = (
    "a password alone is refused for {user}: use a key pair (ALTER USER {user} SET RSA_PUBLIC_KEY), or a programmatic"
    " access token as the password, or make it a user of TYPE = LEGACY_SERVICE"
)
_NETWORK = (
    "a network policy refuses the worker's address: add it to the policy's allowed addresses (ALTER NETWORK POLICY),"
    " or use another way out"
)
_SUSPENDED = (
    "warehouse {warehouse} is suspended and does not resume: ALTER WAREHOUSE {warehouse} RESUME or SET AUTO_RESUME ="
    " TRUE, or raise the quota of its resource monitor"
)
_NOT_FOUND = (
    "there is no such table or view, or role {role} may not see it: check the source path, GRANT USAGE on the database"
    " and schema and SELECT on the table to role {role}"
)
_ACCOUNT = "there is no account {account}: give it as ORGANIZATION-NAME, as in its address"

_BY_WORDS: tuple[tuple[re.Pattern[str], _Rule], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE | re.DOTALL), rule)
    for pattern, rule in (
        (r"IP/Token|network policy|not allowed to access Snowflake", (Denied, "network_policy", _NETWORK)),
        (
            r"multi-factor|\bMFA\b|single-factor|authentication policy|password-only",
            (Denied, "password_only", _ONE_FACTOR),
        ),
        (r"user.*(temporarily |been )?locked", (Denied, "user_locked", _BY_CODE[390101][2])),
        (r"user.*disabled", (Denied, "user_disabled", _BY_CODE[390102][2])),
        (r"JWT|public key", (Denied, "key_refused", _BY_CODE[390144][2])),
        (r"Role .*(not granted|does not exist)", (Misconfigured, "role", _BY_CODE[390189][2])),
        (
            r"warehouse.*(suspend|cannot be resumed|resource monitor|quota)",
            (Misconfigured, "warehouse_suspended", _SUSPENDED),
        ),
        (r"warehouse", (Misconfigured, "warehouse", _BY_CODE[606][2])),
        (r"does not exist or not authorized", (Misconfigured, "not_found", _NOT_FOUND)),
        (r"insufficient privileges", (Denied, "privileges", _BY_CODE[3001][2])),
        (
            r"certificate|self.signed|UnknownIssuer",
            (Misconfigured, "certificate", "the server's certificate is not trusted: set SSL_CERT_FILE to the CA file"),
        ),
        (
            r"dns error|lookup address|Name or service not known",
            (Transient, "network_name", "the address of account {account} has no entry in the name service: {said}"),
        ),
    )
)


def is_chunk_refused(error: Exception) -> bool:
    """Whether a result's address was refused: they are good for hours, not for ever."""
    return "Failed to read batches" in str(error)


def translate(error: Exception, who: Who, *, provider: str, path: str, login: bool = False) -> ProviderError:
    """The provider error that an error of the connector means. Its text is Snowflake's, cut, without the statement."""
    errno = getattr(error, "errno", None)
    number = errno if isinstance(errno, int) else -1
    text = str(getattr(error, "raw_msg", None) or error)
    said = re.sub(r"\s+", " ", text)[:_SHOWN]
    status = int(match[1]) if (match := _STATUS.search(text)) else None
    told: dict[str, Any] = {
        "provider": provider,
        "path": path,
        "code": f"{number:06d}" if number > 99 else None,
        "status": status,
    }
    if status == 429 or number == 390119:
        return Throttled("asked to slow down", provider=provider, path=path, code=told["code"], status=status)
    rule = _rule(number, text)
    if rule is not None:
        kind, reason, message = rule
        names = {"account": who.account, "user": who.user, "role": who.role, "warehouse": who.warehouse}
        return kind(message.format(**names, said=said), reason=reason, **told)
    if is_chunk_refused(error):
        return Transient(
            "the result could not be fetched from the storage it is put into: the addresses that"
            " SYSTEM$ALLOWLIST() lists as STAGE must be reachable over https",
            reason="result_storage",
            **told,
        )
    if login and status in (403, 404):
        return Misconfigured(_ACCOUNT.format(account=who.account), reason="account", **told)
    if number in SESSION_LOST:
        return Transient("the session was lost again and again", reason="session_lost", **told)
    if login and 390000 <= number < 400000:
        return Denied(f"the login of {who.user} is refused: {said}", reason="login_refused", **told)
    if number < 100 or number == 250001:
        # The connector's own codes: no answer, or none of Snowflake's.
        return Transient(f"no usable answer from account {who.account}: {said}", reason="network", **told)
    if 100000 <= number < 110000 or 900 <= number < 2000:
        return Misconfigured(f"the query cannot be answered: {said}", reason="query_refused", **told)
    return Transient(f"the query failed: {said}", reason="query_failed", **told)


def _rule(number: int, text: str) -> _Rule | None:
    if number in (390420, 390422):
        return Denied, "network_policy", _NETWORK
    if number == 390202:
        return Denied, "password_only", _ONE_FACTOR
    if number in _NOT_THERE:
        return Misconfigured, "not_found", _NOT_FOUND
    if number == 606 and re.search(r"suspend|resume", text, re.IGNORECASE):
        return Misconfigured, "warehouse_suspended", _SUSPENDED
    if number in _BY_CODE:
        return _BY_CODE[number]
    if number in SESSION_LOST:
        return None
    return next((rule for pattern, rule in _BY_WORDS if pattern.search(text)), None)
