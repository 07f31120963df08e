"""Security contexts through the kubelet, seen from inside of real containers: users and groups of the image, user
namespaces, sysctls, masks, seccomp; and what Pods share of System V and POSIX IPC."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest

from podwright.api.objects import Object
from podwright.api.resources import PODS
from podwright.runtime.build.accounts import add_base
from podwright.runtime.build.archive import Layer, write_archive
from podwright.runtime.build.busybox import add_busybox

from .conftest import KubeletNode, make_container, make_pod

USERS = "docker.io/test/users:1"


@pytest.fixture(scope="session")
def users_archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image that runs as "alice", who is in two groups by its /etc/group, and has a link that leads out of it."""
    path = tmp_path_factory.mktemp("users") / "users.tar"
    layer = Layer()
    add_base(layer, passwd="alice:x:1000:1000:alice:/home:/bin/sh\n", group="alice:x:1000:\nteam:x:50000:alice\n")
    add_busybox(layer)
    layer.symlink("evil", "/../../../../../../../../../etc")
    write_archive(path, USERS, layer, {"Cmd": ["sh"], "User": "alice"})
    return path


async def _ready(node: KubeletNode, name: str, *containers: Object, **spec: Any) -> None:
    await node.create(make_pod(name, *containers, terminationGracePeriodSeconds=1, **spec))
    await node.until_ready(name)


async def test_users_and_groups_of_the_image(node: KubeletNode, users_archive: Path) -> None:
    await node.images.load_archive(users_archive)
    merged = make_container()
    merged["image"] = USERS
    await _ready(node, "merged", merged, securityContext={"supplementalGroups": [60000], "fsGroup": 4000})
    assert sorted(map(int, (await node.sh("id -G", "merged")).split())) == [1000, 4000, 50000, 60000]
    await _ready(node, "strict", merged, securityContext={
        "supplementalGroups": [60000], "supplementalGroupsPolicy": "Strict"})  # fmt: skip
    assert sorted(map(int, (await node.sh("id -G", "strict")).split())) == [1000, 60000]
    pod = node.pod("strict") or {}
    assert pod["status"]["containerStatuses"][0]["user"]["linux"] == {
        "uid": 1000, "gid": 1000, "supplementalGroups": [1000, 60000]
    }  # fmt: skip
    await node.create(make_pod("named", merged, securityContext={"runAsNonRoot": True}))
    named = await node.until_pod(
        lambda p: "CreateContainerConfigError" in str((p["status"].get("containerStatuses") or [{}])[0].get("state")),
        "named",
    )
    message = named["status"]["containerStatuses"][0]["state"]["waiting"]["message"]
    assert message.startswith("container has runAsNonRoot and image has non-numeric user (alice), cannot verify")
    root = make_container(securityContext={"runAsNonRoot": True})
    await node.create(make_pod("root", root))
    refused = await node.until_pod(lambda p: "image will run as root" in str(p["status"]), "root")
    assert refused["status"]["phase"] == "Pending"


async def test_no_link_of_an_image_leads_out_of_it(node: KubeletNode, users_archive: Path) -> None:
    await node.images.load_archive(users_archive)
    volumes = [{"name": "i", "image": {"reference": USERS, "pullPolicy": "IfNotPresent"}}]
    for number, part in enumerate(("etc", "evil")):
        main = make_container(volumeMounts=[{"name": "i", "mountPath": "/i", "subPath": part}])
        await _ready(node, f"p{number}", main, volumes=volumes)
        assert "alice" in await node.sh("cat /i/passwd", f"p{number}")


