"""A containerd of the tests' own: unpacked from its Debian package, never installed, with its own root, state, socket
and Pod network, and gone afterwards."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from podwright.runtime.build.accounts import add_base
from podwright.runtime.build.archive import Layer, write_archive
from podwright.runtime.build.busybox import CannotBuild, add_busybox
from podwright.runtime.build.packages import unpacked

CACHE = Path("/var/cache/podwright/containerd")
CNI = CACHE / "usr/lib/cni"
PAUSE = "podwright.io/pause:1"
_CONFIG = """
version = 2
root = "{place}/root"
state = "{place}/state"
disabled_plugins = [
  "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.aufs", "io.containerd.internal.v1.opt",
]
[grpc]
  address = "{place}/containerd.sock"
[ttrpc]
  address = "{place}/containerd.ttrpc"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{cni}"
    conf_dir = "{place}/cni"
"""


def binaries() -> Path:
    """The directory of containerd, its shim and ctr; the plugins of Pod networks are beside it."""
    found = CACHE / "usr/bin"
    if not (found / "containerd").exists():
        try:
            _fetch()
        except CannotBuild:  # Lists that are old name packages that are no longer there.
            subprocess.run(["apt-get", "update", "-qq"], check=True, capture_output=True)
            _fetch()
    return found


def _fetch() -> None:
    with unpacked(["containerd", "containernetworking-plugins"]) as root:
        shutil.copytree(root / "usr/lib/cni", CNI, dirs_exist_ok=True)
        shutil.copytree(root / "usr/bin", CACHE / "usr/bin", dirs_exist_ok=True)


class Containerd:
    """`mark` is in the path of everything that it makes."""

    def __init__(self, mark: str, subnet: str) -> None:
        self.place = Path("/run/podwright") / mark
        self.socket = self.place / "containerd.sock"
        self._programs = binaries()
        self._process: subprocess.Popen[bytes] | None = None
        (self.place / "cni").mkdir(parents=True)
        plugin = {
            "type": "ptp",
            "ipam": {
                "type": "host-local", "dataDir": str(self.place / "ipam"), "ranges": [[{"subnet": subnet}]],
                "routes": [{"dst": "0.0.0.0/0"}],
            },
        }  # fmt: skip
        network = {"cniVersion": "0.4.0", "name": mark, "plugins": [plugin]}
        (self.place / "cni" / "10-test.conflist").write_text(json.dumps(network))
        (self.place / "config.toml").write_text(_CONFIG.format(place=self.place, pause=PAUSE, cni=CNI))

    def start(self) -> None:
        environment = {**os.environ, "PATH": f"{self._programs}:{os.environ['PATH']}:/usr/sbin"}
        with (self.place / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._programs / "containerd", "--config", self.place / "config.toml"],
                env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        deadline = time.monotonic() + 60
        while not self._answers():
            assert time.monotonic() < deadline and self._process.poll() is None, self.log()
            time.sleep(0.05)

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe, contextlib.suppress(OSError):
            probe.connect(str(self.socket))
            return b"cri" in self.ctr("plugins", "ls", check=False)
        return False

    def ctr(self, *arguments: str, check: bool = True) -> bytes:
        command = [self._programs / "ctr", "-a", self.socket, "-n", "k8s.io", *arguments]
        return subprocess.run(command, capture_output=True, check=check, timeout=60).stdout

    def load(self, archive: Path) -> None:
        self.ctr("images", "import", str(archive))

    def load_pause(self) -> None:
        """The image of sandboxes: here a busybox that sleeps."""
        layer = Layer()
        add_base(layer)
        add_busybox(layer)
        archive = self.place / "pause.tar"
        write_archive(archive, PAUSE, layer, {"Cmd": ["sleep", "2147483647"], "Env": ["PATH=/bin"]})
        self.load(archive)

    def kill(self) -> None:
        """Its containers run on."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def log(self) -> str:
        return (self.place / "log").read_text()[-3000:]


@contextlib.contextmanager
def running(mark: str, subnet: str = "10.214.7.0/24") -> Iterator[Containerd]:
    daemon = Containerd(mark, subnet)
    try:
        daemon.start()
        daemon.load_pause()
        yield daemon
    finally:
        daemon.kill()
        for line in reversed(Path("/proc/self/mountinfo").read_text().splitlines()):
            mounted = line.split()[4]
            if mounted.startswith(f"{daemon.place}/"):
                subprocess.run(["umount", "-l", mounted], check=False)
        shutil.rmtree(daemon.place)


if __name__ == "__main__":  # Setup fetches them, so that no test needs the network.
    binaries()
