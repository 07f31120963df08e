"""Files from Debian packages that need not be installed: fetched by apt-get, unpacked by dpkg-deb."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from podwright.runtime.build.busybox import CannotBuild

_TIMEOUT = 120.0


@contextmanager
def unpacked(packages: Sequence[str]) -> Iterator[Path]:
    """A directory with the packages' files, for the time of the block. Raises CannotBuild."""
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise CannotBuild(f"{', '.join(packages)}: needs apt-get and dpkg-deb")
    with tempfile.TemporaryDirectory(prefix="podwright-build-") as place:
        _run(["apt-get", "download", "-qq", *packages], place)
        root = Path(place, "root")
        for package in sorted(Path(place).glob("*.deb")):
            _run(["dpkg-deb", "--extract", str(package), str(root)], place)
        yield root


def _run(command: list[str], place: str) -> None:
    try:
        done = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=_TIMEOUT, check=False)
    except subprocess.TimeoutExpired:
        raise CannotBuild(f"{' '.join(command[:2])}: no answer within {_TIMEOUT:g} s") from None
    if done.returncode != 0:
        raise CannotBuild(f"{' '.join(command)}: {done.stderr.strip()}")


def shared_libraries(binary: Path) -> dict[str, Path]:
    """Where in an image → which file of the host, for each library that the dynamic linker would load."""
    done = subprocess.run(["ldd", str(binary)], capture_output=True, text=True, timeout=_TIMEOUT, check=False)
    if done.returncode != 0 or "not found" in done.stdout:
        missing = [line.strip() for line in done.stdout.splitlines() if "not found" in line]
        raise CannotBuild(f"libraries of {binary.name} are missing here: {', '.join(missing) or done.stderr.strip()}")
    found = {}
    for line in done.stdout.splitlines():
        match = re.search(r"(?:\S+ => )?(/\S+) \(0x", line)
        if match:
            found[match[1].lstrip("/")] = Path(match[1]).resolve()
    return found
