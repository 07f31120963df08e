"""Mounts below a directory of ours: found and undone."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

_LIBC = ctypes.CDLL(None, use_errno=True)
_MNT_DETACH = 2


def mounts_below(directory: Path) -> list[Path]:
    """Mount points at or below `directory`, the latest mount first."""
    prefix = os.path.realpath(directory)
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        point = line.split()[4].encode().decode("unicode_escape")
        if point == prefix or point.startswith(prefix + "/"):
            found.append(Path(point))
    return found[::-1]


def unmount_below(directory: Path) -> None:
    """Detaches every mount at or below `directory`.

    Raises:
        OSError: the kernel refused one.
    """
    for point in mounts_below(directory):
        if _LIBC.umount2(os.fsencode(point), _MNT_DETACH):
            code = ctypes.get_errno()
            if code in (2, 22):  # Gone already, with the mount above it.
                continue
            raise OSError(code, os.strerror(code), str(point))
