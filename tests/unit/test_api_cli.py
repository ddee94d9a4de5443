"""The operator's commands, as a person types them."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pymongo
import pytest
from typer.testing import CliRunner

from api.cli import app
from deploy.local.paths import CHECKOUT
from models.settings import Settings
from stores.organizations import hash_key


@pytest.fixture
def run(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("TIDEMARK_MONGODB_URI", settings.mongodb_uri.get_secret_value())
    monkeypatch.setenv("TIDEMARK_MONGODB_DATABASE", settings.mongodb_database)
    monkeypatch.setenv("TIDEMARK_BLOB_STORE", settings.blob_store)

    def command(*arguments: str, fails: bool = False) -> str:
        done = CliRunner().invoke(app, arguments)
        assert (done.exit_code != 0) == fails, done.output
        assert done.exception is None or isinstance(done.exception, SystemExit)
        return done.output

    return command


def test_starter_py_is_the_way_in() -> None:
    done = subprocess.run([sys.executable, "starter.py", "--help"], cwd=CHECKOUT, capture_output=True, check=True)
    for word in (b"serve", b"database", b"organization", b"namespace", b"key", b"audit", b"blobs"):
        assert word in done.stdout


def test_an_operator_makes_organizations_namespaces_and_keys(run: Any, settings: Settings) -> None:
    assert "indexes" in run("database", "init")
    made = json.loads(run("organization", "create", "--name", "acme", "--json"))
    assert made["organization_id"].startswith("int_") and made["namespace_id"].startswith("ns_")
    assert "already" in run("namespace", "create", "--organization", "acme", "--name", "default", fails=True)
    assert "namespace_id: ns_" in run("namespace", "create", "--organization", "acme", "--name", "second")
    key = json.loads(run("key", "create", "--organization", made["organization_id"], "--role", "READ", "--json"))
    with pymongo.MongoClient[dict[str, Any]](settings.mongodb_uri.get_secret_value()) as client:
        stored = client[settings.mongodb_database]["api_keys"].find_one({"_id": key["key_id"]})
    assert stored is not None and stored["key_hash"] == hash_key(key["api_key"])
    assert key["api_key"] not in str(stored)
    listed = run("key", "list")
    assert key["key_id"] in listed and key["api_key"] not in listed and key["api_key"][:10] in listed
    assert "revoked_at" in run("key", "revoke", key["key_id"])
    assert "no key" in run("key", "revoke", "key_none", fails=True)
    assert "no organization" in run("key", "create", "--organization", "x", "--role", "READ", fails=True)
    actions = [entry["action"] for entry in json.loads(run("audit", "list", "--organization", "acme", "--json"))]
    assert actions == ["revoke", "create", "create", "create"]
    only = json.loads(run("audit", "list", "--action", "create", "--resource", "api_key", "--json"))
    assert [(entry["resource"], entry["id"]) for entry in only] == [("api_key", key["key_id"])]
    assert json.loads(run("audit", "list", "--resource", made["organization_id"], "--json"))[0]["action"] == "create"
    assert json.loads(run("blobs", "purge", "--json"))["erased"] == 0
