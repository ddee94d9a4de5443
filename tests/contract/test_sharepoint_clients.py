"""The Graph simulator serves Microsoft's own client and sign-in, and our provider sees what that sees.

rclone cannot be used for this: its OneDrive backend takes no address of the API.
"""

from __future__ import annotations

import asyncio
import json
import os
from typing import Any

from deploy.local.apart import GRAPH_SDK
from deploy.local.paths import CHECKOUT
from tests.contract.sharepoint_rig import Rig, Seen

_SCRIPT = CHECKOUT / "tests" / "simulators" / "graph_sdk.py"


async def _line(process: asyncio.subprocess.Process) -> dict[str, Any]:
    assert process.stdout is not None
    line = await asyncio.wait_for(process.stdout.readline(), 60)
    assert line, "the SDK's script ended; its error is above"
    found: dict[str, Any] = json.loads(line)
    return found


def _files(items: dict[str, dict[str, Any]]) -> dict[tuple[str, int], str]:
    """By name and size, the instant of the last change."""
    return {(one["name"], one["size"]): one["modified"] for one in items.values() if one["mime"]}


def _ours(seen: Seen) -> dict[tuple[str, int], str]:
    return {(row.name, row.size or 0): row.modified_at.isoformat() for row in seen.rows if row.modified_at}


async def test_microsofts_client_crawls_downloads_and_follows(tenant: Rig) -> None:
    graph, library = tenant.graph, tenant.library
    for i in range(7):
        graph.tree.put(library, f"a/ä {i % 2}/f{i}.txt", b"body %d" % i)
    graph.tree.put(library, "empty", b"")
    graph.faults.default_top = 4
    program = await asyncio.to_thread(GRAPH_SDK.install)
    process = await asyncio.create_subprocess_exec(
        *(program, _SCRIPT, graph.url, graph.authority, "contoso.sharepoint.com:/sites/Sales", "Documents"),
        env={**os.environ, "SSL_CERT_FILE": graph.ca_file, "REQUESTS_CA_BUNDLE": graph.ca_file},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        theirs, ours = await _line(process), await tenant.full()
        assert theirs["site"] == ["Sales", "https://contoso.sharepoint.com/sites/Sales"]
        assert theirs["pages"] == 3 and theirs["missing"] == [404, "itemNotFound"]
        items = theirs["items"]
        assert _files(items) == _ours(ours) and len(ours.rows) == 8
        assert sorted(theirs["bodies"].values()) == sorted(["", *(f"body {i}" for i in range(7))])
        assert {one["parent"] for one in items.values() if not one["root"]} <= items.keys()
        assert [one["children"] for one in items.values() if one["name"] == "a"] == [2]

        graph.tree.put(library, "a/new.txt", b"new")
        graph.tree.remove(library, "empty")
        process.stdin.write(b"\n")  # type: ignore[union-attr]  # it is a pipe
        changed, poll = await _line(process), await tenant.changes()
        gone = {i for i, one in changed.items() if one["deleted"]}
        assert _files({i: one for i, one in changed.items() if i not in gone}) == _ours(poll)
        assert len(gone) == len(poll.removed) == 1
        assert await asyncio.wait_for(process.wait(), 30) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
