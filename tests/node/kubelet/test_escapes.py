"""Escapes, tried from inside of real containers: a restricted Pod, and one that is root with the default rights."""

from __future__ import annotations

import ctypes
import json
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from podwright.api import objects
from podwright.api.objects import Object
from podwright.kubelet.volumes import subpath
from podwright.kubelet.volumes.mount_points import is_mount_point, unmount

from .conftest import KubeletNode, make_container, make_pod

PROGRAM = Path(__file__).with_name("escapes.py")
RESTRICTED: Object = {
    "runAsNonRoot": True, "runAsUser": 1000, "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"}, "readOnlyRootFilesystem": True,
}  # fmt: skip
FINE = {
    # Nothing is there to be reached, or the process limit ends it.
    "ptrace-another-pod": {"ESRCH", "EPERM"}, "memory-of-another-pod": {"ENOENT"}, "kill-another-pod": {"ESRCH"},
    "links": {"ENOENT"}, "memory-device": {"ENOENT"}, "kernel-log": {"ENOENT"}, "secret-0": {"ENOENT"},
    "kcore": {"ENOENT", "EACCES"}, "sysrq": {"ENOENT", "EACCES", "EROFS"},
}  # fmt: skip
REFUSED = {"EPERM", "EACCES", "EROFS", "ENOSYS"}


def _python() -> tuple[list[Object], list[Object], str]:
    """The host's interpreter in a container: what it needs of the host, read-only."""
    places = {"/usr": "/usr", "/lib": "/lib", "/python": sys.base_prefix, "/escapes": str(PROGRAM.parent)}
    if Path("/lib64").exists():
        places["/lib64"] = "/lib64"
    volumes = [{"name": f"p{n}", "hostPath": {"path": p}} for n, p in enumerate(places.values())]
    mounts = [{"name": f"p{n}", "mountPath": p, "readOnly": True} for n, p in enumerate(places)]
    real = f"/python/bin/python3.{sys.version_info.minor}"
    volumes.append({"name": "tmp", "emptyDir": {}})
    mounts.append({"name": "tmp", "mountPath": "/tmp"})
    return volumes, mounts, real


async def _attempts(node: KubeletNode, security: Object, other: int, *secrets: Path, **spec: Any) -> dict[str, str]:
    volumes, mounts, python = _python()
    main = make_container("main", volumeMounts=mounts, securityContext=security)
    await node.create(make_pod("prisoner", main, volumes=volumes, terminationGracePeriodSeconds=1, **spec))
    await node.until_ready("prisoner")
    said = await node.sh(f"{python} -I /escapes/{PROGRAM.name} {other} {' '.join(map(str, secrets))}", "prisoner")
    assert said.startswith("{"), said
    return dict(json.loads(said))


@pytest.fixture
async def victim(node: KubeletNode) -> tuple[int, Path]:
    """Another Pod's process, and its token's path on the node."""
    token = {"projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}
    main = make_container(volumeMounts=[{"name": "t", "mountPath": "/t"}])
    await node.create(make_pod("victim", main, volumes=[{"name": "t", **token}], terminationGracePeriodSeconds=1))
    uid = objects.uid(await node.until_ready("victim"))
    path = node.config.pod_dir(uid) / "volumes" / "kubernetes.io~projected" / "t" / "token"
    assert path.read_text().startswith("token-")
    return node.container("victim").pid, path


async def test_a_restricted_pod_reaches_nothing(node: KubeletNode, victim: tuple[int, Path]) -> None:
    found = await _attempts(node, RESTRICTED, victim[0], victim[1])
    forks = found.pop("forks")
    assert forks.startswith("EAGAIN after ") and int(forks.split()[-1]) <= 64
    wrong = {name: result for name, result in found.items() if result not in FINE.get(name, REFUSED)}
    assert wrong == {}
    assert await node.sh("echo well", "victim") == "well\n"
    status = await node.sh("cat /proc/self/status", "prisoner")
    for line in ("CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"):
        assert line in status


async def test_root_with_the_default_rights_stays_inside(node: KubeletNode, victim: tuple[int, Path]) -> None:
    """What is its own it may: become a user that it is, use a raw socket in its own network, write its own root. By
    default there is no seccomp filter, as upstream's kubelet has it: keyrings and new user namespaces are open."""
    found = await _attempts(node, {}, victim[0], victim[1])
    assert found.pop("forks").startswith("EAGAIN")
    own = {"become-root", "own-group", "write-root", "raw-socket", "packet-socket", "chroot"}
    unfiltered = {"unshare-user", "keyctl", "add-key", "userfaultfd", "disk-device"}
    wrong = {
        name: result for name, result in found.items()
        if name not in own | unfiltered and result not in FINE.get(name, REFUSED) | {"ENOENT", "EINVAL", "EFAULT"}
    }
    assert wrong == {}
    # A device node may be made, as with every runtime's defaults, but not opened.
    assert "not permitted" in await node.sh("head -c1 /tmp/disk", "prisoner")


async def test_root_of_a_user_namespace_with_all_rights_stays_inside(
    node: KubeletNode, victim: tuple[int, Path]
) -> None:
    """All capabilities, none of them over anything of the host."""
    found = await _attempts(
        node, {"capabilities": {"add": ["ALL"]}}, victim[0], victim[1], hostUsers=False
    )
    outside = {
        "ptrace-another-pod", "memory-of-another-pod", "kill-another-pod", "links", "secret-0", "init-module", "kexec",
        "set-time", "sysrq", "proc-sys", "core-pattern", "kcore", "sys", "cgroup", "new-cgroup",
        "disk-device", "memory-device", "kernel-log", "swapoff", "iopl", "acct",
    }  # fmt: skip
    reached = {name: found[name] for name in outside if found[name] == "did"}
    assert reached == {}


def test_no_sub_path_leads_out_while_a_container_swaps_a_directory_for_a_link(tmp_path: Path) -> None:
    volume, outside = tmp_path / "volume", tmp_path / "outside"
    (volume / "real").mkdir(parents=True)
    (volume / "real" / "mark").touch()
    outside.mkdir()
    (outside / "secret").touch()
    (volume / "link").symlink_to(outside)
    (volume / "dir").mkdir()
    (volume / "dir" / "mark").touch()
    stop = threading.Event()
    exchange = ctypes.CDLL(None).renameat2

    def swap() -> None:
        while not stop.is_set():
            exchanged = exchange(-100, bytes(volume / "dir"), -100, bytes(volume / "link"), 2)
            assert exchanged == 0

    thread = threading.Thread(target=swap)
    thread.start()
    bound = refused = 0
    try:
        for number in range(400):
            target = tmp_path / "targets" / str(number)
            try:
                subpath.bind(volume, "dir", target)
            except (subpath.BadSubPath, OSError):
                refused += 1
                continue
            bound += 1
            assert not (target / "secret").exists()
            unmount(target)
    finally:
        stop.set()
        thread.join()
        for path in (tmp_path / "targets").glob("*"):
            if is_mount_point(path):
                unmount(path)
    assert bound and refused
