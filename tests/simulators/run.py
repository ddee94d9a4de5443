"""A simulator as a process of its own, with sample data: what `make up SIMULATORS=1` starts.

    python -m tests.simulators.run google_drive --port 9100 --home .local/simulated
    python -m tests.simulators.run graph --port 9101 --home .local/simulated
    python -m tests.simulators.run snowflake --port 9102 --upstream http://127.0.0.1:9103 --home .local/simulated

`home` keeps what has to outlive it: keys, certificates, and in NAME.json the settings and the connection with
which it can be used. Data are in memory. `tests.simulators.control` says how to change them from outside.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import threading
import time
import urllib.error
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import certifi

from tests.simulators.control import Control, DriveFiles, LibraryFiles
from tests.simulators.google_drive import DriveSimulator
from tests.simulators.graph import GraphSimulator
from tests.simulators.snowflake_gate import SnowflakeGate
from tests.simulators.snowflake_login import GateUser
from tests.simulators.snowflake_owner import Owner

__all__ = ["google_drive", "graph", "snowflake"]

Json = dict[str, Any]

_PASSWORD = "correct horse"
_UPSTREAM_SECONDS = 60


@contextlib.contextmanager
def google_drive(port: int, home: Path) -> Iterator[DriveSimulator]:
    """My Drive of a user, a shared drive, a folder shared with the service account."""
    with DriveSimulator.running(port, key_file=home / "google-key.pem") as drive:
        tree = drive.tree
        for year in (2024, 2025):
            for i in range(20):
                tree.put(f"Reports/{year}/report {i:02d}.txt", f"Report {i} of {year}\n".encode() * 50)
        office = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
        tree.native("document", "Reports/Plan", {office: b"PK plan", "application/pdf": b"%PDF plan"})
        tree.share(tree.folder("Reports"), drive.robot)
        shared = tree.add_drive("Marketing", {"me@example.com", drive.robot})
        for i in range(30):
            tree.put(f"Campaigns/c{i % 3}/picture {i:02d}.bin", bytes([i]) * 4096, shared, "image/png")
        drive.before = Control(DriveFiles(tree)).before
        config = {"impersonate_user": "me@example.com", "credentials": drive.service_account()}
        settings = {"TIDEMARK_GOOGLE_API_ENDPOINT": drive.url, "TIDEMARK_GOOGLE_TOKEN_URI": drive.token_uri}
        tell(home, "google_drive", settings, config, "/Reports")
        yield drive


@contextlib.contextmanager
def graph(port: int, home: Path) -> Iterator[GraphSimulator]:
    """A tenant with one site of two libraries."""
    with GraphSimulator.running(port, home=home) as simulator:
        tree = simulator.tree
        site = tree.add_site("sites/Sales", name="Sales")
        documents = tree.add_library(site, "Documents", "Shared Documents")
        archive = tree.add_library(site, "Archive")
        for number in range(1, 41):
            tree.put(documents, f"Reports/2026/report-{number:02d}.txt", f"report {number}\n".encode() * number)
        tree.put(archive, "old/readme.md", b"# Old things\n")
        simulator.before = Control(LibraryFiles(tree, documents)).before
        # Workers reach other places over TLS too: the test CA is added to those they trust anyway.
        trusted = Path(os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("SSL_CERT_FILE") or certifi.where())
        bundle = home / "trusted.pem"
        bundle.write_text(f"{trusted.read_text()}\n{Path(simulator.ca_file).read_text()}")
        settings = {
            "TIDEMARK_GRAPH_ENDPOINT": simulator.url,
            "TIDEMARK_MICROSOFT_AUTHORITY": simulator.authority,
            "REQUESTS_CA_BUNDLE": str(bundle),
        }
        secret = {
            "type": "client_credentials",
            "tenant_id": "contoso",
            "client_id": "app",
            "client_secret": "secret",
        }
        tell(home, "sharepoint", settings, {"credentials": secret}, "/sites/Sales")
        yield simulator


@contextlib.contextmanager
def snowflake(port: int, home: Path, upstream: str) -> Iterator[SnowflakeGate]:
    """A database DEMO with a table of 200 orders."""
    owner = reach(upstream)
    owner.run("CREATE DATABASE IF NOT EXISTS DEMO")
    owner.use("DEMO", "PUBLIC")
    owner.run(
        "CREATE OR REPLACE TABLE ORDERS (ID NUMBER(38,0), CUSTOMER VARCHAR, AMOUNT NUMBER(10,2), CHANGED NUMBER(38,0))",
        "INSERT INTO ORDERS SELECT SEQ4(), 'customer ' || (SEQ4() % 17), 9.95, 1"
        " FROM TABLE(GENERATOR(ROWCOUNT => 200))",
    )
    with SnowflakeGate.running(upstream, port) as gate:
        gate.users["LOADER"] = GateUser(password=_PASSWORD)
        gate.before = Control(sql=owner.run).before
        settings = {
            "TIDEMARK_SNOWFLAKE_HOST": "127.0.0.1",
            "TIDEMARK_SNOWFLAKE_PORT": str(gate.port),
            "TIDEMARK_SNOWFLAKE_PROTOCOL": "http",
        }
        config = {
            "account": "acme-main",
            "warehouse": "WH",
            "database": "DEMO",
            "schema": "PUBLIC",
            "primary_key_columns": ["ID"],
            "incremental_column": "CHANGED",
            "credentials": {"type": "username_password", "username": "loader", "password": _PASSWORD},
        }
        tell(home, "snowflake", settings, config, "ORDERS")
        yield gate


def reach(upstream: str) -> Owner:
    """Its owner, as soon as it answers."""
    deadline = time.monotonic() + _UPSTREAM_SECONDS
    while True:
        try:
            return Owner(upstream)
        except (urllib.error.URLError, ConnectionError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def tell(home: Path, provider: str, settings: Json, config: Json, path: str) -> None:
    """Write down how to use it; readable by its owner only, like everything with keys."""
    told = {"settings": settings, "source_path": path, "provider_type": provider, "provider_config": config}
    file = home / f"{provider}.json"
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
        json.dump(told, out, indent=1)
    print(json.dumps({**told, "provider_config": "in " + str(file)}, indent=1), flush=True)


def main() -> None:
    """Run until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=("google_drive", "graph", "snowflake"))
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--home", type=Path, default=Path(".local/simulated"))
    parser.add_argument("--upstream", default="http://127.0.0.1:9103", help="fakesnow's server")
    arguments = parser.parse_args()
    home = arguments.home.resolve()
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    with contextlib.ExitStack() as stack:
        if arguments.name == "google_drive":
            stack.enter_context(google_drive(arguments.port, home))
        elif arguments.name == "graph":
            stack.enter_context(graph(arguments.port, home))
        else:
            stack.enter_context(snowflake(arguments.port, home, arguments.upstream))
        ended.wait()


if __name__ == "__main__":
    main()
