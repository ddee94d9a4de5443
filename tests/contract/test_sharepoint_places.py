"""Source paths of every form lead to the right library, and the ten commonest mistakes say what to change."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import quote

import pytest

from providers.base import CheckReport
from providers.errors import Denied, Misconfigured, ProviderError, Transient
from providers.sharepoint.addresses import parse_address
from tests.contract.sharepoint_rig import Rig
from tests.simulators.graph import Answer
from tests.simulators.graph_json import error_json

HOST = "https://contoso.sharepoint.com"
VIEW = "viewid=0f2e%2D4c&csf=1&web=1&e=aB3xYz"


@pytest.fixture
def world(tenant: Rig) -> Rig:
    """Sites, teams, subsites and personal OneDrives, with the right library never the first one."""
    tree = tenant.graph.tree
    tree.put(tenant.library, "top.txt", b"documents")
    tree.put(tenant.library, "Pläne & Co/2026 #1/deep.txt", b"x")
    site = tree.sites[tenant.library.site]
    tree.put(tree.add_library(site, "Site Assets", "SiteAssets"), "asset.txt", b"x")
    team = tree.add_site("teams/Blue")
    tree.put(tree.add_library(team, "Decoy"), "decoy.txt", b"x")
    tree.put(tree.add_library(team, "Dokumente", "Freigegebene Dokumente"), "blue.txt", b"x")
    sub = tree.add_site("sites/Sales/North")
    tree.put(tree.add_library(sub, "Documents", "Shared Documents"), "north.txt", b"x")
    personal = tree.add_site("personal/adele_contoso_com", host="contoso-my.sharepoint.com", personal=True)
    tree.put(tree.add_library(personal, "PersonalCacheLibrary"), "cache.txt", b"x")
    one = tree.add_library(personal, "OneDrive", "Documents", type="business")
    tree.put(one, "mine/own.txt", b"x")
    personal.drives.reverse()
    tenant.graph.me = one.id
    root = next(iter(tree.sites.values()))
    tree.put(tree.add_library(root, "Documents", "Shared Documents"), "root.txt", b"x")
    return tenant


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/sites/Sales/Documents", ["Pläne & Co/2026 #1/deep.txt", "top.txt"]),
        ("sites/sales/shared documents/", ["Pläne & Co/2026 #1/deep.txt", "top.txt"]),
        ("/sites/Sales/Shared Documents/Pläne & Co", ["2026 #1/deep.txt"]),
        ("/sites/Sales/Shared%20Documents/Pl%C3%A4ne%20&%20Co", ["2026 #1/deep.txt"]),
        ("/sites/Sales/SiteAssets", ["asset.txt"]),
        ("/sites/Sales", ["Documents/Pläne & Co/2026 #1/deep.txt", "Documents/top.txt", "Site Assets/asset.txt"]),
        ("/sites/Sales/North", ["Documents/north.txt"]),
        ("/sites/Sales/North/Documents", ["north.txt"]),
        ("/teams/Blue/Dokumente", ["blue.txt"]),
        ("/teams/Blue/Freigegebene Dokumente", ["blue.txt"]),
        ("/personal/adele_contoso_com/Documents/mine", ["own.txt"]),
        ("/users/adele@contoso.com", ["mine/own.txt"]),
        ("/users/adele@contoso.com/mine", ["own.txt"]),
        ("/me", ["mine/own.txt"]),
        ("/Shared Documents", ["root.txt"]),
        (f"{HOST}/sites/Sales/Shared%20Documents", ["Pläne & Co/2026 #1/deep.txt", "top.txt"]),
        (f"{HOST}/sites/Sales/Shared%20Documents/Forms/AllItems.aspx", ["Pläne & Co/2026 #1/deep.txt", "top.txt"]),
        (
            f"{HOST}/sites/Sales/Shared%20Documents/Forms/AllItems.aspx?{VIEW}&id="
            + quote("/sites/Sales/Shared Documents/Pläne & Co", safe=""),
            ["2026 #1/deep.txt"],
        ),
        (
            f"{HOST}/sites/Sales/Shared%20Documents/Forms/AllItems.aspx?RootFolder="
            + quote("/sites/Sales/Shared Documents/Pläne & Co/2026 #1", safe=""),
            ["deep.txt"],
        ),
        (f"{HOST}/:f:/r/sites/Sales/Shared%20Documents/Pl%C3%A4ne%20%26%20Co?{VIEW}", ["2026 #1/deep.txt"]),
        (f"{HOST}/sites/Sales/SiteAssets/Forms/AllItems.aspx?{VIEW}", ["asset.txt"]),
        (f"{HOST}/sites/Sales/North/SitePages/Home.aspx", ["Documents/north.txt"]),
        (f"{HOST}/teams/Blue/Freigegebene%20Dokumente/Forms/AllItems.aspx", ["blue.txt"]),
        (
            "https://contoso-my.sharepoint.com/personal/adele_contoso_com/_layouts/15/onedrive.aspx?id="
            + quote("/personal/adele_contoso_com/Documents/mine", safe=""),
            ["own.txt"],
        ),
        ("https://contoso-my.sharepoint.com/personal/adele_contoso_com/Documents/mine", ["own.txt"]),
    ],
)
async def test_m16_an_address_leads_to_its_library_and_never_to_the_first_one(
    world: Rig, path: str, shown: list[str]
) -> None:
    seen = await world.full(path=path)
    assert seen.paths == shown and seen.complete
    assert (await world.provider().check(path)).message


async def test_m16_the_connection_may_name_site_drive_and_folder(world: Rig) -> None:
    site, drive = world.library.site, world.library.id
    for config, path, shown in (
        ({"drive_id": drive, "folder_path": "/Pläne & Co"}, "", ["2026 #1/deep.txt"]),
        ({"drive_id": drive}, "Pläne & Co/2026 #1", ["deep.txt"]),
        ({"site_id": site}, "/SiteAssets", ["asset.txt"]),
        ({"site_id": site, "folder_path": "Documents/Pläne & Co"}, "/", ["2026 #1/deep.txt"]),
        (
            {"site_id": site},
            "",
            ["Documents/Pläne & Co/2026 #1/deep.txt", "Documents/top.txt", "Site Assets/asset.txt"],
        ),
    ):
        world.config = config
        assert (await world.full(path=path)).paths == shown


async def test_every_site_of_the_tenant(world: Rig) -> None:
    seen = await world.full(path="/")
    assert "teams/Blue/Dokumente/blue.txt" in seen.paths and "sites/Sales/North/Documents/north.txt" in seen.paths
    assert not [path for path in seen.paths if "personal" in path]


@pytest.mark.parametrize("path", ["/sites/Sales/../x", "/sites/Sales/a\x01", "https://", "https:///x"])
def test_what_is_no_path_is_refused(path: str) -> None:
    with pytest.raises(Misconfigured):
        parse_address(path, {})


async def test_a_name_that_two_libraries_have_is_not_guessed(world: Rig) -> None:
    tree = world.graph.tree
    tree.add_library(tree.sites[world.library.site], "Twin", "Twin1")
    tree.add_library(tree.sites[world.library.site], "Twin", "Twin2")
    with pytest.raises(Misconfigured, match=r"Twin1, .*Twin2; use the address"):
        await world.full(path="/sites/Sales/Twin")


async def failure(world: Rig, path: str | None = None, **credentials: Any) -> ProviderError:
    world.credentials |= credentials
    with pytest.raises(ProviderError) as error:
        await world.provider().check(world.path if path is None else path)
    return error.value


@pytest.mark.parametrize(
    ("change", "kind", "says"),
    [
        ({"client_secret": "its id"}, Denied, "client_secret is wrong: store the secret's value.*AADSTS7000215 401"),
        ({"refuse": "7000222"}, Denied, "client_secret has expired: create a new one"),
        ({"client_id": "other"}, Denied, "client_id is not known in this tenant: check client_id and tenant_id"),
        ({"tenant_id": "fabrikam"}, Denied, "check tenant_id"),
        ({"refuse": "700024"}, Denied, "set this machine's time"),
        ({"refuse": "65001"}, Denied, "consented"),
        ({"refuse": "53003"}, Denied, "conditional access.*re-authorise"),
        ({"refuse": "7000112"}, Denied, "enable it under Enterprise applications"),
        ({"refuse": "90033"}, Transient, "token service is in trouble"),
        ({"path": "/sites/Sale/Documents"}, Misconfigured, "no such site.*check source_path.*itemNotFound 404"),
        (
            {"path": "/sites/Sales/Document"},
            Misconfigured,
            "no library 'Document'; there are 'Documents', 'Site Assets'",
        ),
        ({"path": "/sites/Sales/Documents/nowhere"}, Misconfigured, "folder: check source_path"),
        ({"path": "/sites/Sales/Documents/top.txt"}, Misconfigured, "names a file"),
        ({"status": 403}, Denied, "grant it Sites.Read.All, or Sites.Selected"),
        ({"status": 423}, Misconfigured, "locked or archived"),
        ({"root": 403}, Denied, "write source_path as the full address, https://TENANT.sharepoint.com"),
        ({"clock": True}, Denied, "clock"),
        ({"certificate": True}, Transient, "certificate is not trusted: set REQUESTS_CA_BUNDLE"),
        ({"client_secret": ""}, Misconfigured, "credentials.client_secret is missing"),
        ({"tenant_id": "a/b"}, Misconfigured, "tenant_id must be"),
    ],
)
async def test_a_mistake_says_what_to_change(
    world: Rig, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], kind: type[ProviderError], says: str
) -> None:
    path = change.pop("path", None)
    if refuse := change.pop("refuse", ""):
        world.graph.tokens.refuse = refuse
    if status := change.pop("status", 0):
        world.graph.tree.sites[world.library.site].status = status
        world.library.status = status
    if change.pop("root", 0):
        world.graph.script("site", Answer(403, error_json("accessDenied")))
    if change.pop("clock", False):
        body = error_json("InvalidAuthenticationToken", "Lifetime validation failed, the token is not yet valid.")
        world.graph.script("site", Answer(401, body), Answer(401, body), Answer(401, body))
    if change.pop("certificate", False):
        monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    error = await failure(world, path, **change)
    assert isinstance(error, kind)
    assert re.search(says, str(error)), error
    assert "secret" not in str(error).replace("client_secret", "").replace("the secret's value", "")


async def test_a_check_names_the_libraries_that_cannot_be_read(world: Rig) -> None:
    world.library.status = 403
    report: CheckReport = await world.provider().check("/sites/Sales")
    assert "not readable: Sales/Documents (403 accessDenied)" in report.message
    assert "1 libraries can be read" in report.message


async def test_a_check_without_a_path_needs_no_right_to_the_root_site(world: Rig) -> None:
    assert "sign-in works" in (await world.provider().check()).message
    world.graph.script("site", Answer(403, error_json("accessDenied")))
    assert "a source path is needed" in (await world.provider().check()).message
    world.config = {"drive_id": world.library.id}
    assert "'Documents' can be read" in (await world.provider().check()).message


async def test_an_unknown_or_wrong_filter_is_refused(world: Rig) -> None:
    for filters in ({"colour": 1}, {"allow_malware": "yes"}, {"exclude_sensitivity_labels": "x"}):
        with pytest.raises(Misconfigured):
            world.provider().narrow(world.path, filters)


async def test_private_addresses_need_permission(world: Rig) -> None:
    world.graph.tree.put(world.library, "a", b"x")
    [row, *_] = (await world.full()).rows
    world.settings = {"allow_private_endpoints": False}
    # The endpoint itself is the operator's choice; a download address is not.
    body = {"id": row.locator["item"], "name": "a", "file": {}, "@microsoft.graph.downloadUrl": "https://10.0.0.1/x"}
    world.graph.script("item", Answer(200, json.dumps(body | {"eTag": row.locator["etag"]}).encode()))
    with pytest.raises(Transient):
        await world.provider().open(row)
