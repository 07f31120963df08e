"""Which low-level runtime runs the containers here: crun or runc, whichever this host has and accepts.

crun refuses hosts whose cgroup v1 tree has a v2 mount beside it ("hybrid"). It is content in a mount namespace in which
that mount is gone; such a namespace is made once and pinned. What is mounted later must still be seen in there, so the
node's directories become shared mounts first, and only then is the namespace made.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import subprocess
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from podwright.runtime import atomic, linux
from podwright.runtime.oci import namespaces
from podwright.runtime.oci.paths import Paths
from podwright.runtime.protocol import RuntimeFailure

_HYBRID = Path("/sys/fs/cgroup/unified")
_TRIAL_TIMEOUT = 30.0


@dataclass(frozen=True, slots=True)
class Engine:
    """`mount_namespace` is where it must be started from, None for our own."""

    name: str
    path: str
    version: str
    conmon: str
    mount_namespace: Path | None


def choose(wanted: str, paths: Paths, cgroup: str) -> Engine:
    """The runtime that `wanted` ("auto", "crun", "runc") stands for on this host, found by trying. Blocks. What was
    found is remembered until the next boot. Raises RuntimeFailure if none can run a container."""
    conmon = shutil.which("conmon")
    if conmon is None:
        raise RuntimeFailure("conmon is not installed (Debian package: conmon)")
    memory = paths.run / "engine.json"
    known = _remembered(memory, wanted, conmon)
    if known is not None:
        return known
    complaints = []
    for name in ("crun", "runc") if wanted == "auto" else (wanted,):
        path = shutil.which(name)
        if path is None:
            complaints.append(f"{name}: not installed")
            continue
        pin = _without_unified(paths) if name == "crun" and linux.is_mount_point(_HYBRID) else None
        complaint = _try(path, pin, paths, cgroup)
        if not complaint:
            engine = Engine(name, path, _version(path), conmon, pin)
            atomic.write_json(
                memory,
                {
                    "boot": linux.boot_id(), "wanted": wanted, "name": name, "path": path,
                    "version": engine.version, "pin": str(pin or ""),
                },
            )
            return engine
        complaints.append(f"{name}: {complaint}")
    release(paths)
    raise RuntimeFailure(f"no container can be run on this host: {'; '.join(complaints)}")


def _remembered(memory: Path, wanted: str, conmon: str) -> Engine | None:
    try:
        facts = orjson.loads(memory.read_bytes())
    except (FileNotFoundError, orjson.JSONDecodeError):
        return None
    pin = Path(facts["pin"]) if facts["pin"] else None
    if facts["boot"] != linux.boot_id() or facts["wanted"] != wanted or not os.path.exists(facts["path"]):
        return None
    if pin is not None and not linux.is_mount_point(pin):
        return None
    return Engine(facts["name"], facts["path"], facts["version"], conmon, pin)


def _version(path: str) -> str:
    done = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=_TRIAL_TIMEOUT, check=False)
    found = re.search(r"version (\S+)", done.stdout)
    return found[1] if found else "unknown"


def _try(path: str, pin: Path | None, paths: Paths, cgroup: str) -> str:
    """Runs /usr/bin/true of the host in a container; "" or what went wrong."""
    with tempfile.TemporaryDirectory(dir=paths.run, prefix="trial-") as bundle:
        root = Path(bundle, "rootfs")
        mounts: list[dict[str, Any]] = [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs"},
        ]
        for name in ("usr", "lib", "lib64", "bin"):
            host = Path("/", name)
            if host.is_symlink():
                root.mkdir(exist_ok=True)
                (root / name).symlink_to(os.readlink(host).lstrip("/"))
            elif host.is_dir():
                (root / name).mkdir(parents=True)
                mounts.append(
                    {"destination": f"/{name}", "type": "bind", "source": f"/{name}", "options": ["rbind", "ro"]}
                )
        (root / "proc").mkdir()
        (root / "dev").mkdir()
        identity = f"trial-{os.getpid()}-{threading.get_native_id()}"
        spec = {
            "ociVersion": "1.0.2",
            "process": {"user": {"uid": 0, "gid": 0}, "args": ["/usr/bin/true"], "cwd": "/", "env": []},
            "root": {"path": "rootfs", "readonly": True},
            "mounts": mounts,
            "linux": {
                "cgroupsPath": f"{cgroup}/{identity}",
                "namespaces": [{"type": kind} for kind in ("pid", "mount", "ipc", "uts", "network")],
            },
        }
        Path(bundle, "config.json").write_bytes(orjson.dumps(spec))
        command = [path, "--root", str(paths.run / "trial-state"), "run", "--bundle", bundle, identity]

        def run() -> str:
            if pin is not None:
                linux.unshare(linux.CLONE_FS)
                namespaces.enter(pin, "mnt")
            try:
                done = subprocess.run(
                    command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_TRIAL_TIMEOUT, check=False
                )
            except subprocess.TimeoutExpired:
                return f"no answer within {_TRIAL_TIMEOUT:g} s"
            return "" if done.returncode == 0 else done.stderr.decode(errors="replace").strip() or "failed"

        try:
            return namespaces.in_thread(run)
        finally:
            shutil.rmtree(paths.run / "trial-state", ignore_errors=True)


def _without_unified(paths: Paths) -> Path:
    """The pinned mount namespace without the cgroup v2 mount; made if it is not there."""
    pin = paths.run / "pins" / "mnt"
    if linux.is_mount_point(pin):
        return pin
    share(paths.run)
    share(paths.state.parent)
    pin.parent.mkdir(exist_ok=True)
    if not linux.is_mount_point(pin.parent):
        linux.bind(pin.parent, pin.parent)
    # A mount namespace can only be pinned where nothing would propagate the pin into itself.
    linux.mount("", pin.parent, flags=linux.MS_PRIVATE)
    pin.touch()
    # The kernel lets a mount namespace be pinned only in an older one, and since 6.18 tells their ages by numbers that
    # each processor gives out in batches. Another processor may be behind ours; the one that numbered ours is not.
    for processor in sorted(os.sched_getaffinity(0)):
        try:
            _pin_without_unified(pin, processor)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            refused = error
        else:
            return pin
    raise refused


def _pin_without_unified(pin: Path, processor: int) -> None:
    """Raises OSError."""
    ready, done = threading.Event(), threading.Event()
    name: list[str] = []

    def hold() -> None:
        try:
            os.sched_setaffinity(0, {processor})
            linux.unshare(linux.CLONE_FS | linux.CLONE_NEWNS)
            linux.mount("", "/sys/fs/cgroup", flags=linux.MS_PRIVATE | linux.MS_REC)
            linux.umount(_HYBRID)
            # crun makes directories in there all the same: they must not land in the host's tmpfs.
            linux.mount("podwright", _HYBRID, "tmpfs", linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC, "size=16m")
            name.append(f"/proc/self/task/{threading.get_native_id()}/ns/mnt")
        finally:
            ready.set()
        done.wait()

    thread = threading.Thread(target=hold, name="mount-namespace")
    thread.start()
    ready.wait()
    try:
        if not name:
            raise RuntimeFailure("cannot make a mount namespace")
        linux.bind(name[0], pin)
    finally:
        done.set()
        thread.join()


def prepare(paths: Paths) -> None:
    """Makes the volatile directory a tmpfs, if it is not one of ours already."""
    paths.run.mkdir(parents=True, exist_ok=True)
    if not linux.is_mount_point(paths.run):
        linux.mount("podwright", paths.run, "tmpfs", linux.MS_NOSUID | linux.MS_NODEV, "mode=711")


def share(path: Path) -> None:
    """Makes `path` a mount of its own whose later mounts are seen in every copy of the mount namespace."""
    path.mkdir(parents=True, exist_ok=True)
    if not linux.is_mount_point(path):
        linux.bind(path, path, recursive=True)
    linux.mount("", path, flags=linux.MS_SHARED)


def release(paths: Paths) -> None:
    """Undoes what :func:`choose` mounted."""
    for path in (paths.run / "pins" / "mnt", paths.run / "pins", paths.run, paths.state.parent):
        while linux.is_mount_point(path) and linux.umount(path):
            pass
