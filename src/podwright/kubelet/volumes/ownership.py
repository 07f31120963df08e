"""fsGroup: the group that owns a Pod's volumes (documentation page "Configure volume permission and ownership change
policy for Pods")."""

from __future__ import annotations

import os
import stat
from pathlib import Path

_WRITABLE = 0o660
_READABLE = 0o440
_DIRECTORY = 0o110 | stat.S_ISGID


def give_to_group(directory: Path, group: int, *, read_only: bool = False, on_root_mismatch: bool = False) -> None:
    """Everything in the directory belongs to the group and is readable (writable, unless `read_only`) for it; new files
    inherit the group. `on_root_mismatch`: nothing is touched if the directory itself is right already. Links are not
    followed."""
    mask = _READABLE if read_only else _WRITABLE
    top = os.lstat(directory)
    wanted = mask | _DIRECTORY
    if on_root_mismatch and top.st_gid == group and (top.st_mode & wanted) == wanted:
        return
    for root, directories, files in os.walk(directory, topdown=False):
        for name in files:
            _give(os.path.join(root, name), group, mask)
        for name in directories:
            path = os.path.join(root, name)
            _give(path, group, mask if os.path.islink(path) else mask | _DIRECTORY)
    # The top comes last: a change that was cut off in the middle is seen as a mismatch the next time.
    _give(str(directory), group, wanted)


def _give(path: str, group: int, mask: int) -> None:
    found = os.lstat(path)
    os.lchown(path, -1, group)
    if not stat.S_ISLNK(found.st_mode):
        mode = stat.S_IMODE(found.st_mode)
        if mode | mask != mode or found.st_gid != group:
            os.chmod(path, mode | mask)
