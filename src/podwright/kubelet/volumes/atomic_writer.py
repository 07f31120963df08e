"""Volumes whose files all change at once: they lie in a directory with a stamp for its name, ``..data`` is a link to it
that is replaced by rename(2), and the names that users see are links through ``..data``."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

DATA = "..data"
_NEW_DATA = "..data_tmp"


@dataclass(frozen=True, slots=True)
class FileContent:
    data: bytes
    mode: int
    uid: int | None = None


class BadPayload(Exception):
    """A path that must not be in a volume."""


Payload = Mapping[str, FileContent]
"""Content by relative path."""


def write(directory: Path, payload: Payload, *, group: int | None = None) -> bool:
    """Brings the volume to this content; False if it has it already. `group` is the fsGroup.

    Raises:
        BadPayload: a path is absolute, leads out or begins with "..".
        OSError
    """
    for path in payload:
        _check(path)
    current = _current(directory)
    if current is not None and _same(current, payload, group):
        _link_names(directory, payload)
        return False
    stamp = time.strftime("..%Y_%m_%d_%H_%M_%S.", time.gmtime())
    fresh = Path(tempfile.mkdtemp(prefix=stamp, dir=directory))
    fresh.chmod(0o755)
    for path, content in payload.items():
        target = fresh / path
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
        with open(target, "wb", opener=lambda p, f: os.open(p, f, 0o600)) as file:
            file.write(content.data)
            # umask has no say, and the mode of an owner's file comes after its content.
            _own(file.fileno(), content, group)
    link = directory / _NEW_DATA
    with contextlib.suppress(FileNotFoundError):
        link.unlink()
    link.symlink_to(fresh.name)
    link.rename(directory / DATA)
    _link_names(directory, payload)
    _drop_names(directory, payload)
    if current is not None:
        shutil.rmtree(current, ignore_errors=True)
    return True


def _own(descriptor: int, content: FileContent, group: int | None) -> None:
    mode = content.mode
    if group is not None:
        os.fchown(descriptor, -1 if content.uid is None else content.uid, group)
        mode |= 0o440
    elif content.uid is not None:
        os.fchown(descriptor, content.uid, -1)
    os.fchmod(descriptor, mode)


def _check(path: str) -> None:
    parts = PurePosixPath(path).parts
    if not path or path.startswith(("/", "..")) or ".." in parts:
        raise BadPayload(f"invalid path in volume: {path!r}")


def _current(directory: Path) -> Path | None:
    try:
        return directory / os.readlink(directory / DATA)
    except OSError:
        return None


def _same(current: Path, payload: Payload, group: int | None) -> bool:
    found = {str(p.relative_to(current)) for p in current.rglob("*") if p.is_file()}
    if found != {str(PurePosixPath(p)) for p in payload}:
        return False
    for path, content in payload.items():
        file = current / path
        mode = content.mode | (0o440 if group is not None else 0)
        if file.stat().st_mode & 0o7777 != mode or file.read_bytes() != content.data:
            return False
    return True


def _link_names(directory: Path, payload: Payload) -> None:
    for first in {PurePosixPath(path).parts[0] for path in payload}:
        name = directory / first
        if not name.is_symlink():
            name.symlink_to(f"{DATA}/{first}")


def _drop_names(directory: Path, payload: Payload) -> None:
    wanted = {PurePosixPath(path).parts[0] for path in payload}
    for entry in os.scandir(directory):
        if not entry.name.startswith("..") and entry.name not in wanted:
            os.unlink(entry.path)