async def test_user_namespace_with_volumes(node: KubeletNode) -> None:
    """uid_map, volumes that are the Pod's root's inside, fsGroup, all of a projected token's and an emptyDir's."""
    volumes: list[Object] = [
        {"name": "e", "emptyDir": {}},
        {"name": "c", "configMap": {"name": "cm", "defaultMode": 0o400}},
        {"name": "t", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}},
    ]
    await node.config_map("cm", k="v")
    mounts = [{"name": n, "mountPath": f"/{n}"} for n in ("e", "c", "t")]
    spec: Object = {"hostUsers": False, "volumes": volumes, "securityContext": {"fsGroup": 2000}}
    main = make_container(volumeMounts=mounts)
    user = make_container("user", volumeMounts=mounts, securityContext={"runAsUser": 1000})
    unmasked = make_container("unmasked", securityContext={"procMount": "Unmasked"})
    await _ready(node, "web", main, user, unmasked, **spec)
    await _ready(node, "other", make_container(), hostUsers=False)
    maps = [(await node.sh("cat /proc/self/uid_map", p)).split() for p in ("web", "other")]
    assert [m[0] for m in maps] == ["0", "0"] and [m[2] for m in maps] == ["65536", "65536"]
    assert maps[0][1] != maps[1][1] and int(maps[0][1]) >= 65536
    host = Path(f"/proc/{node.container('web').pid}").stat().st_uid
    assert host == int(maps[0][1])
    assert Path(f"/proc/{node.container('web', 'user').pid}").stat().st_uid == host + 1000
    assert await node.sh("touch /e/root; stat -c '%u %g' /e /e/root") == "0 2000\n0 2000\n"
    assert await node.sh("cat /c/k; head -c6 /t/token; touch /e/mine; stat -c '%u %g' /e/mine", name="user") == (
        "vtoken-1000 2000\n"
    )
    assert await node.sh("grep -c ' /proc/' /proc/self/mountinfo", name="unmasked") == "0\n"
    assert int(await node.sh("grep -c ' /proc/' /proc/self/mountinfo")) > 3


@pytest.fixture
def config(request: pytest.FixtureRequest) -> dict[str, Any]:
    return dict(getattr(request, "param", {}))


@pytest.mark.parametrize(
    "config", [{"allowed_unsafe_sysctls": ("net.core.*",), "seccomp_default": True}], indirect=True
)
async def test_sysctls_and_seccomp_by_default(node: KubeletNode) -> None:
    def asked(*pairs: tuple[str, str]) -> Object:
        return {"sysctls": [{"name": n, "value": v} for n, v in pairs]}

    safe = asked(
        ("net.ipv4.ip_unprivileged_port_start", "80"), ("kernel.shm_rmid_forced", "1"), ("net.core.somaxconn", "77")
    )
    profile = node.config.seccomp_dir / "profiles" / "no-mkdir.json"
    profile.parent.mkdir(parents=True)
    profile.write_bytes(orjson.dumps({
        "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}],
    }))  # fmt: skip
    local = {"seccompProfile": {"type": "Localhost", "localhostProfile": "profiles/no-mkdir.json"}}
    free = {"seccompProfile": {"type": "Unconfined"}}
    await _ready(
        node, "web", make_container(), make_container("local", securityContext=local),
        make_container("free", securityContext=free), securityContext=safe,
    )
    assert await node.sh("cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/net/core/somaxconn "
                         "/proc/sys/kernel/shm_rmid_forced") == "80\n77\n1\n"  # fmt: skip
    seen = [await node.sh("grep Seccomp: /proc/self/status", name=n) for n in ("main", "local", "free")]
    assert seen == ["Seccomp:\t2\n", "Seccomp:\t2\n", "Seccomp:\t0\n"]
    assert "not permitted" in await node.sh("mkdir /tmp/x", name="local")
    await node.create(make_pod("unsafe", securityContext=asked(("kernel.msgmax", "65536"))))
    refused = await node.until_phase("Failed", "unsafe")
    assert refused["status"]["reason"] == "SysctlForbidden"
    assert 'forbidden sysctl: "kernel.msgmax" not allowlisted' in refused["status"]["message"]
    if not Path("/sys/module/apparmor").exists():
        armed = make_container(securityContext={"appArmorProfile": {"type": "RuntimeDefault"}})
        await node.create(make_pod("armed", armed))
        refused = await node.until_phase("Failed", "armed")
        assert refused["status"]["reason"] == "AppArmor"
        assert "Cannot enforce AppArmor: AppArmor is not enabled on the host" in refused["status"]["message"]
    missing = {"seccompProfile": {"type": "Localhost", "localhostProfile": "none.json"}}
    await node.create(make_pod("missing", make_container(securityContext=missing)))
    waiting = await node.until_pod(lambda p: "CreateContainerError" in str(p["status"]), "missing")
    assert "cannot load seccomp profile" in str(waiting["status"]["containerStatuses"][0]["state"])
    await node.user.delete(PODS, "missing", namespace="default", grace_period_seconds=0)


