"""Snowflake: the hard cases of logins, sessions, warehouses and results. Names are those of `cases.md` (W lines).

fakesnow checks no login, has no warehouse and no result storage: the gate plays those, with Snowflake's own codes.
"""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from providers.errors import Denied, Misconfigured, ProviderError, Transient
from tests.contract.snowflake_rig import PASSWORD, Account, full_pass, shown
from tests.simulators.snowflake_gate import GateAnswer, GateUser, refusal

pytest_plugins = ["tests.contract.snowflake_fixtures"]

ALWAYS = 1_000_000
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def filled(account: Account, rows: int = 30) -> None:
    account.run("CREATE TABLE T (ID NUMBER, NAME VARCHAR)")
    account.run(f"INSERT INTO T SELECT SEQ4(), 'n' || SEQ4() FROM TABLE(GENERATOR(ROWCOUNT => {rows}))")


async def problem(account: Account, path: str | None = None, **options: Any) -> ProviderError:
    """What the check says; a run must say the same."""
    provider = account.open(**options)
    with pytest.raises(ProviderError) as raised:
        await provider.check(path)
    await provider.close()
    return raised.value


async def test_w22_refused_result_addresses_are_asked_for_anew(account: Account) -> None:
    filled(account)
    provider = account.open(primary_key_columns=["id"])
    account.gate.chunk_rows = 5
    first = await provider.list_page("t", None, 10)
    account.gate.script("chunk", GateAnswer(403, b"<Error><Code>AccessDenied</Code></Error>"))
    second = await provider.list_page("t", first.next_cursor, 10)
    assert [id_.partition("/")[2] for id_ in second.ids] == [f"[{i}]" for i in range(10, 20)]
    account.gate.script("chunk", GateAnswer(403, b"no"), times=20)
    with pytest.raises(Transient) as raised:
        await provider.list_page("t", second.next_cursor, 10)
    assert raised.value.reason == "result_storage"
    account.gate.reset_scripts()
    third = await provider.list_page("t", second.next_cursor, 10)
    assert [id_.partition("/")[2] for id_ in third.ids] == [f"[{i}]" for i in range(20, 30)]
    await provider.close()


@pytest.mark.parametrize("code", ["390112", "390114", "390104"])
async def test_w24_a_lost_session_is_logged_in_again(account: Account, code: str) -> None:
    filled(account)
    provider = account.open(primary_key_columns=["id"])
    first = await provider.list_page("t", None, 10)
    account.gate.expire_sessions(code)
    rest = shown(await full_pass(provider, "t", limit=10, cursor=first.next_cursor))
    assert [row.id.partition("/")[2] for row in rest] == [f"[{i}]" for i in range(10, 30)]
    assert account.gate.counts["login"] == (1 if code == "390112" else 2)  # 390112: the connector renews the session
    await provider.close()


async def test_w26_a_blocked_result_storage_is_found_by_the_check(account: Account) -> None:
    account.gate.chunk_rows = 50
    assert (await account.open().check()).message
    assert account.gate.counts["chunk"] == 1  # more than 100 KB, so not in the answer itself
    account.gate.script("chunk", GateAnswer(403, b"blocked by proxy"), times=ALWAYS)
    error = await problem(account)
    assert isinstance(error, Misconfigured)
    assert "large results do not arrive" in str(error) and "SYSTEM$ALLOWLIST()" in str(error)


async def test_w27_a_role_without_the_warehouse_fails_the_check(account: Account) -> None:
    said = "No active warehouse selected in the current session.  Select an active warehouse with 'use warehouse'."
    account.gate.script("query", refusal("000606", said, sql_state="57P03"), times=ALWAYS)
    error = await problem(account, role="READER")
    assert isinstance(error, Misconfigured)
    assert "GRANT USAGE ON WAREHOUSE WH TO ROLE READER" in str(error) and "000606" in str(error)


