"""The vault on a real database: what is stored is ciphertext, keys are one per organization, errors tell nothing."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import pytest
import pytest_asyncio
from bson import Binary
from pymongo import AsyncMongoClient

from models.settings import Settings
from stores import vault as vault_module
from stores.database import Document, connect
from stores.vault import Vault, VaultError

SECRET = "planted-secret-7f3a"
CREDENTIALS = {"type": "access_key", "access_key_id": "planted-id-11", "secret_access_key": SECRET}


@pytest_asyncio.fixture
async def client(settings: Settings) -> AsyncIterator[AsyncMongoClient[Document]]:
    opened, _ = connect(settings)
    yield opened
    await opened.close()


@pytest_asyncio.fixture
async def vault(client: AsyncMongoClient[Document], settings: Settings) -> AsyncIterator[Vault]:
    opened = await Vault.open(client, settings)
    yield opened
    await opened.close()


async def test_what_goes_in_comes_out(vault: Vault) -> None:
    nested = {**CREDENTIALS, "extra": {"n": 1, "list": ["ü", None, True]}, "empty": ""}
    assert await vault.decrypt(await vault.encrypt("int_a", nested)) == nested


async def test_same_credentials_never_look_the_same(vault: Vault) -> None:
    first, second = await vault.encrypt("int_a", CREDENTIALS), await vault.encrypt("int_a", CREDENTIALS)
    assert first != second
    assert first.subtype == second.subtype == 6


async def test_no_plaintext_in_the_database(
    vault: Vault, client: AsyncMongoClient[Document], settings: Settings
) -> None:
    database = client[settings.mongodb_database]
    await database["connections"].insert_one(
        {"_id": "conn_a", "credentials": await vault.encrypt("int_a", CREDENTIALS)}
    )
    raw = b""
    for name in await database.list_collection_names():
        async for batch in database[name].find_raw_batches({}):
            raw += cast("bytes", batch)
    assert b"conn_a" in raw and b"keyMaterial" in raw
    for planted in (SECRET, "planted-id-11", "secret_access_key"):
        assert planted.encode() not in raw
    assert settings.kms_local_key_file.read_bytes() not in raw


async def test_an_organization_has_one_key_however_many_start_at_once(
    client: AsyncMongoClient[Document], settings: Settings
) -> None:
    vaults = [await Vault.open(client, settings) for _ in range(8)]
    values = await asyncio.gather(*(v.encrypt("int_race", CREDENTIALS) for v in vaults for _ in range(3)))
    assert await client[settings.mongodb_database]["key_vault"].count_documents({"keyAltNames": "int_race"}) == 1
    for v in vaults:
        assert await v.decrypt(values[0]) == CREDENTIALS
        await v.close()


async def test_organizations_have_different_keys(
    vault: Vault, client: AsyncMongoClient[Document], settings: Settings
) -> None:
    for organization in ("int_a", "int_b"):
        await vault.encrypt(organization, CREDENTIALS)
    assert await client[settings.mongodb_database]["key_vault"].count_documents({}) == 2
    await client[settings.mongodb_database]["key_vault"].delete_many({"keyAltNames": "int_a"})
    other = await Vault.open(client, settings)
    assert await other.decrypt(await other.encrypt("int_b", CREDENTIALS)) == CREDENTIALS
    await other.close()


async def test_another_process_reads_it(vault: Vault, settings: Settings) -> None:
    value = await vault.encrypt("int_a", CREDENTIALS)
    client, _ = connect(settings)
    other = await Vault.open(client, settings)
    # As it comes out of a document read elsewhere.
    assert await other.decrypt(Binary(bytes(value), 6)) == CREDENTIALS
    await other.close()
    await client.close()


async def test_wrong_master_key_tells_nothing(
    vault: Vault, client: AsyncMongoClient[Document], settings: Settings, tmp_path: Path
) -> None:
    value = await vault.encrypt("int_a", CREDENTIALS)
    wrong = tmp_path / "wrong.key"
    wrong.write_bytes(bytes(96))
    other = await Vault.open(client, settings.model_copy(update={"kms_local_key_file": wrong}))
    with pytest.raises(VaultError, match="master key") as caught:
        await other.decrypt(value)
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    await other.close()


@pytest.mark.parametrize(
    "damage", [lambda v: v[:-1] + bytes([v[-1] ^ 1]), lambda v: v[:20], lambda v: b"", lambda v: b"\1x"]
)
async def test_damaged_ciphertext_is_refused(vault: Vault, damage: object) -> None:
    value = bytes(await vault.encrypt("int_a", CREDENTIALS))
    with pytest.raises(VaultError):
        await vault.decrypt(damage(value))  # type: ignore[operator]


async def test_what_cannot_be_stored_is_not_repeated_in_the_error(vault: Vault) -> None:
    class Odd:
        def __repr__(self) -> str:
            return SECRET

    for odd in ({"secret": Odd()}, {"secret": f"\ud800{SECRET}"}, {SECRET: 2**80}):
        with pytest.raises(VaultError) as caught:
            await vault.encrypt("int_a", odd)
        assert SECRET not in "".join(traceback.format_exception(caught.value))


async def test_decrypted_credentials_are_kept_for_a_moment_and_not_shared(
    vault: Vault, client: AsyncMongoClient[Document], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vault_module, "_CACHE_ENTRIES", 3)
    values = [await vault.encrypt("int_a", {**CREDENTIALS, "n": n}) for n in range(5)]
    first = await vault.decrypt(values[0])
    first["secret_access_key"] = "changed by a careless caller"
    assert (await vault.decrypt(values[0]))["secret_access_key"] == SECRET
    for value in values:
        await vault.decrypt(value)
    assert len(vault._cache) == 3
    monkeypatch.setattr(vault_module, "_CACHE_SECONDS", -1.0)
    await vault.decrypt(values[0])
    await vault.decrypt(values[1])
    assert len(vault._cache) <= 3


@pytest.mark.parametrize(("content", "says"), [(None, "No such file"), (b"short", "5 bytes, not 96")])
async def test_a_bad_master_key_file_is_named(
    client: AsyncMongoClient[Document], settings: Settings, tmp_path: Path, content: bytes | None, says: str
) -> None:
    path = tmp_path / "bad.key"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(VaultError, match=says) as caught:
        await Vault.open(client, settings.model_copy(update={"kms_local_key_file": path}))
    assert "TIDEMARK_KMS_LOCAL_KEY_FILE" in str(caught.value)


async def test_aws_needs_a_key_and_a_region(client: AsyncMongoClient[Document], settings: Settings) -> None:
    aws = settings.model_copy(update={"kms_provider": "aws"})
    with pytest.raises(VaultError, match="TIDEMARK_KMS_AWS_KEY_ARN"):
        await Vault.open(client, aws)
    with pytest.raises(VaultError, match="TIDEMARK_KMS_AWS_REGION"):
        await Vault.open(client, aws.model_copy(update={"kms_aws_key_arn": "alias/mine"}))
    arn = "arn:aws:kms:eu-west-1:123456789012:key/12345678-1234-1234-1234-123456789012"
    vault = await Vault.open(client, aws.model_copy(update={"kms_aws_key_arn": arn}))
    assert vault._master_key == {"region": "eu-west-1", "key": arn}
    await vault.close()
