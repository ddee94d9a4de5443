"""The streaming writer of the local blob store."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from stores.blobs.direct import BUFFER, DirectFile
from stores.blobs.writing import BatchWriter, Run

__all__ = ["LocalWriter", "WriterHost"]


class WriterHost(Protocol):
    """What the writer needs of its store."""

    def put(self, pieces: Sequence[bytes]) -> str:
        """Put a whole body under its name."""

    def path(self, sha256: str) -> str:
        """Where a blob is."""

    def temporary(self) -> str:
        """A new name in the same file system."""


class LocalWriter(BatchWriter):
    """Bodies of up to one batch are put like small ones; longer ones go through a temporary file."""

    def __init__(self, store: WriterHost, run: Run) -> None:
        super().__init__(run, BUFFER)
        self._store = store
        self._file: DirectFile | None = None
        self._temporary = ""

    def put_whole(self, pieces: list[bytes]) -> str:
        """See BatchWriter."""
        return self._store.put(pieces)

    def write_out(self, pieces: list[bytes]) -> None:
        """See BatchWriter."""
        if self._file is None:
            self._temporary = self._store.temporary()
            self._file = DirectFile(self._temporary)
        self._file.append(pieces)

    def give_name(self, sha256: str) -> None:
        """See BatchWriter."""
        assert self._file is not None  # a body of one batch is put whole
        self._file.finish()
        path = self._store.path(sha256)
        try:
            os.link(self._temporary, path)
        except OSError:
            # Taken, or a file system without links: what is there may be torn, or durable and referenced.
            # Only a file that is on disk itself may take its place.
            os.fdatasync(self._file.fd)
            Path(self._temporary).replace(path)
            self._temporary = ""

    def take_back(self) -> None:
        """See BatchWriter. After `give_name` only the second name of a linked file is left to remove."""
        if self._file is not None:
            self._file.close()
            self._file = None
        if self._temporary:
            Path(self._temporary).unlink(missing_ok=True)
            self._temporary = ""
