"""What is a listing, and what only looks like one; the quick way and the XML way agree."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from providers.s3.lister import Cursor, is_archived
from providers.s3.listing_xml import Listing, NotAListingError, _parse_any, _parse_plain, decode_keys, parse_listing
from tests.simulators.s3_faults import StoredObject
from tests.simulators.s3_xml import listing_xml

KEYS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)
ROWS = st.lists(
    st.tuples(
        KEYS,
        st.builds(
            StoredObject,
            body=st.just(b""),
            etag=st.sampled_from(["", "0123456789abcdef0123456789abcdef", "abc-12"]),
            modified=st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
            storage_class=st.sampled_from(["STANDARD", "GLACIER", "", "INTELLIGENT_TIERING"]),
            restore=st.sampled_from([None, None, None, "done", "ongoing"]),
            listed_size=st.integers(0, 5 * 2**40),
        ),
    ),
    max_size=8,
)
HEAD = b'<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><IsTruncated>false</IsTruncated>'
TAIL = b"</ListBucketResult>"


def row(key: str = "k", *, extra: str = "", size: str = "1", etag: str = '"e"') -> bytes:
    return (
        f"<Contents><Key>{key}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>{etag}</ETag>{extra}"
        f"<Size>{size}</Size><StorageClass>STANDARD</StorageClass></Contents>"
    ).encode()


def columns(listing: Listing) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(listing).items()}


@given(rows=ROWS, token=st.sampled_from([None, "t&<1>"]))
def test_every_row_arrives(rows: list[tuple[str, StoredObject]], token: str | None) -> None:
    escaped = token.replace("&", "&amp;").replace("<", "&lt;") if token else None
    listing = parse_listing(listing_xml("b", "", rows, escaped, encoded=True))
    assert list(listing.keys) == [key for key, _ in rows]
    assert list(listing.sizes) == [str(shown.listed_size) for _, shown in rows]
    assert list(listing.etags) == [shown.etag for _, shown in rows]
    assert list(listing.classes) == [shown.storage_class for _, shown in rows]
    assert listing.next_token == token
    assert listing.restored == {i for i, (_, shown) in enumerate(rows) if shown.restore == "done"}


@given(rows=ROWS, cut=st.integers(1, 400))
def test_a_cut_listing_is_no_listing(rows: list[tuple[str, StoredObject]], cut: int) -> None:
    body = listing_xml("b", "", rows, None, encoded=True)
    with pytest.raises(NotAListingError):
        parse_listing(body[: max(0, len(body) - cut)])


@given(rows=ROWS, data=st.data())
def test_the_quick_way_says_what_the_xml_way_says(rows: list[tuple[str, StoredObject]], data: st.DataObject) -> None:
    """Also when a few bytes of the document were damaged."""
    body = bytearray(listing_xml("b", "", rows, None, encoded=True))
    for _ in range(data.draw(st.integers(0, 3))):
        at = data.draw(st.integers(0, len(body) - 1))
        piece = data.draw(
            st.sampled_from([b"<", b">", b"&", b"<Contents>", b"</Contents>", b"<!--", b"\x01", b"x", b""])
        )
        body[at : at + data.draw(st.integers(0, 2))] = piece
    document = bytes(body)
    try:
        quick: Any = _parse_plain(document)
    except NotAListingError:
        quick = NotAListingError
    if quick is None:
        return
    try:
        slow: Any = _parse_any(document)
    except NotAListingError:
        slow = NotAListingError
    assert (quick if quick is NotAListingError else columns(quick)) == (
        slow if slow is NotAListingError else columns(slow)
    )


def test_the_usual_page_takes_the_quick_way() -> None:
    owner = "<Owner><ID>x</ID><DisplayName>y</DisplayName></Owner>"
    checksum = "<ChecksumAlgorithm>CRC64NVME</ChecksumAlgorithm><ChecksumType>FULL_OBJECT</ChecksumType>"
    aws = row(extra=checksum).replace(b"</Size>", b"</Size>" + owner.encode())
    assert _parse_plain(HEAD + row() + aws + row(etag="&quot;e&quot;") + TAIL) is not None


@pytest.mark.parametrize(
    "rows",
    [
        row() + b"<x/>" + row(),
        row() + b"garbage" + row(),
        row("a&amp;b"),
        b"<!-- " + row() + b" -->",
        row(extra="<RestoreStatus><IsRestoreInProgress>true</IsRestoreInProgress></RestoreStatus>"),
        row() + b"<Contents><Key>only</Key></Contents>",
        row("\x01"),
    ],
)
def test_anything_unusual_goes_the_xml_way(rows: bytes) -> None:
    assert _parse_plain(HEAD + rows + TAIL) is None


@pytest.mark.parametrize(
    "body",
    [
        HEAD + row(size="x") + TAIL,
        HEAD + row(size="") + TAIL,
        HEAD + row(key="") + TAIL,
        HEAD + b"<Contents><Size>1</Size></Contents>" + TAIL,
        HEAD + b"<KeyCount>2</KeyCount>" + row() + TAIL,
        HEAD + b"<EncodingType>url</EncodingType>" + row("100%") + TAIL,
        HEAD + row(),
        HEAD + row() + TAIL + HEAD,
        b"\xff\xfe" + HEAD + TAIL,
        b'<!DOCTYPE l [<!ENTITY x SYSTEM "file:///etc/passwd">]><Error>&x;</Error>',
    ],
)
def test_not_a_listing(body: bytes) -> None:
    with pytest.raises(NotAListingError):
        parse_listing(body)


def test_entities_are_not_resolved() -> None:
    laughs = "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10}">' for i in range(1, 12))
    body = f'<!DOCTYPE l [<!ENTITY l0 "ha">{laughs}]>'.encode() + HEAD + row("&l11;") + TAIL
    try:
        listing = parse_listing(body)
    except NotAListingError:
        return
    assert sum(map(len, listing.keys)) < 100


@pytest.mark.parametrize("namespace", ["", ' xmlns="http://doc.s3.amazonaws.com/2006-03-01"'])
def test_other_namespaces(namespace: str) -> None:
    body = f"<ListBucketResult{namespace}><IsTruncated>false</IsTruncated>".encode() + row("a&amp;b") + row() + TAIL
    assert list(parse_listing(body).keys) == ["a&b", "k"]


def test_rows_without_optional_elements() -> None:
    bare = b"<Contents><Key>a</Key><LastModified>2026-01-01T00:00:00Z</LastModified><Size>5</Size></Contents>"
    listing = parse_listing(HEAD + bare + row("b") + TAIL)
    assert (list(listing.keys), list(listing.etags), list(listing.sizes)) == (["a", "b"], ["", "e"], ["5", "1"])


def test_keys_are_not_decoded_unless_they_were_encoded() -> None:
    assert list(parse_listing(HEAD + row("100%+1") + TAIL).keys) == ["100%+1"]


@given(st.lists(KEYS, max_size=6))
@example(["\n", "a"])
@example(["=", "=41", "a=\r"])
def test_decode_keys(keys: list[str]) -> None:
    assert list(decode_keys([quote_plus(key, safe="/") for key in keys])) == keys
    assert list(decode_keys([quote(key, safe="/") for key in keys])) == keys


def test_decode_keys_that_are_no_utf8() -> None:
    assert list(decode_keys(["a%FFb"])) == ["a\udcffb"]


@pytest.mark.parametrize("name", ["GLACIER", "DEEP_ARCHIVE", "glacier", "ARCHIVE", "COLD_VAULT", "TAPE"])
def test_archive_classes(name: str) -> None:
    assert is_archived(name)


@pytest.mark.parametrize("name", ["", "STANDARD", "GLACIER_IR", "COLDLINE", "EXPRESS_ONEZONE", "SOMETHING_NEW"])
def test_readable_classes(name: str) -> None:
    assert not is_archived(name)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=60), st.integers(1, 40))
def test_a_cycle_of_tokens_is_found(before: list[int], length: int) -> None:
    """Whatever came before it, within a few turns of it."""
    cursor = Cursor()
    for i, _ in enumerate(before):
        cursor = Cursor.decode(cursor.next(f"before-{i}", "k").encode())

    def go_round() -> None:
        nonlocal cursor
        for i in range(4 * (len(before) + length)):
            cursor = Cursor.decode(cursor.next(f"in-{i % length}", "k").encode())

    with pytest.raises(NotAListingError):
        go_round()


@given(st.integers(1, 300))
def test_new_tokens_are_never_taken_for_a_cycle(count: int) -> None:
    cursor = Cursor()
    for i in range(count):
        cursor = cursor.next(f"t{i}", "k")
    assert cursor.page == count
