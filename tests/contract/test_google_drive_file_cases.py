"""Cases of ../shared/cases.md about the bytes of one file, one test each, named after it; and their like."""

from __future__ import annotations

from typing import Any

import pytest

from providers.errors import Changed, Denied, Gone, Misconfigured, Permanent, Throttled, Transient
from providers.google_drive.exports import FORMATS
from tests.contract.google_drive_rig import connect, full_pass, poll
from tests.contract.provider_suite import Places, read, walk
from tests.simulators.google_drive import Answer, DriveSimulator

DOCX, PDF = FORMATS["docx"], FORMATS["pdf"]
LARGE = 11 * 1024 * 1024


@pytest.mark.parametrize(
    ("kind", "extension"),
    [("document", "docx"), ("spreadsheet", "xlsx"), ("presentation", "pptx"), ("drawing", "png"), ("script", "json")],
)
async def test_g19_native_documents_are_exported(
    drive: DriveSimulator, provider: Any, kind: str, extension: str
) -> None:
    drive.tree.native(kind, "a/doc", {FORMATS[extension]: b"exported", PDF: b"%PDF"})
    [row] = await walk(provider, "/a")
    assert (row.path, row.mime_type) == (f"doc.{extension}", FORMATS[extension])
    content = await provider.open(row)
    assert (await read(content), content.mime_type) == (b"exported", FORMATS[extension])
    assert drive.counts["files.media"] == 0
    if kind == "document":
        [row] = await walk(provider, provider.narrow("/a", {"export_formats": {"document": "pdf"}}))
        assert (row.path, await read(await provider.open(row))) == ("doc.pdf", b"%PDF")


async def test_g19_what_cannot_be_exported_is_skipped_without_a_request(drive: DriveSimulator, provider: Any) -> None:
    drive.tree.native("form", "a/form", {})
    drive.tree.native("site", "a/site", {})
    [page] = await full_pass(provider, "/a")
    assert page.skips == {0: "no_export", 1: "no_export"}


async def test_g20_too_large_an_export_comes_by_its_link(drive: DriveSimulator, provider: Any) -> None:
    drive.tree.native("document", "a/doc", {DOCX: b"x" * LARGE, PDF: b"%PDF"})
    [row] = await walk(provider, "/a")
    content = await provider.open(row)
    assert len(await read(content)) == LARGE
    assert content.mime_type == DOCX
    assert drive.counts["exportLink"] == 1


async def test_g20_without_a_link_it_comes_as_pdf_and_else_it_is_parked(drive: DriveSimulator, provider: Any) -> None:
    doc = drive.tree.native("document", "a/doc", {DOCX: b"x" * LARGE, PDF: b"%PDF"})
    doc.links = False
    [row] = await walk(provider, "/a")
    content = await provider.open(row)
    assert (await read(content), content.mime_type) == (b"%PDF", PDF)
    doc.exports[PDF] = b"x" * LARGE
    with pytest.raises(Permanent) as caught:
        await provider.open(row)
    assert (caught.value.reason, caught.value.code) == ("export_too_large", "exportSizeLimitExceeded")


async def test_g20_a_500_is_a_limit_too_when_the_link_gives_it(drive: DriveSimulator, provider: Any) -> None:
    drive.tree.native("document", "a/doc", {PDF: b"x" * LARGE})
    [row] = await walk(provider, provider.narrow("/a", {"export_formats": {"document": "pdf"}}))
    drive.script("files.export", Answer(500, b"Internal Error"))
    assert len(await read(await provider.open(row))) == LARGE
    drive.script("files.export", Answer(500, b"Internal Error"))
    drive.script("exportLink", Answer(500, b"Internal Error"))
    with pytest.raises(Transient):
        await provider.open(row)


async def test_g22_the_listed_size_of_a_native_document_is_not_its_exports(
    drive: DriveSimulator, provider: Any
) -> None:
    drive.tree.native("document", "a/doc", {DOCX: b"seven.."})
    [row] = await walk(provider, "/a")
    assert row.size is None
    content = await provider.open(row)
    assert (await read(content), content.size) == (b"seven..", 7)


@pytest.mark.parametrize(
    ("reason", "parked"),
    [("cannotDownloadFile", "download_disabled"), ("cannotExportFile", "export_disabled")],
)
async def test_g24_disabled_downloads_are_permanent(
    drive: DriveSimulator, provider: Any, reason: str, parked: str
) -> None:
    file = drive.tree.put("a/f", b"x")
    doc = drive.tree.native("document", "a/doc", {DOCX: b"x"})
    file.refuse = doc.refuse = (403, reason)
    for row in await walk(provider, "/a"):
        with pytest.raises(Permanent) as caught:
            await provider.open(row)
        assert caught.value.reason == parked


