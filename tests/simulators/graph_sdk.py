"""Microsoft's Graph SDK and its sign-in on a Graph endpoint, in the environment `deploy.local.apart.GRAPH_SDK`.

    python graph_sdk.py ENDPOINT AUTHORITY SITE DRIVE

Prints what it finds as two lines of JSON: the site and a whole crawl of a drive, and, once a line has come in, what
has changed since. Imports nothing of ours: it is the client that we did not write.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any
from urllib.parse import urlsplit

from azure.identity.aio import ClientSecretCredential
from msgraph import GraphRequestAdapter, GraphServiceClient
from msgraph.generated.models.o_data_errors.o_data_error import ODataError
from msgraph_core.authentication import AzureIdentityAuthenticationProvider


async def crawl(first: Any) -> tuple[dict[str, Any], str, int]:
    """All items of a delta from one of its addresses on, the address for the next visit, and how many pages."""
    items: dict[str, Any] = {}
    builder, pages = first, 0
    while True:
        page = await builder.get()
        pages += 1
        items |= {item.id: item for item in page.value}
        if page.odata_next_link is None:
            return items, page.odata_delta_link, pages
        builder = first.with_url(page.odata_next_link)


def shown(item: Any) -> dict[str, Any]:
    """What the SDK's types made of an item."""
    return {
        "name": item.name,
        "size": item.size,
        "children": item.folder.child_count if item.folder else None,
        "mime": item.file.mime_type if item.file else None,
        "parent": item.parent_reference.id if item.parent_reference else None,
        "modified": item.last_modified_date_time.isoformat() if item.last_modified_date_time else None,
        "root": item.root is not None,
        "deleted": item.deleted is not None,
    }


async def main(endpoint: str, authority: str, site_id: str, drive_name: str) -> None:
    """See the module."""
    async with ClientSecretCredential(
        "contoso", "app", "secret", authority=authority, disable_instance_discovery=True
    ) as credential:
        hosts = [urlsplit(endpoint).hostname]
        adapter = GraphRequestAdapter(AzureIdentityAuthenticationProvider(credential, allowed_hosts=hosts))
        adapter.base_url = endpoint
        graph = GraphServiceClient(request_adapter=adapter)
        site = await graph.sites.by_site_id(site_id).get()
        drives = await graph.sites.by_site_id(site.id).drives.get()
        [drive_id] = [drive.id for drive in drives.value if drive.name == drive_name]
        drive = graph.drives.by_drive_id(drive_id).items
        delta = drive.by_drive_item_id("root").delta
        items, link, pages = await crawl(delta)
        bodies = {i: await drive.by_drive_item_id(i).content.get() for i, item in items.items() if item.file}
        missing: list[Any] = []
        try:
            await drive.by_drive_item_id("nothing").get()
        except ODataError as error:
            missing = [error.response_status_code, error.error.code]
        found = {
            "site": [site.display_name, site.web_url],
            "pages": pages,
            "items": {i: shown(item) for i, item in items.items()},
            "bodies": {i: (body or b"").decode() for i, body in bodies.items()},
            "missing": missing,
        }
        print(json.dumps(found), flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        changed, _, _ = await crawl(delta.with_url(link))
        print(json.dumps({i: shown(item) for i, item in changed.items()}), flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
