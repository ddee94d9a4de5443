"""Looking for secrets where none may be: histories, the raw database, the files of a stack."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Iterable, Iterator

import pymongo
from bson.raw_bson import RawBSONDocument
from temporalio.client import Client

from deploy.local.stack import Stack

__all__ = ["database", "files", "histories", "leaks", "needles"]


def needles(secrets: Iterable[str]) -> list[bytes]:
    """The secrets as they are, and as they would stand in base64 at any offset."""
    found = []
    for secret in secrets:
        raw = secret.encode()
        found.append(raw)
        found += [base64.b64encode(b"x" * pad + raw)[4:-4] for pad in range(3)]
        found.append(secret.replace("/", "%2F").replace("+", "%2B").encode())
    return found


def leaks(place: str, data: bytes, wanted: Iterable[bytes]) -> list[str]:
    """What was found in a place."""
    return [f"{place}: {needle!r}" for needle in wanted if needle in data]


async def histories(temporal: Client) -> AsyncIterator[tuple[str, bytes]]:
    """Every workflow's history and description: events as stored, and as JSON."""
    async for one in temporal.list_workflows(""):
        handle = temporal.get_workflow_handle(one.id, run_id=one.run_id)
        history = await handle.fetch_history()
        raw = b"".join(event.SerializeToString() for event in history.events)
        described = (await handle.describe()).raw_description.SerializeToString()
        yield one.id, raw + described + history.to_json().encode()


def database(uri: str) -> Iterator[tuple[str, bytes]]:
    """Every collection, the oplog among them."""
    with pymongo.MongoClient(uri, document_class=RawBSONDocument) as client:
        for name in client.list_database_names():
            for collection in client[name].list_collection_names():
                yield f"{name}.{collection}", b"".join(bytes(doc.raw) for doc in client[name][collection].find())


def files(stack: Stack) -> Iterator[tuple[str, bytes]]:
    """Logs, and the Temporal server's own database."""
    for file in (*sorted((stack.home / "log").glob("*.log")), *sorted(stack.home.glob("temporal.db*"))):
        yield file.name, file.read_bytes()
