"""Device nodes of containers."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

from podwright.runtime.protocol import Device, RuntimeFailure

_NOT_HOST_DEVICES = ("/dev/pts", "/dev/shm", "/dev/fd", "/dev/mqueue", "/dev/.lxc", "/dev/.lxd-mounts", "/dev/.udev")


def node(host_path: str, container_path: str) -> dict[str, Any]:
    """The runtime specification's entry for a device of the host. Raises RuntimeFailure if it is none."""
    try:
        info = os.stat(host_path)
    except OSError as error:
        raise RuntimeFailure(f'error gathering device information while adding custom device "{host_path}": '
                             f"{error.strerror}", "CreateContainerError") from None
    if not (stat.S_ISCHR(info.st_mode) or stat.S_ISBLK(info.st_mode)):
        raise RuntimeFailure(f'"{host_path}" is not a device node', "CreateContainerError")
    return {
        "path": container_path, "type": "c" if stat.S_ISCHR(info.st_mode) else "b", "major": os.major(info.st_rdev),
        "minor": os.minor(info.st_rdev), "fileMode": stat.S_IMODE(info.st_mode), "uid": info.st_uid, "gid": info.st_gid,
    }


def expand(device: Device) -> list[dict[str, Any]]:
    """A device, or every device below a directory of them."""
    if not os.path.isdir(device.host_path):
        return [node(device.host_path, device.container_path or device.host_path)]
    found = []
    for directory, _, names in os.walk(device.host_path):
        for name in sorted(names):
            source = os.path.join(directory, name)
            if Path(source).is_char_device() or Path(source).is_block_device():
                target = os.path.join(device.container_path, os.path.relpath(source, device.host_path))
                found.append(node(source, target))
    return found


def all_host_devices() -> list[dict[str, Any]]:
    """What a privileged container sees in /dev."""
    found = []
    for directory, below, names in os.walk("/dev"):
        below[:] = [b for b in below if os.path.join(directory, b) not in _NOT_HOST_DEVICES]
        for name in names:
            path = os.path.join(directory, name)
            if path == "/dev/console" or os.path.islink(path):
                continue
            try:
                mode = os.stat(path).st_mode
            except FileNotFoundError:
                continue
            if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
                found.append(node(path, path))
    return found
