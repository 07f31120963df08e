"""Mounts below a directory of ours: found and undone."""

from __future__ import annotations

import ctypes
import os
import shutil
from pathlib import Path

LOST_AND_FOUND = "lost+found"
"""What a fresh filesystem already has."""

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


def unmount_below(directory: Path, *, itself: bool = True) -> None:
    """Detaches every mount below `directory`, and the one at it if `itself`.

    Raises:
        OSError: the kernel refused one.
    """
    for point in mounts_below(directory):
        if not itself and point == Path(os.path.realpath(directory)):
            continue
        if _LIBC.umount2(os.fsencode(point), _MNT_DETACH):
            code = ctypes.get_errno()
            if code in (2, 22):  # Gone already, with the mount above it.
                continue
            raise OSError(code, os.strerror(code), str(point))


def remove_contents(directory: Path) -> None:
    """Deletes what is in `directory`, and `directory` itself unless it is a mount point: that is the user's disk.

    Raises:
        OSError
    """
    unmount_below(directory, itself=False)
    mounted = os.path.ismount(directory)
    for path in directory.iterdir():
        if path.is_dir() and not path.is_symlink():
            if not (mounted and path.name == LOST_AND_FOUND):
                shutil.rmtree(path)
        else:
            path.unlink()
    if not mounted:
        directory.rmdir()
