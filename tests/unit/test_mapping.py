"""The schema mapping: every source, transform and failure; media types; what the default path costs."""

from __future__ import annotations

import time
from typing import Any

import bson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from activities.mapping import MappedObject, compile_mapping, validate_mapping
from activities.media import blob_type_of, mime_type_of
from models.mapping import SchemaMapping
from providers.base import Attributes, SourceObject
from providers.errors import Permanent

ATTRIBUTES = Attributes(
    tags={"Team": "Blue ", "json": '{"a": [1, null]}', "bad": "{not json"},
    metadata={"author": "Ann", "Mixed-Case": "m"},
    properties={"description": "words", "AMOUNT": 12, "lower": 1},
)


def file(path: str = "Marketing/Campaigns/Q4/user_12345_avatar.jpg", mime: str | None = None) -> SourceObject:
    return SourceObject(f"bucket/{path}", path, "e|t", 10, None, mime)


def field(source: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"mappings": {"f": {"target_type": "field", "source": source, **more}}}


def blob(**more: Any) -> dict[str, Any]:
    return {"mappings": {"content": {"target_type": "blob", "source": {"type": "file"}, **more}}}


def value_of(source: dict[str, Any], path: str = "Marketing/Campaigns/Q4/user_12345_avatar.jpg", **more: Any) -> Any:
    return compile_mapping(field(source, **more)).apply(file(path), ATTRIBUTES).fields.get("f", "left out")


def test_without_a_mapping_the_file_is_the_content() -> None:
    empty: list[Any] = [None, {}, {"mappings": {}}, {"mappings": None}]
    for nothing in empty:
        mapping = compile_mapping(nothing)
        assert mapping.needs == (False, False)
        assert mapping.apply(file(), Attributes()) == MappedObject({}, "content", "image", "image/jpeg")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ({"type": "tag", "key": "Team"}, "Blue "),
        ({"type": "tag", "key": "team"}, "left out"),
        ({"type": "metadata", "key": "AUTHOR"}, "Ann"),
        ({"type": "metadata", "key": "mixed-case"}, "m"),
        ({"type": "metadata", "key": "other"}, "left out"),
        ({"type": "drive_property", "key": "description"}, "words"),
        ({"type": "column", "name": "amount"}, 12),
        ({"type": "column", "name": "lower"}, 1),
        ({"type": "column", "name": "none"}, "left out"),
        ({"type": "filename_regex", "pattern": r"user_(\d+)_"}, "12345"),
        ({"type": "filename_regex", "pattern": r"^(\w+?)_\d"}, "user"),
        ({"type": "filename_regex", "pattern": r"Market(.*)"}, "left out"),
        ({"type": "filename_regex", "pattern": r"x(\d+)", "default": "none"}, "none"),
        ({"type": "filename_regex", "pattern": r"user(x)?", "default": "none"}, "none"),
        ({"type": "folder_path", "segment": 0}, "Marketing"),
        ({"type": "folder_path", "segment": 2}, "Q4"),
        ({"type": "folder_path", "segment": -1}, "Q4"),
        ({"type": "folder_path", "segment": -3}, "Marketing"),
        ({"type": "folder_path", "segment": 3}, "left out"),
        ({"type": "folder_path", "segment": -4}, "left out"),
        ({"type": "folder_path", "segment": None, "full_path": False}, "Q4"),
        ({"type": "folder_path", "full_path": True}, "Marketing/Campaigns/Q4"),
        ({"type": "constant", "value": {"any": ["json", 1.5, None]}}, {"any": ["json", 1.5, None]}),
        ({"type": "constant", "value": None}, None),
        ({"type": "constant", "value": 0}, 0),
    ],
)
def test_sources(source: dict[str, Any], expected: Any) -> None:
    assert value_of(source) == expected


@pytest.mark.parametrize("source", [{"segment": 0}, {"segment": -1}, {}, {"full_path": True}])
def test_a_file_in_the_root_has_no_folder(source: dict[str, Any]) -> None:
    assert value_of({"type": "folder_path", **source}, "a.txt") == "left out"
    assert value_of({"type": "folder_path", **source}, "/x//a.txt") == "x"


@pytest.mark.parametrize(
    ("key", "transform", "expected"),
    [
        ("Team", "lowercase", "blue "),
        ("Team", "uppercase", "BLUE "),
        ("Team", "trim", "Blue"),
        ("Team", None, "Blue "),
        ("json", "json_parse", {"a": [1, None]}),
        ("absent", "lowercase", "left out"),
    ],
)
def test_transforms(key: str, transform: str | None, expected: Any) -> None:
    assert value_of({"type": "tag", "key": key}, transform=transform) == expected


