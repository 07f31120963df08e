"""The first process of a PID namespace that a whole Pod shares: it does nothing but reap.

It is catatonit in a container of its own that no one lists; when it dies, the Pod's processes die with it.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import orjson

from podwright.runtime.oci import records, spec
from podwright.runtime.oci.host import Host, new_id
from podwright.runtime.oci.records import ContainerRecord, SandboxRecord
from podwright.runtime.protocol import ContainerConfig, NamespaceMode, RuntimeFailure

_NAME = "POD"


def prepare(host: Host, sandbox: SandboxRecord) -> ContainerRecord:
    """Makes its bundle. Blocks. Raises RuntimeFailure or OSError; what was made by then is swept by `discard`."""
    binary = shutil.which("catatonit")
    if binary is None:
        raise RuntimeFailure("a shared PID namespace needs catatonit (Debian package: catatonit), which is not here")
    record = ContainerRecord(
        id=new_id(),
        sandbox_id=sandbox.id,
        config=ContainerConfig(_NAME, 0, ""),
        image_id="",
        image_ref="",
        boot=host.boot,
        created_at=time.time(),
        cgroup="",
        log_path=Path("/dev/null"),
        stop_signal="SIGTERM",
        user=(0, 0, ()),
        hidden=True,
    )
    record.cgroup = f"{sandbox.config.cgroup_parent}/{record.id}"
    bundle = host.paths.bundle(record.id)
    host.paths.persist(record.id).mkdir(parents=True)
    for name in ("rootfs/proc", "rootfs/dev"):
        (bundle / name).mkdir(parents=True)
    (bundle / "rootfs" / "catatonit").touch()
    document = {
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": 0, "gid": 0}, "args": ["/catatonit", "-P"], "cwd": "/", "env": [],
            "capabilities": {kind: [] for kind in ("bounding", "effective", "permitted")}, "noNewPrivileges": True,
        },
        "root": {"path": str(bundle / "rootfs"), "readonly": True},
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"]},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "size=64k", "mode=755"]},
            {"destination": "/catatonit", "type": "bind", "source": binary, "options": ["bind", "ro"]},
        ],
        "linux": {
            "cgroupsPath": record.cgroup,
            "namespaces": [{"type": "mount"}, {"type": "pid"}, *_shared(host, sandbox)],
            "resources": {"devices": [{"allow": False, "access": "rwm"}]},
            **spec.id_mappings(sandbox.config.namespaces.user_namespace),
        },
    }
    (bundle / "config.json").write_bytes(orjson.dumps(document))
    records.save(host.paths.container_record(record.id), record)
    return record


def _shared(host: Host, sandbox: SandboxRecord) -> list[dict[str, str]]:
    modes = sandbox.config.namespaces
    found = []
    if modes.network == NamespaceMode.POD:
        found.append({"type": "network", "path": str(host.paths.namespace(sandbox.id, "net"))})
        found.append({"type": "uts", "path": str(host.paths.namespace(sandbox.id, "uts"))})
    if modes.ipc == NamespaceMode.POD:
        found.append({"type": "ipc", "path": str(host.paths.namespace(sandbox.id, "ipc"))})
    if modes.user_namespace:
        found.append({"type": "user", "path": str(host.paths.namespace(sandbox.id, "user"))})
    return found
