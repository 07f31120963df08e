"""subPath and subPathExpr: a part of a volume, found without ever following a link out of it. The part is bound to a
place below the Pod's directory while it is held open, so that a container that swaps a directory for a link between
the check and the mount gains nothing (CVE-2017-1002101)."""

from __future__ import annotations

import os
import stat
from pathlib import Path, PurePosixPath

from podwright.kubelet.volumes.mount_points import MS_BIND, is_mount_point, mount, unmount


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
    """A descriptor of the part. Links inside the volume are followed, but only as far as they stay inside."""
    real = os.path.realpath(volume)
    mode = stat.S_IMODE(os.stat(real).st_mode)
    wanted = os.path.realpath(os.path.join(real, sub_path))
    if wanted != real and not wanted.startswith(real + "/"):
        raise BadSubPath(f"subPath {sub_path!r} is outside of the volume")
    current = os.open(real, os.O_PATH | os.O_DIRECTORY)
    for part in PurePosixPath(os.path.relpath(wanted, real)).parts:
        if part == ".":
            continue
        try:
            following = os.open(part, os.O_PATH | os.O_NOFOLLOW, dir_fd=current)
        except FileNotFoundError:
            os.mkdir(part, dir_fd=current)
            following = os.open(part, os.O_PATH | os.O_NOFOLLOW | os.O_DIRECTORY, dir_fd=current)
            os.chmod(f"/proc/self/fd/{following}", mode)
        except OSError as failed:
            os.close(current)
            raise BadSubPath(f"subPath {sub_path!r}: {failed.strerror}") from failed
        os.close(current)
        current = following
        if stat.S_ISLNK(os.fstat(current).st_mode):
            os.close(current)
            raise BadSubPath(f"subPath {sub_path!r} was changed to a link while it was looked at")
    return current