async def test_w28_a_suspended_warehouse_stops_the_run(account: Account) -> None:
    filled(account)
    said = "Warehouse 'WH' cannot be resumed because resource monitor 'LIMIT' has exceeded its quota."
    provider = account.open(primary_key_columns=["id"])
    for code, text in (
        ("090073", said),
        ("000606", "Warehouse 'WH' is suspended; auto-resume is off."),
        ("090109", said),
    ):
        account.gate.script("query", refusal(code, text))
        account.gate.counts.clear()
        with pytest.raises(Misconfigured, match=r"warehouse WH is suspended and does not resume: ALTER WAREHOUSE WH"):
            await provider.list_page("t", None, 10)
        assert account.gate.counts["query"] == 1
    await provider.close()


@pytest.mark.parametrize(
    ("refused", "kind", "words"),
    [
        (("390100", "Incorrect username or password was specified."), Denied, "give the right username and password"),
        (("390101", "Your user account has been temporarily locked."), Denied, "MINS_TO_UNLOCK"),
        (("390102", "User account disabled."), Denied, "SET DISABLED = FALSE"),
        (
            ("390189", "Role 'READER' specified in the connect string is not granted to this user."),
            Misconfigured,
            "GRANT ROLE READER TO USER loader",
        ),
        (("390144", "JWT token is invalid. [5e3]"), Denied, "the worker's clock is right"),
        (("394300", "JWT token has expired."), Denied, "clock"),
        (("390999", "Something new."), Denied, "the login of loader is refused: "),
    ],
)
async def test_refused_logins_say_what_to_change(
    account: Account, refused: tuple[str, str], kind: type[ProviderError], words: str
) -> None:
    await refuses(account, refused, kind, words)


@pytest.mark.parametrize(
    ("refused", "words"),
    [
        (
            ("394400", "Multi-factor authentication is required for this account."),
            "use a key pair (ALTER USER loader SET RSA_PUBLIC_KEY), or a programmatic access token",
        ),
        (("390202", "Authentication attempt rejected by the current authentication policy."), "key pair"),
    ],
)
async def test_w29_a_password_alone_is_refused(account: Account, refused: tuple[str, str], words: str) -> None:
    await refuses(account, refused, Denied, words)


async def test_w31_a_network_policy_refuses_the_worker(account: Account) -> None:
    refused = ("390422", "Incoming request with IP/Token 192.0.2.7 is not allowed to access Snowflake.")
    await refuses(account, refused, Denied, "a network policy refuses the worker's address")


async def refuses(account: Account, refused: tuple[str, str], kind: type[ProviderError], words: str) -> None:
    """A login refused like this fails the check at once, in these words."""
    account.gate.users["LOADER"] = GateUser(password=PASSWORD, refusal=refused)
    error = await problem(account, role="READER")
    assert isinstance(error, kind)
    assert words in str(error) and refused[0] in str(error)
    assert PASSWORD not in str(error)
    assert account.gate.counts["login"] == 1  # nothing is tried again in vain


@pytest.mark.parametrize("status", [403, 404])
async def test_an_unknown_account(account: Account, status: int) -> None:
    account.gate.script("login", GateAnswer(status, b"<html>"))
    error = await problem(account)
    assert isinstance(error, Misconfigured) and "there is no account acme-main: give it as ORGANIZATION-NAME" in str(
        error
    )


def keys() -> dict[str, tuple[str, str | None]]:
    """A key in every form it comes in: (text, passphrase)."""
    secret = serialization.BestAvailableEncryption(b"pass phrase")
    none = serialization.NoEncryption()
    pem, der, pkcs8 = serialization.Encoding.PEM, serialization.Encoding.DER, serialization.PrivateFormat.PKCS8
    plain = KEY.private_bytes(pem, pkcs8, none).decode()
    return {
        "pem": (plain, None),
        "pem with a needless passphrase": (plain, "needless"),
        "pem in one line": (plain.replace("\n", "\\n"), None),
        "pem with spaces for line breaks": (plain.replace("\n", " "), None),
        "encrypted pem": (KEY.private_bytes(pem, pkcs8, secret).decode(), "pass phrase"),
        "base64 der": (base64.b64encode(KEY.private_bytes(der, pkcs8, none)).decode(), None),
        "encrypted base64 der": (base64.encodebytes(KEY.private_bytes(der, pkcs8, secret)).decode(), "pass phrase"),
        "pkcs1": (KEY.private_bytes(pem, serialization.PrivateFormat.TraditionalOpenSSL, none).decode(), None),
    }


