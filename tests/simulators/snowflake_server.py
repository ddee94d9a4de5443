"""fakesnow's server as a part of a test session; its tables are in memory."""

from __future__ import annotations

from deploy.local.apart import FAKESNOW
from deploy.local.services import Service
from deploy.local.simulators import fakesnow_server

__all__ = ["service"]


def service(port: int) -> Service:
    """The server; its environment is made when it is not there yet."""
    FAKESNOW.install()
    return fakesnow_server(port)
