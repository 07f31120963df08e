"""hostUsers: false: root in the Pod is nobody on the host."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from podwright.runtime.protocol import IdMapping, Mount, NamespaceMode, NamespaceOptions, SecurityContext

MAPPING = (IdMapping(host_id=1_310_720, container_id=0, length=65536),)


async def test_root_is_mapped_everywhere(node: Any, tmp_path: Path) -> None:
    options = NamespaceOptions(user_namespace=MAPPING)
    volume = node.state / "volume"
    volume.mkdir()
    (volume / "mine").write_text("root's\n")
    (volume / "mine").chmod(0o600)
    file = node.state / "file"
    file.write_text("single\n")
    security = SecurityContext(namespaces=options)
    sandbox, (container, other) = await node.run_pod(
        node.container(security=security, mounts=[Mount("/volume", str(volume)), Mount("/etc/hosts", str(file))]),
        node.container(name="other", security=SecurityContext(namespaces=options, run_as_user=1000)),
        namespaces=options,
    )
    status = await node.runtime.container_status(container)
    assert Path(f"/proc/{status.pid}").stat().st_uid == 1_310_720
    assert os.readlink(f"/proc/{status.pid}/ns/user") != os.readlink("/proc/self/ns/user")
    second = (await node.runtime.container_status(other)).pid
    assert os.readlink(f"/proc/{status.pid}/ns/user") == os.readlink(f"/proc/{second}/ns/user")
    assert Path(f"/proc/{second}").stat().st_uid == 1_310_720 + 1000
    look = "id -u; stat -c %u /bin/busybox /volume/mine; cat /volume/mine /etc/hosts; hostname"
    seen = await node.sh(container, look)
    assert seen == "0\n0\n0\nroot's\nsingle\npod-1\n"
    own = "echo new > /volume/new && touch /own && chown 5 /own && stat -c %u /own"
    assert await node.sh(container, own) == "5\n"
    assert (volume / "new").stat().st_uid == 0  # the volume's owners are the host's, seen through the mapping
    shared = "ping -c1 -W1 127.0.0.1 >/dev/null && echo up; echo x > /dev/shm/x && echo shm"
    assert await node.sh(container, shared) == "up\nshm\n"
    assert "denied" in await node.sh(container, "echo 1 > /proc/sys/kernel/panic")
    address = (await node.runtime.pod_sandbox_status(sandbox)).ips[0]
    assert address in await node.sh(container, "ip addr")
    await node.runtime.stop_container(container, 5.0)
    assert (await node.runtime.container_status(container)).exit_code == 0


async def test_with_a_shared_process_namespace(crun_node: Any) -> None:
    node = crun_node
    options = NamespaceOptions(pid=NamespaceMode.POD, user_namespace=MAPPING)
    _, (one, _) = await node.run_pod(
        node.container(name="one", security=SecurityContext(namespaces=options)),
        node.container(name="two", security=SecurityContext(namespaces=options)), namespaces=options,
    )
    assert (await node.sh(one, "ps -o args")).count("sleep 1000") >= 3
