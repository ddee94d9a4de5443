"""What a sync costs in requests, printed and asserted: the figures of docs/sharepoint.md."""

from __future__ import annotations

import asyncio

from tests.contract.provider_suite import read
from tests.contract.sharepoint_rig import Rig

FILES = 1000


async def test_requests_per_thousand_files(tenant: Rig) -> None:
    for i in range(FILES):
        tenant.graph.tree.put(tenant.library, f"folder {i % 20}/{i}.txt", b"%d" % i)
    provider = tenant.provider()
    figures: dict[str, dict[str, int]] = {}

    def note(what: str) -> None:
        figures[what] = {kind: n for kind, n in sorted(tenant.graph.counts.items()) if kind not in {"token", "openid"}}
        tenant.graph.clear()

    rows = (await tenant.full(provider)).rows
    assert len(rows) == FILES
    note("first listing")
    limit = asyncio.Semaphore(16)

    async def fetch(index: int) -> None:
        async with limit:
            await read(await provider.open(rows[index]))

    await asyncio.gather(*(fetch(index) for index in range(FILES)))
    note("fetching")
    await tenant.changes(provider)
    note("poll at rest")
    for i in range(10):
        tenant.graph.tree.put(tenant.library, f"folder {i}/{i}.txt", b"new")
    tenant.graph.tree.remove(tenant.library, "folder 11/11.txt")
    assert len((await tenant.changes(provider)).rows) == 10
    note("poll with 11 changes")
    tenant.graph.tree.move(tenant.library, "folder 3", "renamed")
    assert (await tenant.changes(provider)).proven
    note("poll with a renamed folder")
    for what, counts in figures.items():
        print(f"{what}: {sum(counts.values())} requests {counts}")
    assert figures["first listing"] == {"delta": 2, "drives": 1, "site": 2}
    assert figures["fetching"] == {"download": FILES, "item": FILES}
    assert figures["poll at rest"] == {"delta": 1, "drives": 1}
    assert sum(figures["poll with 11 changes"].values()) == 2
    assert figures["poll with a renamed folder"] == {"delta": 3, "drives": 1}
