"""File filters: examples of every rule, and properties against a plain, slow restatement of the rules."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta, timezone
from functools import cache
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from activities.filters import Filter, compile_filters
from providers.base import Attributes, SourceObject

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def file(
    path: str = "a/b.txt", size: int | None = 10, at: datetime | None = NOON, mime: str | None = None
) -> SourceObject:
    return SourceObject(f"bucket/{path}", path, "e|t", size, at, mime)


def compiled(**filters: Any) -> Filter:
    made = compile_filters(filters, None)
    assert made is not None
    return made


def why(source: SourceObject, **filters: Any) -> str | None:
    return compiled(**filters).reject(source)


@pytest.mark.parametrize("nothing", [None, {}, {"include_patterns": None}, {"include_patterns": [], "mime_types": []}])
def test_nothing_configured_is_nothing_to_ask(nothing: dict[str, Any] | None) -> None:
    assert compile_filters(nothing, None) is None
    assert compile_filters(nothing, NOON) is not None


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("*.txt", "b.txt", True),
        ("*.txt", "deep/er/b.txt", True),
        ("*.txt", "b.TXT", False),
        ("*.txt", "b.txt/c", False),
        ("b.???", "x/b.txt", True),
        ("[a-c].txt", "x/b.txt", True),
        ("[!a-c].txt", "x/b.txt", False),
        ("[abc", "x/[abc", True),
        ("videos/*.mp4", "videos/a.mp4", True),
        ("videos/*.mp4", "old/videos/a.mp4", False),
        ("videos/*.mp4", "videos/2026/a.mp4", True),
        ("*/drafts/*", "team/drafts/x", True),
        ("*/drafts/*", "a/b/drafts/c/d", True),
        ("*/drafts/*", "drafts/x", False),
        ("**/drafts/*", "drafts/x", True),
        ("**/drafts/*", "a/b/drafts/x", True),
        ("**/drafts/*", "mydrafts/x", False),
        ("a/**/z", "a/z", True),
        ("a/**/z", "a/b/c/z", True),
        ("a/**/z", "az", False),
        ("/readme.md", "readme.md", True),
        ("/readme.md", "x/readme.md", False),
        ("/readme.md", "/readme.md", True),
        ("drafts/", "drafts/a/b", True),
        ("drafts/", "drafts", False),
        ("a\nb", "x/a\nb", True),
        ("a.b", "axb", False),
        ("(a|b)+$", "(a|b)+$", True),
    ],
)
def test_patterns(pattern: str, path: str, matches: bool) -> None:
    assert why(file(path), include_patterns=[pattern]) == (None if matches else "filtered_pattern")
    assert why(file(path), exclude_patterns=[pattern]) == ("filtered_pattern" if matches else None)


def test_any_include_suffices_and_any_exclude_is_enough() -> None:
    rules = {"include_patterns": ["*.md", "docs/*"], "exclude_patterns": ["*_temp.*", "*/old/*"]}
    assert why(file("x/a.md"), **rules) is None
    assert why(file("docs/a.png"), **rules) is None
    assert why(file("x/a.png"), **rules) == "filtered_pattern"
    assert why(file("docs/a_temp.png"), **rules) == "filtered_pattern"
    assert why(file("docs/old/a.md"), **rules) == "filtered_pattern"


def test_hostile_patterns_stay_fast() -> None:
    began = time.perf_counter()
    for pattern in ("*a" * 60 + "b", "**/" * 60 + "b", "*/" * 60 + "b", "[" * 500, "?*" * 200):
        why(file("a" * 1000 + "/" + "a" * 1000), include_patterns=[pattern], exclude_patterns=[pattern])
    assert time.perf_counter() - began < 2


@pytest.mark.parametrize(
    ("size", "reason"), [(9, "filtered_size"), (10, None), (20, None), (21, "filtered_size"), (None, None)]
)
def test_sizes_are_inclusive(size: int | None, reason: str | None) -> None:
    assert why(file(size=size), min_size_bytes=10, max_size_bytes=20) == reason


def test_size_zero_is_a_bound() -> None:
    assert why(file(size=1), max_size_bytes=0) == "filtered_size"
    assert why(file(size=0), max_size_bytes=0) is None
    assert why(file(size=0), min_size_bytes=0) is None


def test_times_are_exclusive_whatever_their_form() -> None:
    second = timedelta(seconds=1)
    for noon in (NOON, NOON.replace(tzinfo=None), "2026-03-01T12:00:00Z", "2026-03-01T13:00:00+01:00"):
        assert why(file(at=NOON), modified_after=noon) == "filtered_modified"
        assert why(file(at=NOON + second), modified_after=noon) is None
        assert why(file(at=NOON), modified_before=noon) == "filtered_modified"
        assert why(file(at=NOON - second), modified_before=noon) is None
        assert why(file(at=None), modified_after=noon, modified_before=noon) is None
        seeded = compile_filters(None, noon)
        assert seeded is not None
        assert seeded.reject(file(at=NOON)) == "before_sync_from"
        assert seeded.reject(file(at=(NOON + second).astimezone(timezone(timedelta(hours=5))))) is None
        assert seeded.reject(file(at=None)) is None


@pytest.mark.parametrize(
    ("extension", "path", "passes"),
    [
        (".mp4", "a.MP4", True),
        ("mp4", "x/a.mp4", True),
        ("MP4", "a.mp4", True),
        ("mp4", "amp4", False),
        ("mp4", "a.mp4/b", False),
        ("tar.gz", "a.tar.gz", True),
        (".DS_Store", "x/.DS_Store", True),
    ],
)
def test_extensions(extension: str, path: str, passes: bool) -> None:
    assert why(file(path), extensions=[extension, ".zzz"]) == (None if passes else "filtered_extension")


@pytest.mark.parametrize(
    ("pattern", "source", "passes"),
    [
        ("video/*", file("a.mp4"), True),
        ("video/*", file("a.txt"), False),
        ("VIDEO/mp4", file("a.mp4"), True),
        ("image/jpeg", file("a.bin", mime="Image/JPEG; q=1"), True),
        ("image/*", file("a.png", mime="binary/octet-stream"), True),
        ("image/*", file("a.png", mime="text/plain"), False),
        ("application/octet-stream", file("a"), True),
    ],
)
def test_mime_types(pattern: str, source: SourceObject, passes: bool) -> None:
    assert why(source, mime_types=[pattern]) == (None if passes else "filtered_mime_type")


ATTRIBUTES = Attributes(
    tags={"Team": "Blue", "n": "7", "both": "tag"},
    metadata={
        "status": "Approved",
        "score": "10.5",
        "day": "2026-02-03",
        "flag": "TRUE",
        "both": "metadata",
        "none": "",
    },
    properties={"Rows": 12, "labels": ["Red", "green", 3], "starred": False, "gone": None},
)


@pytest.mark.parametrize(
    ("field", "operator", "value", "holds"),
    [
        ("status", "equals", "approved", True),
        ("STATUS", "equals", "Approved", True),
        ("status", "equals", "approve", False),
        ("status", "not_equals", "rejected", True),
        ("status", "not_equals", "APPROVED", False),
        ("status", None, "prov", True),
        ("status", "contains", "PROV", True),
        ("status", "not_contains", "prov", False),
        ("score", "gt", 9, True),
        ("score", "gt", "9", True),
        ("score", "lte", 10.5, True),
        ("score", "lt", 10.5, False),
        ("score", "equals", "10.50", True),
        ("day", "gte", "2026-02-03", True),
        ("day", "lt", "2026-02-03T01:00:00Z", True),
        ("day", "gt", "2025-12-31", True),
        ("flag", "equals", True, True),
        ("flag", "equals", "true", True),
        ("flag", "equals", 1, False),
        ("starred", "equals", False, True),
        ("starred", "equals", 0, False),
        ("rows", "gte", 12, True),
        ("rows", "contains", 2, True),
        ("labels", "contains", "RED", True),
        ("labels", "contains", "re", False),
        ("labels", "contains", 3, True),
        ("labels", "not_contains", "blue", True),
        ("labels", "gt", 1, False),
        ("Team", "equals", "blue", True),
        ("team", "equals", "blue", False),
        ("both", "equals", "metadata", True),
        ("tags.both", "equals", "tag", True),
        ("metadata.Both", "equals", "metadata", True),
        ("tags.status", "exists", None, False),
        ("metadata.n", "exists", True, False),
        ("n", "lt", 10, True),
        ("none", "exists", None, True),
        ("none", "exists", False, False),
        ("none", "equals", "", True),
        ("gone", "exists", True, False),
        ("missing", "exists", False, True),
        ("missing", "exists", "false", True),
        ("missing", "exists", None, False),
        ("missing", "equals", "x", False),
        ("missing", "contains", "", False),
        ("missing", "gt", 0, False),
        ("missing", "not_equals", "x", True),
        ("missing", "not_contains", "x", True),
        ("status", "equals", None, False),
        ("status", "contains", None, False),
        ("status", "not_equals", None, True),
        ("status", "gt", None, False),
        ("status", "gt", 5, True),
    ],
)
def test_metadata(field: str, operator: str | None, value: Any, holds: bool) -> None:
    rule = compiled(metadata_filters=[{"field": field, "operator": operator, "value": value}])
    assert rule.reject(file()) is None
    assert rule.reject_attributes(file(), ATTRIBUTES) == (None if holds else "filtered_metadata")


def test_all_metadata_filters_must_hold() -> None:
    one = {"field": "status", "operator": "equals", "value": "approved"}
    other = {"field": "n", "operator": "gt", "value": 7}
    assert compiled(metadata_filters=[one]).reject_attributes(file(), ATTRIBUTES) is None
    assert compiled(metadata_filters=[one, other]).reject_attributes(file(), ATTRIBUTES) == "filtered_metadata"


@pytest.mark.parametrize(
    ("fields", "needs"),
    [
        ([], (False, False)),
        (["tags.a"], (True, False)),
        (["metadata.a"], (False, True)),
        (["a"], (True, True)),
        (["tags"], (True, True)),
        (["a.b"], (True, True)),
        (["tags.a", "metadata.b"], (True, True)),
    ],
)
def test_only_what_is_needed_is_asked_for(fields: list[str], needs: tuple[bool, bool]) -> None:
    rules = [{"field": field, "operator": "exists"} for field in fields]
    assert compiled(metadata_filters=rules, extensions=["txt"]).needs_attributes == needs


# --- properties


def glob(pattern: str, text: str) -> bool:
    """What a pattern of ordinary characters, `*` and `?` means, as slowly and plainly as possible."""

    @cache
    def at(p: int, t: int) -> bool:
        if p == len(pattern):
            return t == len(text)
        if pattern[p] == "*":
            return at(p + 1, t) or (t < len(text) and at(p, t + 1))
        return t < len(text) and pattern[p] in ("?", text[t]) and at(p + 1, t + 1)

    return at(0, 0)


def matches(pattern: str, path: str) -> bool:
    if "/" not in pattern:
        return glob(pattern, path.rpartition("/")[2])
    whole = pattern + "*" if pattern.endswith("/") else pattern
    variants = {whole, whole.removeprefix("/")}
    while more := {v[:i] + v[i + 3 :] for v in variants for i in range(len(v)) if v.startswith("**/", i)} - variants:
        variants |= more
    return any(glob(variant, path) for variant in variants)


short_patterns = st.text("ab/*?.", min_size=1, max_size=8).filter(lambda p: p.count("**/") <= 3 and "***" not in p)
paths = st.text("ab/.", min_size=1, max_size=10)


@given(st.lists(short_patterns, max_size=3), st.lists(short_patterns, max_size=3), paths)
@example(["**/a"], [], "a")
@example(["a/**/**/b"], [], "a/b")
def test_patterns_mean_what_they_say(include: list[str], exclude: list[str], path: str) -> None:
    rule = compile_filters({"include_patterns": include, "exclude_patterns": exclude}, None)
    passes = (not include or any(matches(p, path) for p in include)) and not any(matches(p, path) for p in exclude)
    assert (rule is None or rule.reject(file(path)) is None) == passes


@given(st.lists(st.text(max_size=30), max_size=4), st.lists(st.text(max_size=30), max_size=4), st.text(max_size=60))
def test_no_pattern_breaks_anything(include: list[str], exclude: list[str], path: str) -> None:
    rule = compile_filters({"include_patterns": include, "exclude_patterns": exclude, "mime_types": include}, None)
    assert rule is None or rule.reject(file(path)) in (None, "filtered_pattern", "filtered_mime_type")


instants = st.datetimes(datetime(2026, 1, 1), datetime(2026, 1, 2), timezones=st.just(UTC))  # noqa: DTZ001


@given(
    size=st.none() | st.integers(0, 5), low=st.none() | st.integers(0, 5), high=st.none() | st.integers(0, 5),
    at=st.none() | instants, after=st.none() | instants, before=st.none() | instants, since=st.none() | instants,
)  # fmt: skip
def test_every_condition_must_hold(
    *, size: int | None, low: int | None, high: int | None,
    at: datetime | None, after: datetime | None, before: datetime | None, since: datetime | None,
) -> None:  # fmt: skip
    rule = compile_filters(
        {"min_size_bytes": low, "max_size_bytes": high, "modified_after": after, "modified_before": before}, since
    )
    passes = (
        (size is None or low is None or size >= low)
        and (size is None or high is None or size <= high)
        and (at is None or after is None or at > after)
        and (at is None or before is None or at < before)
        and (at is None or since is None or at > since)
    )
    assert (rule is None or rule.reject(file(size=size, at=at)) is None) == passes


values = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=6)


@given(
    st.dictionaries(st.sampled_from("abc"), values | st.lists(values, max_size=2), max_size=3),
    st.sampled_from(["a", "tags.a", "metadata.a"]),
    values,
)
def test_opposites_are_opposites_and_nothing_raises(found: dict[str, Any], field: str, value: Any) -> None:
    attributes = Attributes(properties=found, metadata={"b": "x"})

    def holds(operator: str) -> bool:
        rule = compiled(metadata_filters=[{"field": field, "operator": operator, "value": value}])
        return rule.reject_attributes(file(), attributes) is None

    for operator in ("equals", "contains"):
        assert holds(operator) != holds(f"not_{operator}")
    assert not (holds("gt") and holds("lt"))
    assert not holds("gt") or holds("gte")
    assert not holds("lt") or holds("lte")
    if holds("gte") and holds("lte"):
        assert holds("equals")
    holds("exists")
