"""Cases of folders: a listing that is short (G07), folders that move, come and go (G12)."""

from __future__ import annotations

from typing import Any

import pytest

from providers.base import content_part
from tests.contract.google_drive_rig import changes, connect, full_pass, ids, poll
from tests.contract.provider_suite import Places
from tests.simulators.google_drive import DriveSimulator


@pytest.mark.parametrize("grouped", [True, False])
async def test_g07_a_drive_whose_flat_listing_is_short_is_walked_whole(drive: DriveSimulator, grouped: bool) -> None:
    shared = drive.tree.add_drive("Team", {drive.robot})
    for i in range(650):
        drive.tree.put(f"d{i % 13}/e{i % 7}/f{i}", b"x", shared)
    drive.calls.flat_share = 0.03
    drive.calls.groups_answer_nothing = not grouped
    provider = connect(drive, {"shared_drive_id": shared})
    pages = await full_pass(provider, "/")
    assert len(set(ids(pages))) == len(ids(pages)) == 650
    assert pages[-1].complete
    await provider.close()


async def test_g07_a_listing_that_leaves_folders_out_is_noticed_and_walked_folder_by_folder(
    drive: DriveSimulator,
) -> None:
    shared = drive.tree.add_drive("Team", {drive.robot})
    for i in range(400):
        drive.tree.put(f"d{i % 20}/e{i % 40}/f{i}", b"x", shared)
    drive.calls.groups_forget = {drive.tree.folder(f"d{i % 20}/e{i}", shared) for i in range(2, 40)}
    provider = connect(drive, {"shared_drive_id": shared})
    places = Places()
    pages = await full_pass(provider, "/", places, limit=30)
    assert len(set(ids(pages))) == len(ids(pages)) == 400
    [(low, high, why)] = pages[-1].unproven  # the alarm: the run is partial, and nothing is removed
    assert (low, high) == ("", None) and "drive_listing_short" in why
    drive.calls.groups_forget.clear()
    pages = await full_pass(provider, "/", places)
    assert not pages[-1].unproven and len(ids(pages)) == 400
    await provider.close()


async def test_g07_another_process_finds_its_way_past_a_short_listing_too(drive: DriveSimulator) -> None:
    for i in range(60):
        drive.tree.put(f"a/w{i % 12}/x{i % 24}/y{i}/f", b"x")
    drive.calls.groups_forget = {drive.tree.folder(f"a/w{i}") for i in range(3, 12)}
    provider = connect(drive)
    page = await provider.list_page("/a", None, 10)
    seen = list(page.ids)
    while page.next_cursor is not None and len(seen) < 1000:
        await provider.close()
        provider = connect(drive)
        page = await provider.list_page("/a", page.next_cursor, 10)
        seen += page.ids
    await provider.close()
    assert page.complete and page.unproven and len(seen) == len(set(seen)) == 60


async def test_g07_each_empty_folder_costs_one_look_and_no_alarm(drive: DriveSimulator, provider: Any) -> None:
    for i in range(40):
        drive.tree.put(f"a/d{i}/f", b"x")
    before = drive.total()
    await full_pass(provider, "/a")
    usual = drive.total() - before
    for i in range(8):
        drive.tree.folder(f"a/empty{i}")
    before = drive.total()
    pages = await full_pass(provider, "/a")
    assert drive.total() - before == usual + 8
    assert pages[-1].complete and not pages[-1].unproven


async def test_g12_everything_below_a_moved_folder_is_decided_anew(drive: DriveSimulator, provider: Any) -> None:
    tree = drive.tree
    for name in ("x/one", "x/deep/two", "y/three"):
        tree.put(f"a/{name}", b"x")
    tree.put("outside/z/four", b"x")
    places = Places()
    before = {
        row.path: row
        for page in await full_pass(provider, "/a", places)
        for row in map(page.row, [*range(len(page.ids))])
    }
    by_name = {file.name: file.id for file in tree.files.values()}

    tree.move(by_name["x"], tree.folder("outside"))
    rows, removed = await poll(provider, "/a", places)
    assert not rows
    assert removed == {by_name["one"]: "moved_out", by_name["two"]: "moved_out"}

    tree.move(by_name["z"], tree.folder("a/y"))
    rows, removed = await poll(provider, "/a", places)
    assert (set(rows), removed) == ({"y/z/four"}, {})

    tree.rename(by_name["y"], "why")
    rows, removed = await poll(provider, "/a", places)
    assert (set(rows), removed) == ({"why/three", "why/z/four"}, {})
    old, new = before["y/three"].fingerprint, rows["why/three"].fingerprint
    assert content_part(old) == content_part(new) and old != new

    tree.move(by_name["x"], tree.folder("a"))
    rows, _ = await poll(provider, "/a", places)
    assert rows.keys() == {"x/one", "x/deep/two"}

    tree.trash(by_name["x"])
    rows, removed = await poll(provider, "/a", places)
    assert (rows, removed) == ({}, {by_name["one"]: "trashed", by_name["two"]: "trashed"})


async def test_g12_a_deleted_folder_asks_for_a_full_pass_and_foreign_folders_do_not(
    drive: DriveSimulator, provider: Any
) -> None:
    tree = drive.tree
    tree.put("a/x/one", b"x")
    tree.put("foreign/y/two", b"x")
    places = Places()
    await full_pass(provider, "/a", places)
    before = drive.counts["files.list"]
    tree.rename(tree.folder("foreign/y"), "z")
    tree.delete(tree.folder("foreign/z"))
    rows, _ = await poll(provider, "/a", places)
    assert not rows
    assert drive.counts["files.list"] == before + 1  # the path itself
    tree.delete(tree.folder("a/x"))
    [page] = await changes(provider, "/a", places)
    assert "no longer visible" in page.rescan
    assert not page.positions


async def test_g12_many_renamed_folders_are_walked_a_part_of_the_log_at_a_time(
    drive: DriveSimulator, provider: Any
) -> None:
    for i in range(150):
        drive.tree.put(f"a/d{i}/f", b"x")
    places = Places()
    await full_pass(provider, "/a", places)
    for i in range(150):
        drive.tree.rename(drive.tree.folder(f"a/d{i}"), f"e{i}")
    pages = await changes(provider, "/a", places)
    assert not any(page.rescan for page in pages)
    assert {page.row(i).path for page in pages for i in range(len(page.ids))} == {f"e{i}/f" for i in range(150)}
    assert sum(page.requests for page in pages) < 180  # each folder is looked at once


async def test_g12_a_new_tree_is_walked_from_its_top(drive: DriveSimulator, provider: Any) -> None:
    drive.tree.put("a/old", b"x")
    places = Places()
    await full_pass(provider, "/a", places)
    for i in range(40):
        drive.tree.put(f"a/new/d{i}/f", b"x")
    pages = await changes(provider, "/a", places)
    assert not any(page.rescan for page in pages)
    assert {page.row(i).path for page in pages for i in range(len(page.ids))} == {f"new/d{i}/f" for i in range(40)}
    assert sum(page.requests for page in pages) < 10
