"""A small virtual machine with cgroup v2, as users' hosts have it: Debian's cloud kernel under qemu, with the files of
this machine below a writable layer in memory.

The kernel comes out of its Debian package without being installed: nothing of the host's boot is touched. The files are
shared read-only by virtiofs, so the guest runs the same Python, the same repository and the same crun as the host.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

CACHE = Path(os.environ.get("PODWRIGHT_GUEST_CACHE", "/var/cache/podwright/guest"))
MEMORY_MIB = 2048
DISK_MIB = 2048
_MODULES = ("virtio_pci", "virtiofs", "overlay", "virtio_blk")
_EXIT = "guest-exit:"
_DIES_WITH_US = ("setpriv", "--pdeathsig", "KILL")
_HERE = Path(__file__).parent


class GuestFailed(Exception):
    """The machine did not boot, or did not end in time; the message has the end of its console."""


def kernel() -> tuple[Path, Path, str]:
    """(kernel, directory with lib/modules, its version) of Debian's newest cloud kernel; fetched once."""
    found = sorted(CACHE.glob("*/boot/vmlinuz-*"))
    if not found:
        CACHE.mkdir(parents=True, exist_ok=True)
        # Lists that are old or missing name a kernel that is no longer there.
        subprocess.run(["apt-get", "update", "-qq"], check=True, capture_output=True)
        depends = subprocess.run(
            ["apt-cache", "depends", "linux-image-cloud-amd64"], capture_output=True, text=True, check=True
        ).stdout
        package = next(line.split()[1] for line in depends.splitlines() if "Depends:" in line)
        with tempfile.TemporaryDirectory(dir=CACHE) as directory:
            subprocess.run(["apt-get", "download", "-qq", package], cwd=directory, check=True, capture_output=True)
            (archive,) = Path(directory).glob("*.deb")
            unpacked = Path(directory, "unpacked")
            subprocess.run(["dpkg-deb", "-x", str(archive), str(unpacked)], check=True)
            (version,) = (p.name for p in (unpacked / "lib/modules").iterdir())
            subprocess.run(["depmod", "-b", str(unpacked), version], check=True)
            unpacked.rename(CACHE / version)
        found = sorted(CACHE.glob("*/boot/vmlinuz-*"))
    home = found[-1].parents[1]
    return found[-1], home, home.name


