"""A library that cannot be read: the rest of the pass counts, nothing of it is taken for absent."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activities.reconcile import outside
from tests.contract.sharepoint_rig import Rig
from tests.contract.test_sharepoint_end_to_end import Scene
from tests.simulators.graph import Answer
from tests.simulators.graph_json import error_json
from tests.simulators.graph_tree import Drive

SITE = "/sites/Sales"
DENIED = Answer(403, error_json("accessDenied", "Access denied"))


def libraries(tenant: Rig, *names: str, files: int = 3) -> list[Drive]:
    """Further libraries of the site, with some files in each."""
    tree = tenant.graph.tree
    made = [tree.add_library(tree.sites[tenant.library.site], name) for name in names]
    for library in made:
        for number in range(files):
            tree.put(library, f"in/{number}.txt", b"%d" % number)
    return made


async def test_a_full_pass_is_complete_beside_an_unreadable_library(tenant: Rig) -> None:
    (second,) = libraries(tenant, "Second")
    tenant.graph.tree.put(tenant.library, "a.txt", b"1")
    second.status = 423
    seen = await tenant.full(path=SITE)
    assert seen.complete and seen.paths == ["Documents/a.txt"]
    ((low, high, why),) = seen.unproven
    assert low <= f"{second.id}/01X" < (high or "") and not low <= f"{tenant.library.id}/01X" < (high or "")
    assert "Second" in why and "423" in why
    assert tenant.library.id in tenant.positions.kept


async def test_a_library_that_fails_in_the_middle_of_a_crawl_is_read_anew_later(tenant: Rig) -> None:
    (second,) = libraries(tenant, "Second", files=30)
    await tenant.full(path=SITE)
    tenant.graph.faults.max_top = 10
    provider = tenant.provider()
    page = await provider.list_page(SITE, None, 10)
    gained = dict(page.positions)
    tenant.graph.script("delta", DENIED)
    page = await provider.list_page(SITE, page.next_cursor, 10)
    assert page.complete and page.unproven[0][:2] == (f"{second.id}/", f"{second.id}0")
    tenant.positions.kept |= gained | dict(page.positions)
    again = await tenant.changes(path=SITE)
    assert again.proven == [(f"{second.id}/", f"{second.id}0")]
    assert not (await tenant.changes(path=SITE)).proven


async def test_a_failed_site_leaves_the_pass_incomplete(tenant: Rig) -> None:
    tree = tenant.graph.tree
    tree.put(tenant.library, "a.txt", b"1")
    tree.add_site("sites/Closed").status = 403
    seen = await tenant.full(path="/sites")
    assert not seen.complete and not seen.unproven  # which ids it has is not known


async def test_more_unreadable_libraries_than_can_be_named_leave_the_pass_incomplete(tenant: Rig) -> None:
    tenant.graph.tree.put(tenant.library, "a.txt", b"1")
    for library in libraries(tenant, *(f"L{number:02d}" for number in range(65)), files=0):
        library.status = 403
    seen = await tenant.full(path=SITE)
    assert len(seen.unproven) == 64 and not seen.complete


IDS = st.text("ab/0", max_size=4)


@given(st.lists(st.tuples(IDS, IDS).filter(lambda pair: not pair[1] or pair[0] < pair[1]), max_size=4), IDS)
def test_every_id_is_either_outside_or_unproven(ranges: list[tuple[str, str]], source_id: str) -> None:
    def within(low: str, high: str) -> bool:
        return low <= source_id and (not high or source_id < high)

    left = outside([[low, high, "why"] for low, high in ranges])
    assert sum(within(low, high) for low, high in left) + any(within(*one) for one in ranges) == 1


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_one_unreadable_library_through_the_whole_stack(scene: Scene, tenant: Rig) -> None:
    graph, tree, documents = tenant.graph, tenant.graph.tree, tenant.library
    archive, third = libraries(tenant, "Archive", "Third")
    for number in range(30):
        tree.put(documents, f"{number:02d}.txt", b"%d" % number)
    scene.begin(SITE)
    assert scene.finished(1)["metadata"]["counts"]["stored"] == 36

    archive.status = 403
    tree.remove(archive, "in/0.txt")
    tree.remove(documents, "00.txt")
    tree.sites[documents.site].drives.remove(third.id)
    job = poll(scene, full=True)
    assert (job["status"], job["metadata"]["partial"], job["metadata"]["pass"]) == ("completed", True, "full")
    assert job["metadata"]["partial_reason"] == "library_failed: Sales/Archive (403 accessDenied)"
    assert job["metadata"]["counts"]["removed"] == 4  # one file, and the library that is no longer the site's
    assert len([path for path in scene.paths() if path.startswith("Archive/")]) == 3

    graph.clear()
    job = poll(scene)
    assert (job["metadata"]["pass"], job["metadata"]["partial"]) == ("incremental", True)
    archive.status = 200
    job = poll(scene)
    assert (job["metadata"]["pass"], job["metadata"]["partial"]) == ("incremental", False)
    assert job["metadata"]["counts"]["removed"] == 1
    assert len(scene.paths()) == 29 + 2


def poll(scene: Scene, *, full: bool = False) -> dict[str, Any]:
    """Trigger a run and wait for its end."""
    before = len(scene.jobs())
    query = "?full_sync=true" if full else ""
    scene.call("POST", f"/v1/buckets/{scene.bucket}/syncs/{scene.sync}/trigger{query}")
    return scene.finished(before + 1)
