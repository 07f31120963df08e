"""Version 2's files, on a directory that looks like a control group; conversions of both versions."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from types import SimpleNamespace

import pytest

from podwright.runtime.oci.cgroups import interface
from podwright.runtime.oci.cgroups.v1 import CgroupsV1
from podwright.runtime.oci.cgroups.v2 import CgroupsV2, io_max, psi, weight
from podwright.runtime.oci.container import merge
from podwright.runtime.protocol import DiskLimits, Resources


def test_weight() -> None:
    assert [weight(s) for s in (0, 2, 1024, 262_144, 1 << 20)] == [1, 1, 39, 10_000, 10_000]


def test_io_max() -> None:
    assert io_max(Resources(disk=DiskLimits(read_bps=5, write_iops=7))) == "rbps=5 wbps=max riops=max wiops=7"


def test_psi() -> None:
    text = "some avg10=1.50 avg60=0.00 avg300=0.00 total=123\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=4\n"
    assert psi(text)["some"] == {"avg10": 1.5, "avg60": 0.0, "avg300": 0.0, "total": 123}
    assert psi("") == {}


def test_controllers_are_handed_down(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpu memory rdma\n")
    (tmp_path / "cgroup.subtree_control").write_text("cpu")
    CgroupsV2(tmp_path).create("/a/b")
    assert (tmp_path / "a" / "b").is_dir()
    assert (tmp_path / "cgroup.subtree_control").read_text() == "+memory"


def test_limits_and_usage(tmp_path: Path) -> None:
    group = tmp_path / "g"
    group.mkdir()
    groups = CgroupsV2(tmp_path)
    (group / "memory.swap.max").touch()
    groups.apply("/g", Resources(
        cpu_shares=1024, cpu_quota=50_000, cpu_period=100_000, memory_limit=100, pids_limit=-1,
        disk=DiskLimits(write_bps=9), unified={"memory.high": "90"},
    ), ["8:0"])
    values = {p.name: p.read_text() for p in group.iterdir()}
    assert values == {
        "cpu.weight": "39", "cpu.max": "50000 100000", "memory.max": "100", "memory.swap.max": "0", "pids.max": "max",
        "io.max": "8:0 rbps=max wbps=9 riops=max wiops=max", "memory.high": "90",
    }
    (group / "cpu.stat").write_text("usage_usec 5\nuser_usec 3\n")
    (group / "memory.current").write_text("1000\n")
    (group / "memory.stat").write_text("anon 300\ninactive_file 400\npgfault 7\npgmajfault 1\n")
    (group / "io.stat").write_text("8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0\n8:16 rbytes=10 wbytes=20\n")
    (group / "memory.events").write_text("low 0\noom 1\noom_kill 2\n")
    (group / "pids.current").write_text("6\n")
    usage = groups.usage("/g")
    assert (usage.cpu_usage, usage.memory_usage, usage.memory_working_set, usage.memory_rss) == (5000, 1000, 600, 300)
    assert (usage.disk_read_bytes, usage.disk_write_bytes, usage.disk_read_ops, usage.pids) == (11, 22, 3, 6)
    assert groups.oom_kills("/g") == 2


@pytest.mark.parametrize(
    ("version", "has", "files"),
    [
        (1, [], {}),
        (1, ["blkio.bfq.weight"], {"blkio.bfq.weight": "190"}),
        (1, ["blkio.weight"], {"blkio.weight": "190"}),
        (2, [], {}),
        (2, ["io.weight", "io.bfq.weight"], {"io.weight": "190", "io.bfq.weight": "190"}),
    ],
)
def test_the_disk_is_shared_by_weight_where_the_kernel_can(
    tmp_path: Path, version: int, has: list[str], files: dict[str, str]
) -> None:
    group = tmp_path / "g"
    group.mkdir()
    for name in has:
        (group / name).touch()
    groups = CgroupsV1({"blkio": tmp_path}) if version == 1 else CgroupsV2(tmp_path)
    groups.apply("/g", Resources(disk=DiskLimits(weight=190)), [])
    assert {f.name: f.read_text() for f in group.iterdir()} == files


def test_the_disk_behind_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = next(p for p in Path("/sys/class/block").iterdir() if not (p / "partition").exists())
    number = (mine / "dev").read_text().strip()
    major, minor = (int(part) for part in number.split(":"))
    block = SimpleNamespace(st_mode=stat.S_IFBLK, st_rdev=os.makedev(major, minor), st_dev=os.makedev(0, 5))
    table = f"20 1 0:40 / /b rw - btrfs /dev/{mine.name} rw\n21 1 0:41 / /t rw - tmpfs tmpfs rw\n"
    statuses = {
        f"/dev/{mine.name}": block, "/b/volume": SimpleNamespace(st_mode=stat.S_IFDIR, st_dev=os.makedev(0, 40)),
        "/t/volume": SimpleNamespace(st_mode=stat.S_IFDIR, st_dev=os.makedev(0, 41)),
    }
    monkeypatch.setattr(interface, "os", SimpleNamespace(
        stat=lambda path: statuses[str(path)], major=os.major, minor=os.minor
    ))  # fmt: skip
    real = interface.read
    monkeypatch.setattr(interface, "read", lambda path: table if path.name == "mountinfo" else real(path))
    found = {path: interface.block_devices([Path(path)]) for path in statuses}
    assert found == {f"/dev/{mine.name}": [number], "/b/volume": [number], "/t/volume": []}


def test_merge_keeps_what_is_not_set() -> None:
    old = Resources(cpu_shares=1, memory_limit=2, disk=DiskLimits(read_bps=3))
    assert merge(old, Resources(memory_limit=5)) == Resources(cpu_shares=1, memory_limit=5, disk=DiskLimits(read_bps=3))
