"""docker.io/library/busybox:1.36 from Debian's busybox-static package."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from podwright.runtime.build.accounts import add_base
from podwright.runtime.build.archive import Layer, write_archive

REFERENCE = "docker.io/library/busybox:1.36"
FILE_NAME = "busybox-1.36.tar"
_BINARIES = ("/bin/busybox", "/usr/bin/busybox")


class CannotBuild(Exception):
    """What the image is made of is not on this host; the message says how to get it."""


def static_busybox() -> Path:
    """The host's statically linked busybox."""
    for candidate in _BINARIES:
        path = Path(candidate)
        if path.exists() and b"/lib64/ld-linux" not in path.read_bytes()[:4096]:
            return path
    raise CannotBuild("busybox is not here: apt-get install busybox-static")


def add_busybox(layer: Layer) -> None:
    """The binary with a link for each of its applets, as many as it was built with."""
    binary = static_busybox()
    layer.file("bin/busybox", binary.read_bytes(), mode=0o755)
    listing = subprocess.run([binary, "--list-full"], capture_output=True, text=True, check=True, timeout=10).stdout
    for applet in listing.split():
        name = os.path.basename(applet)
        path = applet if applet.startswith(("bin/", "sbin/", "usr/")) else f"bin/{name}"
        if path not in layer:
            layer.hardlink(path, "bin/busybox")


def build_busybox(target: Path) -> None:
    """Writes the OCI archive. Raises CannotBuild."""
    layer = Layer()
    add_base(layer)
    add_busybox(layer)
    write_archive(
        target, REFERENCE, layer,
        {"Cmd": ["sh"], "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]},
    )