async def test_g25_flagged_files_are_quarantined_unless_one_opts_in(drive: DriveSimulator, provider: Any) -> None:
    drive.tree.put("a/f", b"virus").refuse = (403, "cannotDownloadAbusiveFile")
    [row] = await walk(provider, "/a")
    with pytest.raises(Permanent) as caught:
        await provider.open(row)
    assert caught.value.reason == "abusive_file" and "acknowledge_abuse" in str(caught.value)
    [row] = await walk(provider, provider.narrow("/a", {"acknowledge_abuse": True}))
    assert await read(await provider.open(row)) == b"virus"
    # Somebody who is neither owner nor organiser is refused all the same.
    drive.script("files.media", *[Answer.error(403, "cannotDownloadAbusiveFile")] * 2)
    with pytest.raises(Permanent):
        await provider.open(row)


async def test_g27_a_used_up_download_quota_parks_that_file_only(drive: DriveSimulator, provider: Any) -> None:
    drive.tree.put("a/f", b"x").refuse = (403, "downloadQuotaExceeded")
    drive.tree.put("a/g", b"y")
    first, second = sorted(await walk(provider, "/a"), key=lambda row: row.path)
    with pytest.raises(Permanent) as caught:
        await provider.open(first)
    assert caught.value.reason == "download_quota_exceeded"
    assert await read(await provider.open(second)) == b"y"


async def test_a_file_that_changes_while_it_is_read_is_changed(drive: DriveSimulator, provider: Any) -> None:
    body = b"a" * (2 * 1024 * 1024)
    file = drive.tree.put("a/f", body)
    [row] = await walk(provider, "/a")
    drive.tree.write(file.id, b"b" * len(body))  # the same length: only the digest tells
    content = await provider.open(row)
    with pytest.raises(Changed):
        await read(content)


@pytest.mark.parametrize("size", [10, 2 * 1024 * 1024])
async def test_spoilt_bytes_are_transient_not_changed(drive: DriveSimulator, provider: Any, size: int) -> None:
    file = drive.tree.put("a/f", b"a" * size)
    file.served = b"b" * size
    [row] = await walk(provider, "/a")
    with pytest.raises(Transient) as caught:
        await read(await provider.open(row))
    assert caught.value.reason == "digest_mismatch"
    with pytest.raises(Transient):
        await read(await provider.open(row, any_version=True))


async def test_a_file_without_a_digest_is_told_by_its_revision(drive: DriveSimulator, provider: Any) -> None:
    file = drive.tree.put("a/f", b"one")
    drive.tree.show(file.id, md5Checksum=None, sha1Checksum=None)
    [row] = await walk(provider, "/a")
    assert await read(await provider.open(row)) == b"one"
    drive.tree.write(file.id, b"two")
    with pytest.raises(Changed):
        await provider.open(row)


async def test_a_native_document_edited_after_the_listing_is_changed(drive: DriveSimulator, provider: Any) -> None:
    doc = drive.tree.native("document", "a/doc", {DOCX: b"one"})
    [row] = await walk(provider, "/a")
    drive.tree.edit(doc.id, {DOCX: b"two"})
    with pytest.raises(Changed):
        await provider.open(row)
    content = await provider.open(row, any_version=True)
    assert await read(content) == b"two"
    assert [content.source] == await walk(provider, "/a")


async def test_what_went_into_the_bin_is_gone(drive: DriveSimulator, provider: Any) -> None:
    doc = drive.tree.native("document", "a/doc", {DOCX: b"one"})
    [row] = await walk(provider, "/a")
    drive.tree.trash(doc.id)
    for any_version in (False, True):
        with pytest.raises(Gone):
            await provider.open(row, any_version=any_version)


async def test_an_empty_export_is_no_document(drive: DriveSimulator, provider: Any) -> None:
    drive.tree.native("document", "a/doc", {DOCX: b""})
    [row] = await walk(provider, "/a")
    with pytest.raises(Transient):
        await provider.open(row)


