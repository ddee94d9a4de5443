"""What the demonstration needs of a source: put, rename, delete, slow it down; and remember what must come out."""

from __future__ import annotations

import contextlib
import hashlib
import sysconfig
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from deploy.local.client import Api, Json

__all__ = ["Changes", "Scale", "Source", "default_files", "folder_files"]

_MAX_BYTES = 512 * 1024
_THREADS = 8
_PROPERTIES: Json = {"content": {"type": "text"}, "folder": {"type": "string"}, "extension": {"type": "string"}}
_MAPPING: Json = {
    "mappings": {
        "content": {"target_type": "blob", "source": {"type": "file"}, "blob_property": "content"},
        "folder": {"target_type": "field", "source": {"type": "folder_path", "full_path": True}},
        "extension": {
            "target_type": "field",
            "source": {"type": "filename_regex", "pattern": r"\.([A-Za-z0-9]+)$", "default": "none"},
            "transform": "lowercase",
        },
    }
}


def default_files(count: int) -> dict[str, Path]:
    """Files of the installed Python environment, by key: every n-th, the very large ones left out."""
    files = folder_files(Path(sysconfig.get_paths()["purelib"]))
    usable = {key: file for key, file in files.items() if file.stat().st_size <= _MAX_BYTES}
    stride = max(1, len(usable) // count)
    return dict(list(usable.items())[::stride][:count])


def folder_files(folder: Path) -> dict[str, Path]:
    """Every regular file below a folder, by key."""
    files = (file for file in sorted(folder.rglob("*")) if file.suffix != ".pyc")
    return {file.relative_to(folder).as_posix(): file for file in files if file.is_file() and not file.is_symlink()}


@dataclass(frozen=True)
class Changes:
    """What one round of changes did, in objects."""

    added: int
    changed: int
    renamed: int
    deleted: int


@dataclass(frozen=True)
class Scale:
    """How much of everything, so that a demonstration stays under two minutes."""

    files: int
    copies: int
    """Files added before a run that is to be interrupted."""
    latency: float
    """Seconds by which the source is slowed down for that."""


class Source(ABC):
    """A source named `name`, and `truth`: key to (sha256, size) of what is in it now."""

    provider: ClassVar[str]
    scale: ClassVar[Scale]
    where: ClassVar[str]
    """What it is, for a person."""
    follows_changes: ClassVar[bool] = False
    """Whether removals come from a change feed, and a renamed file stays the same object."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.truth: dict[str, tuple[str, int]] = {}

    # --- how Tidemark reads it

    @property
    @abstractmethod
    def path(self) -> str:
        """The sync's source_path."""

    @abstractmethod
    def config(self) -> Json:
        """The connection's provider_config."""

    @abstractmethod
    def key_of(self, details: Json) -> str:
        """The key of an object, by its first `source_details`."""

    @abstractmethod
    def slowed(self, api: Api, connection_id: str) -> contextlib.AbstractAsyncContextManager[None]:
        """While inside, every answer of the source takes `scale.latency` longer."""

    def mapping(self) -> Json:
        """The sync's schema_mapping."""
        return _MAPPING

    def properties(self) -> Json:
        """The bucket's properties that it fills."""
        return _PROPERTIES

    # --- how it is changed

    @abstractmethod
    def read(self, key: str) -> bytes:
        """What was put."""

    @abstractmethod
    def write(self, key: str, body: bytes) -> bytes:
        """Write one object; returns the bytes that have to come out of it."""

    @abstractmethod
    def remove(self, key: str) -> None:
        """Delete one object."""

    def move(self, key: str, to: str) -> None:
        """Rename one object; only where `follows_changes`."""
        raise NotImplementedError((key, to))

    @abstractmethod
    def close(self) -> None:
        """Release sockets."""

    # --- what the story does

    def remember(self, key: str, told: bytes) -> int:
        """What has to come out of an object; returns its size."""
        self.truth[key] = (hashlib.sha256(told).hexdigest(), len(told))
        return len(told)

    def write_all(self, objects: Iterable[tuple[str, bytes]]) -> Iterator[int]:
        """Write many objects and remember them; the size of each."""

        def one(item: tuple[str, bytes]) -> int:
            return self.remember(item[0], self.write(*item))

        with ThreadPoolExecutor(_THREADS) as threads:
            yield from threads.map(one, objects)

    def put_files(self, files: Mapping[str, Path], each: Callable[[int], object] = lambda _size: None) -> None:
        """Put many files; `each` is told the size of every one."""
        for size in self.write_all((key, file.read_bytes()) for key, file in files.items()):
            each(size)

    def put_many(self, objects: Iterable[tuple[str, bytes]]) -> None:
        """Put many small objects."""
        for _ in self.write_all(objects):
            pass

    def delete(self, key: str) -> None:
        """Delete one object and forget it."""
        self.remove(key)
        del self.truth[key]

    def rename(self, key: str, to: str) -> None:
        """Rename one object. Where the source cannot, it is another one, and the old one is deleted."""
        if self.follows_changes:
            self.move(key, to)
            self.truth[to] = self.truth.pop(key)
        else:
            self.remember(to, self.write(to, self.read(key)))
            self.delete(key)

    def change(self, count: int) -> Changes:
        """Add, change (half of them at the same size), rename and delete about `count` objects each."""
        keys = sorted(self.truth)
        count = min(count, len(keys) // 5)
        stride = len(keys) // (4 * count) if count else 1
        picked = keys[::stride]
        changed, renamed, deleted = picked[:count], picked[count : 2 * count], picked[2 * count : 3 * count]
        self.put_many((f"added/{number:03}.txt", f"new file {number}\n".encode()) for number in range(count))
        self.put_many((key, self._different(key, grow=n % 2 == 0)) for n, key in enumerate(changed))
        for key in renamed:
            self.rename(key, f"renamed/{key}")
        for key in deleted:
            self.delete(key)
        return Changes(added=count, changed=len(changed), renamed=len(renamed), deleted=len(deleted))

    def _different(self, key: str, *, grow: bool) -> bytes:
        body = self.read(key)
        if grow or not body:
            return body + b"\n# changed\n"
        return bytes([body[0] ^ 1]) + body[1:]
