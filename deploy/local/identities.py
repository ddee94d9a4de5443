"""The two organizations of a local stack and their API keys, made by starter.py and kept in a file of the stack.

A key is shown once, when it is made; so the file is the only place that has it. A file whose keys
the API no longer knows (the database was wiped or changed) is replaced.
"""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from deploy.local.paths import CHECKOUT
from deploy.local.tools import ToolError

__all__ = ["identities", "starter"]


def starter(environment: Mapping[str, str], *arguments: str) -> str:
    """Run a subcommand of starter.py and return what it printed."""
    argv = [sys.executable, "starter.py", *arguments]
    done = subprocess.run(argv, env=dict(environment), cwd=CHECKOUT, capture_output=True, text=True, check=False)
    if done.returncode:
        output = "\n".join((done.stdout + done.stderr).strip().splitlines()[-15:])
        raise ToolError(f"`starter.py {' '.join(arguments)}` failed\n{output}", "Read the lines above.")
    return done.stdout


def identities(file: Path, environment: Mapping[str, str], api_port: int) -> dict[str, str]:
    """The TIDEMARK_* lines of stack.env that name keys and namespaces."""
    if file.exists():
        known: dict[str, str] = json.loads(file.read_text())
        if _key_works(known["TIDEMARK_API_KEY"], api_port):
            return known
    # Each command is a Python process of its own: side by side they take half the time.
    with ThreadPoolExecutor() as threads:
        first, second = threads.map(lambda name: _organization(environment, name), ("local", "local-2"))
        wanted = {
            "TIDEMARK_API_KEY": (first, "ADMIN"),
            "TIDEMARK_API_KEY_READ": (first, "READ"),
            "TIDEMARK_API_KEY_WRITE": (first, "WRITE"),
            "TIDEMARK_API_KEY_2": (second, "ADMIN"),
        }
        keys = threads.map(lambda want: _key(environment, want[0]["organization_id"], want[1]), wanted.values())
        made = dict(zip(wanted, keys, strict=True))
    made |= {"TIDEMARK_NAMESPACE": first["namespace_id"], "TIDEMARK_NAMESPACE_2": second["namespace_id"]}
    write_private(file, json.dumps(made, indent=1))
    return made


def write_private(file: Path, content: str) -> None:
    """Replace a file by one that only its owner can read."""
    temporary = file.with_suffix(".new")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
        out.write(content)
    temporary.replace(file)


def _organization(environment: Mapping[str, str], name: str) -> dict[str, str]:
    made: dict[str, str] = json.loads(starter(environment, "organization", "create", "--name", name, "--json"))
    return made


def _key(environment: Mapping[str, str], organization_id: str, role: str) -> str:
    arguments = ("key", "create", "--organization", organization_id, "--role", role, "--json")
    return str(json.loads(starter(environment, *arguments))["api_key"])


def _key_works(key: str, port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/v1/buckets?limit=1", headers={"Authorization": f"Bearer {key}"})
        return connection.getresponse().status != http.HTTPStatus.UNAUTHORIZED
    finally:
        connection.close()
