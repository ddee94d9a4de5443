"""Who signs in, where a source path leads, and what a person is told when it does not work."""

from __future__ import annotations

import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from providers.base import Page
from providers.errors import Denied, Misconfigured, ProviderError, Throttled, Transient
from tests.contract.google_drive_rig import changes, connect, full_pass
from tests.contract.provider_suite import Places, read, walk
from tests.simulators.google_drive import Answer, DriveSimulator, foreign_key


@pytest.fixture
def drive() -> Iterator[DriveSimulator]:
    with DriveSimulator.running() as simulator:
        simulator.tree.put("a/b/f", b"x")
        yield simulator


def paths(pages: list[Page]) -> set[str]:
    return {page.row(i).path for page in pages for i in range(len(page.ids))}


async def test_g29_a_service_account_works_by_a_shared_folder_alone(drive: DriveSimulator) -> None:
    drive.tree.share(drive.tree.folder("a"), drive.robot)
    drive.tree.delegation = False
    provider = connect(drive, {})
    for path in (drive.tree.folder("a"), "/a", "a/"):
        assert {row.path for row in await walk(provider, path)} == {"b/f"}
    assert {row.path for row in await walk(provider, "a/b")} == {"f"}
    await provider.close()


@pytest.mark.parametrize("who", ["suspended", "unknown"])
async def test_g30_a_user_without_drive_is_named(drive: DriveSimulator, who: str) -> None:
    drive.tree.suspended.add("me@example.com")
    user = "me@example.com" if who == "suspended" else "nobody@example.com"
    provider = connect(drive, {"impersonate_user": user})
    with pytest.raises(Denied) as caught:
        await provider.list_page("/a", None, 10)
    assert user in str(caught.value)
    await provider.close()


async def test_g40_a_dead_refresh_token_says_re_authorise_and_keeps_the_place(drive: DriveSimulator) -> None:
    provider = connect(drive, {}, drive.oauth())
    places = Places()
    await full_pass(provider, "/a", places)
    kept = dict(places.kept)
    drive.refresh_tokens.clear()
    drive.expire_tokens()
    with pytest.raises(Denied) as caught:
        await provider.list_changes("/a", places, None, 100)
    assert "re-authorise" in str(caught.value) and caught.value.code == "invalid_grant"
    assert drive.counts["token"] == 2  # no storm
    assert places.kept == kept
    drive.refresh_tokens["refresh-1"] = "me@example.com"
    assert (await changes(provider, "/a", places))[-1].complete
    await provider.close()


async def test_a_token_that_ends_in_the_middle_is_renewed_without_losing_the_place(drive: DriveSimulator) -> None:
    for i in range(6):
        drive.tree.put(f"a/b/f{i}", b"x")
    provider = connect(drive)
    first = await provider.list_page("/a", None, 3)
    drive.expire_tokens()
    rest = await walk(provider, "/a", 3, first.next_cursor)
    assert len({*first.ids, *(row.id for row in rest)}) == 7
    drive.expire_tokens()
    assert await read(await provider.open(rest[0])) == b"x"
    assert drive.counts["token"] == 3
    drive.token_seconds = 0
    drive.expire_tokens()
    with pytest.raises(Denied):
        await provider.check()
    await provider.close()


async def test_one_token_serves_many_requests(drive: DriveSimulator) -> None:
    provider = connect(drive)
    for _ in range(5):
        await provider.check("/a")
    assert drive.counts["token"] == 1
    await provider.close()


async def test_source_paths(drive: DriveSimulator) -> None:
    tree = drive.tree
    tree.put("it's \\ odd/ümlaut/f2", b"x")
    shared = tree.add_drive("Team", {"me@example.com"})
    tree.put("t/f3", b"x", shared)
    provider = connect(drive)
    a = tree.folder("a")
    root = tree.root_of("me@example.com")
    for path, expected in {
        "/": {"a/b/f", "it's \\ odd/ümlaut/f2"},
        "root": {"a/b/f", "it's \\ odd/ümlaut/f2"},
        root: {"a/b/f", "it's \\ odd/ümlaut/f2"},
        "/a/b": {"f"},
        "a/b/": {"f"},
        "a": {"b/f"},
        a: {"b/f"},
        f"https://drive.google.com/drive/u/0/folders/{a}?usp=sharing": {"b/f"},
        "/it's \\ odd": {"ümlaut/f2"},
        shared: {"t/f3"},
        tree.folder("t", shared): {"f3"},
        provider.narrow("/t", {"shared_drive_id": shared}): {"f3"},
    }.items():
        assert paths(await full_pass(provider, path)) == expected, path
    await provider.close()


