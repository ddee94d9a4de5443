"""Credentials at rest: client-side field level encryption, by explicit calls only.

Each organization has a data key of its own in `key_vault` (`keyAltNames` = its id); data keys are
wrapped by a master key that never reaches the database: a local 96-byte file, or AWS KMS. What is
stored of a credential is one ciphertext (BSON binary subtype 6) that names its data key.

Messages of errors raised here never carry what was to be encrypted or decrypted.
"""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bson import Binary
from bson.codec_options import CodecOptions
from bson.errors import BSONError
from pymongo import AsyncMongoClient, IndexModel
from pymongo.asynchronous.encryption import AsyncClientEncryption
from pymongo.encryption_shared import Algorithm
from pymongo.errors import AutoReconnect, DuplicateKeyError, EncryptionError

from models.settings import Settings
from stores.database import Document

__all__ = ["Vault", "VaultError"]

KEY_VAULT = "key_vault"
_LOCAL_KEY_BYTES = 96
_ALGORITHM = Algorithm.AEAD_AES_256_CBC_HMAC_SHA_512_Random
_CACHE_SECONDS = 60.0
"""A revoked data key stops working within this time; a busy sync decrypts once a minute, not once a chunk."""
_CACHE_ENTRIES = 256


class VaultError(Exception):
    """Credentials cannot be encrypted or decrypted: a wrong or missing master key, or damaged ciphertext."""


class Vault:
    """Made by `Vault.open` only."""

    def __init__(self, encryption: AsyncClientEncryption[Document], provider: str, master_key: Document | None) -> None:
        self._encryption = encryption
        self._provider = provider
        self._master_key = master_key
        # By digest, so that the cache itself names nothing.
        self._cache: OrderedDict[bytes, tuple[float, Document]] = OrderedDict()

    @classmethod
    async def open(cls, client: AsyncMongoClient[Document], settings: Settings) -> Vault:
        """Open the vault of the settings' database; makes the index that keeps data keys unique.

        Raises VaultError when the master key is missing or of the wrong length.
        """
        provider, kms, master_key = _kms(settings)
        collection = client[settings.mongodb_database][KEY_VAULT]
        await collection.create_indexes(
            [IndexModel("keyAltNames", unique=True, partialFilterExpression={"keyAltNames": {"$exists": True}})]
        )
        encryption: AsyncClientEncryption[Document] = AsyncClientEncryption(
            {provider: kms}, f"{settings.mongodb_database}.{KEY_VAULT}", client, CodecOptions(document_class=dict)
        )
        return cls(encryption, provider, master_key)

    async def encrypt(self, internal_id: str, credentials: Mapping[str, Any]) -> Binary:
        """Ciphertext under the organization's data key, which is made on first use. Never the same twice.

        Raises VaultError; ConnectionFailure when the database is away.
        """
        try:
            key_id = await self._data_key(internal_id)
            return await self._encryption.encrypt(dict(credentials), _ALGORITHM, key_id=key_id)
        except (EncryptionError, BSONError, ValueError, TypeError, OverflowError) as error:
            raise _safe("encrypt", error) from None

    async def decrypt(self, value: bytes) -> Document:
        """The credentials, as a dict of the caller's own.

        Raises VaultError; ConnectionFailure when the database is away.
        """
        digest = hashlib.sha256(value).digest()
        now = time.monotonic()
        expires, credentials = self._cache.get(digest, (0.0, {}))
        if expires > now:
            return dict(credentials)
        try:
            credentials = await self._encryption.decrypt(Binary(value, 6))
        except (EncryptionError, BSONError) as error:
            self._cache.pop(digest, None)
            raise _safe("decrypt", error) from None
        if not isinstance(credentials, dict):
            raise VaultError("decrypted credentials are not a document")
        self._cache[digest] = (now + _CACHE_SECONDS, credentials)
        self._cache.move_to_end(digest)
        while len(self._cache) > _CACHE_ENTRIES or next(iter(self._cache.values()))[0] <= now:
            self._cache.popitem(last=False)
        return dict(credentials)

    async def close(self) -> None:
        """Forget what was decrypted and free the keys. Idempotent."""
        self._cache.clear()
        await self._encryption.close()

    async def _data_key(self, internal_id: str) -> Binary:
        found = await self._encryption.get_key_by_alt_name(internal_id)
        if found is None:
            try:
                return await self._encryption.create_data_key(self._provider, self._master_key, [internal_id])
            except EncryptionError as error:
                if not isinstance(error.cause, DuplicateKeyError):
                    raise
            # Another process was faster, and the index allowed only one of us.
            found = await self._encryption.get_key_by_alt_name(internal_id)
        if found is None:
            raise VaultError(f"the data key of {internal_id} vanished while it was being made")
        return Binary(found["_id"], 4) if not isinstance(found["_id"], Binary) else found["_id"]


def _kms(settings: Settings) -> tuple[str, dict[str, Any], Document | None]:
    if settings.kms_provider == "local":
        return "local", {"key": _local_key(settings.kms_local_key_file)}, None
    arn = settings.kms_aws_key_arn
    if not arn:
        raise VaultError("TIDEMARK_KMS_PROVIDER is aws: TIDEMARK_KMS_AWS_KEY_ARN must name the master key")
    parts = arn.split(":")
    region = settings.kms_aws_region or (parts[3] if len(parts) > 3 else "")
    if not region:
        raise VaultError("TIDEMARK_KMS_AWS_REGION must be given: the key's ARN does not name a region")
    # An empty document: the driver asks the AWS default chain for credentials when it needs them.
    return "aws", {}, {"region": region, "key": arn}


def _local_key(path: Path) -> bytes:
    hint = "`make up` makes it once; credentials encrypted with a lost key cannot be recovered"
    try:
        key = path.read_bytes()
    except OSError as error:
        raise VaultError(f"master key file {path} (TIDEMARK_KMS_LOCAL_KEY_FILE): {error.strerror}. {hint}") from None
    if len(key) != _LOCAL_KEY_BYTES:
        raise VaultError(
            f"master key file {path} (TIDEMARK_KMS_LOCAL_KEY_FILE): {len(key)} bytes, not {_LOCAL_KEY_BYTES}. {hint}"
        )
    return key


def _safe(verb: str, error: Exception) -> Exception:
    """An error without anything of the value: libraries put the offending value into some of theirs."""
    cause = error.cause if isinstance(error, EncryptionError) else error
    if isinstance(cause, AutoReconnect):
        return cause
    return VaultError(
        f"cannot {verb} credentials ({type(cause).__name__}): is this the master key they were stored with?"
    )
