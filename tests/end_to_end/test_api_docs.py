"""The page at `/docs`: whole, of this origin alone, and reading the document that is served."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from urllib.parse import urljoin

import pytest
import pytest_asyncio
from temporalio.client import Client

from models.settings import Settings
from tests.api_rig import Rig, RunningRig


@pytest_asyncio.fixture(loop_scope="session")
async def rig(settings: Settings, temporal_client: Client) -> AsyncIterator[Rig]:
    async with RunningRig(settings, temporal_client) as running:
        yield running


async def fetch(rig: Rig, path: str) -> tuple[int, str, str]:
    async with rig.session.get(rig.url + path) as reply:
        policy = reply.headers.get("Content-Security-Policy", "")
        assert not path.startswith("/docs") or reply.status != 200 or "default-src 'none'" in policy
        assert not re.search(r"https?:|\*", policy)
        return reply.status, reply.content_type, await reply.text("latin-1")


async def test_the_page_has_all_it_needs_from_this_server(rig: Rig) -> None:
    status, kind, page = await fetch(rig, "/docs")
    assert (status, kind) == (200, "text/html")
    needed = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert len(needed) == 5 and all(one.startswith("/") and not one.startswith("//") for one in needed)
    for one in needed:
        status, kind, body = await fetch(rig, one)
        assert status == 200 and body, one
        expected = {"css": "text/css", "js": "text/javascript", "png": "image/png", "json": "application/json"}
        assert kind == expected[one.rpartition(".")[2]]
        if one.endswith(".css"):
            fetched = re.findall(r"url\(\s*['\"]?([^'\")]*)", body) + re.findall(r"@import[^;]*", body)
            assert [part for part in fetched if not part.startswith("data:")] == []


async def test_the_viewer_is_started_on_the_served_document_and_nothing_else(rig: Rig) -> None:
    _, _, page = await fetch(rig, "/docs")
    _, _, start = await fetch(rig, "/docs/start.js")
    (address,) = re.findall(r'url: "([^"]*)"', start)
    assert urljoin(rig.url, address) == f"{rig.url}/openapi.json"
    # The place it draws into is in the page, and the public validator is not asked.
    (place,) = re.findall(r'dom_id: "#([^"]*)"', start)
    assert f'id="{place}"' in page and "validatorUrl: null" in start
    assert "<script>" not in page  # the policy forbids scripts within the page
    _, _, viewer = await fetch(rig, "/docs/swagger-ui-bundle.js")
    assert "SwaggerUIBundle" in viewer


@pytest.mark.parametrize("name", ["LICENSE", "..%2FLICENSE", "../flask_swagger_ui.py", "index.html", ""])
async def test_nothing_else_of_the_package_is_served(rig: Rig, name: str) -> None:
    status, reply, _ = await rig.ask("GET", f"/docs/{name}")
    assert status == 404 and reply["error"]["type"] == "not_found"