async def test_an_ambiguous_path_lists_the_candidates(drive: DriveSimulator) -> None:
    root = drive.tree.root_of("me@example.com")
    twins = [drive.tree.add("twin", "application/vnd.google-apps.folder", root).id for _ in range(2)]
    drive.tree.put("only here", b"x", twins[1])
    drive.tree.folder("sub", twins[1])
    provider = connect(drive)
    with pytest.raises(Misconfigured) as caught:
        await provider.list_page("/twin", None, 10)
    assert caught.value.reason == "ambiguous_path" and all(twin in str(caught.value) for twin in twins)
    assert (await provider.check("/twin/sub")).details["folder"] == "sub"
    await provider.close()


async def test_previews(drive: DriveSimulator) -> None:
    tree = drive.tree
    shared = tree.add_drive("Team", {"me@example.com"})
    tree.put("t/f3", b"x", shared)
    for i in range(5):
        tree.put(f"a/n{i}", b"12")
    provider = connect(drive)
    top = await provider.preview_folders()
    assert [(one["name"], one["path"]) for one in top] == [("a", "/a"), ("Team", shared)]
    [below] = await provider.preview_folders("/a")
    assert below == {"id": tree.folder("a/b"), "name": "b", "path": "/a/b", "mime_type": below["mime_type"]}
    files = await provider.preview_files("/a", 3)
    assert len(files["files"]) == 3 and files["has_more"]
    assert files["files"][0]["size_bytes"] == 2
    assert not (await provider.preview_files("/a/b"))["has_more"]
    await provider.close()


BAD_KEY = "-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n"
ADVICE = {
    "wrong key": ("private_key is no current key", Denied),
    "no key": ("private_key is no RSA key", Misconfigured),
    "unknown account": ("check client_email", Denied),
    "no delegation": ("Domain-wide delegation", Denied),
    "unknown user": ("impersonate_user", Denied),
    "clock": ("clock of this host", Denied),
    "wrong secret": ("client_id or client_secret", Denied),
    "revoked grant": ("re-authorise", Denied),
    "unshared folder": ("share the folder with robot@project.iam.gserviceaccount.com", Misconfigured),
    "wrong path": ("there is no folder 'nowhere'", Misconfigured),
    "wrong drive": ("shared_drive_id", Misconfigured),
    "api off": ("enable it at https://console.cloud.google.com", Misconfigured),
    "scope": ("drive.readonly", Denied),
    "policy": ("administrators", Denied),
    "a file": ("is a file", Misconfigured),
    "in the bin": ("in the bin", Misconfigured),
    "wrong endpoint": ("TIDEMARK_GOOGLE_TOKEN_URI", Misconfigured),
}


def _in_the_credentials(drive: DriveSimulator, mistake: str) -> dict[str, str]:
    if mistake in {"wrong secret", "revoked grant"}:
        grant = drive.oauth("other" if mistake == "revoked grant" else "refresh-1")
        return {**grant, "client_secret": "other"} if mistake == "wrong secret" else grant
    credentials = drive.service_account()
    if mistake == "wrong key":
        credentials["private_key"] = foreign_key()
    elif mistake == "no key":
        credentials["private_key"] = BAD_KEY
    elif mistake == "unknown account":
        credentials["client_email"] = "other@project.iam.gserviceaccount.com"
    return credentials


