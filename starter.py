"""The HTTP API and the operator's commands: `python starter.py --help`."""

from __future__ import annotations

from api.cli import app

if __name__ == "__main__":
    app()
