"""Snowflake through the whole stack: the API, the workflow, the provider, fakesnow behind the gate."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio

from deploy.local.client import Api
from deploy.local.stack import Stack
from tests.chaos.rig import Landing, World, settled, until, world
from tests.contract.snowflake_rig import PASSWORD, Account, full_pass, shown
from tests.simulators.s3_faults import FaultyS3
from tests.simulators.snowflake_gate import GateAnswer, SnowflakeGate

pytest_plugins = ["tests.contract.snowflake_fixtures"]

TIME = "'2026-01-01'::TIMESTAMP"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def here(make_module_stack: Callable[..., Stack], snowflake_gate: SnowflakeGate) -> AsyncIterator[World]:
    stack = make_module_stack(
        workers=1,
        settings={
            "TIDEMARK_SNOWFLAKE_HOST": "127.0.0.1",
            "TIDEMARK_SNOWFLAKE_PORT": str(snowflake_gate.port),
            "TIDEMARK_SNOWFLAKE_PROTOCOL": "http",
        },
    )
    stack.up()
    async with world(stack, FaultyS3()) as found:
        yield found


async def connect(api: Api, account: Account, *, password: str = PASSWORD, test: bool = False) -> str:
    config = {
        "account": "acme-main",
        "warehouse": "WH",
        "database": account.database,
        "schema": "S",
        "primary_key_columns": ["id"],
        "incremental_column": "seen",
        "fetch_size": 100,
        "credentials": {"type": "username_password", "username": "loader", "password": password},
    }
    body: dict[str, Any] = {"name": f"rows {uuid.uuid4().hex}", "provider_type": "snowflake", "provider_config": config}
    body["test_before_save"] = test
    return str((await api.call("POST", "/organizations/connections", body))["connection_id"])


async def truth(account: Account) -> dict[str, bytes]:
    """What the bucket must hold: the rows as a provider of our own reads them."""
    provider = account.open(primary_key_columns=["id"], incremental_column="seen")
    rows = shown(await full_pass(provider, "items"))
    await provider.close()
    return {row.id.removeprefix(f"{account.database}.S.ITEMS/"): row.locator["row"].encode() for row in rows}


async def compare(landing: Landing, account: Account) -> int:
    landing.source = f"{account.database}.S.ITEMS"
    return await landing.recount(await truth(account))


@pytest.mark.slow
async def test_a_sync_follows_a_table(here: World, account: Account) -> None:
    account.run(
        "CREATE TABLE ITEMS (ID NUMBER(38,0), NAME VARCHAR, PRICE NUMBER(10,2), TAGS VARIANT, SEEN TIMESTAMP_NTZ)",
        f"INSERT INTO ITEMS SELECT SEQ4(), 'n' || SEQ4(), 1.50, PARSE_JSON('[\"a\"]'), {TIME}"
        " FROM TABLE(GENERATOR(ROWCOUNT => 1200))",
    )
    wrong = await connect(here.api, account, password="wrong")
    tested = await here.api.call("POST", f"/organizations/connections/{wrong}/test")
    assert not tested["success"] and "give the right username and password" in str(tested)
    connection = await connect(here.api, account, test=True)
    assert (await here.api.call("POST", f"/organizations/connections/{connection}/test"))["success"]

    fields = {
        name: {"target_type": "field", "source": {"type": "column", "name": name}} for name in ("name", "PRICE", "Tags")
    }
    mapping = {"mappings": {"content": {"target_type": "blob", "source": {"type": "file"}}, **fields}}
    bucket = await here.bucket({"content": {"type": "text"}, "PRICE": {"type": "number"}})
    landing = await here.sync("items", connection_id=connection, bucket_id=bucket, schema_mapping=mapping)
    settled(await landing.first(), stored=1200)
    assert await compare(landing, account) == 1200
    one: dict[str, Any] = next(o for o in await landing.objects() if o["name"] == "n7")
    assert (one["PRICE"], one["Tags"]) == (1.5, ["a"])
    assert one["source_details"][0]["source_id"] == f"{account.database}.S.ITEMS/[7]"
    assert one["source_details"][0]["source_path"] == "7.json"

    account.gate.statements.clear()
    settled(await landing.again(), stored=0, updated=0, seen=0)
    assert len(account.gate.asked(r'"S"\."ITEMS" T')) == 1

    account.run(
        "UPDATE ITEMS SET NAME = 'renamed', SEEN = '2026-01-02'::TIMESTAMP WHERE ID < 10",
        "INSERT INTO ITEMS SELECT 5000, 'new', 2.5, NULL, '2026-01-02'::TIMESTAMP",
        "DELETE FROM ITEMS WHERE ID = 1000",
    )
    counts = settled(await landing.again(), stored=1, updated=10)
    assert counts["removed"] == 0  # W32
    counts = settled(await landing.again(full=True), stored=0, updated=0)
    assert counts["removed"] == 1
    assert await compare(landing, account) == 1200

    account.run("DELETE FROM ITEMS WHERE ID > 100")  # W36
    await landing.again(full=True)
    assert len(await landing.objects()) == 1200
    account.run(
        f"INSERT INTO ITEMS SELECT SEQ4() + 101, 'n' || (SEQ4() + 101), 1.50, PARSE_JSON('[\"a\"]'), {TIME}"
        " FROM TABLE(GENERATOR(ROWCOUNT => 1099))"
    )
    await landing.again(full=True)

    account.run("ALTER TABLE ITEMS DROP COLUMN NAME")  # W37

    async def stopped() -> bool:
        job = (await landing.jobs())[0]
        return job["status"] == "failed" and "column NAME is mapped" in (job["error"] or "")

    await landing.again()
    await until(stopped, seconds=60)
    assert await landing.letters() == []
    assert len(await landing.objects()) >= 1200


@pytest.mark.slow
async def test_w40_a_row_that_cannot_be_stored_is_in_the_books_and_stops_nothing(here: World, account: Account) -> None:
    account.run(
        "CREATE TABLE RANKS (ID NUMBER, RANK VARCHAR, SEEN TIMESTAMP_NTZ)",
        *[f"INSERT INTO RANKS SELECT {i}, '{'x' if i == 3 else i}', {TIME}" for i in range(6)],
    )
    connection = await connect(here.api, account)
    rank = {"rank": {"target_type": "field", "source": {"type": "column", "name": "rank"}}}
    bucket = await here.bucket({"content": {"type": "text"}, "rank": {"type": "number"}})
    landing = await here.sync("ranks", connection_id=connection, bucket_id=bucket, schema_mapping={"mappings": rank})
    job = await landing.first()
    settled(job, seen=6, stored=5, failed=1, skipped=0)
    assert job["files_failed"] == 1
    [letter] = await landing.letters()
    assert letter["source_object_id"] == f"{account.database}.S.RANKS/[3]" and "rank" in str(letter)
    account.run("UPDATE RANKS SET RANK = '3', SEEN = '2026-01-02'::TIMESTAMP WHERE ID = 3")
    settled(await landing.again(), stored=1, failed=0)  # it is not passed over for ever
    assert len(await landing.objects()) == 6


@pytest.mark.slow
async def test_faults_cost_no_row_no_attempt_and_no_removal(here: World, account: Account) -> None:
    account.run(
        "CREATE TABLE FAULTS (ID NUMBER, BODY VARCHAR, SEEN TIMESTAMP_NTZ)",
        f"INSERT INTO FAULTS SELECT SEQ4(), REPEAT('x', 300000), {TIME} FROM TABLE(GENERATOR(ROWCOUNT => 6))",
    )
    busy = GateAnswer(429, b"{}", {"Retry-After": "1"})
    account.gate.script("query", busy, sql="FAULTS.* LIMIT", times=2)
    account.gate.script("query", busy, sql=r"FAULTS.* WHERE .*ID.* = ", times=4)  # of rows that are fetched alone
    landing = await here.sync("faults", connection_id=await connect(here.api, account))
    job = await landing.first(seconds=150)
    counts = settled(job, stored=6, failed=0)
    assert counts["throttle_waits"] >= 1 and await landing.letters() == []
    account.gate.reset_scripts()

    # A table that suddenly shows fewer rows than it has, by an answer that is none, loses nothing.
    account.gate.script("query", GateAnswer(200, b"<html>proxy"), sql="FAULTS.* LIMIT", times=50)
    await landing.again(full=True, seconds=150)
    account.gate.reset_scripts()
    assert len(await landing.objects()) == 6
