"""From configuration to the OCI runtime specification."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from podwright.runtime.oci import spec
from podwright.runtime.oci.spec import Surroundings
from podwright.runtime.oci.users import Identity
from podwright.runtime.protocol import (
    ContainerConfig,
    DiskLimits,
    IdMapping,
    Mount,
    MountPropagation,
    Resources,
    RuntimeFailure,
    SecurityContext,
)

IMAGE: dict[str, Any] = {
    "Entrypoint": ["/entry"], "Cmd": ["default"], "Env": ["PATH=/bin", "A=image", "B=image"], "WorkingDir": "/work",
}
ROOT = Identity(0, 0, (0,), "/root")
AROUND = Surroundings(
    rootfs="/rootfs", cgroup_path="/podwright/x", namespaces={"mount": "", "network": "/ns/net", "pid": ""},
    shm="/run/shm", hostname="pod", files={"/etc/hostname": "/run/hostname"},
)
CONFIG = ContainerConfig("main", 0, "image")


def build(config: ContainerConfig = CONFIG, around: Surroundings = AROUND, **changes: Any) -> dict[str, Any]:
    return spec.build(replace(config, **changes), IMAGE, ROOT, around)


@pytest.mark.parametrize(
    ("command", "args", "expected"),
    [
        (None, None, ["/entry", "default"]), (["c"], None, ["c"]), (None, ["a"], ["/entry", "a"]),
        (["c"], ["a", "b"], ["c", "a", "b"]), ([], [], ["/entry", "default"]),
    ],
)
def test_command_line(command: Any, args: Any, expected: list[str]) -> None:
    assert build(command=command, args=args)["process"]["args"] == expected


def test_nothing_to_run() -> None:
    with pytest.raises(RuntimeFailure, match="no command specified"):
        spec.build(CONFIG, {}, ROOT, AROUND)


def test_environment_overrides_in_order() -> None:
    env = dict(e.split("=", 1) for e in build(env=[("B", "own"), ("C", "x=y")], tty=True)["process"]["env"])
    assert env == {
        "PATH": "/bin", "A": "image", "B": "own", "C": "x=y", "HOSTNAME": "pod", "TERM": "xterm", "HOME": "/root",
    }


def test_working_directory() -> None:
    assert build()["process"]["cwd"] == "/work"
    assert build(working_dir="/mine")["process"]["cwd"] == "/mine"


def test_namespaces_are_joined_or_new() -> None:
    assert build()["linux"]["namespaces"] == [
        {"type": "mount"}, {"type": "network", "path": "/ns/net"}, {"type": "pid"},
    ]


def mounts(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {m["destination"]: m for m in document["mounts"]}


def test_own_mounts_win_and_parents_come_first() -> None:
    document = build(mounts=[
        Mount("/data/sub", "/h/sub"), Mount("/data", "/h", readonly=True), Mount("/etc/hostname", "/h/name"),
        Mount("/dev/shm", "/h/shm"), Mount("/m", "/h/m", propagation=MountPropagation.HOST_TO_CONTAINER),
        Mount("/rr", "/h/rr", readonly=True, recursive_readonly=True),
    ])
    order = [m["destination"] for m in document["mounts"]]
    assert order.index("/data") < order.index("/data/sub")
    assert order.count("/etc/hostname") == order.count("/dev/shm") == 1
    found = mounts(document)
    assert found["/etc/hostname"]["source"] == "/h/name"
    assert found["/data"]["options"] == ["rbind", "rprivate", "ro"]
    assert found["/m"]["options"] == ["rbind", "rslave", "rw"]
    assert found["/rr"]["options"] == ["rbind", "rprivate", "rro"]
    assert document["linux"]["rootfsPropagation"] == "rslave"


def test_sys_is_read_only_but_for_the_privileged() -> None:
    assert "ro" in mounts(build())["/sys"]["options"]
    privileged = build(security=SecurityContext(privileged=True, masked_paths=["/proc/kcore"]))
    assert "rw" in mounts(privileged)["/sys"]["options"]
    assert "maskedPaths" not in privileged["linux"]
    assert privileged["linux"]["resources"]["devices"] == [{"allow": True, "access": "rwm"}]
    assert build()["linux"]["resources"]["devices"][0] == {"allow": False, "access": "rwm"}


def test_resources() -> None:
    limits = Resources(
        cpu_shares=10, cpu_quota=5000, cpu_period=100000, cpuset_cpus="0-1", memory_limit=100, pids_limit=-1,
        hugepage_limits={"2MB": 4}, unified={"memory.high": "90"}, disk=DiskLimits(write_bps=7, read_iops=8),
    )
    found = build(resources=limits, around=replace(AROUND, block_devices=["254:0"]))["linux"]["resources"]
    assert found["cpu"] == {"shares": 10, "quota": 5000, "period": 100000, "cpus": "0-1"}
    assert found["memory"] == {"limit": 100, "swap": 100}
    assert found["pids"] == {"limit": -1}
    assert found["hugepageLimits"] == [{"pageSize": "2MB", "limit": 4}]
    assert found["blockIO"] == {
        "throttleWriteBpsDevice": [{"major": 254, "minor": 0, "rate": 7}],
        "throttleReadIOPSDevice": [{"major": 254, "minor": 0, "rate": 8}],
    }
    assert "unified" not in found
    v2 = replace(AROUND, cgroup_version=2, swap_accounting=False)
    found = build(resources=limits, around=v2)["linux"]["resources"]
    assert found["unified"] == {"memory.high": "90"} and found["memory"] == {"limit": 100}


def test_oom_score_is_kept_within_what_the_host_allows() -> None:
    assert build(resources=Resources(oom_score_adj=-997))["process"]["oomScoreAdj"] == -997
    around = replace(AROUND, min_oom_score_adj=0)
    assert build(resources=Resources(oom_score_adj=-997), around=around)["process"]["oomScoreAdj"] == 0
    assert "oomScoreAdj" not in build()["process"]


def test_user_namespace() -> None:
    linux = build(around=replace(AROUND, id_mappings=[IdMapping(65536, 0, 65536)]))["linux"]
    assert linux["uidMappings"] == linux["gidMappings"] == [{"containerID": 0, "hostID": 65536, "size": 65536}]
