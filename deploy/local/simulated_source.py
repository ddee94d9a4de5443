"""Sources in the simulators: a folder of a Drive, a folder of a SharePoint library, a table of Snowflake."""

from __future__ import annotations

import contextlib
import json
import ssl
import threading
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from http.client import HTTPConnection, HTTPSConnection
from itertools import count, islice
from typing import ClassVar
from urllib.parse import quote, urlencode, urlsplit

from deploy.local.client import Api, Json
from deploy.local.simulators import Simulators
from deploy.local.source import Scale, Source

__all__ = ["DriveSource", "SharePointSource", "SnowflakeSource"]

_ROWS_PER_STATEMENT = 100
_TEXT = 1000


class _Wire:
    """Requests to a simulator's own addresses, on a connection of each thread."""

    def __init__(self, url: str, ca_file: str = "") -> None:
        self._address = urlsplit(url).netloc
        self._context = ssl.create_default_context(cafile=ca_file) if url.startswith("https:") else None
        self._mine = threading.local()
        self._all: list[HTTPConnection] = []

    def send(self, method: str, target: str, body: bytes = b"") -> bytes:
        """The answer's body. Raises RuntimeError for any but 200."""
        connection: HTTPConnection | None = getattr(self._mine, "connection", None)
        if connection is None:
            connection = self._mine.connection = (
                HTTPSConnection(self._address, context=self._context)
                if self._context
                else HTTPConnection(self._address)
            )
            self._all.append(connection)
        connection.request(method, f"/simulator/{target}", body)
        reply = connection.getresponse()
        answer = reply.read()
        if reply.status != 200:
            raise RuntimeError(f"{method} {target}: {reply.status} {answer[:500].decode(errors='replace')}")
        return answer

    def close(self) -> None:
        for connection in self._all:
            connection.close()


class _Simulated(Source):
    """`told` is what the simulator says of itself."""

    follows_changes = True

    def __init__(self, name: str, env: Mapping[str, str], simulators: Simulators) -> None:
        super().__init__(name)
        self.told = simulators.told(self.provider)
        variable = f"SIMULATED_{self.provider.upper()}"
        self.wire = _Wire(env[f"{variable}_URL"], env.get(f"{variable}_CA", ""))

    def config(self) -> Json:
        """See Source."""
        config: Json = self.told["provider_config"]
        return config

    @contextlib.asynccontextmanager
    async def slowed(self, api: Api, connection_id: str) -> AsyncIterator[None]:
        """See Source."""
        del api, connection_id
        self.wire.send("PUT", "latency", str(self.scale.latency).encode())
        try:
            yield
        finally:
            self.wire.send("PUT", "latency", b"0")

    def close(self) -> None:
        """See Source."""
        self.wire.close()


class _Folder(_Simulated):
    """A folder called `name`."""

    @property
    def path(self) -> str:
        """See Source."""
        return f"/{self.name}"

    def key_of(self, details: Json) -> str:
        """See Source."""
        return str(details["source_path"])

    def read(self, key: str) -> bytes:
        """See Source."""
        return self.wire.send("GET", self._file(key))

    def write(self, key: str, body: bytes) -> bytes:
        """See Source."""
        self.wire.send("PUT", self._file(key), body)
        return body

    def remove(self, key: str) -> None:
        """See Source."""
        self.wire.send("DELETE", self._file(key))

    def move(self, key: str, to: str) -> None:
        """See Source."""
        self.wire.send("POST", f"move?{urlencode({'from': f'{self.name}/{key}', 'to': f'{self.name}/{to}'})}")

    def _file(self, key: str) -> str:
        return f"files/{quote(f'{self.name}/{key}')}"


class DriveSource(_Folder):
    """A folder of My Drive."""

    provider = "google_drive"
    scale = Scale(files=1000, copies=500, latency=0.02)
    where: ClassVar[str] = "the simulator of Google Drive"