def test_transforms_of_text_leave_other_values_alone() -> None:
    for transform in ("lowercase", "uppercase", "trim", "json_parse"):
        assert value_of({"type": "column", "name": "amount"}, transform=transform) == 12


def failure(
    mapping: dict[str, Any], source: SourceObject | None = None, attributes: Attributes = ATTRIBUTES
) -> Permanent:
    with pytest.raises(Permanent) as caught:
        compile_mapping(mapping).apply(source or file(), attributes)
    return caught.value


def test_a_required_value_that_is_missing_names_field_source_and_path() -> None:
    error = failure(field({"type": "tag", "key": "absent"}, required=True))
    assert error.reason == "mapping_required_missing"
    assert error.path == file().path
    for word in ("'f'", "tag", "'absent'"):
        assert word in error.message
    assert value_of({"type": "tag", "key": "Team"}, required=True) == "Blue "
    assert value_of({"type": "constant", "value": None}, required=True) is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{not json", "not JSON"),
        ("", "not JSON"),
        ("NaN", "not JSON"),
        ("18446744073709551615", "64 bits"),
        ('{"a\\u0000b": 1}', "NUL"),
        ("[" * 95 + "]" * 95, "levels deep"),
        ("[" * 5000, "not JSON"),
        ('"' + "x" * (1 << 20) + 'x"', "longer than"),
    ],
)
def test_bad_values_name_field_and_value(text: str, says: str) -> None:
    error = failure(field({"type": "tag", "key": "k"}, transform="json_parse"), attributes=Attributes(tags={"k": text}))
    assert error.reason == "mapping_bad_value"
    assert says in error.message and "'f'" in error.message
    assert text[:10] in error.message or says in ("NUL", "64 bits", "levels deep", "longer than")
    assert len(error.message) < 400


def test_a_pattern_that_never_ends_is_a_bad_value_soon() -> None:
    began = time.perf_counter()
    error = failure(field({"type": "filename_regex", "pattern": r"^(?:a|aa)+(x)$"}), file("x/" + "a" * 60 + "!"))
    assert (error.reason, time.perf_counter() - began < 2) == ("mapping_bad_value", True)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(json_values)
def test_what_is_mapped_can_be_stored(value: Any) -> None:
    mapping = {"mappings": {"f": {"target_type": "field", "source": {"type": "column", "name": "c"}}}}
    try:
        mapped = compile_mapping(mapping).apply(file(), Attributes(properties={"C": value}))
    except Permanent as error:
        assert error.reason == "mapping_bad_value"  # noqa: PT017 - the other outcome is as good
        return
    assert bson.decode(bson.encode(mapped.fields)) == {"f": value}


# --- blobs