def _in_the_config(drive: DriveSimulator, mistake: str) -> dict[str, str]:
    drive.tree.delegation = mistake != "no delegation"
    return {
        "no delegation": {"impersonate_user": "nobody@example.com"},
        "unknown user": {"impersonate_user": "nobody@example.com"},
        "wrong drive": {"shared_drive_id": "0AnoSuchDrivePVA"},
        "a file": {"impersonate_user": "me@example.com"},
        "in the bin": {"impersonate_user": "me@example.com"},
    }.get(mistake, {})


def _in_the_path(drive: DriveSimulator, mistake: str) -> str | None:
    folder = drive.tree.folder("a")
    if mistake == "in the bin":
        drive.tree.trash(folder)
    file = next(file for file in drive.tree.files.values() if file.name == "f")
    paths = {"unshared folder": folder, "in the bin": folder, "wrong path": "/nowhere", "a file": file.id}
    return paths.get(mistake)


_NOT_ENABLED = "Google Drive API has not been used in project 123456789 before or it is disabled."
_REFUSALS = {
    "api off": ("about.get", Answer.error(403, "accessNotConfigured", _NOT_ENABLED)),
    "scope": ("about.get", Answer.error(403, "insufficientPermissions")),
    "policy": ("about.get", Answer.error(403, "domainPolicy")),
    "wrong endpoint": ("token", Answer(404, b"<html>nothing here")),
}


@pytest.mark.parametrize("mistake", ADVICE)
async def test_common_mistakes_say_what_to_change(
    drive: DriveSimulator, monkeypatch: pytest.MonkeyPatch, mistake: str
) -> None:
    advice, kind = ADVICE[mistake]
    if mistake in _REFUSALS:
        drive.script(*_REFUSALS[mistake])
    if mistake == "clock":
        late = SimpleNamespace(time=lambda: time.time() - 7200, monotonic=time.monotonic)
        monkeypatch.setattr("providers.google_drive.auth.time", late)
    credentials, path = _in_the_credentials(drive, mistake), _in_the_path(drive, mistake)
    provider = connect(drive, _in_the_config(drive, mistake), credentials)
    with pytest.raises(ProviderError) as caught:
        await provider.check(path)
    assert isinstance(caught.value, kind)
    assert advice in caught.value.message
    told = str(caught.value)
    assert told.startswith("google_drive")
    for secret in (credentials.get("private_key"), credentials.get("client_secret"), credentials.get("refresh_token")):
        assert not secret or secret not in told
    await provider.close()


async def test_a_key_with_escaped_line_ends_is_taken(drive: DriveSimulator) -> None:
    credentials = drive.service_account()
    credentials["private_key"] = credentials["private_key"].replace("\n", "\\n")
    provider = connect(drive, {}, credentials)
    assert drive.robot in (await provider.check()).message
    await provider.close()


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Answer(500, b"oops"), Transient),
        (Answer(503, b""), Transient),
        (Answer(429, b"", {"Retry-After": "2"}), Throttled),
        (Answer(200, b"<html>"), Transient),
        (Answer(200, b"{}"), Transient),
        (Answer(drop=True), Transient),
        (Answer(genuine=True, cut=10), Transient),
    ],
)
async def test_trouble_of_the_token_endpoint(drive: DriveSimulator, answer: Answer, kind: type[ProviderError]) -> None:
    drive.script("token", answer)
    provider = connect(drive)
    with pytest.raises(kind):
        await provider.check()
    assert drive.counts["token"] == 1
    assert (await provider.check()).message
    await provider.close()


@pytest.mark.parametrize(
    ("filters", "told"),
    [
        ({"nothing": 1}, "nothing does not exist"),
        ({"shared_drive_id": 5}, "must be the id"),
        ({"acknowledge_abuse": "yes"}, "must be true or false"),
        ({"export_formats": {"document": "exe"}}, "must be one of"),
        ({"export_formats": {"form": "pdf"}}, "is no kind"),
    ],
)
async def test_filters_are_checked(drive: DriveSimulator, filters: dict[str, Any], told: str) -> None:
    provider = connect(drive)
    with pytest.raises(Misconfigured, match=told):
        provider.narrow("/a", filters)
    await provider.close()
