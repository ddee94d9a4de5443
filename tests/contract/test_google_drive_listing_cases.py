"""Cases of ../shared/cases.md about listing and the change log, one test each, named after it; and their like."""

from __future__ import annotations

from typing import Any

import pytest

from providers.base import content_part
from providers.errors import Denied, Misconfigured, Transient
from tests.contract.google_drive_rig import connect, full_pass, ids, poll
from tests.contract.provider_suite import Places, read, walk
from tests.simulators.google_drive import Answer, DriveSimulator


async def test_g01_the_token_is_taken_before_the_listing(drive: DriveSimulator, provider: Any) -> None:
    for i in range(6):
        drive.tree.put(f"a/f{i}", b"x")
    places, first = Places(), await provider.list_page("/a", None, 3)
    calls = [call for call, _, _ in drive.requests]
    assert calls.index("changes.getStartPageToken") < len(calls) - 1 - calls[::-1].index("files.list")
    drive.tree.put("a/f0", b"changed behind the listing")
    drive.tree.put("a/late", b"new behind the listing")
    rest = []
    cursor = first.next_cursor
    while cursor:
        rest.append(await provider.list_page("/a", cursor, 3))
        cursor = rest[-1].next_cursor
    for page in [first, *rest]:
        places.kept.update(page.positions)
    rows, _ = await poll(provider, "/a", places)
    assert rows.keys() == {"f0", "late"}


async def test_g01_a_file_that_moves_while_the_walk_goes_on_is_not_taken_for_absent(
    drive: DriveSimulator, provider: Any
) -> None:
    tree = drive.tree
    for i in range(4):
        tree.put(f"a/f{i}", b"x")
    tree.put("a/sub/deep", b"x")
    [deep] = [file for file in tree.files.values() if file.name == "deep"]
    first = await provider.list_page("/a", None, 2)
    tree.move(deep.id, tree.folder("a"))
    seen, page = list(first.ids), first
    cursor = first.next_cursor
    while cursor:
        page = await provider.list_page("/a", cursor, 2)
        seen += page.ids
        cursor = page.next_cursor
    assert deep.id in seen
    assert page.complete


async def test_g02_a_refused_change_token_asks_for_a_full_pass(drive: DriveSimulator, provider: Any) -> None:
    drive.tree.put("a/f", b"x")
    places = Places()
    await full_pass(provider, "/a", places)
    before = dict(places.kept)
    for status in (400, 410):
        drive.script("changes.list", Answer.error(status, "invalid", "Invalid Value"))
        with pytest.raises(Transient) as caught:
            await provider.list_changes("/a", places, None, 100)
        assert caught.value.reason == "cursor_refused"
    assert places.kept == before
    assert drive.counts["changes.getStartPageToken"] == 1


async def test_g03_the_log_goes_on_at_its_page_and_the_new_token_comes_last(
    drive: DriveSimulator, provider: Any
) -> None:
    for i in range(9):
        drive.tree.put(f"a/f{i}", b"x")
    places = Places()
    await full_pass(provider, "/a", places)
    for i in range(9):
        drive.tree.put(f"a/f{i}", b"y")
    cursor, positions, seen = None, [], []
    for number in range(9):
        if number == 3:
            await provider.close()
            provider = connect(drive)
        page = await provider.list_changes("/a", places, cursor, 1)
        positions.append("feed" in page.positions)
        seen += page.ids
        cursor = page.next_cursor
    assert cursor is None
    assert positions == [False] * 8 + [True]
    assert len(set(seen)) == 9
    await provider.close()


async def test_g06_shared_drives_are_named_on_every_request(drive: DriveSimulator) -> None:
    shared = drive.tree.add_drive("Team", {drive.robot})
    drive.tree.put("a/f", b"x", shared)
    provider = connect(drive, {"shared_drive_id": shared})
    places = Places()
    [page] = await full_pass(provider, "/a", places)
    drive.tree.put("a/f", b"y", shared)
    await poll(provider, "/a", places)
    await read(await provider.open(page.row(0), any_version=True))
    for call, query, _ in drive.requests:
        if call.startswith(("files.", "changes.")):
            assert query.get("supportsAllDrives") == "true", call
        if call in {"files.list", "changes.list"}:
            assert query.get("includeItemsFromAllDrives") == "true", call
    await provider.close()


