"""Workloads as files below a folder, one folder per bucket, with an index in S3's listing order.

Index line: key, size, modified (ISO), MD5 (the ETag), SHA-256, tab-separated, sorted by key bytes.
"""

from __future__ import annotations

import hashlib
import os
import random
import time
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Entry", "Lab"]

_DAY = 86_400


@dataclass(frozen=True)
class Entry:
    """One object of a workload."""

    key: str
    size: int
    modified: int
    md5: str
    sha256: str

    def line(self) -> str:
        """Its line in the index."""
        iso = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(self.modified))
        return f"{self.key}\t{self.size}\t{iso}\t{self.md5}\t{self.sha256}\n"


def _keys(workload: str, scale: float) -> list[str]:
    def part(count: int) -> range:
        return range(max(1, round(count * scale)))

    if workload == "small":  # 20,000 files of 4 KiB, three levels
        return [
            f"team{a:02}/proj{b:02}/doc-{a:02}{b:02}-{c:03}.txt" for a in part(20) for b in range(20) for c in range(50)
        ]
    if workload == "large":  # 500 files of 4 MiB
        return [f"video{a:02}/clip-{a:02}-{c:03}.bin" for a in part(10) for c in range(50)]
    if workload == "many":  # 100,000 files of up to 1 KiB
        return [f"p{a:02}/q{b}/obj-{a:02}{b}-{c:04}.dat" for a in part(100) for b in range(10) for c in range(100)]
    raise ValueError(workload)


class Lab:
    """The folder with all workloads. Contents depend on the name only, so that a second start finds them made."""

    def __init__(self, root: Path, scale: float = 1.0) -> None:
        self.root = root
        self.index = root / ".index"
        self.scale = scale

    def make(self, workload: str) -> list[Entry]:
        """Make a workload anew."""
        randomness = random.Random(workload)  # noqa: S311 - content, not a secret
        modified = int(time.time()) - _DAY
        low, high = {"small": (4096, 4096), "large": (4 << 20, 4 << 20), "many": (0, 1024)}[workload]
        entries = [
            self._put(workload, key, randomness.randbytes(randomness.randint(low, high)), modified + number % 3600)
            for number, key in enumerate(_keys(workload, self.scale))
        ]
        return self._write_index(workload, entries)

    def mutate(
        self, workload: str, seed: int, *, added: int = 100, changed: int = 50, deleted: int = 50
    ) -> list[Entry]:
        """Add, change (same size, new time) and delete objects in place."""
        randomness = random.Random(f"{workload}-{seed}")  # noqa: S311 - content, not a secret
        entries, now = self.read(workload), int(time.time())
        picked = randomness.sample(entries, changed + deleted)
        for entry in picked[changed:]:
            (self.root / workload / entry.key).unlink()
        replaced = {
            entry.key: self._put(workload, entry.key, randomness.randbytes(entry.size), now)
            for entry in picked[:changed]
        }
        gone = {entry.key for entry in picked[changed:]}
        size = entries[0].size
        new = [
            self._put(workload, f"team{n % 20:02}/new-{seed}/doc-{n:03}.txt", randomness.randbytes(size), now)
            for n in range(added)
        ]
        kept = [replaced.get(entry.key, entry) for entry in entries if entry.key not in gone]
        return self._write_index(workload, kept + new)

    def read(self, workload: str) -> list[Entry]:
        """The index."""
        entries = []
        for line in (self.index / f"{workload}.tsv").read_text().splitlines():
            key, size, _, md5, sha256 = line.split("\t")
            modified = int((self.root / workload / key).stat().st_mtime)
            entries.append(Entry(key, int(size), modified, md5, sha256))
        return entries

    def _put(self, workload: str, key: str, body: bytes, modified: int) -> Entry:
        file = self.root / workload / key
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(body)
        os.utime(file, (modified, modified))
        md5 = hashlib.md5(body, usedforsecurity=False).hexdigest()
        return Entry(key, len(body), modified, md5, hashlib.sha256(body).hexdigest())

    def _write_index(self, workload: str, entries: list[Entry]) -> list[Entry]:
        ordered = sorted(entries, key=lambda entry: entry.key.encode())
        self.index.mkdir(parents=True, exist_ok=True)
        temporary = self.index / f"{workload}.new"
        temporary.write_text("".join(entry.line() for entry in ordered))
        temporary.replace(self.index / f"{workload}.tsv")
        return ordered
