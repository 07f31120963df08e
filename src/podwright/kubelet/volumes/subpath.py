"""subPath and subPathExpr: a part of a volume, found without ever following a link out of it. The part is bound to a
place below the Pod's directory while it is held open, so that a container that swaps a directory for a link between
the check and the mount gains nothing (CVE-2017-1002101)."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path, PurePosixPath

from podwright.kubelet.volumes.mount_points import MS_BIND, is_mount_point, mount, unmount
from podwright.runtime.linux import RESOLVE_BENEATH, RESOLVE_NO_MAGICLINKS, openat2

_INSIDE = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS


class BadSubPath(Exception):
    """The path is not allowed or leads out of the volume."""


def check(sub_path: str) -> None:
    """Raises BadSubPath."""
    if sub_path.startswith("/"):
        raise BadSubPath(f"error SubPath `{sub_path}` must not be an absolute path")
    if ".." in PurePosixPath(sub_path).parts:
        raise BadSubPath(f"unable to provision SubPath `{sub_path}`: must not contain '..'")


def bind(volume: Path, sub_path: str, target: Path) -> Path:
    """Binds the part of the volume at `target` (a file or directory that is made for it) and gives `target`. A
    directory that is not there is made, as open as the volume.

    Raises:
        BadSubPath: it leads out of the volume.
        OSError
    """
    check(sub_path)
    held = _open_inside(volume, sub_path)
    try:
        if is_mount_point(target):
            unmount(target)
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
        if stat.S_ISDIR(os.fstat(held).st_mode):
            target.mkdir(exist_ok=True)
        else:
            target.touch()
        mount(f"/proc/self/fd/{held}", target, "", MS_BIND)
    finally:
        os.close(held)
    return target


def _open_inside(volume: Path, sub_path: str) -> int:
    """A descriptor of the part. Links inside the volume are followed, but only as far as they stay inside: the kernel
    sees to that while it looks, whatever a container does meanwhile."""
    root = os.open(os.path.realpath(volume), os.O_PATH | os.O_DIRECTORY)
    try:
        return _descend(root, str(PurePosixPath(sub_path)), stat.S_IMODE(os.fstat(root).st_mode))
    except OSError as failed:
        if failed.errno in (errno.EXDEV, errno.ELOOP, errno.ENOTDIR, errno.EEXIST):
            raise BadSubPath(f"subPath {sub_path!r} leads out of the volume or changed under our eyes") from failed
        raise
    finally:
        os.close(root)


def _descend(root: int, path: str, mode: int) -> int:
    try:
        return openat2(root, path, os.O_PATH, resolve=_INSIDE)
    except FileNotFoundError:
        parent, _, name = path.rpartition("/")
        above = _descend(root, parent or ".", mode)
    try:
        os.mkdir(name, dir_fd=above)
        made = openat2(above, name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW, resolve=_INSIDE)
    finally:
        os.close(above)
    os.chmod(f"/proc/self/fd/{made}", mode)
    return made