async def test_g08_what_is_in_the_bin_is_not_there(drive: DriveSimulator, provider: Any) -> None:
    drive.tree.put("a/f", b"x")
    kept = drive.tree.put("a/g", b"x")
    gone = drive.tree.put("a/h", b"x")
    drive.tree.trash(gone.id)
    places = Places()
    assert {row.path for row in await walk(provider, "/a")} == {"f", "g"}
    await full_pass(provider, "/a", places)
    drive.tree.trash(kept.id)
    assert await poll(provider, "/a", places) == ({}, {kept.id: "trashed"})
    drive.tree.trash(kept.id, back=True)
    rows, _ = await poll(provider, "/a", places)
    assert rows.keys() == {"g"}


async def test_g10_what_is_no_longer_visible_is_called_that(drive: DriveSimulator) -> None:
    tree = drive.tree
    folder = tree.folder("a")
    tree.put("a/f", b"x")
    tree.share(folder, drive.robot)
    provider = connect(drive, {})
    places = Places()
    await full_pass(provider, folder, places)
    file = next(file for file in tree.files.values() if file.name == "f")
    file.shared_with.add(drive.robot)
    tree.move(file.id, tree.folder("elsewhere"))
    tree.unshare(file.id, drive.robot)
    assert await poll(provider, folder, places) == ({}, {file.id: "not_visible"})
    await provider.close()


async def test_g11_a_file_that_moved_out_is_removed(drive: DriveSimulator, provider: Any) -> None:
    file = drive.tree.put("a/b/f", b"x")
    places = Places()
    await full_pass(provider, "/a", places)
    drive.tree.move(file.id, drive.tree.folder("elsewhere"))
    rows, removed = await poll(provider, "/a", places)
    assert (rows, removed) == ({}, {file.id: "moved_out"})
    drive.tree.move(file.id, drive.tree.folder("a"))
    rows, removed = await poll(provider, "/a", places)
    assert (set(rows), removed) == ({"f"}, {})


async def test_g14_rows_of_the_log_have_the_paths_that_filters_see(drive: DriveSimulator, provider: Any) -> None:
    drive.tree.put("a/b/keep.pdf", b"x")
    places = Places()
    [page] = await full_pass(provider, "/a", places)
    drive.tree.put("a/b/keep.pdf", b"y")
    rows, _ = await poll(provider, "/a", places)
    assert rows["b/keep.pdf"].path == page.row(0).path
    assert rows["b/keep.pdf"].name == "keep.pdf"


async def test_g15_two_files_of_one_name_are_two_objects(drive: DriveSimulator, provider: Any) -> None:
    folder = drive.tree.folder("a")
    one = drive.tree.add("same", "text/plain", folder, b"1")
    two = drive.tree.add("same", "text/plain", folder, b"2")
    rows = await walk(provider, "/a")
    assert {row.id for row in rows} == {one.id, two.id}
    assert {await read(await provider.open(row)) for row in rows} == {b"1", b"2"}


@pytest.mark.parametrize("name", ["a/b", "..", ".", "../../etc/passwd", "/abs", "nul\0byte"])
async def test_g16_names_never_lead_elsewhere(drive: DriveSimulator, provider: Any, name: str) -> None:
    drive.tree.add(name, "text/plain", drive.tree.folder("a"), b"x")
    [row] = await walk(provider, "/a")
    assert "/" not in row.path and row.path not in {".", ".."} and "\0" not in row.path
    assert (await provider.attributes(row, tags=False, metadata=True)).properties["name"] == name
    assert await read(await provider.open(row)) == b"x"


async def test_g21_invisible_changes_of_native_documents_change_nothing(drive: DriveSimulator, provider: Any) -> None:
    doc = drive.tree.native("document", "a/doc", {"application/pdf": b"x"})
    [before] = await walk(provider, "/a")
    drive.tree.bump(doc.id)
    assert await walk(provider, "/a") == [before]
    drive.tree.edit(doc.id, {"application/pdf": b"y"})
    [after] = await walk(provider, "/a")
    assert content_part(after.fingerprint) != content_part(before.fingerprint)
    drive.tree.show(doc.id, modifiedTime=None)
    [blind] = await walk(provider, "/a")
    drive.tree.bump(doc.id)
    [blind_again] = await walk(provider, "/a")
    assert content_part(blind.fingerprint) != content_part(blind_again.fingerprint)


