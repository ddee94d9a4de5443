"""The commonest mistakes of those who set a connection up, provider by provider, and the words that help them.

`config` and `credentials` are what they wrote wrongly, `path` a wrong source path, `spoil` what is wrong at the
other end. `advice` is a part of what they have to be told.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.contract.snowflake_rig import PASSWORD, Account
from tests.simulators.google_drive import Answer as DriveAnswer
from tests.simulators.google_drive import DriveSimulator, foreign_key
from tests.simulators.graph import Answer as GraphAnswer
from tests.simulators.graph import GraphSimulator
from tests.simulators.graph_json import error_json
from tests.simulators.s3_faults import Answer, FaultyS3
from tests.simulators.s3_xml import error_xml
from tests.simulators.snowflake_gate import GateAnswer, GateUser, refusal

__all__ = ["MISTAKES", "Mistake", "Sources"]

ALWAYS = 1000
Spoil = Callable[["Sources"], object]


@dataclass
class Sources:
    """The other ends, all of them real HTTP servers."""

    s3: FaultyS3
    drive: DriveSimulator
    graph: GraphSimulator
    account: Account

    def good(self, provider: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """A provider_config that works, and its credentials."""
        keys = {"type": "access_key", "access_key_id": "AKIAPLANTED", "secret_access_key": "planted-secret"}
        if provider in {"s3", "tigris"}:
            return {"endpoint_url": self.s3.url}, keys
        if provider == "google_drive":
            return {}, dict(self.drive.service_account())
        if provider == "sharepoint":
            secret = {"tenant_id": "contoso", "client_id": "app", "client_secret": "planted~Client8Secret"}
            self.graph.tokens.secrets["app"] = secret["client_secret"]
            return {}, {"type": "client_credentials", **secret}
        config = {"account": "acme-main", "warehouse": "WH", "database": self.account.database, "schema": "S"}
        return config, {"type": "username_password", "username": "loader", "password": PASSWORD}

    def secrets(self) -> list[str]:
        """What may be nowhere in clear: what was given by `good`, and the tokens that were got for it."""
        key = max(self.drive.private_key.splitlines()[3:9], key=len)
        tokens = [*self.drive.tokens, *self.graph.tokens.given_out, *self.account.gate.sessions]
        return ["AKIAPLANTED", "planted-secret", "planted~Client8Secret", PASSWORD, key, *tokens]

    def mend(self) -> None:
        """Everything works again."""
        self.s3.clear_scripts()
        self.drive.clear_scripts()
        self.drive.tree.delegation = True
        self.graph.clear()
        self.graph.tokens.refuse = ""
        for site in self.graph.tree.sites.values():
            site.status = 200
        self.account.gate.reset_scripts()
        self.account.gate.chunk_rows = 0
        self.account.gate.users["LOADER"] = GateUser(password=PASSWORD)


@dataclass(frozen=True)
class Mistake:
    """See the module."""

    name: str
    advice: str
    config: Mapping[str, Any] = field(default_factory=dict)
    credentials: Mapping[str, Any] = field(default_factory=dict)
    path: str = ""
    spoil: Spoil = lambda _sources: None
    own: Callable[[Sources], Mapping[str, Any]] = lambda _sources: {}
    """Credentials that only the other end can give."""


def _s3(kind: str, status: int, code: str) -> Spoil:
    return lambda sources: sources.s3.script(kind, Answer(status, error_xml(code)), times=ALWAYS)


def _drive(call: str, status: int, reason: str, message: str = "") -> Spoil:
    answer = DriveAnswer.error(status, reason, message) if message else DriveAnswer.error(status, reason)
    return lambda sources: sources.drive.script(call, answer, times=ALWAYS)


def _signed_in_with(code: str) -> Spoil:
    return lambda sources: setattr(sources.graph.tokens, "refuse", code)


def _login(code: str, text: str) -> Spoil:
    def spoil(sources: Sources) -> None:
        sources.account.gate.users["LOADER"] = GateUser(password=PASSWORD, refusal=(code, text))

    return spoil


def _query(answer: GateAnswer, sql: str = "") -> Spoil:
    return lambda sources: sources.account.gate.script("query", answer, sql=sql, times=ALWAYS)


def _closed(sources: Sources) -> None:
    for site in sources.graph.tree.sites.values():
        site.status = 403


def _blocked(sources: Sources) -> None:
    sources.account.gate.chunk_rows = 50
    sources.account.gate.script("chunk", GateAnswer(403, b"blocked by proxy"), times=ALWAYS)


def _foreign_key(sources: Sources) -> Mapping[str, Any]:
    del sources
    return {"private_key": foreign_key()}


_S3 = (
    Mistake("unknown key", "give a current access_key_id", spoil=_s3("buckets", 403, "InvalidAccessKeyId")),
    Mistake("wrong secret", "give the right pair", spoil=_s3("buckets", 403, "SignatureDoesNotMatch")),
    Mistake("expired session", "the session token has expired", spoil=_s3("buckets", 400, "ExpiredToken")),
    Mistake("clock skew", "the clock of this host", spoil=_s3("buckets", 403, "RequestTimeTooSkewed")),
    Mistake(
        "not S3",
        "check endpoint_url",
        spoil=lambda sources: sources.s3.script("buckets", Answer(200, b"<html>It works!"), times=ALWAYS),
    ),
    Mistake("nothing listens", "check endpoint_url", config={"endpoint_url": "http://127.0.0.1:9"}),
    Mistake("unknown bucket", "the bucket does not exist: check source_path", path="no-such-bucket"),
    Mistake("no right to list", "grant s3:ListBucket", path="bucket", spoil=_s3("list", 403, "AccessDenied")),
    Mistake("another region", "set region", path="bucket", spoil=_s3("list", 301, "PermanentRedirect")),
    Mistake("no bucket name", "this is no bucket name", path="My_Bucket!/x"),
)

MISTAKES: dict[str, tuple[Mistake, ...]] = {
    "s3": _S3,
    "tigris": _S3,
    "google_drive": (
        Mistake("wrong key", "private_key is no current key", own=_foreign_key),
        Mistake("no key", "private_key is no RSA key", credentials={"private_key": "-----BEGIN PRIVATE KEY-----\nMII"}),
        Mistake("wrong account", "check client_email", credentials={"client_email": "x@y.iam.gserviceaccount.com"}),
        Mistake(
            "no delegation",
            "Domain-wide delegation",
            config={"impersonate_user": "nobody@example.com"},
            spoil=lambda sources: setattr(sources.drive.tree, "delegation", False),
        ),
        Mistake("unknown user", "impersonate_user", config={"impersonate_user": "nobody@example.com"}),
        Mistake(
            "API not enabled",
            "enable it at https://console.cloud.google.com",
            spoil=_drive("about.get", 403, "accessNotConfigured", "Google Drive API has not been used in project 1"),
        ),
        Mistake("missing scope", "drive.readonly", spoil=_drive("about.get", 403, "insufficientPermissions")),
        Mistake("wrong drive", "shared_drive_id", config={"shared_drive_id": "0AnoSuchDrivePVA"}),
        Mistake("unshared folder", "share the folder with robot@project", path="1UnsharedFolderOfSomebody"),
        Mistake("wrong path", "there is no folder 'nowhere'", path="/nowhere"),
    ),
    "sharepoint": (
        Mistake("wrong secret", "client_secret is wrong", credentials={"client_secret": "its id"}),
        Mistake("expired secret", "client_secret has expired", spoil=_signed_in_with("7000222")),
        Mistake("wrong client", "check client_id", credentials={"client_id": "other"}),
        Mistake("wrong tenant", "check tenant_id", credentials={"tenant_id": "fabrikam"}),
        Mistake("no consent", "consented", spoil=_signed_in_with("65001")),
        Mistake("conditional access", "conditional access", spoil=_signed_in_with("53003")),
        Mistake("wrong site", "check source_path", path="/sites/Sale/Documents"),
        Mistake("wrong library", "no library 'Document'", path="/sites/Sales/Document"),
        Mistake("wrong folder", "check source_path", path="/sites/Sales/Documents/nowhere"),
        Mistake("missing right", "Sites.Selected", path="/sites/Sales/Documents", spoil=_closed),
        Mistake(
            "no right to the root site",
            "write source_path as the full address",
            path="/sites/Sales/Documents",
            spoil=lambda sources: sources.graph.script(
                "site", GraphAnswer(403, error_json("accessDenied")), times=ALWAYS
            ),
        ),
    ),
    "snowflake": (
        Mistake("wrong password", "give the right username and password", credentials={"password": "other"}),
        Mistake("password alone", "key pair", spoil=_login("394400", "Multi-factor authentication is required.")),
        Mistake("network policy", "a network policy refuses", spoil=_login("390422", "IP 192.0.2.7 is not allowed.")),
        Mistake("clock skew", "clock", spoil=_login("390144", "JWT token is invalid. [5e3]")),
        Mistake(
            "role not granted",
            "GRANT ROLE READER",
            config={"role": "READER"},
            spoil=_login("390189", "Role 'READER' specified in the connect string is not granted to this user."),
        ),
        Mistake(
            "unknown account",
            "give it as ORGANIZATION-NAME",
            spoil=lambda sources: sources.account.gate.script("login", GateAnswer(404, b"<html>"), times=ALWAYS),
        ),
        Mistake(
            "no right to the warehouse",
            "GRANT USAGE ON WAREHOUSE WH",
            spoil=_query(refusal("000606", "No active warehouse selected in the current session.")),
        ),
        Mistake(
            "suspended warehouse",
            "does not resume: ALTER WAREHOUSE WH",
            spoil=_query(refusal("090073", "Warehouse 'WH' cannot be resumed.")),
        ),
        Mistake("blocked stage", "large results do not arrive", spoil=_blocked),
        Mistake("unknown table", "there is no such table or view", path="NOPE"),
        Mistake(
            "text watermark", "incremental_column NAME is text", config={"incremental_column": "NAME"}, path="GOOD"
        ),
    ),
}