_QUEUES = """
import ctypes, sys
libc = ctypes.CDLL(None, use_errno=True)
make = sys.argv[1] == "make"
queue = libc.msgget(4711, 0o1666 if make else 0)
segment = libc.shmget(4712, 4096, 0o1666 if make else 0)
posix = ctypes.CDLL("librt.so.1").mq_open(b"/podq", 0o102 if make else 2, 0o666, None)
libc.shmat.restype = ctypes.c_void_p
text = "none"
if segment >= 0:
    at = libc.shmat(segment, None, 0)
    if make: ctypes.memmove(at, b"shared", 6)
    text = ctypes.string_at(at, 6).decode()
print(queue >= 0, segment >= 0, posix >= 0, text)
"""


async def test_queues_and_segments_are_shared_within_a_pod_only(node: KubeletNode) -> None:
    places = {"/usr": "/usr", "/lib": "/lib", "/lib64": "/lib64", "/python": sys.base_prefix}
    places = {inside: outside for inside, outside in places.items() if Path(outside).exists()}
    volumes = [{"name": f"p{n}", "hostPath": {"path": p}} for n, p in enumerate(places.values())]
    mounts = [{"name": f"p{n}", "mountPath": p, "readOnly": True} for n, p in enumerate(places)]
    pair = [make_container(n, volumeMounts=mounts) for n in ("a", "b")]
    await _ready(node, "web", *pair, volumes=volumes)
    await _ready(node, "other", make_container(volumeMounts=mounts), volumes=volumes)
    run = f"/python/bin/python3.{sys.version_info.minor} -I -c '{_QUEUES}'"
    assert await node.sh(f"{run} make", name="a") == "True True True shared\n"
    assert await node.sh(f"{run} look", name="b") == "True True True shared\n"
    assert await node.sh(f"{run} look", "other") == "False False False none\n"
    assert ctypes.CDLL(None).msgget(4711, 0) == -1 and not os.path.exists("/dev/mqueue/podq")
    # POSIX shared memory is a file in /dev/shm, which has a size.
    assert await node.sh("echo x > /dev/shm/s", name="a") == "" and await node.sh("cat /dev/shm/s", name="b") == "x\n"
    assert "65536" in await node.sh("df -k /dev/shm", name="a")
    assert "No such" in await node.sh("cat /dev/shm/s", "other")
    assert not Path("/dev/shm/s").exists()


async def test_mount_propagation_and_recursive_read_only(node: KubeletNode, tmp_path: Path) -> None:
    """A mount made in a container reaches the other with Bidirectional and HostToContainer, and no other way; below a
    recursively read-only mount nothing can be written."""
    volumes = [{"name": "v", "emptyDir": {}}]

    def mount(propagation: str) -> list[Object]:
        return [{"name": "v", "mountPath": "/v", "mountPropagation": propagation}]

    maker = make_container("maker", volumeMounts=mount("Bidirectional"), securityContext={"privileged": True})
    taker = make_container("taker", volumeMounts=mount("HostToContainer"))
    private = make_container("private", volumeMounts=mount("None"))
    await _ready(node, "web", maker, taker, private, volumes=volumes)
    await node.sh("mkdir /v/sub && mount -t tmpfs inner /v/sub && echo deep > /v/sub/f", name="maker")
    assert await node.sh("cat /v/sub/f", name="taker") == "deep\n"
    assert "No such" in await node.sh("cat /v/sub/f", name="private")
    source = node.config.pod_dir((node.pod() or {})["metadata"]["uid"]) / "volumes/kubernetes.io~empty-dir/v"
    reader = make_container(volumeMounts=[
        {"name": "v", "mountPath": "/deep", "readOnly": True, "recursiveReadOnly": "Enabled"},
        {"name": "v", "mountPath": "/flat", "readOnly": True},
    ])  # fmt: skip
    await _ready(node, "reader", reader, volumes=[{"name": "v", "hostPath": {"path": str(source)}}])
    assert "Read-only" in await node.sh("echo 1 > /deep/sub/g", "reader")
    assert await node.sh("echo 1 > /flat/sub/g && cat /deep/sub/g", "reader") == "1\n"
    assert "Read-only" in await node.sh("echo 1 > /flat/g", "reader")
    status = (node.pod("reader") or {})["status"]["containerStatuses"][0]["volumeMounts"]
    assert next(m for m in status if m["mountPath"] == "/deep")["recursiveReadOnly"] == "Enabled"
    await node.user.delete(PODS, "reader", namespace="default", grace_period_seconds=1)
    await node.until(lambda: node.pod("reader") is None)
