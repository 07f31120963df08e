"""``podwright setup``: what a host needs beside the Python package: programs from Debian, and the demo images built
from them."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

PROGRAMS = {
    "conmon": "conmon",
    "crun": "crun",
    "runc": "runc",
    "skopeo": "skopeo",
    "catatonit": "catatonit",
    "nft": "nftables",
    "ip": "iproute2",
    "nsenter": "util-linux",
    "busybox": "busybox-static",
}
"""Program → Debian package, needed to run Pods."""

DEVELOPMENT_PROGRAMS = {
    "etcd": "etcd-server",
    "docker-registry": "docker-registry",
    "wrk": "wrk",
    "openssl": "openssl",
    "node": "nodejs",
    "npm": "npm",
    "qemu-system-x86_64": "qemu-system-x86",
    "depmod": "kmod",
    "cpio": "cpio",
    "mkfs.ext4": "e2fsprogs",
    "dbus-daemon": "dbus-daemon",
}
"""Needed by tests and benchmarks only."""

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/libexec/podman"

Progress = Callable[[str], None]


class SetupFailed(Exception):
    """A package could not be installed; the message is the package manager's."""


def setup(progress: Progress, *, development: bool = False) -> None:
    """Installs what is missing and builds the images that are missing. The second run does nothing.

    Raises:
        SetupFailed.
    """
    wanted = {**PROGRAMS, **(DEVELOPMENT_PROGRAMS if development else {})}
    missing = sorted({package for program, package in wanted.items() if not _installed(program, package)})
    if missing:
        progress(f"installing {', '.join(missing)}")
        _install(missing)
    from podwright.cluster.demo_images import build_missing

    for reference in build_missing():
        progress(f"building image {reference}")


def _installed(program: str, package: str) -> bool:
    # busybox may be Debian's small dynamic one: only the static one fits into an image alone.
    if package == "busybox-static":
        return Path("/var/lib/dpkg/info/busybox-static.list").exists()
    return shutil.which(program, path=_PATH) is not None


def _install(packages: Sequence[str]) -> None:
    if os.geteuid() != 0:
        raise PermissionError(f"{', '.join(packages)} must be installed, which needs root: run it with sudo")
    if shutil.which("apt-get") is None:
        raise SetupFailed(f"install these programs with this system's package manager: {', '.join(packages)}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    # A package's service is not what is wanted of it: policy-rc.d keeps it from starting.
    policy = Path("/usr/sbin/policy-rc.d")
    ours = not policy.exists()
    if ours:
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
    try:
        for command in (["apt-get", "update"], ["apt-get", "install", "-y", "--no-install-recommends", *packages]):
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
            if done.returncode:
                raise SetupFailed(f"{' '.join(command)}: {(done.stderr or done.stdout).strip()[-2000:]}")
    finally:
        if ours:
            policy.unlink(missing_ok=True)
