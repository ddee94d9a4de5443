"""Objects made by hand: fields, contents in every form, unique keys, idempotency, races, where contents come from."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator
from typing import Any

import mixpeek
import pytest
import pytest_asyncio
from aiohttp import web
from temporalio.client import Client

from deploy.local.ports import Ports
from models.settings import Settings
from tests.api_rig import Key, Rig, RunningRig, call

PROPERTIES: dict[str, Any] = {
    "text": {"type": "text"}, "image": {"type": "image"}, "pdf": {"type": "pdf"}, "number": {"type": "number"},
    "sku": {"type": "string"}, "price": {"type": "number", "default": 1.5},
    "color": {"type": "string", "enum": ["red", "blue"]},
}  # fmt: skip
PNG = b"\x89PNG\r\n\x1a\n123"
OBJECTS = "/v1/buckets/docs/objects"


@pytest_asyncio.fixture(loop_scope="session")
async def rig(settings: Settings, temporal_client: Client) -> AsyncIterator[Rig]:
    async with RunningRig(settings, temporal_client) as running:
        yield running


async def bucket(rig: Rig, properties: Any = None, **more: Any) -> Key:
    key = await rig.key()
    schema = {"properties": PROPERTIES if properties is None else properties}
    body = {"bucket_name": "docs", "bucket_schema": schema, **more}
    status, reply, _ = await rig.ask("POST", "/v1/buckets", key, body=body)
    assert status == 200, reply
    return key


def encoded(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


async def contents(rig: Rig, key: Key, object_id: str) -> dict[str, bytes]:
    _, reply, _ = await rig.ask("GET", f"{OBJECTS}/{object_id}?return_presigned_urls=true", key)
    found = {}
    for blob in reply["blobs"]:
        async with rig.session.get(blob["presigned_url"]) as response:
            found[blob["property"]] = await response.read()
            assert response.status == 200
    return found


async def totals(rig: Rig, key: Key) -> tuple[int, int]:
    _, reply, _ = await rig.ask("GET", "/v1/buckets/docs", key)
    return reply["object_count"], reply["total_size_bytes"]


async def test_every_form_of_content_is_kept_with_its_hash_and_size(rig: Rig) -> None:
    key = await bucket(rig)
    blobs = [
        {"property": "text", "type": "text", "data": "naïve text", "metadata": {"lang": "en", "sku": "blob"}},
        {
            "property": "image", "type": "image", "key_prefix": "a/b",
            "checksum": f"md5:{hashlib.md5(PNG).hexdigest()}",
            "data": {"base64": encoded(PNG), "mime_type": "image/png", "filename": "p.png"},
        },
        {"property": "pdf", "type": "pdf", "data": encoded(b"%PDF-1.7")},
        {"property": "number", "type": "number", "data": 12},
    ]  # fmt: skip
    edge = {"type": "part_of", "target_object_id": "obj_x", "weight": 2}
    body = {"blobs": blobs, "sku": "A1", "color": "red", "nested": {"a": [1, None]}, "key_prefix": "x", "edges": [edge]}
    status, made, _ = await rig.ask("POST", OBJECTS, key, body=body)
    assert status == 200, made
    assert (made["sku"], made["lang"], made["price"], made["nested"]) == ("A1", "en", 1.5, {"a": [1, None]})
    assert made["status"] == "PENDING" and made["key_prefix"] == "x" and made["edges"][0]["weight"] == 2
    by_name = {blob["property"]: blob for blob in made["blobs"]}
    assert by_name["image"]["details"] == {
        "filename": "p.png", "size_bytes": len(PNG), "mime_type": "image/png",
        "hash": f"sha256:{hashlib.sha256(PNG).hexdigest()}",
    }  # fmt: skip
    assert by_name["text"]["details"]["mime_type"] == "text/plain" and by_name["image"]["key_prefix"] == "a/b"
    assert by_name["pdf"]["details"]["mime_type"] == "application/pdf"
    raw = {"text": "naïve text".encode(), "image": PNG, "pdf": b"%PDF-1.7", "number": b"12"}
    assert await contents(rig, key, made["object_id"]) == raw
    assert await totals(rig, key) == (1, sum(map(len, raw.values())))
    more = {
        "data:text/csv,a%2Cb": (b"a,b", "text/csv"),
        f"data:text/plain;base64,{encoded(b'hello')}": (b"hello", "text/plain"),
    }
    for data, (content, mime) in more.items():
        body = {"blobs": [{"property": "text", "type": "text", "data": data}]}
        _, made, _ = await rig.ask("POST", OBJECTS, key, body=body)
        assert made["blobs"][0]["details"]["mime_type"] == mime
        assert made["hash"] == f"sha256:{hashlib.sha256(content).hexdigest()}"
        assert await contents(rig, key, made["object_id"]) == {"text": content}


async def test_what_does_not_fit_is_refused_by_name_and_leaves_nothing(rig: Rig) -> None:
    key = await bucket(rig, {**PROPERTIES, "text": {"type": "text", "required": True}})
    text = {"property": "text", "type": "text", "data": "x"}
    bad: list[tuple[dict[str, Any], str]] = [
        ({}, "text is required"),
        ({"blobs": [text], "color": "green"}, "color"),
        ({"blobs": [text], "price": "cheap"}, "price"),
        ({"blobs": [text], "status": "DONE"}, "status"),
        ({"blobs": [text], "auto_process": True}, "query parameter"),
        ({"blobs": [text], "a.b": 1}, "a.b"),
        ({"blobs": [text], "$where": 1}, "$where"),
        ({"blobs": [text], "text": "twice"}, "as a field and as a blob"),
        ({"blobs": [text], "canonicalize_source": False}, "blob store"),
        ({"blobs": [{**text, "property": "other"}]}, "no 'other'"),
        ({"blobs": [{**text, "type": "image"}]}, "text is text"),
        ({"blobs": [{**text, "data": None}]}, "data is missing"),
        ({"blobs": [{**text, "data": None, "upload_id": "upl_1"}]}, "uploads"),
        ({"blobs": [{**text, "checksum": "0" * 64}]}, "the content has sha256"),
        ({"blobs": [{**text, "checksum": "crc:1"}]}, "algorithm:hex"),
        ({"blobs": [{**text, "data": encoded(b"a text that nobody wanted encoded")}]}, "text in base64"),
        ({"blobs": [{**text, "data": "s3://bucket/key"}]}, "sync"),
        ({"blobs": [{**text, "data": "file:///etc/passwd"}]}, "http"),
        ({"blobs": [{**text, "data": {"url": "http://u:p@example.com/"}}]}, "password"),
        ({"blobs": [{**text, "data": {"base64": "%", "mime": "x"}}]}, "accepted are"),
        ({"blobs": [text, {"property": "image", "type": "image", "data": "not base64!"}]}, "base64"),
        ({"blobs": [text, {"property": "image", "type": "image", "data": 1}]}, "address or base64"),
        ({"blobs": [text, {"property": "image", "type": "image", "data": "data:text/html,<p>"}]}, "text/html"),
        ({"blobs": [text, {"property": "number", "type": "number", "data": "many"}]}, "number"),
    ]
    for body, hint in bad:
        status, reply, _ = await rig.ask("POST", OBJECTS, key, body=body)
        assert status == 422 and hint in reply["error"]["message"], (body, reply)
    assert await totals(rig, key) == (0, 0) and await rig.database["objects"].count_documents({}) == 0
    # A schema that declares such a field takes it.
    key = await bucket(rig, {"auto_process": {"type": "boolean"}})
    assert (await rig.ask("POST", OBJECTS, key, body={"auto_process": True}))[1]["auto_process"] is True


async def test_unique_keys_by_policy_and_after_a_removal(rig: Rig) -> None:
    key = await bucket(rig, unique_key={"fields": ["sku", "price"]})

    async def send(policy: str, **body: Any) -> tuple[int, Any]:
        status, reply, _ = await rig.ask("POST", f"{OBJECTS}?policy={policy}" if policy else OBJECTS, key, body=body)
        return status, reply

    assert (await send("", sku="A"))[1]["error"]["code"] == "policy_missing"
    assert (await send("sometimes", sku="A"))[0] == 422
    assert (await send("insert", price=1))[0] == 422
    assert (await send("update", sku="A"))[0] == 404
    status, first = await send("insert", sku="A", color="red", note="kept")
    assert status == 200
    status, reply = await send("insert", sku="A", price=1.5)
    assert status == 409 and reply["error"]["details"]["object_id"] == first["object_id"]
    blob = {"property": "text", "type": "text", "data": "12345"}
    await rig.database["objects"].update_one(
        {"_id": first["object_id"]}, {"$set": {"status": "COMPLETED", "batch_id": "btch_x"}}
    )
    status, changed = await send("update", sku="A", color=None, blobs=[blob], extra=1)
    assert status == 200 and changed["object_id"] == first["object_id"] and changed["created_at"] == first["created_at"]
    assert (changed["note"], changed["extra"], changed["status"]) == ("kept", 1, "PENDING") and "color" not in changed
    assert await totals(rig, key) == (1, 5)
    again = await send("upsert", sku="A", extra=1, blobs=[blob])
    assert again[1] == changed
    assert (await send("upsert", sku="A", price=2))[1]["object_id"] != first["object_id"]
    assert (await send("insert", sku="A", price=2.0))[0] == 409
    assert await totals(rig, key) == (2, 5)
    # Removed, it leaves a tombstone under its id, which gives way.
    assert (await rig.ask("DELETE", f"{OBJECTS}/{first['object_id']}", key))[0] == 204
    assert (await send("update", sku="A"))[0] == 404
    status, back = await send("insert", sku="A")
    assert status == 200 and back["object_id"] == first["object_id"] and "note" not in back
    assert await totals(rig, key) == (2, 0)


async def test_racing_writers_make_one_object_and_lose_no_field(rig: Rig) -> None:
    key = await bucket(rig, unique_key={"fields": ["sku"], "default_policy": "upsert"})
    bodies = [{"sku": "one", f"f{number}": number} for number in range(8)]
    replies = await asyncio.gather(*(rig.ask("POST", OBJECTS, key, body=body) for body in bodies))
    statuses = [status for status, _, _ in replies]
    assert set(statuses) <= {200, 409} and statuses.count(200) >= 5
    _, found, _ = await rig.ask("GET", f"{OBJECTS}/{next(r['object_id'] for s, r, _ in replies if s == 200)}", key)
    assert {f"f{n}" for n, status in enumerate(statuses) if status == 200} <= set(found)
    inserts = await asyncio.gather(
        *(rig.ask("POST", f"{OBJECTS}?policy=insert", key, body={"sku": "two"}) for _ in range(8))
    )
    assert sorted(status for status, _, _ in inserts) == [200, *[409] * 7]
    keyed = await asyncio.gather(
        *(rig.ask("POST", OBJECTS, key, body={"sku": "three", "idempotency_key": "k"}) for _ in range(8))
    )
    assert {(status, reply["object_id"]) for status, reply, _ in keyed} == {(200, keyed[0][1]["object_id"])}
    assert (await totals(rig, key))[0] == 3 == await rig.database["objects"].count_documents({})
    many = await asyncio.gather(*(rig.ask("POST", OBJECTS, key, body={"sku": f"n{n}"}) for n in range(40)))
    assert {status for status, _, _ in many} == {200} and (await totals(rig, key))[0] == 43


async def test_an_idempotency_key_finds_what_it_made(rig: Rig) -> None:
    key = await bucket(rig)
    body = {"idempotency_key": "k1", "sku": "A", "blobs": [{"property": "text", "type": "text", "data": "abc"}]}
    _, first, _ = await rig.ask("POST", OBJECTS, key, body=body)
    _, again, _ = await rig.ask("POST", OBJECTS, key, body={**body, "sku": "B", "blobs": None})
    assert again == first and "idempotency_key" not in first
    other = await bucket(rig)
    assert (await rig.ask("POST", OBJECTS, other, body=body))[1]["object_id"] != first["object_id"]
    _, twin, _ = await rig.ask("POST", OBJECTS, key, body={**body, "idempotency_key": "k2", "skip_duplicates": True})
    assert twin["blobs"] == [] and "holds this content already" in twin["warnings"][0]["reason"]
    await rig.database["buckets"].update_many({}, {"$set": {"status": "DEACTIVATED"}})
    status, reply, _ = await rig.ask("POST", OBJECTS, key, body=body)
    assert status == 409 and reply["error"]["code"] == "bucket_deleting"


@pytest_asyncio.fixture(loop_scope="session")
async def source() -> AsyncIterator[str]:
    """A web server with contents, detours and faults."""

    async def answer(request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        if name.startswith("hop"):
            left = int(name[3:])
            raise web.HTTPFound(f"hop{left - 1}" if left else "/real%20name.txt?x=%26")
        if name == "away":
            raise web.HTTPFound("http://169.254.169.254/latest/meta-data/")
        if name == "file":
            raise web.HTTPFound("file:///etc/passwd")
        if name == "missing":
            raise web.HTTPNotFound
        if name == "zip":
            return web.Response(body=b"x", headers={"Content-Encoding": "br"})
        if name in {"big", "cut"}:
            response = web.StreamResponse()
            response.content_length = 3 * 1024 * 1024 if name == "big" else 100
            await response.prepare(request)
            await response.write(b"x" * (3 * 1024 * 1024 if name == "big" else 50))
            if name == "cut" and request.transport:
                request.transport.close()
            return response
        if name == "photo":
            disposition = {"Content-Disposition": 'attachment; filename="p.png"'}
            return web.Response(body=PNG, content_type="image/png", headers=disposition)
        return web.Response(text=f"{name} {request.query_string}")

    app = web.Application()
    app.router.add_get("/{name}", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    port = Ports.pick(metrics=0).api
    await web.TCPSite(runner, "127.0.0.1", port).start()
    yield f"http://127.0.0.1:{port}"
    await runner.cleanup()


async def test_addresses_are_fetched_through_redirects_and_within_limits(
    settings: Settings, temporal_client: Client, source: str
) -> None:
    settings = settings.model_copy(update={"api_fetch_max_bytes": 2 * 1024 * 1024})
    async with RunningRig(settings, temporal_client) as rig:
        key = await bucket(rig)

        async def send(name: str, kind: str = "text") -> tuple[int, Any]:
            body = {"blobs": [{"property": kind, "type": kind, "data": f"{source}/{name}"}]}
            status, reply, _ = await rig.ask("POST", OBJECTS, key, body=body)
            return status, reply

        status, made = await send("hop5")
        assert status == 422 and made["error"]["details"]["reason"] == "redirects"
        status, made = await send("hop4")
        assert status == 200, made
        assert await contents(rig, key, made["object_id"]) == {"text": b"real name.txt x=%26"}
        assert made["blobs"][0]["details"]["filename"] == "real name.txt"
        _, made = await send("photo", "image")
        assert made["blobs"][0]["details"]["filename"] == "p.png" and made["blobs"][0]["type"] == "image"
        reasons = {"away": "refused", "file": "address", "missing": "status", "zip": "encoding", "cut": "cut"}
        reasons["big"] = "too_large"
        for name, reason in reasons.items():
            status, reply = await send(name)
            assert status == 422 and reply["error"]["details"]["reason"] == reason, reply
        status, reply = await send("page", "image")
        assert status == 422 and reply["error"]["code"] == "type_mismatch"
        assert (await totals(rig, key))[0] == 2
    async with RunningRig(settings.model_copy(update={"allow_private_endpoints": False}), temporal_client) as rig:
        key = await bucket(rig)
        status, reply = (await rig.ask("POST", OBJECTS, key, body={
            "blobs": [{"property": "text", "type": "text", "data": f"{source}/page"}]
        }))[:2]  # fmt: skip
        assert status == 422 and reply["error"]["details"]["reason"] == "refused"


async def test_the_public_client_makes_objects_and_has_them_processed(rig: Rig) -> None:
    key = await bucket(rig)
    api = mixpeek.BucketObjectsApi(rig.client(key))
    blob = mixpeek.CreateBlobRequest(var_property="text", type="text", data=mixpeek.Data("the text"))
    request = mixpeek.CreateObjectRequest(blobs=[blob])
    request.additional_properties = {"sku": "A1"}
    made = await call(api.create_object_buckets, "docs", request, auto_process=True)
    assert made.additional_properties["sku"] == "A1" and made.blobs[0].details.size_bytes == 8
    (batch,) = await rig.database["batches"].find().to_list()
    assert batch["object_ids"] == [made.object_id] and batch["status"] == "PENDING"
    hand_written = mixpeek.Mixpeek(key.key, namespace=key.namespace_id, base_url=f"{rig.url}/v1")
    sent = await call(
        hand_written.buckets.upload, "docs", data="a note", blob_property="text", metadata={"by": "me"}, sku="B2"
    )
    assert sent["sku"] == "B2" and sent["metadata"] == {"by": "me"}
    wrong = mixpeek.CreateBlobRequest(var_property="image", type="text", data=mixpeek.Data("x"))
    with pytest.raises(mixpeek.exceptions.UnprocessableEntityException):
        await call(api.create_object_buckets, "docs", mixpeek.CreateObjectRequest(blobs=[wrong]))
