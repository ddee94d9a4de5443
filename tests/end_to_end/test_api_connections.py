"""Connections over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest_asyncio
from temporalio.client import Client

from models.scope import Role, Scope
from models.settings import Settings
from providers import provider_types
from providers.errors import Denied
from tests.api_rig import Rig, RunningRig

C = "/v1/organizations/connections"
KEYS = {"type": "access_key", "access_key_id": "AKIA", "secret_access_key": "s3cr3t"}


def s3(name: str = "store", **more: Any) -> dict[str, Any]:
    return {"name": name, "provider_type": "s3", "provider_config": {"credentials": KEYS, **more}}


@pytest_asyncio.fixture(loop_scope="session")
async def rig(settings: Settings, temporal_client: Client) -> AsyncIterator[Rig]:
    async with RunningRig(settings, temporal_client) as running:
        yield running


async def test_create_shows_no_secret_and_stores_none_in_clear(rig: Rig) -> None:
    key = await rig.key()
    status, made, _ = await rig.ask("POST", C, key, body=s3(region="eu-west-1"))
    assert status == 200, made
    assert made["provider_config"] == {
        "provider_type": "s3", "region": "eu-west-1", "use_ssl": True, "verify_ssl": True,
        "credentials": {"type": "access_key"},
    }  # fmt: skip
    assert made["status"] == "ACTIVE" and made["is_active"] is True and made["connection_id"].startswith("conn_")
    assert rig.check.seen[0]["credentials"] == KEYS
    stored = await rig.database["connections"].find_one({"_id": made["connection_id"]})
    assert stored is not None and "credentials" not in stored["provider_config"]
    assert stored["credentials_type"] == "access_key"


async def test_a_connection_that_does_not_work_is_not_saved(rig: Rig) -> None:
    key = await rig.key()
    rig.check.fault = Denied("the key is wrong", provider="s3", code="InvalidAccessKeyId", status=403)
    status, reply, _ = await rig.ask("POST", C, key, body=s3())
    assert status == 422 and "the key is wrong" in reply["error"]["message"]
    assert reply["error"]["code"] == "connection_test_failed"
    assert reply["error"]["details"]["upstream_code"] == "InvalidAccessKeyId"
    status, _, _ = await rig.ask("POST", C, key, body={**s3(), "test_before_save": False})
    assert status == 200


async def test_names_are_unique_until_archived(rig: Rig) -> None:
    key = await rig.key()
    _, made, _ = await rig.ask("POST", C, key, body=s3("one"))
    status, reply, _ = await rig.ask("POST", C, key, body=s3("one"))
    assert status == 409 and reply["error"]["type"] == "conflict"
    assert (await rig.ask("POST", C, await rig.key(), body=s3("one")))[0] == 200
    status, reply, _ = await rig.ask("DELETE", f"{C}/one", key)
    assert status == 200 and reply["status"] == "ARCHIVED"
    assert (await rig.ask("DELETE", f"{C}/{made['connection_id']}", key))[0] == 200
    assert (await rig.ask("GET", f"{C}/one", key))[0] == 404
    status, reply, _ = await rig.ask("GET", f"{C}/{made['connection_id']}", key)
    assert status == 200 and reply["status"] == "ARCHIVED" and reply["is_active"] is False
    assert (await rig.ask("PATCH", f"{C}/{made['connection_id']}", key, body={"name": "x"}))[0] == 409
    assert (await rig.ask("POST", C, key, body=s3("one")))[0] == 200


async def test_a_name_with_a_slash_is_reached_by_its_address(rig: Rig) -> None:
    key = await rig.key()
    name = "a/b {c} 100% é"
    await rig.ask("POST", C, key, body=s3(name))
    status, reply, _ = await rig.ask("GET", f"{C}/a%2Fb%20%7Bc%7D%20100%25%20%C3%A9", key)
    assert status == 200 and reply["name"] == name


async def test_patch_keeps_what_is_absent_and_clears_what_is_null(rig: Rig) -> None:
    key = await rig.key()
    _, made, _ = await rig.ask("POST", C, key, body={**s3(), "description": "d", "metadata": {"a": 1}})
    address = f"{C}/{made['connection_id']}"
    _, reply, _ = await rig.ask("PATCH", address, key, body={"name": "new"})
    assert (reply["name"], reply["description"], reply["metadata"]) == ("new", "d", {"a": 1})
    _, reply, _ = await rig.ask("PATCH", address, key, body={"description": "", "metadata": None})
    assert reply["description"] is None and reply["metadata"] is None


async def test_read_modify_write_keeps_the_secret(rig: Rig) -> None:
    key = await rig.key()
    _, made, _ = await rig.ask("POST", C, key, body=s3())
    address = f"{C}/{made['connection_id']}"
    config = {**made["provider_config"], "region": "eu-central-1"}
    status, reply, _ = await rig.ask("PATCH", address, key, body={"provider_config": config})
    assert status == 200 and reply["provider_config"]["region"] == "eu-central-1"
    await rig.ask("POST", f"{address}/test", key)
    assert rig.check.seen[-1]["credentials"] == KEYS
    changed = {"credentials": {"secret_access_key": "other"}}
    await rig.ask("PATCH", address, key, body={"provider_config": changed})
    await rig.ask("POST", f"{address}/test", key)
    assert rig.check.seen[-1]["credentials"] == {**KEYS, "secret_access_key": "other"}
    role = {"type": "iam_role", "role_arn": "arn:aws:iam::123456789012:role/r"}
    status, reply, _ = await rig.ask("PATCH", address, key, body={"provider_config": {"credentials": role}})
    assert status == 422 and "external_id" in reply["error"]["message"]
    assert "secret_access_key" not in str(reply) or "s3cr3t" not in str(reply)


async def test_test_reports_and_keeps_the_books(rig: Rig) -> None:
    key = await rig.key()
    _, made, _ = await rig.ask("POST", C, key, body=s3())
    address = f"{C}/{made['connection_id']}"
    rig.check.fault = Denied("no" * 900, provider="s3", status=403)
    for _ in range(5):
        status, reply, _ = await rig.ask("POST", f"{address}/test", key)
        assert status == 200 and reply["success"] is False
    _, reply, _ = await rig.ask("GET", address, key)
    assert (reply["status"], reply["is_active"], reply["consecutive_failures"]) == ("FAILED", False, 5)
    assert len(reply["last_error"]) == 1000
    assert (await rig.ask("PATCH", address, key, body={"is_active": True}))[0] == 409
    rig.check.fault = None
    assert (await rig.ask("POST", f"{address}/test", key))[1]["success"] is True
    _, reply, _ = await rig.ask("GET", address, key)
    assert (reply["status"], reply["consecutive_failures"], reply["last_error"]) == ("ACTIVE", 0, None)
    _, reply, _ = await rig.ask("PATCH", address, key, body={"status": "SUSPENDED"})
    assert reply["is_active"] is False


async def test_list_pages_and_filters(rig: Rig) -> None:
    key = await rig.key()
    for number in range(5):
        await rig.ask("POST", C, key, body=s3(f"c{number}"))
    _, reply, _ = await rig.ask("POST", f"{C}/list?limit=2&include_total=true", key, body=b"")
    assert [one["name"] for one in reply["results"]] == ["c4", "c3"] and reply["total"] == 5
    assert reply["pagination"]["total_pages"] == 3 and isinstance(reply["pagination"]["next_page"], str)
    cursor = reply["pagination"]["next_cursor"]
    _, reply, _ = await rig.ask("POST", f"{C}/list?limit=2&cursor={cursor}", key)
    assert [one["name"] for one in reply["results"]] == ["c2", "c1"]
    _, reply, _ = await rig.ask("POST", f"{C}/list?limit=2&page=3", key)
    assert [one["name"] for one in reply["results"]] == ["c0"] and reply["pagination"]["next_cursor"] is None
    _, reply, _ = await rig.ask("POST", f"{C}/list", key, body={"is_active": False})
    assert reply["results"] == [] and reply["total"] == 0
    assert (await rig.ask("POST", f"{C}/list?cursor=garbage", key))[0] == 422
    assert (await rig.ask("POST", f"{C}/list?limit=0", key))[0] == 422


async def test_bodies_are_strict_and_secrets_are_not_repeated(rig: Rig) -> None:
    key = await rig.key()
    status, reply, _ = await rig.ask("POST", C, key, body={**s3(), "colour": 1})
    assert status == 422 and reply["error"]["code"] == "extra_forbidden"
    assert "provider_config" in reply["error"]["details"]["errors"][0]["accepted"]
    bad = {"credentials": {"type": "access_key", "access_key_id": 5, "secret_access_key": "planted-secret"}}
    status, reply, _ = await rig.ask("POST", C, key, body={**s3(), "provider_config": bad})
    assert status == 422 and "planted-secret" not in str(reply)
    status, reply, _ = await rig.ask("POST", C, key, body=b"{")
    assert status == 400 and reply["error"]["type"] == "bad_request"
    long_name = {**s3("x" * 101)}
    assert (await rig.ask("POST", C, key, body=long_name))[0] == 422
    unfit = {"name": "n", "provider_type": "dropbox", "provider_config": {}}
    assert (await rig.ask("POST", C, key, body=unfit))[0] == 422
    status, reply, _ = await rig.ask("PATCH", f"{C}/none", key, body={})
    assert status == 404


async def test_link_local_endpoints_are_refused(rig: Rig) -> None:
    key = await rig.key()
    status, reply, _ = await rig.ask("POST", C, key, body=s3(endpoint_url="http://169.254.169.254"))
    assert status == 422 and reply["error"]["code"] == "endpoint_refused"
    assert rig.check.seen == []


async def test_every_provider_of_the_contract_can_be_described(rig: Rig) -> None:
    key = await rig.key()
    configs = {
        "snowflake": {
            "account": "a", "warehouse": "w", "schema": "S",
            "credentials": {"type": "username_password", "username": "u", "password": "p"},
        },
        "google_drive": {
            "credentials": {"type": "oauth", "client_id": "i", "client_secret": "s", "refresh_token": "r"}
        },
        "sharepoint": {
            "credentials": {"type": "client_credentials", "tenant_id": "t", "client_id": "i", "client_secret": "s"}
        },
        "tigris": {"credentials": {"type": "access_key", "access_key_id": "a", "secret_access_key": "s"}},
    }  # fmt: skip
    for kind, config in configs.items():
        body = {"name": kind, "provider_type": kind, "provider_config": config, "test_before_save": False}
        status, reply, _ = await rig.ask("POST", C, key, body=body)
        if kind not in provider_types():
            assert status == 422 and reply["error"]["code"] == "provider_not_served"
            continue
        assert status == 200, reply
        assert reply["provider_config"]["provider_type"] == kind
        if kind == "snowflake":
            assert reply["provider_config"]["schema"] == "S" and reply["provider_config"]["fetch_size"] == 1000


async def test_every_transition_of_the_lifecycle(rig: Rig) -> None:
    key = await rig.key()
    _, made, _ = await rig.ask("POST", C, key, body=s3())
    address = f"{C}/{made['connection_id']}"
    wanted = {
        ("ACTIVE", "SUSPENDED"): 200, ("SUSPENDED", "ACTIVE"): 200, ("FAILED", "ACTIVE"): 409,
        ("FAILED", "SUSPENDED"): 200, ("ACTIVE", "FAILED"): 422, ("ACTIVE", "ARCHIVED"): 422,
        ("SUSPENDED", "DRAFT"): 422, ("ARCHIVED", "ACTIVE"): 409, ("ARCHIVED", "SUSPENDED"): 409,
    }  # fmt: skip
    for (before, after), expected in wanted.items():
        await rig.database["connections"].update_one(
            {"_id": made["connection_id"]}, {"$set": {"status": before, "is_active": before == "ACTIVE"}}
        )
        status, _, _ = await rig.ask("PATCH", address, key, body={"status": after})
        assert status == expected, (before, after)
        _, reply, _ = await rig.ask("GET", address, key)
        assert reply["status"] == (after if expected == 200 else before)
        assert reply["is_active"] is (reply["status"] == "ACTIVE")


async def test_a_connection_in_use_is_deleted_by_force_only(rig: Rig) -> None:
    key = await rig.key()
    _, made, _ = await rig.ask("POST", C, key, body=s3())
    fields = {"connection_id": made["connection_id"], "source_path": "s", "source_type": "s3", "paused": True}
    scope = Scope(key.internal_id, key.namespace_id)
    sync = await rig.services.syncs.create(scope, "bkt_x", fields, user_id="usr_x")
    await rig.services.syncs.configure(scope, sync["_id"], {"paused": True, "is_active": False})
    status, reply, _ = await rig.ask("DELETE", f"{C}/store", key)
    assert status == 409 and reply["error"]["details"]["sync_config_ids"] == [sync["_id"]]
    status, reply, _ = await rig.ask("DELETE", f"{C}/store?force=true", key)
    assert status == 200 and reply["status"] == "ARCHIVED" and reply["paused_sync_config_ids"] == sync["_id"]


async def test_roles_and_tenants(rig: Rig) -> None:
    key = await rig.key()
    reader, writer = await rig.key(Role.READ, of=key), await rig.key(Role.WRITE, of=key)
    _, made, _ = await rig.ask("POST", C, key, body=s3())
    address = f"{C}/{made['connection_id']}"
    for weak in (reader, writer):
        assert (await rig.ask("POST", C, weak, body=s3("other")))[0] == 403
        assert (await rig.ask("DELETE", address, weak))[0] == 403
        assert (await rig.ask("GET", address, weak))[0] == 200
    assert (await rig.ask("POST", f"{address}/test", reader))[0] == 403
    assert (await rig.ask("POST", f"{address}/test", writer))[0] == 200
    foreign = await rig.key()
    for method in ("GET", "PATCH", "DELETE"):
        body: dict[str, Any] | None = {} if method == "PATCH" else None
        of_others = await rig.ask(method, address, foreign, body=body)
        unknown = await rig.ask(method, f"{C}/conn_000000000000000", foreign, body=body)
        assert of_others[0] == unknown[0] == 404
    status, _, headers = await rig.ask("GET", address)
    assert status == 401 and headers["X-Request-Id"].startswith("req_")
    audit = await rig.services.audit.entries(key.internal_id)
    # Each key's first use is noted, and its next ones not so soon again.
    assert [entry["action"] for entry in audit if entry["resource"] == "connection"] == ["test", "create"]
    used = [entry["id"] for entry in audit if entry["action"] == "use"]
    assert len(used) == len(set(used)) == 3 and all(one.startswith("key_") for one in used)
