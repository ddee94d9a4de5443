"""Buckets, objects and their bytes over HTTP."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import mixpeek
import pytest
import pytest_asyncio
from temporalio.client import Client

from models.scope import Role
from models.settings import Settings
from stores.blobs import BlobStoreError
from tests.api_rig import Key, Rig, RunningRig, call

SCHEMA = {"properties": {"content": {"type": "text", "default": None, "required": False}}}


@pytest_asyncio.fixture(loop_scope="session")
async def rig(settings: Settings, temporal_client: Client) -> AsyncIterator[Rig]:
    async with RunningRig(settings, temporal_client) as running:
        yield running


async def bucket(rig: Rig, key: Key, name: str = "docs") -> str:
    status, made, _ = await rig.ask("POST", "/v1/buckets", key, body={"bucket_name": name, "bucket_schema": SCHEMA})
    assert status == 200, made
    return str(made["bucket_id"])


async def put(rig: Rig, key: Key, bucket_id: str, number: int, **fields: Any) -> str:
    """An object as the sync engine stores it, with a real blob."""
    body = f"content {number}".encode()
    (sha256,) = rig.services.blobs.put_many_small([body])
    await rig.services.blobs.sync()
    object_id = f"obj_{number:04}"
    now = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=number)
    await rig.database["objects"].insert_one(
        {
            "_id": object_id, "internal_id": key.internal_id, "namespace_id": key.namespace_id,
            "bucket_id": bucket_id, "sync_config_id": "sync_x", "connection_id": "conn_x", "provider_type": "s3",
            "source_object_id": f"b/f{number}.txt", "fingerprint": "a|b", "status": "PENDING",
            "created_at": now, "updated_at": now, "hash": f"sha256:{sha256}",
            "blobs": [{
                "blob_id": "blob_1", "property": "content", "type": "text", "sha256": sha256,
                "details": {"filename": f"f {number}é.txt", "size_bytes": len(body), "mime_type": "text/plain",
                            "hash": f"sha256:{sha256}"},
            }],
            "fields": fields, "source": {"path": f"f{number}.txt", "version": "1", "modified_at": now,
                                         "size_bytes": len(body)},
            "size_bytes": len(body), "fence": 1, "run_id": "job_x", "batch_id": None,
        }
    )  # fmt: skip
    await rig.database["buckets"].update_one(
        {"_id": bucket_id}, {"$inc": {"object_count": 1, "total_size_bytes": len(body)}}
    )
    return object_id


async def test_buckets_are_made_read_and_listed(rig: Rig) -> None:
    key = await rig.key()
    for number in range(12):
        await bucket(rig, key, f"b{number:02}")
    _, reply, _ = await rig.ask("GET", "/v1/buckets", key)
    assert len(reply["results"]) == 10 and reply["total_count"] == 12
    assert reply["results"][0]["bucket_name"] == "b11"
    _, reply, _ = await rig.ask("GET", "/v1/buckets?search=B0&limit=3&include_total=true", key)
    assert [one["bucket_name"] for one in reply["results"]] == ["b09", "b08", "b07"]
    assert reply["pagination"]["total"] == 10
    _, reply, _ = await rig.ask(
        "POST", "/v1/buckets/list?limit=1", key, body={"limit": 2, "sort": {"field": "bucket_name"}}
    )
    assert [one["bucket_name"] for one in reply["results"]] == ["b00", "b01"]
    after = reply["pagination"]["next_cursor"]
    _, reply, _ = await rig.ask(
        "POST", "/v1/buckets/list", key, body={"limit": 2, "sort": {"field": "bucket_name"}, "cursor": after}
    )
    assert [one["bucket_name"] for one in reply["results"]] == ["b02", "b03"]
    status, reply, _ = await rig.ask("GET", "/v1/buckets/b03", key)
    assert status == 200 and reply["bucket_schema"]["properties"]["content"]["type"] == "text"
    assert (await rig.ask("GET", f"/v1/buckets/{reply['bucket_id']}", key))[0] == 200
    body = {"bucket_name": "b03", "bucket_schema": SCHEMA}
    assert (await rig.ask("POST", "/v1/buckets", key, body=body))[0] == 409
    status, reply, _ = await rig.ask("POST", "/v1/buckets", key, body={**body, "ingest_filter": {"retriever_id": "r"}})
    assert status == 422 and "retrievers" in reply["error"]["message"]


async def test_an_unknown_namespace_lists_no_bucket_and_says_why(rig: Rig) -> None:
    key = await rig.key()
    await bucket(rig, key)
    status, reply, headers = await rig.ask("GET", "/v1/buckets", key, headers={"X-Namespace": "elsewhere"})
    assert status == 200 and reply["results"] == [] and headers["X-Namespace-Unresolved"] == "true"
    assert reply["warnings"][0]["reason"] == "unresolved"
    assert (await rig.ask("GET", "/v1/buckets", key, headers={"X-Namespace": "default"}))[1]["total_count"] == 1
    assert (await rig.ask("GET", "/v1/buckets/docs", key, headers={"X-Namespace": "elsewhere"}))[0] == 404
    assert (await rig.ask("GET", "/v1/buckets/docs", key, headers={"X-Namespace": ""}))[0] == 400


async def test_objects_carry_fields_at_their_root_and_urls_that_serve_the_bytes(rig: Rig) -> None:
    key = await rig.key()
    bucket_id = await bucket(rig, key)
    object_id = await put(rig, key, bucket_id, 1, topic="rivers", status="mine")
    address = f"/v1/buckets/docs/objects/{object_id}"
    _, reply, _ = await rig.ask("GET", address, key)
    assert reply["topic"] == "rivers" and reply["status"] == "PENDING" and "sha256" not in reply["blobs"][0]
    assert reply["blobs"][0]["presigned_url"] is None
    assert reply["source_details"][0]["source_id"] == "b/f1.txt"
    assert reply["source_details"][0]["source_path"] == "f1.txt"
    _, reply, _ = await rig.ask("GET", f"{address}?return_presigned_urls=true", key)
    url = reply["blobs"][0]["presigned_url"]
    assert url == reply["blobs"][0]["properties"]["presigned_url"] and url.startswith(rig.url)
    async with rig.session.get(url) as response:
        assert response.status == 200 and await response.read() == b"content 1"
        assert response.headers["Content-Type"] == "text/plain"
        assert "attachment" in response.headers["Content-Disposition"]
        assert "f%201%C3%A9.txt" in response.headers["Content-Disposition"]
        etag = response.headers["ETag"]
        assert etag == f'"{hashlib.sha256(b"content 1").hexdigest()}"'
    async with rig.session.head(url) as response:
        assert response.status == 200 and response.headers["Content-Length"] == "9"
    async with rig.session.get(url, headers={"If-None-Match": etag}) as response:
        assert response.status == 304


@pytest.mark.parametrize(
    ("asked", "status", "body"),
    [
        ("bytes=0-2", 206, b"con"),
        ("bytes=8-", 206, b"1"),
        ("bytes=-3", 206, b"t 1"),
        ("bytes=2-100", 206, b"ntent 1"),
        ("bytes=9-", 416, None),
        ("bytes=5-2", 200, b"content 1"),
        ("bytes=0-1,3-4", 200, b"content 1"),
        ("lines=1", 200, b"content 1"),
    ],
)
async def test_ranges(rig: Rig, asked: str, status: int, body: bytes | None) -> None:
    key = await rig.key()
    bucket_id = await bucket(rig, key)
    object_id = await put(rig, key, bucket_id, 1)
    _, reply, _ = await rig.ask("GET", f"/v1/buckets/docs/objects/{object_id}?return_presigned_urls=true", key)
    async with rig.session.get(reply["blobs"][0]["presigned_url"], headers={"Range": asked}) as response:
        assert response.status == status
        if body is not None:
            assert await response.read() == body
        if status == 206 and asked == "bytes=0-2":
            assert response.headers["Content-Range"] == "bytes 0-2/9"


async def test_a_blob_that_breaks_off_is_never_taken_for_whole(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    key = await rig.key()
    bucket_id = await bucket(rig, key)
    object_id = await put(rig, key, bucket_id, 1)
    _, reply, _ = await rig.ask("GET", f"/v1/buckets/docs/objects/{object_id}?return_presigned_urls=true", key)

    async def broken(*_: Any) -> AsyncIterator[bytes]:
        yield b"con"
        raise BlobStoreError("the disk is gone")

    monkeypatch.setattr(rig.services.blobs, "open", broken)
    with pytest.raises(aiohttp.ClientPayloadError):
        async with rig.session.get(reply["blobs"][0]["presigned_url"]) as response:
            await response.read()
    monkeypatch.undo()
    async with rig.session.get(reply["blobs"][0]["presigned_url"]) as response:
        assert await response.read() == b"content 1" and response.headers["X-Request-Id"]


async def test_an_altered_address_is_refused(rig: Rig) -> None:
    key = await rig.key()
    bucket_id = await bucket(rig, key)
    await put(rig, key, bucket_id, 1)
    await put(rig, key, bucket_id, 2)
    _, reply, _ = await rig.ask("GET", "/v1/buckets/docs/objects/obj_0001?return_presigned_urls=true", key)
    good = urlsplit(reply["blobs"][0]["presigned_url"])
    for path, query in (
        (good.path.replace("0001", "0002"), good.query),
        (good.path[:-1] + "1", good.query),
        (good.path[:-1] + "..%2F..%2Fetc%2Fpasswd", good.query),
        (good.path, good.query[:-1] + ("0" if good.query[-1] != "0" else "1")),
        (good.path, good.query.replace("expires=", "expires=9")),
        (good.path, ""),
    ):
        status, reply, _ = await rig.ask("GET", f"{path}?{query}")
        assert status == 403 and reply["error"]["type"] == "forbidden"


async def test_objects_are_listed_oldest_first_filtered_and_sorted(rig: Rig) -> None:
    key = await rig.key()
    bucket_id = await bucket(rig, key)
    for number in range(10):
        await put(rig, key, bucket_id, number, n=number, odd=bool(number % 2), **({"tag": "x"} if number > 7 else {}))
    base = "/v1/buckets/docs/objects"

    async def ids(body: Any, query: str = "") -> list[str]:
        status, reply, _ = await rig.ask("POST", f"{base}/list{query}", key, body=body)
        assert status == 200, reply
        return [one["object_id"][-1] for one in reply["results"]]

    assert await ids(b"") == list("0123456789")
    assert await ids({"filters": {"AND": [{"field": "odd", "operator": "eq", "value": True}]}}) == list("13579")
    clause = [{"case_sensitive": False, "field": "n", "operator": "gte", "value": 8}, {"field": "n", "value": 0}]
    assert await ids({"filters": {"OR": clause}}) == list("089")
    assert await ids({"filters": {"NOT": clause}}) == list("1234567")
    assert await ids({"filters": {"AND": [{"field": "tag", "operator": "exists", "value": True}]}}) == list("89")
    assert await ids({"filters": {"AND": [{"field": "source_path", "operator": "starts_with", "value": "F3"}]}}) == [
        "3"
    ]
    nested = {"AND": [{"OR": clause}, {"NOT": [{"field": "n", "value": 9}]}]}
    assert await ids({"filters": nested}) == list("08")
    assert await ids({"sort": {"field": "n", "direction": "desc"}, "limit": 3}) == list("987")
    assert await ids({"search": "f4"}) == ["4"]
    assert await ids({"page_size": 2}, "?page_size=5") == list("01")
    # Every page by cursor, by an index and by a computed key with missing values, meets everything once.
    for sort in (
        None,
        {"field": "tag"},
        {"field": "tag", "direction": "desc"},
        {"field": "created_at", "direction": "desc"},
    ):
        seen: list[str] = []
        cursor = None
        while True:
            _, reply, _ = await rig.ask("POST", f"{base}/list", key, body={"limit": 3, "cursor": cursor, "sort": sort})
            seen += [one["object_id"][-1] for one in reply["results"]]
            cursor = reply["pagination"]["next_cursor"]
            if cursor is None:
                break
        assert sorted(seen) == list("0123456789")
    _, reply, _ = await rig.ask("GET", f"{base}?limit=4&offset=8&include_total=true", key)
    assert reply["pagination"]["total"] == 10 and reply["pagination"]["page"] == 3 and len(reply["results"]) == 2
    _, reply, _ = await rig.ask("POST", f"{base}/list", key, body={"select": ["n"], "limit": 1})
    assert set(reply["results"][0]) >= {"object_id", "bucket_id", "n"} and "tag" not in reply["results"][0]
    refused: list[dict[str, Any]] = [
        {"AND": [{"field": "$where", "value": 1}]},
        {"AND": [{"field": "a", "operator": "text", "value": "x"}]},
        {"AND": [{"field": "a", "operator": "in", "value": "x"}]},
        {"AND": [{"field": "a", "operator": "regex", "value": "("}]},
        {"XOR": []},
    ]
    for bad in refused:
        assert (await rig.ask("POST", f"{base}/list", key, body={"filters": bad}))[0] == 422


async def test_an_object_is_deleted_once(rig: Rig) -> None:
    key = await rig.key()
    bucket_id = await bucket(rig, key)
    object_id = await put(rig, key, bucket_id, 1)
    reader = await rig.key(Role.READ, of=key)
    address = f"/v1/buckets/docs/objects/{object_id}"
    _, reply, _ = await rig.ask("GET", f"{address}?return_presigned_urls=true", key)
    assert (await rig.ask("DELETE", address, reader))[0] == 403
    assert (await rig.ask("DELETE", address, await rig.key()))[0] == 404
    status, body, _ = await rig.ask("DELETE", address, key)
    assert status == 204 and body is None
    assert (await rig.ask("DELETE", address, key))[0] == 404
    assert (await rig.ask("GET", address, key))[0] == 404
    async with rig.session.get(reply["blobs"][0]["presigned_url"]) as response:
        assert response.status == 404
    _, reply, _ = await rig.ask("GET", "/v1/buckets/docs", key)
    assert (reply["object_count"], reply["total_size_bytes"]) == (0, 0)


async def test_batches_and_their_tasks(rig: Rig) -> None:
    key = await rig.key()
    bucket_id = await bucket(rig, key)
    now = datetime.now(UTC)
    scope = {"bucket_id": bucket_id, "internal_id": key.internal_id, "namespace_id": key.namespace_id}
    for number, state in enumerate(("DRAFT", "PROCESSING", "COMPLETED", "FAILED")):
        await rig.database["batches"].insert_one(
            {
                "_id": f"btch_{number}", **scope, "sync_config_id": "sync_x", "run_id": "job_x", "index": number,
                "object_ids": ["obj_1"], "status": state, "task_id": f"batch/btch_{number}", "collection_ids": [],
                "created_at": now + timedelta(seconds=number), "updated_at": now, "failed_objects": [],
                "error": "it broke" if state == "FAILED" else None,
            }
        )  # fmt: skip
    _, reply, _ = await rig.ask("POST", "/v1/buckets/docs/batches/list", key, body={"limit": 2})
    assert [one["batch_id"] for one in reply["results"]] == ["btch_3", "btch_2"] and reply["total_count"] == 4
    _, reply, _ = await rig.ask(
        "POST", "/v1/buckets/docs/batches/list", key, body={"limit": 2, "cursor": reply["pagination"]["next_cursor"]}
    )
    assert [one["batch_id"] for one in reply["results"]] == ["btch_1", "btch_0"]
    _, reply, _ = await rig.ask("POST", "/v1/buckets/docs/batches/list", key, body={"status": "FAILED"})
    assert reply["results"][0]["lifecycle"] == "failed" and reply["results"][0]["lifecycle_reason"] == "it broke"
    _, reply, _ = await rig.ask("GET", "/v1/buckets/docs/batches/btch_2", key)
    assert reply["lifecycle"] == "indexed" and reply["lifecycle_reason"] is None
    assert reply["task_id"] == "batch/btch_2" and reply["max_deploy_resubmits"] == 0
    status, reply, _ = await rig.ask("GET", "/v1/tasks/batch%2Fbtch_3", key)
    assert status == 200 and reply["task_type"] == "api_buckets_batches_process"
    assert reply["status"] == "FAILED" and reply["error"] == "it broke" == reply["additional_data"]["error"]
    assert (await rig.ask("GET", "/v1/tasks/batch/btch_3", key))[1] == reply
    assert (await rig.ask("GET", "/v1/tasks/batch%2Fbtch_0", key))[0] == 404
    assert (await rig.ask("GET", "/v1/tasks/batch%2Fbtch_3", await rig.key()))[0] == 404


async def test_the_hand_written_client_works_too(rig: Rig) -> None:
    key = await rig.key()
    client = mixpeek.Mixpeek(key.key, namespace=key.namespace_id, base_url=f"{rig.url}/v1")
    made = await call(client.buckets.create, name="docs", bucket_schema=SCHEMA)
    for number in range(3):
        await put(rig, key, made["bucket_id"], number)
    assert [one["bucket_name"] for one in (await call(client.buckets.list))["results"]] == ["docs"]
    assert (await call(client.buckets.get, "docs"))["object_count"] == 3
    first = await call(client.buckets.list_objects, "docs", page_size=2)
    assert len(first["results"]) == 2
    second = await call(client.buckets.list_objects, "docs", page_size=2, cursor=first["pagination"]["next_cursor"])
    assert len(second["results"]) == 1 and second["pagination"]["next_cursor"] is None


async def test_what_is_not_there_says_so_in_the_one_error_shape(rig: Rig) -> None:
    key = await rig.key()
    status, reply, headers = await rig.ask("PUT", "/v1/buckets", key, body={})
    assert status == 405 and "GET" in headers["Allow"]
    status, reply, _ = await rig.ask("GET", "/nothing", key)
    assert status == 404 and reply["error"]["type"] == "not_found"
    big = b'{"a": "' + b"x" * (rig.settings.api_max_body_bytes + 10) + b'"}'
    status, reply, _ = await rig.ask("POST", "/v1/buckets", key, body=big)
    assert status == 413 and reply["success"] is False
    status, reply, headers = await rig.ask("GET", "/v1/health", headers={"X-Request-Id": "mine-1"})
    assert status == 200 and reply["status"] == "ok" and headers["X-Request-Id"] == "mine-1"
    assert (await rig.ask("GET", "/v1/health/liveness"))[0] == 200