async def test_resource_keys_are_sent(drive: DriveSimulator) -> None:
    folder = drive.tree.folder("linked")
    drive.tree.put("linked/f", b"x")
    drive.tree.files[folder].shown["resourceKey"] = "0-abc"
    provider = connect(drive, {})
    with pytest.raises(Misconfigured):
        await provider.check(folder)
    # The simulator's keys open the folder itself, not its listing: that contradiction is no empty folder.
    with pytest.raises(Transient):
        await provider.list_page(f"https://drive.google.com/drive/folders/{folder}?resourcekey=0-abc", None, 10)
    sent = {
        call for call, _, headers in drive.requests if headers.get("x-goog-drive-resource-keys") == f"{folder}/0-abc"
    }
    assert sent >= {"files.get", "files.list"}
    await provider.close()


async def test_drive_properties_come_with_the_listing(drive: DriveSimulator, provider: Any) -> None:
    file = drive.tree.put("a/f", b"four")
    drive.tree.show(file.id, description="about", starred=True, appProperties={"case": "7", "name": "not this"})
    [row] = await walk(provider, "/a")
    before = drive.total()
    properties = (await provider.attributes(row, tags=True, metadata=True)).properties
    assert drive.total() == before
    shown = {name: properties[name] for name in ("name", "size", "description", "starred", "trashed", "case")}
    assert shown == {"name": "f", "size": 4, "description": "about", "starred": True, "trashed": False, "case": "7"}
    assert properties["parents"] == [drive.tree.folder("a")]
    assert {"mimeType", "createdTime", "modifiedTime", "webViewLink"} <= properties.keys()
    assert (await provider.open(row)).attributes.properties == properties
    drive.tree.show(file.id, description="otherwise")
    [touched] = await walk(provider, "/a")
    assert touched.fingerprint != row.fingerprint
    assert touched.fingerprint.partition("|")[0] == row.fingerprint.partition("|")[0]


@pytest.mark.parametrize("reason", ["userRateLimitExceeded", "rateLimitExceeded"])
async def test_quotas_by_reason_are_throttling(drive: DriveSimulator, provider: Any, reason: str) -> None:
    drive.tree.put("a/f", b"x")
    [row] = await walk(provider, "/a")
    for call in ("files.media", "files.list"):
        drive.script(call, Answer.error(403, reason, Retry_After="7"))
        with pytest.raises(Throttled) as caught:
            await (
                provider.open(row)
                if call == "files.media"
                else provider.list_page(row.locator["p"]["parents"][0], None, 9)
            )
        assert (caught.value.retry_after, caught.value.code) == (7.0, reason)


async def test_a_days_quota_waits_for_an_hour(drive: DriveSimulator, provider: Any) -> None:
    drive.script("about.get", Answer.error(403, "dailyLimitExceeded"))
    with pytest.raises(Throttled) as caught:
        await provider.check()
    assert caught.value.retry_after == 3600


async def test_g28_each_account_has_a_quota_user_of_its_own(drive: DriveSimulator) -> None:
    for config in ({"impersonate_user": "me@example.com"}, {}):
        provider = connect(drive, config)
        await provider.check()
        await provider.close()
    used = [query["quotaUser"] for call, query, _ in drive.requests if call == "about.get"]
    assert len(set(used)) == 2
    assert all("@" not in word and len(word) <= 40 for word in used)


async def test_large_files_are_streamed(drive: DriveSimulator, provider: Any) -> None:
    body = bytes(range(256)) * 8 * 4096
    drive.tree.put("a/f", body)
    [row] = await walk(provider, "/a")
    content = await provider.open(row)
    assert content.body is None
    assert await read(content) == body


async def test_an_export_link_to_a_foreign_host_gets_no_token(drive: DriveSimulator, provider: Any) -> None:
    doc = drive.tree.native("document", "a/doc", {DOCX: b"x" * LARGE})
    [row] = await walk(provider, "/a")
    shown = b'{"id":"%s","exportLinks":{"%s":"https://evil.example/x"}}' % (doc.id.encode(), DOCX.encode())
    drive.script("files.get", Answer(200, shown))
    with pytest.raises(Transient) as caught:
        await provider.open(row)
    assert caught.value.reason == "foreign_redirect"


async def test_a_file_the_account_lost_is_gone_in_the_log_and_when_opened(drive: DriveSimulator) -> None:
    tree = drive.tree
    folder = tree.folder("a")
    tree.put("a/f", b"x")
    tree.share(folder, drive.robot)
    provider = connect(drive, {})
    places = Places()
    [page] = await full_pass(provider, folder, places)
    row = page.row(0)
    tree.unshare(folder, drive.robot)
    with pytest.raises(Gone):
        await provider.open(row)
    with pytest.raises((Misconfigured, Denied)):
        await poll(provider, folder, places)
    await provider.close()
