"""The hard cases of SharePoint's feeds (cases.md, M lines): nothing lost, nothing doubled, nothing deleted unproven."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tests.contract.provider_suite import read
from tests.contract.sharepoint_rig import Rig
from tests.simulators.graph_tree import Item

OLD = datetime(2019, 5, 1, tzinfo=UTC)


def fill(tenant: Rig, number: int, folder: str = "f") -> None:
    for i in range(number):
        tenant.graph.tree.put(tenant.library, f"{folder}{i % 3}/{i:03d}.txt", b"%d" % i)


async def test_m01_a_file_written_during_the_first_crawl_is_seen(tenant: Rig) -> None:
    fill(tenant, 10)
    provider = tenant.provider()
    first = await provider.list_page(tenant.path, None, 4)
    tenant.graph.tree.put(tenant.library, "f0/000.txt", b"changed behind the listing")
    rest: list[str] = []
    cursor = first.next_cursor
    tenant.positions.kept |= first.positions
    while cursor is not None:
        page = await provider.list_page(tenant.path, cursor, 4)
        rest += list(page.ids)
        cursor = page.next_cursor
        tenant.positions.kept |= page.positions
    assert len({*first.ids, *rest}) == 10
    shown = await tenant.changes(provider)
    assert shown.paths == ["f0/000.txt"]
    assert tenant.graph.counts["other"] == 0  # never a listing of children


async def test_m02_a_refused_place_is_followed_by_a_full_enumeration_that_proves(tenant: Rig) -> None:
    fill(tenant, 10)
    await tenant.full()
    gone = tenant.library.find("f0/003.txt")
    assert gone is not None
    tenant.graph.tree.remove(tenant.library, "f0/003.txt")
    tenant.graph.tree.expire(tenant.library, "resyncChangesApplyDifferences")
    seen = await tenant.changes(limit=4)
    assert len(seen.rows) == 9 and f"{tenant.library.id}/{gone.id}" not in {row.id for row in seen.rows}
    assert seen.proven == [(f"{tenant.library.id}/", f"{tenant.library.id}0")]
    assert all(low <= row.id < (high or "") for row in seen.rows for low, high in seen.proven)
    assert (await tenant.changes()).rows == []


async def test_m03_upload_differences_prove_nothing_and_are_flagged(tenant: Rig) -> None:
    fill(tenant, 10)
    await tenant.full()
    tenant.graph.tree.remove(tenant.library, "f0/003.txt")
    tenant.graph.tree.expire(tenant.library, "resyncChangesUploadDifferences")
    seen = await tenant.changes(limit=4)
    assert len(seen.rows) == 9
    assert (seen.proven, seen.removed) == ([], {})
    assert list(seen.skips.values()) == ["resync_keeps_what_is_missing"]
    assert (await tenant.changes()).rows == []


async def test_a_place_refused_in_the_middle_of_a_full_walk_starts_that_drive_again(tenant: Rig) -> None:
    fill(tenant, 10)
    provider = tenant.provider()
    first = await provider.list_page(tenant.path, None, 4)
    tenant.graph.tree.expire(tenant.library)
    page, found, cursor = first, set(first.ids), first.next_cursor
    while cursor is not None:
        page = await provider.list_page(tenant.path, cursor, 4)
        found |= set(page.ids)
        cursor = page.next_cursor
    assert len(found) == 10 and page.complete


@pytest.mark.parametrize("with_paths", [False, True])
async def test_m05_paths_of_a_renamed_folder_come_from_the_tree_of_ids(tenant: Rig, with_paths: bool) -> None:
    tenant.graph.faults.paths_in_delta = with_paths
    tenant.graph.tree.put(tenant.library, "a/b/deep.txt", b"1")
    tenant.graph.tree.put(tenant.library, "a/near.txt", b"2")
    tenant.graph.tree.put(tenant.library, "c/far.txt", b"3")
    before = await tenant.full()
    tenant.graph.tree.move(tenant.library, "a", "A new name")
    seen = await tenant.changes()
    assert {"A new name/b/deep.txt", "A new name/near.txt"} <= set(seen.paths)
    assert seen.proven and not seen.removed
    old = {row.id: row for row in before.rows}
    for row in seen.rows:
        same = old[row.id].fingerprint == row.fingerprint
        assert same == (row.path == "c/far.txt")  # re-pathed ones are touched, the other is left alone
        assert old[row.id].fingerprint.rpartition("|")[0] == row.fingerprint.rpartition("|")[0]
    assert (await tenant.changes()).rows == []


async def test_m05_a_folder_in_which_only_a_file_changed_is_not_read_anew(tenant: Rig) -> None:
    fill(tenant, 30)
    await tenant.full()
    tenant.graph.tree.put(tenant.library, "f0/000.txt", b"new")
    tenant.graph.clear()
    seen = await tenant.changes()
    assert seen.paths == ["f0/000.txt"]
    assert (tenant.graph.counts["delta"], seen.proven) == (1, [])


@pytest.mark.parametrize("bare", [False, True])
@pytest.mark.parametrize("reported", [False, True])
async def test_a_deleted_folder_takes_along_what_was_in_it(tenant: Rig, bare: bool, reported: bool) -> None:
    fill(tenant, 12)
    await tenant.full()
    tenant.graph.faults.bare_deletes = bare
    tenant.graph.tree.descendants_reported = reported
    tenant.graph.tree.remove(tenant.library, "f1")
    seen = await tenant.changes()
    gone = 12 - len({row.id for row in seen.rows})
    assert seen.proven and gone == 4
    assert (await tenant.changes()).requests <= 4


@pytest.mark.parametrize("bare", [False, True])
async def test_a_deleted_file_costs_one_answer(tenant: Rig, bare: bool) -> None:
    fill(tenant, 12)
    await tenant.full()
    tenant.graph.faults.bare_deletes = bare
    item = tenant.library.find("f1/001.txt")
    assert item is not None
    tenant.graph.tree.remove(tenant.library, "f1/001.txt")
    tenant.graph.clear()
    seen = await tenant.changes()
    assert seen.removed == {f"{tenant.library.id}/{item.id}": "deleted"}
    assert tenant.graph.counts["delta"] == 1


async def test_m07_a_missing_ctag_is_no_sign_of_sameness(tenant: Rig) -> None:
    tenant.graph.tree.put(tenant.library, "x.bin", b"one", shown={"cTag": None, "file": {}})
    [before] = (await tenant.full()).rows
    tenant.graph.tree.put(tenant.library, "x.bin", b"two")
    [after] = (await tenant.changes()).rows
    assert before.fingerprint.rpartition("|")[0] != after.fingerprint.rpartition("|")[0]
    tenant.graph.tree.show(tenant.library, "x.bin", eTag=None, lastModifiedDateTime=None)
    prints = {(await tenant.full()).rows[0].fingerprint for _ in range(3)}
    assert len(prints) == 3  # nothing to tell versions apart: never the same


async def test_m09_moved_out_is_removed_and_an_old_file_moved_in_is_added(tenant: Rig) -> None:
    tree, path = tenant.graph.tree, "/sites/Sales/Documents/in"
    tree.put(tenant.library, "in/stays.txt", b"1")
    leaves = tree.put(tenant.library, "in/leaves.txt", b"2")
    tree.put(tenant.library, "out/old.txt", b"3", modified=OLD, created=OLD)
    tree.put(tenant.library, "out/deep/old.txt", b"4", modified=OLD, created=OLD)
    assert (await tenant.full(path=path)).paths == ["leaves.txt", "stays.txt"]
    tree.move(tenant.library, "in/leaves.txt", "out/left.txt")
    tree.move(tenant.library, "out/old.txt", "in/came.txt")
    seen = await tenant.changes(path=path)
    assert seen.paths == ["came.txt"]
    assert seen.removed[f"{tenant.library.id}/{leaves.id}"] == "moved_out"
    assert not seen.proven
    folder = tenant.library.find("out/deep")
    assert folder is not None
    folder.created = OLD
    tree.move(tenant.library, "out/deep", "in/deep")
    seen = await tenant.changes(path=path)
    assert seen.paths == ["came.txt", "deep/old.txt", "stays.txt"] and seen.proven
    tree.move(tenant.library, "in/deep", "out/deep")
    seen = await tenant.changes(path=path)
    assert seen.paths == ["came.txt", "stays.txt"] and seen.proven


async def test_a_folder_renamed_outside_the_synced_one_costs_nothing(tenant: Rig) -> None:
    tree, path = tenant.graph.tree, "/sites/Sales/Documents/in"
    tree.put(tenant.library, "in/stays.txt", b"1")
    tree.put(tenant.library, "out/a.txt", b"2")
    await tenant.full(path=path)
    tree.move(tenant.library, "out", "elsewhere")
    seen = await tenant.changes(path=path)
    assert (seen.rows, seen.proven, seen.rescan) == ([], [], "")


async def test_m10_what_a_shortcut_leads_to_is_followed_by_the_target_drive(tenant: Rig) -> None:
    tree = tenant.graph.tree
    other = tree.add_library(tree.add_site("sites/Other"), "Shared")
    folder = tree.mkdir(other, "team/files")
    tree.put(other, "team/files/a.txt", b"1")
    tree.put(other, "team/not ours.txt", b"x")
    tree.put(tenant.library, "own.txt", b"2")
    tree.shortcut(tenant.library, "links/Files", other, folder)
    first = await tenant.full(limit=2)
    assert first.paths == ["links/Files/a.txt", "own.txt"]
    assert f"{other.id}/{folder.id}" in tenant.positions.kept
    changed = tree.put(other, "team/files/a.txt", b"changed")
    tree.put(other, "team/files/new.txt", b"3")
    seen = await tenant.changes()
    assert seen.paths == ["links/Files/a.txt", "links/Files/new.txt"]
    assert await read(await tenant.provider().open(seen.rows[0])) in {b"changed", b"3"}
    tree.remove(other, "team/files/a.txt")
    assert (await tenant.changes()).removed == {f"{other.id}/{changed.id}": "deleted"}
    assert (await tenant.changes()).rows == []
    second = tree.mkdir(other, "second")
    tree.put(other, "second/b.txt", b"4")
    tree.shortcut(tenant.library, "links/Second", other, second)
    assert (await tenant.changes()).paths == ["links/Second/b.txt"]
    tree.put(other, "second/c.txt", b"5")
    assert (await tenant.changes()).paths == ["links/Second/c.txt"]
    tree.remove(tenant.library, "links/Second")
    assert "shortcut" in (await tenant.changes()).rescan
    assert (await tenant.full()).paths == ["links/Files/new.txt", "own.txt"]


async def test_m13_a_walk_resumes_at_its_next_link_in_another_process(tenant: Rig) -> None:
    fill(tenant, 40)
    provider = tenant.provider()
    page = await provider.list_page(tenant.path, None, 4)
    found, cursor = list(page.ids), page.next_cursor
    tenant.positions.kept |= page.positions
    for _ in range(6):
        page = await provider.list_page(tenant.path, cursor, 4)
        found += list(page.ids)
        cursor = page.next_cursor
        tenant.positions.kept |= page.positions
    tenant.graph.clear()
    other = tenant.provider()
    while cursor is not None:
        page = await other.list_page(tenant.path, cursor, 4)
        found += [page.row(i).id for i in range(len(page.ids))]
        assert all(page.row(i).path[0] == "f" for i in range(len(page.ids)))
        cursor = page.next_cursor
        tenant.positions.kept |= page.positions
    assert len(found) == len(set(found)) == 40 and page.complete
    assert tenant.graph.counts["delta"] <= 5
    assert tenant.graph.counts["item"] <= 4  # parents that the other process had seen
    # The record of folders was made by two processes, and is whole.
    tenant.graph.tree.move(tenant.library, "f0", "g0")
    assert (await tenant.changes()).proven


async def test_m14_every_drive_is_asked_at_every_poll(tenant: Rig) -> None:
    fill(tenant, 6)
    await tenant.full(path="/sites/Sales")
    tenant.graph.tree.remove(tenant.library, "f0/000.txt")
    tenant.graph.clear()
    seen = await tenant.changes(path="/sites/Sales")
    assert list(seen.removed.values()) == ["deleted"]
    assert tenant.graph.counts["delta"] == 1


async def test_m38_without_any_notification_each_poll_finds_what_changed(tenant: Rig) -> None:
    fill(tenant, 3)
    await tenant.full()
    tenant.graph.clear()
    for i in range(4):
        tenant.graph.tree.put(tenant.library, f"f0/late{i}.txt", b"x")
        assert (await tenant.changes()).paths == [f"f0/late{i}.txt"]
    assert not [raw for _, raw, _ in tenant.graph.requests if "subscriptions" in raw]


async def test_m15_a_forbidden_locked_or_gone_site_does_not_stop_the_others(tenant: Rig) -> None:
    tree = tenant.graph.tree
    tree.put(tenant.library, "ours.txt", b"1")
    for status in (403, 404, 410, 423):
        site = tree.add_site(f"sites/S{status}")
        tree.put(tree.add_library(site), "x.txt", b"x")
        site.status = status
    locked = tree.add_library(tree.add_site("sites/Half"))
    tree.put(locked, "y.txt", b"y")
    locked.status = 423
    tree.add_site("contentstorage/CSP_1").status = 403
    tree.add_site("personal/someone", host="contoso-my.sharepoint.com", personal=True).status = 403
    seen = await tenant.full(path="/sites")
    assert seen.paths == ["sites/Sales/Documents/ours.txt"]
    assert not seen.complete
    named = " ".join(seen.skips.values())
    assert len(seen.skips) == 5
    assert all(f"sites/S{status} ({status}" in named for status in (403, 404, 410, 423))
    assert "/sites/Half/Documents (423" in named


async def test_m15_a_library_that_fails_in_a_poll_keeps_its_place(tenant: Rig) -> None:
    tree = tenant.graph.tree
    second = tree.add_library(tree.sites[tenant.library.site], "Second")
    tree.put(tenant.library, "a.txt", b"1")
    tree.put(second, "b.txt", b"2")
    await tenant.full(path="/sites/Sales")
    tree.put(tenant.library, "a.txt", b"3")
    tree.put(second, "b.txt", b"4")
    second.status = 423
    seen = await tenant.changes(path="/sites/Sales")
    assert seen.paths == ["Documents/a.txt"] and seen.complete
    assert not seen.removed and not seen.proven
    second.status = 200
    assert (await tenant.changes(path="/sites/Sales")).paths == ["Second/b.txt"]


async def test_m18_a_library_that_is_gone_asks_for_a_full_pass(tenant: Rig) -> None:
    tree = tenant.graph.tree
    site = tree.sites[tenant.library.site]
    second = tree.add_library(site, "Second")
    tree.put(tenant.library, "a.txt", b"1")
    tree.put(second, "b.txt", b"2")
    assert (await tenant.full(path="/sites/Sales")).paths == ["Documents/a.txt", "Second/b.txt"]
    third = tree.add_library(site, "Third")
    tree.put(third, "c.txt", b"3")
    assert (await tenant.changes(path="/sites/Sales")).paths == ["Third/c.txt"]
    site.drives.remove(second.id)
    assert "lost a library" in (await tenant.changes(path="/sites/Sales")).rescan
    seen = await tenant.full(path="/sites/Sales")
    assert seen.paths == ["Documents/a.txt", "Third/c.txt"] and seen.complete


async def test_m35_a_folder_with_many_files_is_crawled_by_delta_alone(tenant: Rig) -> None:
    for i in range(5000):
        tenant.graph.tree._new(tenant.library, Item(f"01M{i}", f"{i}.txt", tenant.library.root.id, "file", b"x"))
    seen = await tenant.full()
    assert len({row.id for row in seen.rows}) == 5000 and seen.complete
    assert tenant.graph.counts["delta"] <= 6


async def test_m39_many_drives_have_one_row_each(tenant: Rig) -> None:
    tree = tenant.graph.tree
    site = tree.sites[tenant.library.site]
    for number in range(120):
        tree.add_library(site, f"L{number:03d}")
    tree.put(tenant.library, "a.txt", b"1")
    seen = await tenant.full(path="/sites/Sales")
    drives = [key for key in seen.positions if not key.startswith("@")]
    assert len(drives) == 121 and max(map(len, seen.positions.values())) < 4096
    assert seen.pages < 20
    tenant.graph.clear()
    assert (await tenant.changes(path="/sites/Sales")).pages < 20
    assert tenant.graph.counts["delta"] == 121


async def test_a_poll_at_rest_keeps_no_new_places(tenant: Rig) -> None:
    fill(tenant, 3)
    await tenant.full()
    assert (await tenant.changes()).positions == {}


async def test_an_item_shown_twice_on_a_page_counts_once_as_last_shown(tenant: Rig) -> None:
    fill(tenant, 3)
    tenant.graph.faults.doubled = True
    seen = await tenant.full(limit=2)
    assert len({row.id for row in seen.rows}) == 3