@pytest.mark.parametrize(
    ("settings", "path", "stated", "kind", "mime"),
    [
        ({}, "a.jpg", None, "image", "image/jpeg"),
        ({}, "a.GIF", None, "image", "image/gif"),
        ({}, "a.mp4", "binary/octet-stream", "video", "video/mp4"),
        ({}, "a.dat", "audio/mpeg", "audio", "audio/mpeg"),
        ({}, "a.pdf", None, "pdf", "application/pdf"),
        ({}, "a.xlsx", None, "excel", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
        ({}, "a.xls", "application/x-www-form-urlencoded", "excel", "application/vnd.ms-excel"),
        ({}, "a.xlsm", None, "excel", "application/vnd.ms-excel.sheet.macroenabled.12"),
        ({}, "a.csv", "text/csv; charset=utf-8", "text", "text/csv"),
        ({}, "a.json", None, "text", "application/json"),
        ({}, "no extension", None, "text", "application/octet-stream"),
        ({}, "a.unknown", "", "text", "application/octet-stream"),
        ({"blob_type": None}, "a.jpg", None, "image", "image/jpeg"),
        ({"blob_type": "video"}, "a.jpg", None, "video", "image/jpeg"),
        ({"mime_type_override": "video/mp4"}, "a.jpg", "image/png", "video", "video/mp4"),
        ({"blob_type": "audio", "mime_type_override": "video/mp4"}, "a", None, "audio", "video/mp4"),
    ],
)
def test_blob_types(settings: dict[str, Any], path: str, stated: str | None, kind: str, mime: str) -> None:
    mapped = compile_mapping(blob(**settings)).apply(file(path), Attributes(), stated)
    assert (mapped.blob_property, mapped.blob_type, mapped.mime_type) == ("content", kind, mime)


def test_what_came_with_the_bytes_beats_the_listing_and_both_beat_the_name() -> None:
    mapping = compile_mapping(None)
    assert mapping.apply(file("a.jpg", "image/png"), Attributes()).mime_type == "image/png"
    assert mapping.apply(file("a.jpg", "image/png"), Attributes(), "image/webp").mime_type == "image/webp"


def test_an_unknown_kind_is_what_the_bucket_declares() -> None:
    schema = {"properties": {"content": {"type": "video"}, "n": {"type": "integer"}}}
    assert compile_mapping(None, schema).apply(file("a.bin"), Attributes()).blob_type == "video"
    assert compile_mapping(None, schema).apply(file("a.jpg"), Attributes()).blob_type == "image"
    assert compile_mapping(blob(blob_property="n"), schema).apply(file("a.bin"), Attributes()).blob_type == "text"


def test_the_property_of_a_blob() -> None:
    named = {"mappings": {"video": {"target_type": "blob", "source": {"type": "file"}, "blob_property": "content"}}}
    own = {"mappings": {"video": {"target_type": "blob", "source": {"type": "file"}, "blob_property": "clip"}}}
    has_video = {"properties": {"video": {"type": "video"}}}
    has_both = {"properties": {"video": {"type": "video"}, "content": {"type": "video"}}}
    for mapping, schema, expected in (
        (named, None, "content"), (named, has_video, "video"), (named, has_both, "content"),
        (own, has_video, "clip"), (own, None, "clip"),
    ):  # fmt: skip
        assert compile_mapping(mapping, schema).apply(file(), Attributes()).blob_property == expected


def test_only_what_is_needed_is_asked_for() -> None:
    for source, needs in (
        ({"type": "tag", "key": "k"}, (True, False)),
        ({"type": "metadata", "key": "k"}, (False, True)),
        ({"type": "column", "name": "k"}, (False, True)),
        ({"type": "drive_property", "key": "k"}, (False, True)),
        ({"type": "constant", "value": 1}, (False, False)),
        ({"type": "folder_path"}, (False, False)),
    ):
        assert compile_mapping(field(source)).needs == needs


@pytest.mark.parametrize(
    ("mapping", "says"),
    [
        ({"mappings": {"f": None}}, "NoneType"),
        (field({"type": "file"}), "'file'"),
        (field({"type": "frame"}), "'frame'"),
        (field({"type": "tag", "key": "k"}, transform="reverse"), "reverse"),
        (field({"type": "filename_regex", "pattern": "no group"}), "capture group"),
        (field({"type": "filename_regex", "pattern": "(a)(b)"}), "capture group"),
        (field({"type": "filename_regex", "pattern": "(a"}), "f:"),
        (field({"type": "constant", "value": 1 << 70}), "64 bits"),
        (blob(blob_type="document"), "'document'"),
        (blob(source={"type": "column", "name": "URL"}), "not supported yet"),
        (blob(source={"type": "metadata", "key": "url"}), "not supported yet"),
        (blob(source={"type": "constant", "value": "x"}), "'constant'"),
        ({"mappings": {**blob()["mappings"], "second": blob()["mappings"]["content"]}}, "only one blob entry"),
    ],
)
def test_mappings_that_cannot_work_are_refused_with_the_reason(mapping: dict[str, Any], says: str) -> None:
    reason = validate_mapping(mapping)
    assert reason is not None and says in reason
    with pytest.raises(ValueError, match="mapping"):
        compile_mapping(mapping)


def test_what_the_api_stores_compiles() -> None:
    sent = {
        "content": {"source": {"type": "file"}},
        "who": {"source": {"type": "tag", "key": "Team"}, "transform": "trim"},
        "where": {"target_type": "field", "source": {"type": "folder_path"}},
    }
    stored = SchemaMapping.model_validate({"mappings": sent}).model_dump()
    assert validate_mapping(stored) is None
    mapped = compile_mapping(stored).apply(file(), ATTRIBUTES)
    assert mapped == MappedObject({"who": "Blue", "where": "Q4"}, "content", "image", "image/jpeg")


@given(st.text(max_size=40), st.none() | st.text(max_size=40))
def test_media_types_of_anything(name: str, stated: str | None) -> None:
    mime = mime_type_of(name, stated)
    assert "/" in mime and mime == mime.lower()
    assert blob_type_of(mime) in ("image", "video", "audio", "text", "pdf", "excel", None)


def test_the_default_path_costs_almost_nothing() -> None:
    mapping, source, nothing = compile_mapping(None), file("team01/proj02/doc-0102-003.txt"), Attributes()

    def once() -> float:
        began = time.perf_counter()
        for _ in range(2000):
            mapping.apply(source, nothing, "binary/octet-stream")
        return (time.perf_counter() - began) / 2000

    assert min(once() for _ in range(10)) < 3e-6
