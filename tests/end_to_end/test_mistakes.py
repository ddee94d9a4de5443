"""The commonest mistakes by the API: `test_before_save`, the test operation and `last_error` say what to change."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from temporalio.client import Client

from deploy.local.client import Api, ApiError, Json
from deploy.local.ports import Ports
from deploy.local.stack import Stack
from tests.chaos.rig import until
from tests.contract.snowflake_rig import Account
from tests.end_to_end.leaks import database, files, histories, leaks, needles
from tests.end_to_end.mistakes import MISTAKES, Mistake, Sources
from tests.simulators.google_drive import DriveSimulator
from tests.simulators.graph import GraphSimulator
from tests.simulators.s3_faults import FaultyS3
from tests.simulators.snowflake_gate import SnowflakeGate

pytest_plugins = ["tests.contract.snowflake_fixtures"]

C = "/organizations/connections"
ALL = [(provider, mistake) for provider, several in MISTAKES.items() for mistake in several]


@pytest.fixture(scope="module")
def sources(snowflake_gate: SnowflakeGate) -> Iterator[Sources]:
    with FaultyS3.running() as s3, DriveSimulator.running() as drive, GraphSimulator.running() as graph:
        s3.put("bucket", "k", b"x")
        drive.tree.put("shared/f", b"x")
        drive.tree.share(drive.tree.folder("shared"), drive.robot)
        graph.tree.put(graph.tree.add_library(graph.tree.add_site("sites/Sales", name="Sales"), "Documents"), "f", b"x")
        account = Account(snowflake_gate)
        account.run("CREATE TABLE GOOD (ID NUMBER, NAME VARCHAR)", "INSERT INTO GOOD VALUES (1, 'x')")
        yield Sources(s3, drive, graph, account)
        snowflake_gate.reset()


@pytest.fixture(scope="module")
def stack(session_home: Path, sources: Sources) -> Iterator[Stack]:
    settings = {
        "TIDEMARK_GOOGLE_API_ENDPOINT": sources.drive.url,
        "TIDEMARK_GOOGLE_TOKEN_URI": sources.drive.token_uri,
        "TIDEMARK_GRAPH_ENDPOINT": sources.graph.url,
        "TIDEMARK_MICROSOFT_AUTHORITY": sources.graph.authority,
        "REQUESTS_CA_BUNDLE": sources.graph.ca_file,
        "TIDEMARK_SNOWFLAKE_HOST": "127.0.0.1",
        "TIDEMARK_SNOWFLAKE_PORT": str(sources.account.gate.port),
        "TIDEMARK_SNOWFLAKE_PROTOCOL": "http",
    }
    made = Stack(session_home / "mistakes", ports=Ports.pick(), workers=1, settings=settings, say=print)
    try:
        made.up()
        yield made
    finally:
        made.down(wipe=True)


@pytest_asyncio.fixture(loop_scope="session")
async def api(stack: Stack, sources: Sources) -> AsyncIterator[Api]:
    sources.mend()
    async with Api(stack.env) as opened:
        yield opened
    sources.mend()


def request(sources: Sources, provider: str, mistake: Mistake, **more: Any) -> Json:
    """A connection with the mistake in it."""
    config, credentials = sources.good(provider)
    credentials = {**credentials, **mistake.credentials, **mistake.own(sources)}
    name = f"{provider} {mistake.name} {more}"
    config = {**config, **mistake.config, "credentials": credentials}
    return {"name": name, "provider_type": provider, "provider_config": config, **more}


def told(mistake: Mistake, text: object, body: Json) -> None:
    """The advice is there, and no secret is."""
    assert mistake.advice in str(text), text
    for name, value in body["provider_config"]["credentials"].items():
        secret = name in {"private_key", "client_secret", "refresh_token", "secret_access_key", "password"}
        assert not secret or len(value) < 8 or value not in str(text)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("provider", "mistake"), [pytest.param(p, m, id=f"{p}-{m.name}") for p, m in ALL if not m.path]
)
async def test_a_mistake_in_the_connection(api: Api, sources: Sources, provider: str, mistake: Mistake) -> None:
    mistake.spoil(sources)
    body = request(sources, provider, mistake)
    with pytest.raises(ApiError) as refused:
        await api.call("POST", C, body)
    told(mistake, refused.value, body)
    assert "422" in str(refused.value) and "was not saved" in str(refused.value)

    saved = await api.call("POST", C, {**body, "test_before_save": False})
    tested = await api.call("POST", f"{C}/{saved['connection_id']}/test")
    assert tested["success"] is False
    told(mistake, tested, body)
    shown = await api.call("GET", f"{C}/{saved['connection_id']}")
    told(mistake, shown["last_error"], body)
    assert shown["consecutive_failures"] >= 1


@pytest.mark.slow
@pytest.mark.parametrize(("provider", "mistake"), [pytest.param(p, m, id=f"{p}-{m.name}") for p, m in ALL if m.path])
async def test_a_mistake_in_the_source_path(api: Api, sources: Sources, provider: str, mistake: Mistake) -> None:
    body = request(sources, provider, mistake)
    connection = str((await api.call("POST", C, body))["connection_id"])
    bucket = await api.create_bucket(f"b {provider} {mistake.name}".replace(" ", "-").lower(), {})
    mistake.spoil(sources)
    try:
        sync = await api.create_sync(bucket, connection, mistake.path, polling_interval_seconds=3600)
    except ApiError as refused:
        told(mistake, refused, body)
        return
    job = await sync.watch(await sync.newest_job(), seconds=60)
    assert job["status"] == "failed"
    told(mistake, job["error"], body)

    async def last_error() -> object:
        return (await api.call("GET", f"/buckets/{bucket}/syncs/{sync.id}"))["last_error"]

    told(mistake, await until(last_error), body)  # written a moment after the job is closed


PATHS = {
    "s3": "bucket",
    "tigris": "bucket",
    "google_drive": "/shared",
    "sharepoint": "/sites/Sales/Documents",
    "snowflake": "GOOD",
}


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_no_secret_of_any_provider_is_kept_in_clear(api: Api, stack: Stack, sources: Sources) -> None:
    """Last of this file, so that every failure above has had its chance to tell one."""
    for provider, path in PATHS.items():
        body = request(sources, provider, Mistake("none", ""))
        connection = str((await api.call("POST", C, body))["connection_id"])
        sync = await api.create_sync(await api.create_bucket(f"good-{provider}", {}), connection, path)
        job = await sync.watch(await sync.newest_job(), seconds=60)
        assert (job["status"], await sync.object_count()) == ("completed", 1), (provider, job)
    wanted = needles(sources.secrets())
    places = [one async for one in histories(await Client.connect(stack.env["TEMPORAL_ADDRESS"]))]
    assert len(places) > 5 and len(wanted) > 30
    places += await asyncio.to_thread(lambda: [*database(stack.env["MONGODB_URI"]), *files(stack)])
    assert [leak for place, data in places for leak in leaks(place, data, wanted)] == []
    # The search is no blind one: what is no secret is found.
    assert leaks("", b"".join(data for _, data in places), [b"/sites/Sales/Documents"])


def test_each_provider_has_ten() -> None:
    assert {provider: len(several) >= 10 for provider, several in MISTAKES.items()} == dict.fromkeys(MISTAKES, True)
