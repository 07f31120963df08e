"""Files that are either the old or the new whole, whatever kills us in between."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import orjson


def write(path: Path, data: bytes, *, mode: int = 0o600, durable: bool = False) -> None:
    """Replaces `path` by `data` in one step. Without `durable` the new content survives the death of any process but
    perhaps not a power cut, after which the old content is found (or none)."""
    fd, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with open(fd, "wb") as file:
            file.write(data)
            os.fchmod(file.fileno(), mode)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.rename(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    if durable:
        sync_directory(path.parent)


def write_json(path: Path, value: Any, *, durable: bool = False) -> None:
    write(path, orjson.dumps(value), durable=durable)


def sync_directory(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
