"""A disk that can lose its power: an SQLite VFS that knows what is synced and what is only written."""

from __future__ import annotations

import random
import threading
from pathlib import Path
from typing import Any

import apsw

SECTOR = 512


class Disk(apsw.VFS):
    """Registered under `name` as long as it lives. Names of files are durable at once, contents when synced."""

    def __init__(self, name: str) -> None:
        super().__init__(name, "unix", iVersion=3)
        self.vfsname = name
        self.lock = threading.Lock()
        self._durable: dict[str, bytearray] = {}
        self._written: dict[str, list[tuple[int, bytes] | int]] = {}
        self.syncs = 0

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:
        return _File(self, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:
        with self.lock:
            self._durable.pop(filename, None)
            self._written.pop(filename, None)
        super().xDelete(filename, syncdir)

    def write(self, name: str, data: bytes, offset: int) -> None:
        with self.lock:
            self._written.setdefault(name, []).append((offset, data))

    def truncate(self, name: str, size: int) -> None:
        with self.lock:
            self._written.setdefault(name, []).append(size)

    def sync(self, name: str) -> None:
        with self.lock:
            self.syncs += 1
            content = self._durable.setdefault(name, bytearray())
            for operation in self._written.pop(name, []):
                _apply(content, operation)

    def cut_power(self, chance: random.Random, directory: Path) -> None:
        """Writes what is found after a power cut now: all that was synced, and any sectors of what was not."""
        with self.lock:
            for name in self._durable.keys() | self._written.keys():
                content = bytearray(self._durable.get(name, b""))
                keep = chance.choice([0.0, 0.5, 0.9, 1.0])
                for operation in self._written.get(name, []):
                    if isinstance(operation, int):
                        if chance.random() < keep:
                            _apply(content, operation)
                        continue
                    offset, data = operation
                    whole = chance.random() < 0.8
                    kept = chance.random() < keep
                    for at in range(0, len(data), SECTOR):
                        if kept if whole else chance.random() < keep:
                            _apply(content, (offset + at, data[at : at + SECTOR]))
                (directory / Path(name).name).write_bytes(content)


def _apply(content: bytearray, operation: tuple[int, bytes] | int) -> None:
    if isinstance(operation, int):
        del content[operation:]
        return
    offset, data = operation
    if len(content) < offset:
        content.extend(bytes(offset - len(content)))
    content[offset : offset + len(data)] = data


class _File(apsw.VFSFile):
    def __init__(self, disk: Disk, name: Any, flags: list[int]) -> None:
        super().__init__("unix", name, flags)
        self._disk = disk
        self._name = name.filename() if isinstance(name, apsw.URIFilename) else str(name)

    def xWrite(self, data: bytes, offset: int) -> None:
        super().xWrite(data, offset)
        self._disk.write(self._name, bytes(data), offset)

    def xTruncate(self, newsize: int) -> None:
        super().xTruncate(newsize)
        self._disk.truncate(self._name, newsize)

    def xSync(self, flags: int) -> None:
        self._disk.sync(self._name)
