"""mount(2) and umount(2), and what is mounted below a directory."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
from pathlib import Path

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_REMOUNT = 32
MS_BIND = 4096
MS_REC = 16384
MS_PRIVATE = 1 << 18
MS_SHARED = 1 << 20
MNT_DETACH = 2

_LIBC = ctypes.CDLL(None, use_errno=True)


def mount(source: str, target: Path, kind: str = "", flags: int = 0, options: str = "") -> None:
    """Raises OSError."""
    result = _LIBC.mount(
        source.encode(), os.fsencode(target), kind.encode() or None, ctypes.c_ulong(flags), options.encode() or None
    )
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), str(target))


def unmount(target: Path) -> None:
    """Detaches even if something is open in it. What is no mount point is left alone. Raises OSError."""
    if _LIBC.umount2(os.fsencode(target), MNT_DETACH) != 0:
        code = ctypes.get_errno()
        if code not in (errno.EINVAL, errno.ENOENT):
            raise OSError(code, os.strerror(code), str(target))


def below(directory: Path) -> list[Path]:
    """Mount points at and below a directory, the deepest and latest first."""
    top = os.path.realpath(directory)
    found = []
    with open("/proc/self/mountinfo", "rb") as table:
        for line in table:
            point = _unescaped(line.split(b" ", 5)[4])
            if point == top or point.startswith(top + "/"):
                found.append(Path(point))
    found.reverse()
    return sorted(found, key=lambda path: -len(path.parts))


def _unescaped(raw: bytes) -> str:
    for octal, char in ((b"\\040", b" "), (b"\\011", b"\t"), (b"\\012", b"\n"), (b"\\134", b"\\")):
        raw = raw.replace(octal, char)
    return os.fsdecode(raw)


def is_mount_point(path: Path) -> bool:
    return any(found == Path(os.path.realpath(path)) for found in below(path))


def make_shared(directory: Path) -> None:
    """Makes the directory a shared mount, so that what is mounted below it later is seen in mount namespaces that were
    copied before (a runtime's), as upstream's kubelet asks of its root directory."""
    directory.mkdir(parents=True, exist_ok=True)
    real = os.path.realpath(directory)
    with open("/proc/self/mountinfo", "rb") as table:
        # The mount that the directory lies on: the longest point that leads to it, the last one of them on top.
        best: tuple[int, bool] = (-1, False)
        for line in table:
            fields = line.split(b" ")
            point = _unescaped(fields[4])
            inside = real == point or real.startswith(point.rstrip("/") + "/")
            if inside and len(point) >= best[0]:
                shared = any(f.startswith(b"shared:") for f in fields[6 : fields.index(b"-")])
                best = (len(point), shared)
    if best[1]:
        return
    mount(real, Path(real), "", MS_BIND | MS_REC)
    mount("none", Path(real), "", MS_SHARED)


def unmount_below(directory: Path) -> None:
    """Everything mounted at or below the directory. Raises OSError for the first that cannot be."""
    for point in below(directory):
        unmount(point)


def remove_tree(directory: Path) -> None:
    """Removes a directory that nothing is mounted in, without ever crossing onto another filesystem.

    Raises:
        OSError: something cannot be removed, or is still mounted.
    """
    try:
        device = os.lstat(directory).st_dev
    except FileNotFoundError:
        return
    _remove(directory, device)


def _remove(directory: Path, device: int) -> None:
    with contextlib.suppress(FileNotFoundError):
        with os.scandir(directory) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    if entry.stat(follow_symlinks=False).st_dev != device:
                        raise OSError(errno.EBUSY, "still mounted", entry.path)
                    _remove(Path(entry.path), device)
                else:
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(entry.path)
        os.rmdir(directory)
