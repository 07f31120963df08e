"""Root filesystems: an overlay of the image's layers under the container's own writable directory."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path

from podwright.runtime import linux
from podwright.runtime.images.content import EMPTY_LAYER
from podwright.runtime.oci.user_namespaces import MappedMounts


def mount(layers: Path, lower: Sequence[str], own: Path, target: Path) -> None:
    """Mounts `target` with own/upper as its writable layer. `lower` are names below `layers`, the uppermost
    first. Blocks. The calling thread must have its own working directory (see :mod:`workers`): names relative to it
    keep the list of layers within the one page that mount(2) takes."""
    for directory in (own / "upper", own / "work", target):
        directory.mkdir(exist_ok=True)
    set_root_attributes(layers / lower[0], own / "upper")
    options = f"lowerdir={':'.join(lower)},upperdir={own / 'upper'},workdir={own / 'work'}"
    os.chdir(layers)
    try:
        linux.mount("overlay", target, "overlay", 0, options)
    finally:
        os.chdir("/")


def mount_readonly(layers: Path, lower: Sequence[str], target: Path) -> None:
    """Mounts an image's filesystem alone, read-only. An overlay without a writable layer must have two at least."""
    target.mkdir(parents=True, exist_ok=True)
    names = [*lower, EMPTY_LAYER] if EMPTY_LAYER not in lower else [*lower]
    os.chdir(layers)
    try:
        linux.mount("overlay", target, "overlay", linux.MS_RDONLY, f"lowerdir={':'.join(names)}")
    finally:
        os.chdir("/")


def mount_mapped(layers: Path, lower: Sequence[str], own: Path, target: Path, mapped: MappedMounts) -> None:
    """As :func:`mount`, every file's owner mapped. The mapped layers need no place once the overlay has them."""
    for directory in (own / "upper", own / "work", target):
        directory.mkdir(exist_ok=True)
    places: list[Path] = []
    try:
        for number, name in enumerate(lower):
            places.append(mapped.add(layers / name, f"layer-{number}", recursive=False))
        set_root_attributes(places[0], own / "upper")
        os.chdir(places[0].parent)
        names = ":".join(place.name for place in places)
        options = f"lowerdir={names},upperdir={own / 'upper'},workdir={own / 'work'}"
        linux.mount("overlay", target, "overlay", 0, options)
    finally:
        os.chdir("/")
        for place in places:
            linux.umount(place)
            place.rmdir()


def set_root_attributes(source: Path, target: Path) -> None:
    """The merged root directory has the attributes of the upper one."""
    info = os.stat(source)
    os.chmod(target, info.st_mode & 0o7777)
    os.chown(target, info.st_uid, info.st_gid)


def unmount(target: Path) -> None:
    while linux.umount(target):
        pass


def make_directory(root: Path, path: str) -> None:
    """mkdir -p inside the root filesystem; links cannot lead out of it. Raises OSError, which names what is in the
    way."""
    fd = os.open(root, os.O_PATH | os.O_DIRECTORY)
    try:
        _make_below(fd, path.strip("/"))
    finally:
        os.close(fd)


def _make_below(root: int, path: str) -> None:
    try:
        os.close(linux.openat2(root, path, os.O_PATH | os.O_DIRECTORY))
        return
    except FileNotFoundError:
        is_file = False
    except NotADirectoryError:
        is_file = True
    parent, _, name = path.rpartition("/")
    _make_below(root, parent)  # names the file if it is further up
    if is_file:
        raise NotADirectoryError(errno.ENOTDIR, "not a directory", f"/{path}")
    fd = linux.openat2(root, parent, os.O_PATH | os.O_DIRECTORY)
    try:
        os.mkdir(name, 0o755, dir_fd=fd)
    finally:
        os.close(fd)
