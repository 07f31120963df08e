"""What is written to disk is read back as it was."""

from __future__ import annotations

from pathlib import Path

from podwright.runtime.oci import records
from podwright.runtime.oci.records import ContainerRecord, SandboxRecord
from podwright.runtime.protocol import (
    ContainerConfig,
    ContainerState,
    DiskLimits,
    DnsConfig,
    IdMapping,
    Mount,
    MountPropagation,
    NamespaceMode,
    NamespaceOptions,
    PortMapping,
    ProfileType,
    Resources,
    SandboxConfig,
    SandboxMetadata,
    SecurityContext,
    SecurityProfile,
)

OPTIONS = NamespaceOptions(pid=NamespaceMode.POD, user_namespace=(IdMapping(1, 2, 3),))


def test_container(tmp_path: Path) -> None:
    config = ContainerConfig(
        "c", 3, "image", command=("a",), args=None, env=(("A", "b"),),
        mounts=(Mount("/x", "/y", propagation=MountPropagation.BIDIRECTIONAL),), labels={"l": "v"},
        resources=Resources(hugepage_limits={"2MB": 1}, disk=DiskLimits(read_bps=1)),
        security=SecurityContext(
            run_as_user=5, seccomp=SecurityProfile(ProfileType.LOCALHOST, "/p"), namespaces=OPTIONS,
            apparmor=SecurityProfile(),
        ),
    )
    record = ContainerRecord(
        "id", "sandbox", config, "image-id", "ref", "boot", 1.5, "/cgroup", Path("/log"), "SIGTERM", (1, 2, (3, 4)),
        state=ContainerState.EXITED, exit_code=137,
    )
    records.save(tmp_path / "r.json", record)
    assert records.load(ContainerRecord, tmp_path / "r.json") == record
    assert record.public().signal == 9


def test_sandbox(tmp_path: Path) -> None:
    config = SandboxConfig(
        SandboxMetadata("n", "ns", "uid", 2), dns=DnsConfig(("1.1.1.1",)), port_mappings=(PortMapping(1, 2),),
        namespaces=OPTIONS, sysctls={"a": "b"}, log_directory=Path("/logs"),
    )
    record = SandboxRecord("id", config, 1.0, "boot", ips=("10.0.0.1",))
    records.save(tmp_path / "r.json", record)
    assert records.load(SandboxRecord, tmp_path / "r.json") == record


def test_torn_files_are_no_records(tmp_path: Path) -> None:
    for text in ("", "{", "[]", '{"id": "x"}', "null"):
        (tmp_path / "r.json").write_text(text)
        assert records.load(SandboxRecord, tmp_path / "r.json") is None
    assert records.load(SandboxRecord, tmp_path / "missing.json") is None
