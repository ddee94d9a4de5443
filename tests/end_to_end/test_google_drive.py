"""Google Drive through the whole stack: the API, the workflow, the provider, a simulated Drive."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator

import pymongo
import pytest
import pytest_asyncio

from deploy.local.client import Api
from deploy.local.stack import Stack
from tests.chaos.rig import Landing, World, settled, until, world
from tests.simulators.google_drive import Answer, DriveSimulator
from tests.simulators.s3_faults import FaultyS3

ME = "me@example.com"


@pytest.fixture(scope="module")
def drive() -> Iterator[DriveSimulator]:
    with DriveSimulator.running() as simulator:
        yield simulator


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def here(make_module_stack: Callable[..., Stack], drive: DriveSimulator) -> AsyncIterator[World]:
    stack = make_module_stack(
        workers=1,
        settings={"TIDEMARK_GOOGLE_API_ENDPOINT": drive.url, "TIDEMARK_GOOGLE_TOKEN_URI": drive.token_uri},
    )
    stack.up()
    async with world(stack, FaultyS3()) as found:
        yield found


async def connect(api: Api, drive: DriveSimulator, name: str) -> str:
    config = {"credentials": drive.service_account(), "impersonate_user": ME}
    body = {"name": name, "provider_type": "google_drive", "provider_config": config}
    return str((await api.call("POST", "/organizations/connections", body))["connection_id"])


async def paths(landing: Landing) -> set[str]:
    return {str(one["source_details"][0]["source_path"]) for one in await landing.objects()}


@pytest.mark.slow
async def test_a_sync_follows_a_drive_at_the_cost_of_its_changes(here: World, drive: DriveSimulator) -> None:
    tree = drive.tree
    for i in range(60):
        tree.put(f"work/d{i % 3}/f{i:02d}.txt", b"%d" % i)
    tree.put("work/leaving/inner/x.txt", b"x")
    connection = await connect(here.api, drive, "drive")

    browse = f"/organizations/connections/{connection}"
    folders = await here.api.call("GET", f"{browse}/folders?path=/")
    assert [one["path"] for one in folders["results"]] == ["/work"]
    files = await here.api.call("GET", f"{browse}/files?path=/work/d0", None, max_results=5)
    assert len(files["files"]) == 5 and files["has_more"]
    assert (await here.api.call("POST", f"{browse}/test"))["success"]

    mapping = {"mappings": {
        "content": {"target_type": "blob", "source": {"type": "file"}, "blob_property": "content"},
        "author": {"target_type": "field", "source": {"type": "drive_property", "key": "author"}},
    }}  # fmt: skip
    landing = await here.sync("/work", connection_id=connection, schema_mapping=mapping)
    settled(await landing.first(), stored=61)
    by_name = {file.name: file.id for file in tree.files.values()}

    before = drive.total()
    settled(await landing.again(), stored=0, updated=0, seen=0)
    assert drive.total() - before <= 5  # nothing changed: no file is listed

    tree.put("work/d0/f00.txt", b"changed")
    tree.show(by_name["f01.txt"], appProperties={"author": "Ada"})
    tree.rename(by_name["f02.txt"], "renamed.txt")
    tree.trash(by_name["f03.txt"])
    tree.move(by_name["f04.txt"], tree.folder("elsewhere"))
    tree.put("work/d1/new.txt", b"new")
    before, media = drive.total(), drive.counts["files.media"]
    counts = settled(await landing.again(), stored=1, updated=3)
    assert counts["removed"] == 2
    assert drive.total() - before <= 25
    assert drive.counts["files.media"] - media == 2  # a rename and a property fetch no bytes

    tree.rename(by_name["d2"], "renamed-folder")
    tree.move(by_name["leaving"], tree.folder("elsewhere"))
    counts = settled(await landing.again(), updated=20)
    assert counts["removed"] == 1
    found = await paths(landing)
    assert "renamed-folder/f05.txt" in found and "d0/renamed.txt" not in found and "d2/renamed.txt" not in found
    assert "renamed-folder/renamed.txt" in found and "leaving/inner/x.txt" not in found
    assert {str(one.get("author")) for one in await landing.objects()} == {"Ada", "None"}
    truth = {
        file.id: file.body
        for file in tree.below(by_name["work"])
        if file.mime_type == "text/plain" and not file.trashed
    }
    landing.source = "-"
    assert await landing.recount(truth) == 59

    drive.script("changes.list", Answer.error(400, "invalid", "Invalid Value"))
    tree.put("work/d1/after.txt", b"after")
    await landing.again()  # the token is refused: a full pass follows at once, by itself

    async def caught_up() -> bool:
        return "d1/after.txt" in await paths(landing) and (await landing.jobs())[0]["status"] == "completed"

    await until(caught_up)
    assert len(await paths(landing)) == 60
    assert await landing.letters() == []


@pytest.mark.slow
async def test_faults_cost_no_file_no_attempt_and_no_removal(here: World, drive: DriveSimulator) -> None:
    tree = drive.tree
    for i in range(12):
        tree.put(f"faults/f{i:02d}.txt", b"%d" % i)
    connection = await connect(here.api, drive, "faults")
    slow = Answer.error(429, "userRateLimitExceeded", Retry_After="1")
    drive.script("files.list", slow, times=4)
    drive.script("files.media", slow, times=7)  # more often than there are attempts
    drive.script("files.media", Answer(genuine=True, cut=0), times=2)
    drive.script("files.media", Answer.error(500, "backendError"), times=2)
    landing = await here.sync("/faults", connection_id=connection)
    job = await landing.first(seconds=90)
    counts = settled(job, stored=12, failed=0)
    assert counts["throttle_waits"] >= 4
    assert await landing.letters() == []

    drive.script("changes.list", slow, times=4)
    tree.put("faults/new.txt", b"new")
    settled(await landing.again(seconds=90), stored=1, failed=0)

    # A listing that is not whole removes nothing, whatever it does not show.
    drive.calls.incomplete_search = True
    hidden = [file.id for file in tree.below(tree.folder("faults")) if file.name.startswith("f0")]
    for file_id in hidden:
        tree.files[file_id].trashed = True  # gone from the listing, with no word in the log
    job = await landing.again(full=True)
    counts = settled(job, failed=0)
    assert (counts["removed"], job["metadata"]["partial"]) == (0, True)
    drive.calls.incomplete_search = False
    counts = settled(await landing.again(full=True), failed=0)
    assert counts["removed"] == len(hidden) == 10
    assert len(await paths(landing)) == 3


@pytest.mark.slow
async def test_g07_a_short_listing_is_an_alarm_of_the_run(here: World, drive: DriveSimulator) -> None:
    tree = drive.tree
    for i in range(8):
        tree.put(f"short/d{i}/f.txt", b"%d" % i)
    drive.calls.groups_forget = {tree.folder(f"short/d{i}") for i in range(4, 8)}
    landing = await here.sync("/short", connection_id=await connect(here.api, drive, "short"))
    job = await landing.first()
    settled(job, stored=8)  # all the same
    assert job["metadata"]["partial"] and "drive_listing_short" in job["metadata"]["partial_reason"]
    tree.files[tree.children(tree.folder("short/d0"))[0].id].trashed = True  # with no word in the log
    assert settled(await landing.again(full=True))["removed"] == 0
    drive.calls.groups_forget.clear()
    job = await landing.again(full=True)
    assert (settled(job)["removed"], job["metadata"]["partial"]) == (1, False)


@pytest.mark.slow
async def test_what_a_listing_leaves_out_is_asked_for_by_id_before_it_is_removed(
    here: World, drive: DriveSimulator
) -> None:
    tree = drive.tree
    files = [tree.put(f"unlisted/d{i % 4}/f{i:02d}.txt", b"%d" % i) for i in range(20)]
    landing = await here.sync("/unlisted", connection_id=await connect(here.api, drive, "unlisted"))
    settled(await landing.first(), stored=20)
    # No listing shows a folder any more; and what is really gone went without a word in the log.
    drive.calls.lists_forget = {tree.folder("unlisted/d1")}
    in_bin, moved, deleted = files[0], files[4], files[8]
    in_bin.trashed = True
    moved.parent = tree.folder("elsewhere")
    del tree.files[deleted.id]
    job = await landing.again(full=True)
    assert settled(job, seen=12)["removed"] == 3
    assert job["metadata"]["partial"] and job["metadata"]["partial_reason"].startswith("listing_short: 5 objects")
    assert len(await landing.objects()) == 17
    # The next full pass sees it again, and nothing has to be fetched once more.
    drive.calls.lists_forget.clear()
    media = drive.counts["files.media"]
    job = await landing.again(full=True)
    assert (settled(job, unchanged=17)["removed"], job["metadata"]["partial"]) == (0, False)
    assert drive.counts["files.media"] == media


@pytest.mark.slow
async def test_g10_what_is_no_longer_visible_is_called_that_and_kept_where_one_wants_it(
    here: World, drive: DriveSimulator
) -> None:
    tree, robot = drive.tree, drive.robot
    files = {name: tree.put(f"lost/{name}", name.encode()) for name in ("a.txt", "b.txt", "c.txt")}
    tree.share(tree.folder("lost"), robot)
    body = {"name": "robot", "provider_type": "google_drive"}
    config = {"credentials": drive.service_account()}
    connection = await here.api.call("POST", "/organizations/connections", {**body, "provider_config": config})
    folder = {"connection_id": str(connection["connection_id"])}
    follows = await here.sync(tree.folder("lost"), **folder)
    keeps = await here.sync(tree.folder("lost"), **folder, reconcile={"on_delete": False})
    for landing in (follows, keeps):
        settled(await landing.first(), stored=3)
    files["b.txt"].shared_with.add(robot)
    tree.move(files["b.txt"].id, tree.folder("elsewhere"))
    tree.unshare(files["b.txt"].id, robot)  # it is not in the folder any more, and nobody says where it is
    for landing, removed, left in ((follows, 1, 2), (keeps, 0, 3)):
        assert settled(await landing.again())["removed"] == removed
        assert len(await landing.objects()) == left
    with pymongo.MongoClient[dict[str, object]](here.env["MONGODB_URI"]) as client:
        [left_behind] = client["tidemark"]["objects"].find({"tombstone.sync_config_id": follows.sync.id})
    assert left_behind["tombstone"]["reason"] == "not_visible"  # type: ignore[index]


@pytest.mark.slow
async def test_g14_a_filter_holds_for_changes_as_for_the_first_pass(here: World, drive: DriveSimulator) -> None:
    tree = drive.tree
    kept, other = tree.put("filter/a.txt", b"a"), tree.put("filter/b.bin", b"b")
    tree.put("filter/sub/c.txt", b"c")
    connection = await connect(here.api, drive, "filter")
    landing = await here.sync("/filter", connection_id=connection, file_filters={"include_patterns": ["*.txt"]})
    settled(await landing.first(), stored=2, skipped=1)
    tree.put("filter/new.txt", b"n")
    tree.put("filter/new.bin", b"n")
    tree.rename(other.id, "b.txt")
    tree.rename(kept.id, "a.bin")
    job = await landing.again()
    assert job["metadata"]["pass"] == "incremental"
    assert await paths(landing) == {"b.txt", "new.txt", "sub/c.txt"}
    job = await landing.again(full=True)
    settled(job, stored=0, updated=0)
    assert await paths(landing) == {"b.txt", "new.txt", "sub/c.txt"}
