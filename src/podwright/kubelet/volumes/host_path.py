"""hostPath: a path of the node, checked or made as its type says (documentation page "Volumes", "hostPath types")."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

from podwright.api.objects import Object
from podwright.kubelet.volumes.mounted import VolumeFailure

_CHECKS: dict[str, tuple[Callable[[int], bool], str]] = {
    "Directory": (stat.S_ISDIR, "a directory"),
    "DirectoryOrCreate": (stat.S_ISDIR, "a directory"),
    "File": (stat.S_ISREG, "a file"),
    "FileOrCreate": (stat.S_ISREG, "a file"),
    "Socket": (stat.S_ISSOCK, "a socket file"),
    "CharDevice": (stat.S_ISCHR, "a character device"),
    "BlockDevice": (stat.S_ISBLK, "a block device"),
}


def setup(source: Object) -> Path:
    """The path itself.

    Raises:
        VolumeFailure: there is something else, or nothing.
    """
    path = Path(source["path"])
    kind = source.get("type") or ""
    if not kind:
        # Nothing is checked; what is not there is made, as the common runtimes do before they mount it.
        if not os.path.lexists(path):
            path.mkdir(parents=True, exist_ok=True, mode=0o755)
        return path
    if kind == "DirectoryOrCreate" and not path.exists():
        path.mkdir(parents=True, mode=0o755)
    elif kind == "FileOrCreate" and not path.exists():
        os.close(os.open(path, os.O_CREAT | os.O_EXCL, 0o644))
    check = _CHECKS.get(kind)
    if check is None:
        raise VolumeFailure(f"hostPath type check failed: {kind} is an invalid volume type")
    try:
        mode = path.stat().st_mode
    except OSError as absent:
        raise VolumeFailure(f"hostPath type check failed: {path} is not {check[1]}") from absent
    if not check[0](mode):
        raise VolumeFailure(f"hostPath type check failed: {path} is not {check[1]}")
    return path
