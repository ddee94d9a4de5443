"""What is not provably a page is never an empty one; walks that are disturbed in the middle."""

from __future__ import annotations

import pytest

from providers.errors import Transient
from tests.contract.sharepoint_rig import Rig
from tests.simulators.graph import Answer
from tests.simulators.graph_json import error_json


def fill(tenant: Rig, number: int) -> None:
    for i in range(number):
        tenant.graph.tree.put(tenant.library, f"f{i % 3}/{i:03d}.txt", b"%d" % i)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"{}",
        b'{"value": []}',
        b'{"value": {}, "@odata.deltaLink": "https://g/v1.0/drives/d/root/delta?token=1"}',
        b'{"value": [{"name": "x"}], "@odata.deltaLink": "https://g/v1.0/drives/d/root/delta?token=1"}',
        b'{"value": [], "@odata.nextLink": "https://g/v1.0/x?a", "@odata.deltaLink": "https://g/v1.0/drives/d?b"}',
        b'{"value": [], "@odata.nextLink": "https://evil.example/steal"}',
        b'{"value": [], "@odata.deltaLink": "file:///etc/passwd"}',
    ],
)
async def test_an_answer_that_is_no_page_is_never_an_empty_page(tenant: Rig, body: bytes) -> None:
    fill(tenant, 3)
    tenant.graph.script("delta", Answer(200, body))
    with pytest.raises(Transient):
        await tenant.full()


async def test_a_foreign_cursor_is_refused(tenant: Rig) -> None:
    with pytest.raises(Transient) as error:
        await tenant.provider().list_page(tenant.path, "nonsense", 10)
    assert error.value.reason == "cursor_refused"


async def test_a_folder_that_moves_while_it_is_listed_makes_the_next_pass_look_again(tenant: Rig) -> None:
    tree = tenant.graph.tree
    for i in range(6):
        tree.put(tenant.library, f"a/{i}.txt", b"x")
    provider = tenant.provider()
    page = await provider.list_page(tenant.path, None, 3)
    folder = tenant.library.find("a")
    assert folder is not None
    folder.name, folder.order = "renamed", 10_000  # shown once more, at the end of the enumeration
    cursor = page.next_cursor
    while cursor is not None:
        page = await provider.list_page(tenant.path, cursor, 3)
        tenant.positions.kept |= page.positions
        cursor = page.next_cursor
    seen = await tenant.changes()
    assert seen.proven and {path.partition("/")[0] for path in seen.paths} == {"renamed"}


async def test_an_invalid_delta_token_is_read_anew_too(tenant: Rig) -> None:
    fill(tenant, 3)
    await tenant.full()
    tenant.graph.script("delta", Answer(400, error_json("invalidRequest", "bad token", "invalidDeltaToken")))
    seen = await tenant.changes()
    assert len(seen.rows) == 3 and seen.proven


async def test_attributes_are_those_that_come_with_the_bytes(tenant: Rig) -> None:
    fill(tenant, 1)
    [row] = (await tenant.full()).rows
    provider = tenant.provider()
    content = await provider.open(row)
    asked = await provider.attributes(row, tags=True, metadata=True)
    assert content.attributes == asked and asked.metadata["createdBy"] == "Adele Vance"
    assert not [name for name in asked.properties if name.startswith("@")]