class SharePointSource(_Folder):
    """A folder of the library Documents of the site Sales."""

    provider = "sharepoint"
    scale = Scale(files=800, copies=400, latency=0.02)
    where: ClassVar[str] = "the simulator of Microsoft Graph"

    @property
    def path(self) -> str:
        """See Source."""
        return f"/sites/Sales/Documents/{self.name}"


class SnowflakeSource(_Simulated):
    """A table with a row for each file: its name, its lines, the beginning of its text, when it was changed."""

    provider = "snowflake"
    scale = Scale(files=2000, copies=1000, latency=0.5)
    where: ClassVar[str] = "the simulator of Snowflake"
    # A watermark finds no deleted rows, and a row whose key has changed is another row.
    follows_changes = False

    def __init__(self, name: str, env: Mapping[str, str], simulators: Simulators) -> None:
        super().__init__(name, env, simulators)
        self._table = name.upper().replace("-", "_")
        self._bodies: dict[str, bytes] = {}
        self._clock = count(1)
        self._sql(f"CREATE TABLE {self._table} (NAME VARCHAR, LINES NUMBER(38,0), TEXT VARCHAR, CHANGED NUMBER(38,0))")

    @property
    def path(self) -> str:
        """See Source."""
        return self._table

    def config(self) -> Json:
        """See Source."""
        return {**super().config(), "primary_key_columns": ["NAME"], "fetch_size": 100}

    def mapping(self) -> Json:
        """See Source."""
        columns = {
            name: {"target_type": "field", "source": {"type": "column", "name": name.upper()}}
            for name in ("name", "lines")
        }
        content = {"target_type": "blob", "source": {"type": "file"}, "blob_property": "content"}
        return {"mappings": {"content": content, **columns}}

    def properties(self) -> Json:
        """See Source."""
        return {"content": {"type": "text"}, "name": {"type": "string"}, "lines": {"type": "number"}}

    def key_of(self, details: Json) -> str:
        """See Source."""
        return str(json.loads(str(details["source_id"]).partition("/")[2])[0])

    def read(self, key: str) -> bytes:
        """See Source."""
        return self._bodies[key]

    def write(self, key: str, body: bytes) -> bytes:
        """See Source."""
        return self._write([(key, body)])[0]

    def remove(self, key: str) -> None:
        """See Source."""
        self._sql(f"DELETE FROM {self._table} WHERE NAME = {_literal(key)}")
        del self._bodies[key]

    def write_all(self, objects: Iterable[tuple[str, bytes]]) -> Iterator[int]:
        """See Source: a hundred rows with one statement."""
        waiting = iter(objects)
        while some := list(islice(waiting, _ROWS_PER_STATEMENT)):
            for (key, _), told in zip(some, self._write(some), strict=True):
                yield self.remember(key, told)

    def _write(self, objects: list[tuple[str, bytes]]) -> list[bytes]:
        rows, told = [], []
        for key, body in objects:
            text = "".join(c for c in body[:_TEXT].decode("ascii", "ignore") if c.isprintable() and c not in "\\'$")
            row = {"NAME": key, "LINES": body.count(b"\n"), "TEXT": text, "CHANGED": next(self._clock)}
            rows.append(f"({_literal(key)}, {row['LINES']}, {_literal(text)}, {row['CHANGED']})")
            told.append(json.dumps(row, separators=(",", ":"), ensure_ascii=False).encode())
        if there := [_literal(key) for key, _ in objects if key in self._bodies]:
            self._sql(f"DELETE FROM {self._table} WHERE NAME IN ({', '.join(there)})")
        self._sql(f"INSERT INTO {self._table} VALUES {', '.join(rows)}")
        self._bodies |= dict(objects)
        return told

    def _sql(self, statement: str) -> None:
        self.wire.send("POST", "sql", statement.encode())


def _literal(text: str) -> str:
    quoted = text.replace("'", "''")
    for sign in "$\\":  # a session variable and an escape, in a literal too
        quoted = quoted.replace(sign, f"' || CHR({ord(sign)}) || '")
    return f"'{quoted}'"
