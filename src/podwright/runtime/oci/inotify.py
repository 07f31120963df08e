"""Tells of files that appear in a directory, on the event loop."""

from __future__ import annotations

import asyncio
import ctypes
import os
import struct
from collections.abc import Callable
from pathlib import Path

_IN_CLOSE_WRITE = 0x8
_IN_MOVED_TO = 0x80
_IN_Q_OVERFLOW = 0x4000
_HEADER = struct.Struct("iIII")
_libc = ctypes.CDLL(None, use_errno=True)


class DirectoryWatch:
    """Calls `appeared(name)` for every file that is complete in the directory from now on; `overflowed()` when the
    kernel had to drop some: look for yourself then."""

    def __init__(self, directory: Path, appeared: Callable[[str], None], overflowed: Callable[[], None]) -> None:
        self._appeared = appeared
        self._overflowed = overflowed
        self._fd: int = _libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        wanted = _IN_CLOSE_WRITE | _IN_MOVED_TO
        if self._fd < 0 or _libc.inotify_add_watch(self._fd, os.fsencode(directory), wanted) < 0:
            number = ctypes.get_errno()
            raise OSError(number, f"inotify on {directory}: {os.strerror(number)}")
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._fd, self._read)

    def close(self) -> None:
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1

    def _read(self) -> None:
        try:
            data = os.read(self._fd, 65536)
        except BlockingIOError:
            return
        offset = 0
        while offset < len(data):
            _, mask, _, length = _HEADER.unpack_from(data, offset)
            name = data[offset + _HEADER.size : offset + _HEADER.size + length].rstrip(b"\0").decode()
            offset += _HEADER.size + length
            if mask & _IN_Q_OVERFLOW:
                self._overflowed()
            elif name:
                self._appeared(name)
