"""The namespaces of a sandbox, pinned by bind mounts so that they outlive every process.

A thread of its own leaves ours, makes the new ones, prepares them and pins them; then it ends, so that nothing has to
be put back.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from podwright.runtime import linux

T = TypeVar("T")

FLAGS = {
    "net": linux.CLONE_NEWNET, "ipc": linux.CLONE_NEWIPC, "uts": linux.CLONE_NEWUTS, "pid": linux.CLONE_NEWPID,
    "mnt": linux.CLONE_NEWNS, "user": linux.CLONE_NEWUSER,
}


def in_thread(work: Callable[[], T]) -> T:
    """Runs `work` in a thread that ends with it, so that what it does to its namespaces harms nobody. Blocks."""
    result: list[T] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
            result.append(work())
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=run, name="namespace")
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return result[0]


def make(pins: Mapping[str, Path], *, hostname: str, sysctls: Mapping[str, str]) -> None:
    """Makes a namespace for each key of `pins` ("net", "ipc", "uts") and pins it there. `hostname` and `sysctls` are
    set in them. Blocks for a few milliseconds. Raises OSError; what was pinned by then stays for :func:`unpin`."""

    def work() -> None:
        flags = 0
        for kind in pins:
            flags |= FLAGS[kind]
        linux.unshare(flags)
        if "uts" in pins and hostname:
            linux.sethostname(hostname)
        for name, value in sysctls.items():
            write_sysctl(name, value)
        for kind, path in pins.items():
            pin(f"/proc/thread-self/ns/{kind}", path)

    if pins:
        in_thread(work)


def write_sysctl(name: str, value: str) -> None:
    """Both spellings are allowed: net.ipv4.ip_forward and net/ipv4/ip_forward."""
    path = name if "/" in name else name.replace(".", "/")
    if ".." in path.split("/"):
        raise ValueError(f"{name!r} is no sysctl")
    with open(f"/proc/sys/{path}", "w") as file:
        file.write(value)


def pin(source: str, path: Path) -> None:
    path.touch()
    linux.bind(source, path)


def unpin(path: Path) -> None:
    while linux.umount(path):
        pass
    path.unlink(missing_ok=True)


def enter(path: str | Path, kind: str) -> None:
    """Moves the calling thread into the namespace at `path`. For threads of :func:`in_thread` only."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        linux.setns(fd, FLAGS[kind])
    finally:
        os.close(fd)