def _modules(home: Path, version: str) -> list[Path]:
    """In the order in which they load."""
    order: dict[Path, None] = {}
    for module in _MODULES:
        said = subprocess.run(
            ["modprobe", "-d", str(home), "-S", version, "--show-depends", module],
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        order.update({Path(line.split()[1]): None for line in said.splitlines() if line.startswith("insmod")})
    return list(order)


def _initramfs(directory: Path, home: Path, version: str, script: str) -> Path:
    root = directory / "initramfs"
    for name in ("bin", "proc", "sys", "dev", "modules"):
        (root / name).mkdir(parents=True)
    shutil.copy("/bin/busybox", root / "bin/busybox")
    (root / "bin/sh").symlink_to("busybox")
    shutil.copy(_HERE / "init", root / "init")
    (root / "init").chmod(0o755)
    (root / "script").write_text(script)
    # It may lie in /tmp, over which the guest has its own.
    (root / "repository").write_text(str(_HERE.parents[1]))
    modules = _modules(home, version)
    for module in modules:
        shutil.copy(module, root / "modules" / module.name)
    (root / "modules/order").write_text("".join(f"{m.name}\n" for m in modules))
    image = directory / "initramfs.cpio"
    names = "\n".join(str(p.relative_to(root)) for p in sorted(root.rglob("*")))
    with image.open("wb") as file:
        subprocess.run(["cpio", "-o", "-H", "newc", "--quiet"], cwd=root, input=names.encode(), stdout=file, check=True)
    return image


def _script(command: Sequence[str], home: Path, version: str) -> str:
    repository = _HERE.parents[1]
    return f"""
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp LANG=C.UTF-8
export PODWRIGHT_GUEST=1 PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 HYPOTHESIS_STORAGE_DIRECTORY=/tmp/hypothesis
mount --bind {shlex.quote(str(home / "lib/modules"))} /lib/modules
ip link set lo up
ip link add eth0 type veth peer name uplink && ip addr add 192.168.77.2/24 dev eth0
ip link set uplink up && ip link set eth0 up && ip route add default via 192.168.77.1
echo "+cpu +cpuset +io +memory +pids +hugetlb" > /sys/fs/cgroup/cgroup.subtree_control || busybox poweroff -f
cd {shlex.quote(str(repository))}
{shlex.join(command)} < /dev/null
echo "{_EXIT} $?"
sync
busybox poweroff -f
"""


def run(command: Sequence[str], *, timeout: float, echo: bool = False) -> tuple[int, str]:
    """(exit code, everything it printed) of a command in a new guest, run in the repository's directory.

    Raises:
        GuestFailed.
    """
    image, home, version = kernel()
    with tempfile.TemporaryDirectory(prefix="guest-") as name:
        directory = Path(name)
        disk = directory / "disk"
        with disk.open("wb") as file:
            file.truncate(DISK_MIB << 20)
        subprocess.run(["mkfs.ext4", "-q", "-F", str(disk)], check=True, capture_output=True)
        initramfs = _initramfs(directory, home, version, _script(command, home, version))
        with _files(directory) as socket:
            qemu = [
                "qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", f"{MEMORY_MIB}M",
                "-object", f"memory-backend-memfd,id=mem,size={MEMORY_MIB}M,share=on", "-numa", "node,memdev=mem",
                "-chardev", f"socket,id=files,path={socket}", "-device", "vhost-user-fs-pci,chardev=files,tag=host",
                "-drive", f"file={disk},format=raw,if=virtio,cache=none,aio=threads",
                "-kernel", str(image), "-initrd", str(initramfs),
                "-append", "console=ttyS0 quiet panic=-1 mitigations=off random.trust_cpu=on",
                "-nographic", "-no-reboot", "-net", "none", "-monitor", "none", "-serial", "stdio",
            ]  # fmt: skip
            return _watch(qemu, timeout, echo)


@contextmanager
def _files(directory: Path) -> Iterator[Path]:
    """virtiofsd, as long as the block runs; its socket."""
    socket = directory / "files.sock"
    with (directory / "virtiofsd.log").open("wb") as log, subprocess.Popen(
        [*_DIES_WITH_US, "/usr/lib/qemu/virtiofsd", f"--socket-path={socket}", "--rlimit-nofile=10000",
         "-o", "source=/,sandbox=chroot,cache=always"],
        stdin=subprocess.DEVNULL, stdout=log, stderr=log,
    ) as server:  # fmt: skip
        try:
            deadline = time.monotonic() + 60
            while not socket.exists():
                if server.poll() is not None or time.monotonic() > deadline:
                    raise GuestFailed(f"virtiofsd: {(directory / 'virtiofsd.log').read_text()[-2000:]}")
                time.sleep(0.01)
            yield socket
        finally:
            server.kill()


def _watch(qemu: Sequence[str], timeout: float, echo: bool) -> tuple[int, str]:
    """Reads the console until the machine ends."""
    said: list[str] = []
    with subprocess.Popen(
        [*_DIES_WITH_US, *qemu], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        errors="replace",
    ) as machine:  # fmt: skip
        clock = threading.Timer(timeout, machine.kill)
        clock.start()
        try:
            assert machine.stdout is not None
            for line in machine.stdout:
                said.append(line)
                if echo:
                    sys.stdout.write(line)
                    sys.stdout.flush()
        finally:
            clock.cancel()
            machine.kill()
    for line in reversed(said):
        if line.startswith(_EXIT):
            return int(line.removeprefix(_EXIT)), "".join(said)
    raise GuestFailed(f"no result within {timeout:.0f} s:\n{''.join(said[-60:])}")


def main() -> int:
    """``python -m tests.guest.machine [--timeout SECONDS] COMMAND…``: its exit code; ``--fetch``: only the kernel."""
    arguments = sys.argv[1:]
    if arguments == ["--fetch"]:
        kernel()
        return 0
    timeout = 600.0
    if arguments[:1] == ["--timeout"]:
        timeout, arguments = float(arguments[1]), arguments[2:]
    return run(arguments, timeout=timeout, echo=True)[0]


if __name__ == "__main__":
    sys.exit(main())