@pytest.mark.parametrize("form", list(keys()))
async def test_w30_key_pairs_in_every_form(account: Account, form: str) -> None:
    text, passphrase = keys()[form]
    account.gate.users["LOADER"] = GateUser(public_key=KEY.public_key(), account="ACME-MAIN")
    filled(account, 3)
    credentials = {
        "type": "key_pair",
        "username": "loader",
        "private_key": text,
        **({"private_key_passphrase": passphrase} if passphrase else {}),
    }
    provider = account.open(credentials=credentials, primary_key_columns=["id"])
    assert len((await provider.list_page("t", None, 10)).ids) == 3
    await asyncio.sleep(1.1)  # a token tells its second
    account.gate.expire_sessions("390114")
    assert len((await provider.list_page("t", None, 10)).ids) == 3
    tokens = [login["TOKEN"] for login in account.gate.logins]
    assert len(set(tokens)) == 2
    await provider.close()


@pytest.mark.parametrize(
    ("text", "passphrase", "words"),
    [
        (keys()["encrypted pem"][0], None, "is encrypted: give private_key_passphrase"),
        (keys()["encrypted base64 der"][0], "another", "private_key_passphrase must be the one"),
        ("not a key", None, "cannot be read: it must be PKCS8"),
        ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----", None, "cannot be read"),
    ],
)
def test_w30_keys_that_cannot_be_read(account: Account, text: str, passphrase: str | None, words: str) -> None:
    credentials = {"type": "key_pair", "username": "u", "private_key": text, "private_key_passphrase": passphrase}
    with pytest.raises(Denied, match="private_key") as raised:
        account.open(credentials=credentials)
    assert words in str(raised.value)
    assert text not in str(raised.value)


async def test_w38_a_cancelled_query_is_cancelled_at_the_server(account: Account) -> None:
    filled(account)
    provider = account.open(primary_key_columns=["id"])
    first = await provider.list_page("t", None, 10)
    account.gate.script("query", GateAnswer(delay=20), sql="LIMIT 11")
    task = asyncio.create_task(provider.list_page("t", first.next_cursor, 10))
    while not any("LIMIT 11" in sql for sql in account.gate.statements[3:]):
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    for _ in range(100):
        if account.gate.cancelled:
            break
        await asyncio.sleep(0.02)
    assert "LIMIT 11" in account.gate.cancelled[0]
    rest = shown(await full_pass(provider, "t", limit=10, cursor=first.next_cursor))
    assert len(rest) == 20
    await provider.close()


async def test_w38_a_query_over_its_time_keeps_the_place(account: Account) -> None:
    filled(account)
    provider = account.open(primary_key_columns=["id"], query_timeout_seconds=45)
    first = await provider.list_page("t", None, 10)
    assert account.gate.logins[-1]["SESSION_PARAMETERS"]["STATEMENT_TIMEOUT_IN_SECONDS"] in (45, "45")
    said = "Statement reached its statement or warehouse timeout of 45 second(s) and was canceled."
    account.gate.script("query", refusal("000630", said, sql_state="57014"))
    with pytest.raises(Transient, match="query_timeout_seconds") as raised:
        await provider.list_page("t", first.next_cursor, 10)
    assert raised.value.reason == "query_timeout"
    assert len(shown(await full_pass(provider, "t", limit=10, cursor=first.next_cursor))) == 20
    await provider.close()


async def test_what_is_not_there_is_named(account: Account) -> None:
    filled(account)
    error = await problem(account, "nope", role="READER")
    assert isinstance(error, Misconfigured)
    assert f"{account.database}.S.NOPE" in str(error) and "role READER may not see it" in str(error)
    for path in ("NOSUCH.S.T", "NOSCHEMA.T"):
        assert isinstance(await problem(account, path), Misconfigured)
    account.gate.script(
        "query", refusal("003001", "SQL access control error: Insufficient privileges to operate"), sql="LIMIT"
    )
    error = await problem(account, "t", primary_key_columns=["id"])
    assert isinstance(error, Denied) and "GRANT SELECT" in str(error)
    error = await problem(account, "t", primary_key_columns=["idd"])
    assert "primary_key_columns names column idd" in str(error)
