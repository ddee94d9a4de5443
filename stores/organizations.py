"""Organizations, their namespaces and their API keys. Of a key only its SHA-256 is kept."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from pymongo.errors import DuplicateKeyError

from models.ids import new_id
from models.scope import Role
from stores.audit import AuditStore
from stores.database import Database, Document
from stores.failures import DuplicateError
from stores.remembered import Remembered

__all__ = ["Caller", "OrganizationStore"]

_KEY_PREFIX = "tm_"
_SHOWN = 10
# Long enough that a busy key costs no write per request, short enough to answer "is this key in use?".
_USE_RESOLUTION = timedelta(minutes=5)
# Every request asks who is calling and where. A key revoked by another process works for this long at most;
# namespaces never go and never change their name.
_CALLER_SECONDS = 1.0
_NAMESPACE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is asking: the owner of a valid key."""

    internal_id: str
    role: Role
    user_id: str
    key_id: str


def hash_key(key: str) -> str:
    """What is stored of a key. It is 256 random bits, so a plain hash cannot be searched."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


class OrganizationStore:
    """Who there is."""

    def __init__(self, database: Database) -> None:
        self._organizations = database["organizations"]
        self._namespaces = database["namespaces"]
        self._keys = database["api_keys"]
        self._audit = AuditStore(database)
        self._callers = Remembered[Caller](_CALLER_SECONDS)
        self._known_namespaces = Remembered[Document](_NAMESPACE_SECONDS)

    async def create_organization(self, name: str) -> Document:
        """A new organization."""
        document: Document = {"_id": new_id("int"), "name": name, "created_at": datetime.now(UTC)}
        await self._organizations.insert_one(document)
        return document

    async def organization(self, identifier: str) -> Document | None:
        """By id, or by name if it is the only one of that name."""
        found = await self._organizations.find({"$or": [{"_id": identifier}, {"name": identifier}]}, limit=2).to_list()
        exact = [document for document in found if document["_id"] == identifier]
        return exact[0] if exact else found[0] if len(found) == 1 else None

    async def create_namespace(self, internal_id: str, name: str) -> Document:
        """A new namespace. Raises DuplicateError."""
        document: Document = {
            "_id": new_id("ns"), "internal_id": internal_id, "name": name, "created_at": datetime.now(UTC)
        }  # fmt: skip
        try:
            await self._namespaces.insert_one(document)
        except DuplicateKeyError as error:
            raise DuplicateError(f"the organization has a namespace {name!r} already") from error
        return document

    async def namespace(self, internal_id: str, identifier: str) -> Document | None:
        """A namespace of this organization by id or name."""
        found = self._known_namespaces.get((internal_id, identifier))
        if found is None:
            found = await self._namespaces.find_one(
                {"internal_id": internal_id, "$or": [{"_id": identifier}, {"name": identifier}]}
            )
            if found is not None:
                self._known_namespaces.put((internal_id, identifier), found)
        return found

    async def namespaces(self, internal_id: str) -> list[Document]:
        """All namespaces of an organization."""
        return await self._namespaces.find({"internal_id": internal_id}, sort=[("name", 1)]).to_list()

    async def create_key(self, internal_id: str, role: Role, name: str) -> tuple[str, Document]:
        """A new key in clear, to be shown once, and its document."""
        key = _KEY_PREFIX + secrets.token_urlsafe(32)
        document: Document = {
            "_id": new_id("key"),
            "key_hash": hash_key(key),
            "prefix": key[:_SHOWN],
            "internal_id": internal_id,
            "role": role.name,
            "name": name,
            "user_id": new_id("usr"),
            "created_at": datetime.now(UTC),
            "revoked_at": None,
            "last_used_at": None,
        }
        await self._keys.insert_one(document)
        return key, document

    async def revoke_key(self, identifier: str) -> Document | None:
        """Make a key (by its id) useless: at once in this process, within a second in others. None: there is none."""
        self._callers.clear()
        return await self._keys.find_one_and_update(
            {"_id": identifier},
            [{"$set": {"revoked_at": {"$ifNull": ["$revoked_at", datetime.now(UTC)]}}}],
            return_document=True,
        )

    async def keys(self, internal_id: str | None = None) -> list[Document]:
        """Keys of an organization, or all."""
        query: dict[str, Any] = {} if internal_id is None else {"internal_id": internal_id}
        return await self._keys.find(query, {"key_hash": 0}, sort=[("created_at", 1)]).to_list()

    async def _note_use(self, key: Document, now: datetime) -> None:
        """Once in a while; of requests at the same moment one notes it."""
        seen = {"_id": key["_id"], "last_used_at": key["last_used_at"]}
        noted = await self._keys.update_one(seen, {"$set": {"last_used_at": now}})
        if noted.modified_count:
            await self._audit.record(
                key["internal_id"], actor=key["user_id"], action="use", resource="api_key", resource_id=key["_id"]
            )

    async def authenticate(self, key: str) -> Caller | None:
        """The owner of a key that exists and is not revoked."""
        digest = hash_key(key)
        known = self._callers.get(digest)
        if known is not None:
            return known
        document = await self._keys.find_one({"key_hash": digest})
        if document is None or not hmac.compare_digest(document["key_hash"], digest) or document["revoked_at"]:
            return None
        now = datetime.now(UTC)
        if document["last_used_at"] is None or document["last_used_at"] + _USE_RESOLUTION < now:
            await self._note_use(document, now)
        caller = Caller(document["internal_id"], Role[document["role"]], document["user_id"], document["_id"])
        self._callers.put(digest, caller)
        return caller
