"""The simulators beside a local stack: processes, the settings with which they are used, a connection for each.

They are `tests.simulators.run`, started as processes; what they say about themselves is in `home/NAME.json`.
"""

from __future__ import annotations

import http.client
import json
import ssl
import sys
from collections.abc import Mapping
from pathlib import Path

from deploy.local.apart import FAKESNOW
from deploy.local.client import Api, Json
from deploy.local.ports import Ports
from deploy.local.services import Service
from deploy.local.tools import ToolError

__all__ = ["PROVIDERS", "Simulators", "connect_all", "fakesnow_server"]

PROVIDERS = ("google_drive", "sharepoint", "snowflake")
_DRIVE, _GRAPH, _FAKESNOW, _SNOWFLAKE = (
    "simulated-google-drive",
    "simulated-graph",
    "simulated-fakesnow",
    "simulated-snowflake",
)


class Simulators:
    """Those of one stack. `home` is a folder of theirs."""

    names = (_DRIVE, _GRAPH, _FAKESNOW, _SNOWFLAKE)

    def __init__(self, home: Path, ports: Ports) -> None:
        self.home = home
        self._ports = ports

    def service(self, name: str) -> Service:
        """How one of them is started."""
        ports = self._ports
        if name == _FAKESNOW:
            return fakesnow_server(ports.fakesnow)
        if name == _DRIVE:
            return self._run(name, "google_drive", "drive", ports.drive)
        if name == _GRAPH:
            return self._run(name, "graph", "graph", ports.graph, tls=True)
        return self._run(name, "snowflake", "snowflake", ports.snowflake)

    def _run(self, name: str, kind: str, field: str, port: int, *, tls: bool = False) -> Service:
        argv = [sys.executable, "-m", "tests.simulators.run", kind, "--port", str(port), "--home", str(self.home)]
        if kind == "snowflake":
            argv += ["--upstream", f"http://127.0.0.1:{self._ports.fakesnow}"]
        return Service(name, argv, lambda _pid: _answers(port, tls=tls), ports={field: port}, stop_seconds=5)

    def told(self, provider: str) -> Json:
        """What a simulator says: `settings`, `source_path`, `provider_type`, `provider_config`."""
        try:
            told: Json = json.loads((self.home / f"{provider}.json").read_text())
        except FileNotFoundError:
            raise ToolError(f"there is no simulator of {provider}", "Run `make up SIMULATORS=1`.") from None
        return told

    def settings(self) -> dict[str, str]:
        """Environment variables for workers and API."""
        found: dict[str, str] = {}
        for provider in PROVIDERS:
            found |= self.told(provider)["settings"]
        return found

    def addresses(self) -> dict[str, str]:
        """Lines of stack.env: where each one is, and the certificate that a client of Graph has to trust."""
        ports = self._ports
        return {
            "SIMULATED_GOOGLE_DRIVE_URL": f"http://127.0.0.1:{ports.drive}",
            "SIMULATED_SHAREPOINT_URL": f"https://127.0.0.1:{ports.graph}",
            "SIMULATED_SHAREPOINT_CA": str(self.home / "ca.pem"),
            "SIMULATED_SNOWFLAKE_URL": f"http://127.0.0.1:{ports.snowflake}",
        }


def fakesnow_server(port: int) -> Service:
    """The server behind the Snowflake gate."""
    program = FAKESNOW.find()
    if program is None:
        raise ToolError("fakesnow is not installed", "Run `make up SIMULATORS=1`, which sets everything up.")
    argv = [str(program), "--server", "--host", "127.0.0.1", "--port", str(port)]
    return Service(_FAKESNOW, argv, lambda _pid: _answers(port), ports={"fakesnow": port})


async def connect_all(env: Mapping[str, str], told: Mapping[str, Json]) -> dict[str, str]:
    """A connection `simulated-…` for each provider that was `told` of, made where it is missing; lines of stack.env."""
    lines: dict[str, str] = {}
    async with Api(env) as api:
        listed = await api.call("POST", "/organizations/connections/list", {}, limit=1000)
        known = {one["name"]: str(one["connection_id"]) for one in listed["results"]}
        for provider, facts in told.items():
            name = f"simulated-{provider.replace('_', '-')}"
            made = known.get(name) or await api.create_connection(name, provider, facts["provider_config"])
            lines[f"SIMULATED_{provider.upper()}_CONNECTION"] = made
            lines[f"SIMULATED_{provider.upper()}_PATH"] = facts["source_path"]
    return lines


def _answers(port: int, *, tls: bool = False) -> bool:
    """Whether a simulator answers HTTP; its certificate is of no concern here."""
    if tls:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        connection: http.client.HTTPConnection = http.client.HTTPSConnection("127.0.0.1", port, context=context)
    else:
        connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.timeout = 2
    try:
        connection.request("GET", "/simulator/")
        return connection.getresponse().status < 500
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