async def test_g35_a_drive_that_goes_in_the_middle_stops_the_run(drive: DriveSimulator) -> None:
    shared = drive.tree.add_drive("Team", {drive.robot})
    for i in range(9):
        drive.tree.put(f"d{i % 3}/f{i}", b"x", shared)
    provider = connect(drive, {"shared_drive_id": shared})
    places = Places()
    await full_pass(provider, "/", places)
    first = await provider.list_page("/", None, 2)
    drive.tree.drives[shared]["members"].clear()
    for call in (
        provider.list_page("/", first.next_cursor, 2),
        provider.list_page("/", None, 2),
        provider.list_changes("/", places, None, 100),
        provider.check("/"),
    ):
        with pytest.raises((Misconfigured, Denied)) as caught:
            await call
        assert "share" in str(caught.value)
    await provider.close()


async def test_g35_a_folder_whose_children_are_no_longer_shown_is_no_empty_folder(
    drive: DriveSimulator, provider: Any
) -> None:
    drive.tree.put("a/f", b"x")
    first = await provider.list_page("/a", None, 100)
    assert first.complete
    nothing = Answer(200, b'{"kind":"drive#fileList","incompleteSearch":false,"files":[]}')
    folder = drive.tree.folder("a")
    drive.script("files.list", nothing)
    drive.script("files.get", Answer(genuine=True), Answer.error(404, "notFound", "File not found"))
    with pytest.raises(Misconfigured) as caught:
        await provider.list_page(folder, None, 100)
    assert caught.value.reason == "root_lost"


async def test_g37_a_file_throttled_in_the_middle_is_not_passed_over(drive: DriveSimulator, provider: Any) -> None:
    drive.tree.put("a/f", b"x")
    places = Places()
    await full_pass(provider, "/a", places)
    kept = dict(places.kept)
    drive.tree.put("a/f", b"y")
    page = await provider.list_changes("/a", places, None, 100)
    assert page.ids and "feed" in page.positions
    assert places.kept == kept  # the caller keeps a place only when what it covers is durable
    rows, _ = await poll(provider, "/a", places)
    assert rows.keys() == {"f"}


async def test_g39_polling_finds_every_change_without_any_channel(drive: DriveSimulator, provider: Any) -> None:
    places = Places()
    drive.tree.folder("a")
    await full_pass(provider, "/a", places)
    for i in range(5):
        drive.tree.put(f"a/f{i}", b"x")
        rows, _ = await poll(provider, "/a", places)
        assert rows.keys() == {f"f{i}"}
    assert "changes.watch" not in drive.counts


async def test_incomplete_search_is_no_complete_pass(drive: DriveSimulator, provider: Any) -> None:
    drive.tree.put("a/f", b"x")
    folder = drive.tree.folder("a")
    drive.calls.incomplete_search = True
    pages = await full_pass(provider, folder)
    assert ids(pages) and not pages[-1].complete


async def test_a_shortcut_has_its_targets_bytes_and_its_own_place(drive: DriveSimulator, provider: Any) -> None:
    tree = drive.tree
    target = tree.put("elsewhere/real.txt", b"the bytes")
    short = tree.shortcut("a/short.txt", target.id)
    tree.shortcut("a/folder", tree.folder("a"))
    lost = tree.put("elsewhere/lost", b"x")
    dangling = tree.shortcut("a/dangling", lost.id)
    tree.delete(lost.id)
    [page] = await full_pass(provider, "/a")
    reasons = {page.row(i).path: page.skips.get(i) for i in range(len(page.ids))}
    assert reasons == {"short.txt": None, "folder": "shortcut_to_folder", "dangling": "shortcut_dangling"}
    assert dangling.id in page.ids
    [row] = [page.row(i) for i in range(len(page.ids)) if i not in page.skips]
    assert (row.id, row.size) == (short.id, 9)
    assert await read(await provider.open(row)) == b"the bytes"
    tree.write(target.id, b"newer bytes")
    assert await read(await provider.open(row, any_version=True)) == b"newer bytes"
    [again] = await walk(provider, "/a")
    assert content_part(again.fingerprint) != content_part(row.fingerprint)
