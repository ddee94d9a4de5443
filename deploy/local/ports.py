"""Ports of the local stack: settings with defaults below 32768, where the kernel hands out no ephemeral ports."""

from __future__ import annotations

import random
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields

__all__ = ["Ports", "is_free"]

_VARIABLES = {
    "temporal": "TEMPORAL_PORT",
    "temporal_ui": "TEMPORAL_UI_PORT",
    "mongod": "MONGOD_PORT",
    "s3": "S3_PORT",
    "api": "TIDEMARK_API_PORT",
    "drive": "SIMULATED_GOOGLE_DRIVE_PORT",
    "graph": "SIMULATED_SHAREPOINT_PORT",
    "snowflake": "SIMULATED_SNOWFLAKE_PORT",
    "fakesnow": "FAKESNOW_PORT",
    "metrics": "TIDEMARK_METRICS_PORT",
}


@dataclass(frozen=True)
class Ports:
    """One field per port; `metrics` is the first of one port per worker."""

    temporal: int = 7233
    temporal_ui: int = 8233
    mongod: int = 27017
    s3: int = 9000
    api: int = 8080
    drive: int = 9100
    graph: int = 9101
    snowflake: int = 9102
    fakesnow: int = 9103
    metrics: int = 9464

    @classmethod
    def from_environment(cls, environment: Mapping[str, str], saved: Mapping[str, int]) -> Ports:
        """Environment variables, else what this stack used last, else the defaults."""
        chosen = {
            name: int(environment[variable]) for name, variable in _VARIABLES.items() if environment.get(variable)
        }
        known = {field.name for field in fields(cls)}
        return cls(**{**{name: port for name, port in saved.items() if name in known}, **chosen})

    @classmethod
    def pick(cls, metrics: int = 8) -> Ports:
        """Free ports for a stack of its own in a test. `metrics` ports in a row are left for workers."""
        names = [field.name for field in fields(cls)]  # metrics, the last, is the first of several
        for _ in range(200):
            base = random.SystemRandom().randrange(12_000, 32_000)
            if all(is_free(port) for port in range(base, base + len(names) - 1 + metrics)):
                return cls(**{name: base + offset for offset, name in enumerate(names)})
        raise OSError("no run of free ports between 12000 and 32000")

    def variable(self, name: str) -> str:
        """The environment variable that sets a port."""
        return _VARIABLES[name]

    def as_dict(self) -> dict[str, int]:
        """For the file that remembers them."""
        return asdict(self)


def is_free(port: int) -> bool:
    """Whether a server could listen on this loopback port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
