"""Bodies and queries of every operation: strict, helpful, and never beyond what the database keeps."""

from __future__ import annotations

import json
from typing import Any

import bson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.errors import ApiError
from api.operations import NoBody
from api.server import OPERATIONS
from api.validation import parse_body, parse_query
from models.common import Request
from models.objects import ListObjectsRequest
from models.paging import PageQuery
from models.syncs import SyncCreateRequest, TriggerQuery

BODIES = sorted({one.body for one in OPERATIONS} - {NoBody}, key=lambda model: model.__name__)
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.integers(-(2**80), 2**80),
    st.sampled_from(["ACTIVE", "s3", "continuous", "file", "2026-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00"]),
)  # fmt: skip
NAMES = st.sampled_from(
    ["type", "source", "mappings", "properties", "target_type", "AND", "OR", "field", "value", "operator", "key", "a"]
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES | st.text(max_size=3), inner, max_size=3)
)


@pytest.mark.parametrize("model", BODIES, ids=lambda model: model.__name__)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_json_is_either_refused_as_4xx_or_can_be_stored(model: type[Request], data: st.DataObject) -> None:
    names = st.sampled_from(sorted(model.model_fields)) | st.text(max_size=4)
    raw = json.dumps(data.draw(st.dictionaries(names, VALUES, max_size=6))).encode()
    statuses: list[int] = []
    try:
        bson.encode({"body": parse_body(model, raw).settled()})
    except ApiError as error:
        statuses.append(error.status)
    assert set(statuses) <= {400, 422}


def refused(model: type[Any], body: Any) -> ApiError:
    with pytest.raises(ApiError) as caught:
        parse_body(model, body if isinstance(body, bytes) else json.dumps(body).encode())
    return caught.value


def test_no_bytes_are_an_empty_object() -> None:
    assert parse_body(ListObjectsRequest, b"").settled()["return_presigned_urls"] is False


@pytest.mark.parametrize("raw", [b"{", b"[]", b'"x"', b"\xff", b"null", b'{"a": NaN}', b"[" * 10_000])
def test_what_is_not_a_json_object_is_refused(raw: bytes) -> None:
    assert refused(ListObjectsRequest, raw).status in {400, 422}


def test_undeclared_keys_of_nested_models_name_the_accepted_ones() -> None:
    error = refused(SyncCreateRequest, {"connection_id": "c", "reconcile": {"on_move": True}})
    assert error.code == "extra_forbidden" and error.details is not None
    (found,) = error.details["errors"]
    assert found["field"] == "reconcile.on_move"
    assert found["accepted"] == [
        "on_delete",
        "on_filter_drift",
        "on_update",
        "re_extract_fields",
        "re_extract_on_update",
    ]
    entry = {"target_type": "blob", "source": {"type": "file"}, "colour": 1}
    error = refused(SyncCreateRequest, {"connection_id": "c", "schema_mapping": {"mappings": {"content": entry}}})
    assert error.details is not None and "mime_type_override" in error.details["errors"][0]["accepted"]


def test_a_mapping_entry_without_target_type_is_what_its_keys_say() -> None:
    mappings = {"content": {"source": {"type": "file"}}, "t": {"source": {"type": "tag", "key": "k"}}}
    body = parse_body(
        SyncCreateRequest, json.dumps({"connection_id": "c", "schema_mapping": {"mappings": mappings}}).encode()
    )
    assert body.schema_mapping is not None
    assert {name: entry.target_type for name, entry in body.schema_mapping.mappings.items()} == {
        "content": "blob", "t": "field"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, (100, 0, None)),
        ({"limit": "5", "page_size": "7"}, (5, 0, None)),
        ({"page_size": "7", "page": "3"}, (7, 14, None)),
        ({"offset": "2", "page": "3"}, (100, 2, None)),
        ({"cursor": "a", "next_cursor": "b", "after": "c", "offset": "4"}, (100, 0, "a")),
        ({"after": "c"}, (100, 0, "c")),
    ],
)
def test_precedence_of_paging(query: dict[str, str], expected: tuple[int, int, str | None]) -> None:
    page = parse_query(PageQuery, query.items()).resolve()
    assert (page.limit, page.offset, page.cursor) == expected


def test_the_body_beats_the_query() -> None:
    page = parse_query(PageQuery, {"limit": "5", "cursor": "q"}.items()).resolve({"page_size": 3, "limit": 4})
    assert (page.limit, page.cursor) == (4, "q")
    page = parse_query(PageQuery, {"limit": "5"}.items()).resolve({"page_size": 3})
    assert page.limit == 3


@pytest.mark.parametrize(
    "query", [{"limit": "0"}, {"limit": "1.0"}, {"limit": "x"}, {"offset": "10001"}, {"page": "-1"}]
)
def test_queries_out_of_range_are_refused(query: dict[str, str]) -> None:
    with pytest.raises(ApiError) as caught:
        parse_query(PageQuery, query.items())
    assert caught.value.status == 422


@pytest.mark.parametrize(("text", "value"), [("true", True), ("false", False), ("True", True), ("1", True)])
def test_query_booleans(text: str, value: bool) -> None:
    assert parse_query(TriggerQuery, [("full_sync", text)]).full_sync is value
    with pytest.raises(ApiError):
        parse_query(TriggerQuery, [("full_sync", "yes")])
