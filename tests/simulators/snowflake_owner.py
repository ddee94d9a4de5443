"""Statements as the owner of a simulated account, past the gate: nothing of them is counted or refused."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

__all__ = ["Owner"]

Body = dict[str, Any]


class Owner:
    """`use` chooses where unqualified names are looked for."""

    def __init__(self, upstream: str) -> None:
        self._upstream = upstream
        self._token = ""
        self._token = self._login("")

    def use(self, database: str, schema: str) -> None:
        """From now on, names are those of this schema."""
        self._token = self._login(f"?databaseName={database}&schemaName={schema}")

    def run(self, *statements: str) -> None:
        """Execute them one after the other. Raises ValueError with Snowflake's message."""
        for statement in statements:
            answer = self._post("/queries/v1/query-request", {"sqlText": statement})
            if not answer["success"]:
                raise ValueError(f"{answer['message']}: {statement[:500]}")

    def _login(self, query: str) -> str:
        answer = self._post(f"/session/v1/login-request{query}", {"data": {"SESSION_PARAMETERS": {}}})
        return str(answer["data"]["token"])

    def _post(self, path: str, body: Body) -> Body:
        headers = {"Content-Type": "application/json", "Authorization": f'Snowflake Token="{self._token}"'}
        request = urllib.request.Request(f"{self._upstream}{path}", json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request, timeout=30) as reply:
            answer: Body = json.load(reply)
            return answer
