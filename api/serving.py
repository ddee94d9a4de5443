"""The API as a process: put together what it needs, listen, and leave in good order."""

from __future__ import annotations

import asyncio
import signal

import structlog
from aiohttp import web

from activities.health import check_connection
from api import services
from api.commands import Commands, connect
from api.server import make_app
from models.logs import configure_logging
from models.settings import Settings
from stores.blobs import open_blob_store
from stores.database import connect as connect_database
from stores.vault import Vault

__all__ = ["run"]

# Longer than a command waits for its workflow, so that a deploy cuts no answer off.
_GRACE_SECONDS = 25.0


def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT."""
    try:
        import uvloop  # noqa: PLC0415 - not on every platform
    except ImportError:
        asyncio.run(_serve(settings))
    else:
        uvloop.run(_serve(settings))


async def _serve(settings: Settings) -> None:
    configure_logging(settings)
    client, database = connect_database(settings)
    blobs = open_blob_store(settings)
    vault = await Vault.open(client, settings)
    commands = Commands(await connect(), settings)
    app = make_app(
        services.build(
            settings, database, commands=commands, vault=vault, blobs=blobs, check_connection=check_connection
        )
    )
    runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=_GRACE_SECONDS)
    stopping = asyncio.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signum, stopping.set)
    try:
        await runner.setup()
        await web.TCPSite(runner, settings.api_host, settings.api_port).start()
        structlog.get_logger("api").info("listening", url=settings.public_url)
        await stopping.wait()
    finally:
        await runner.cleanup()
        await vault.close()
        await blobs.close()
        await client.close()
