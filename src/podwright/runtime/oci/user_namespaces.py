"""Sandboxes in a user namespace of their own (hostUsers: false).

Such a sandbox's other namespaces must belong to its user namespace, and no thread of ours can make them there: a small
helper process does, and is gone once they are pinned. What containers see on disk is mounted once more with its owners
mapped; the writable layer belongs to the mapped root from the start.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from podwright.runtime import linux
from podwright.runtime.oci import namespaces
from podwright.runtime.protocol import IdMapping, RuntimeFailure

_OPTIONS = {"net": "--net", "ipc": "--ipc", "uts": "--uts"}


def host_root(mappings: Sequence[IdMapping]) -> int:
    """The host's id of the sandbox's root. Raises RuntimeFailure if root is not mapped."""
    for mapping in mappings:
        if mapping.container_id == 0:
            return mapping.host_id
    raise RuntimeFailure("user namespace does not map root")


def make(
    pins: Mapping[str, Path], mappings: Sequence[IdMapping], *, hostname: str, sysctls: Mapping[str, str]
) -> None:
    """As :func:`namespaces.make`, in a new user namespace that is pinned too (`pins` has "user"). Blocks."""
    options = [_OPTIONS[kind] for kind in pins if kind in _OPTIONS]
    command = ["unshare", "--user", *options, "--", "sh", "-c", "echo; read end"]
    helper = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd="/")
    assert helper.stdin is not None and helper.stdout is not None and helper.stderr is not None
    try:
        if not helper.stdout.readline():
            raise RuntimeFailure(
                f"cannot make a user namespace: {helper.stderr.read().decode(errors='replace').strip()}"
            )
        lines = "".join(f"{m.container_id} {m.host_id} {m.length}\n" for m in mappings)
        for name in ("uid_map", "gid_map"):
            Path(f"/proc/{helper.pid}/{name}").write_text(lines)
        for kind, path in pins.items():
            namespaces.pin(f"/proc/{helper.pid}/ns/{kind}", path)
    finally:
        for pipe in (helper.stdin, helper.stdout, helper.stderr):
            pipe.close()
        helper.wait()

    def prepare() -> None:
        for kind in _OPTIONS:
            if kind in pins:
                namespaces.enter(pins[kind], kind)
        if "uts" in pins and hostname:
            linux.sethostname(hostname)
        for name, value in sysctls.items():
            namespaces.write_sysctl(name, value)

    namespaces.in_thread(prepare)


class MappedMounts:
    """Bind mounts with mapped owners, made in `place`. Blocks. Close it when done."""

    def __init__(self, user_namespace: Path, place: Path) -> None:
        self._fd = os.open(user_namespace, os.O_RDONLY | os.O_CLOEXEC)
        self._place = place

    def close(self) -> None:
        os.close(self._fd)

    def add(self, source: Path, name: str, *, recursive: bool = True) -> Path:
        """Mounts `source` (a directory or a file) as `name`. Raises OSError, EINVAL if its filesystem cannot."""
        target = self._place / name
        if source.is_dir():
            target.mkdir(exist_ok=True)
        else:
            target.touch()
        linux.bind_mapped(source, target, self._fd, recursive=recursive)
        return target
