"""Where the embedded runtime keeps things.

    STATE/sandboxes/ID.json               what a sandbox is (survives a reboot)
    STATE/containers/ID/container.json    what a container is: written when it is created and when it has ended
    STATE/containers/ID/{upper,work}      its writable layer
    STATE/containers/ID/persist           exit code and OOM mark, written by conmon
    RUN                                   a tmpfs: a file costs a tenth there, and goes with the processes at a reboot
    RUN/sandboxes/ID/{net,ipc,uts,user}   pinned namespaces; shm: the shared /dev/shm; hostname, resolv.conf
    RUN/containers/ID/config.json         the OCI runtime specification; the directory is the bundle
    RUN/containers/ID/running.json        what a container is, once it runs
    RUN/containers/ID/rootfs              where its overlay is mounted
    RUN/exits/ID                          exit code, written by conmon, watched by inotify
    RUN/attach/ID                         made by conmon: a link to the directory of its attach socket
    RUN/pids/{ID,ID.conmon}               the container's first process, and conmon
    RUN/oci                               the state of crun or runc
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Paths:
    state: Path
    run: Path

    @property
    def sandboxes(self) -> Path:
        return self.state / "sandboxes"

    @property
    def containers(self) -> Path:
        return self.state / "containers"

    @property
    def bundles(self) -> Path:
        return self.run / "containers"

    @property
    def exits(self) -> Path:
        return self.run / "exits"

    @property
    def attach(self) -> Path:
        return self.run / "attach"

    @property
    def oci(self) -> Path:
        return self.run / "oci"

    def sandbox_record(self, sandbox_id: str) -> Path:
        return self.sandboxes / f"{sandbox_id}.json"

    def sandbox_run(self, sandbox_id: str) -> Path:
        return self.run / "sandboxes" / sandbox_id

    def namespace(self, sandbox_id: str, kind: str) -> Path:
        return self.sandbox_run(sandbox_id) / kind

    def bundle(self, container_id: str) -> Path:
        return self.bundles / container_id

    def rootfs(self, container_id: str) -> Path:
        return self.bundle(container_id) / "rootfs"

    def container(self, container_id: str) -> Path:
        return self.containers / container_id

    def persist(self, container_id: str) -> Path:
        return self.containers / container_id / "persist"

    def running_record(self, container_id: str) -> Path:
        return self.bundle(container_id) / "running.json"

    def container_record(self, container_id: str) -> Path:
        return self.containers / container_id / "container.json"

    def pidfile(self, container_id: str) -> Path:
        return self.run / "pids" / container_id

    def conmon_pidfile(self, container_id: str) -> Path:
        return self.run / "pids" / f"{container_id}.conmon"

    def attach_socket(self, container_id: str) -> Path:
        return self.attach / self.short(container_id) / "attach"

    @staticmethod
    def short(container_id: str) -> str:
        """Socket paths have room for 107 bytes."""
        return container_id[:20]

    def make(self) -> None:
        volatile = [self.run / name for name in ("exits", "attach", "oci", "pids", "sandboxes", "containers")]
        for path in (self.sandboxes, self.containers, *volatile):
            path.mkdir(parents=True, exist_ok=True)
        self.state.chmod(0o700)
        self.run.chmod(0o711)  # a mapped root must get through to its root filesystem
