"""The port between the kubelet and whatever runs containers, in the words of the Container Runtime Interface v1.

A *sandbox* is what the containers of one Pod share: network, IPC and UTS namespaces, cgroup parent, /dev/shm. Names and
meanings follow CRI's api.proto, so that a CRI socket can stand behind the same protocol; ids are made by the runtime.
All calls may raise :class:`RuntimeFailure`.
"""

from __future__ import annotations

import enum
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol


class RuntimeFailure(Exception):
    """The runtime refused or failed. The message is fit for a user; `reason` is the waiting reason that the kubelet
    shows if it is one of its own (for example "RunContainerError"), else ""."""

    def __init__(self, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason


class NoSuchThing(RuntimeFailure):
    """No sandbox, container or image of that id."""


class ImagePullFailure(RuntimeFailure):
    """`reason` is ErrImagePull, ImageInspectError, InvalidImageName, RegistryUnavailable or
    SignatureValidationFailed."""


class NamespaceMode(enum.Enum):
    POD = "pod"
    CONTAINER = "container"
    NODE = "node"
    TARGET = "target"


@dataclass(frozen=True, slots=True)
class IdMapping:
    """A user namespace mapping: `length` ids from `host_id` on the host are `container_id` on in the Pod."""

    host_id: int
    container_id: int
    length: int


@dataclass(frozen=True, slots=True)
class NamespaceOptions:
    """Which namespaces are shared with whom. `target_id` is the container whose PID namespace a TARGET one joins."""

    network: NamespaceMode = NamespaceMode.POD
    pid: NamespaceMode = NamespaceMode.CONTAINER
    ipc: NamespaceMode = NamespaceMode.POD
    target_id: str = ""
    user_namespace: Sequence[IdMapping] = ()


@dataclass(frozen=True, slots=True)
class DiskLimits:
    """Bytes or operations per second, 0 for no limit. Applied to every block device behind the container's root
    filesystem and volumes."""

    read_bps: int = 0
    write_bps: int = 0
    read_iops: int = 0
    write_iops: int = 0
    weight: int = 0


@dataclass(frozen=True, slots=True)
class Resources:
    """Cgroup settings; 0 (or "" or empty) leaves a value alone. CPU times in microseconds, memory in bytes.
    `unified` are raw cgroup v2 files. `pids_limit` 0 means the runtime's default, -1 none."""

    cpu_period: int = 0
    cpu_quota: int = 0
    cpu_shares: int = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    memory_limit: int = 0
    memory_swap_limit: int = 0
    memory_reservation: int = 0
    oom_score_adj: int = 0
    pids_limit: int = 0
    hugepage_limits: Mapping[str, int] = field(default_factory=dict)
    unified: Mapping[str, str] = field(default_factory=dict)
    disk: DiskLimits = field(default_factory=DiskLimits)


@dataclass(frozen=True, slots=True)
class PortMapping:
    container_port: int
    host_port: int
    protocol: str = "TCP"
    host_ip: str = ""


@dataclass(frozen=True, slots=True)
class DnsConfig:
    servers: Sequence[str] = ()
    searches: Sequence[str] = ()
    options: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class SandboxMetadata:
    """Who the sandbox is for. `attempt` counts the sandboxes a Pod has had."""

    name: str
    namespace: str
    uid: str
    attempt: int = 0


@dataclass(frozen=True, slots=True)
class SandboxConfig:
    """RunPodSandbox's argument. `cgroup_parent` is a path below each controller's root (cgroupfs driver).
    `hostname` "" means the host's. `privileged`: one of its containers will be. `dns` None leaves /etc/resolv.conf to
    the kubelet's own mount."""

    metadata: SandboxMetadata
    hostname: str = ""
    log_directory: Path = Path()
    dns: DnsConfig | None = None
    port_mappings: Sequence[PortMapping] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    cgroup_parent: str = ""
    namespaces: NamespaceOptions = field(default_factory=NamespaceOptions)
    sysctls: Mapping[str, str] = field(default_factory=dict)
    runtime_handler: str = ""
    shm_size: int = 64 << 20
    ingress_bps: int = 0
    egress_bps: int = 0
    privileged: bool = False


class SandboxState(enum.Enum):
    READY = "SANDBOX_READY"
    NOTREADY = "SANDBOX_NOTREADY"


@dataclass(frozen=True, slots=True)
class Sandbox:
    """What PodSandboxStatus tells. Times are seconds since the epoch. `netns` is a path that can be entered, "" for
    the host's network. `ips` is empty for a Pod on the host's network."""

    id: str
    metadata: SandboxMetadata
    state: SandboxState
    created_at: float
    ips: Sequence[str] = ()
    netns: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    cgroup_parent: str = ""
    namespaces: NamespaceOptions = field(default_factory=NamespaceOptions)


class MountPropagation(enum.Enum):
    PRIVATE = "private"
    HOST_TO_CONTAINER = "rslave"
    BIDIRECTIONAL = "rshared"


@dataclass(frozen=True, slots=True)
class Mount:
    """A bind mount. `image` (an image id) instead of `host_path` mounts an image's filesystem read-only,
    `image_sub_path` a directory of it."""

    container_path: str
    host_path: str = ""
    readonly: bool = False
    recursive_readonly: bool = False
    propagation: MountPropagation = MountPropagation.PRIVATE
    image: str = ""
    image_sub_path: str = ""


@dataclass(frozen=True, slots=True)
class Device:
    host_path: str
    container_path: str
    permissions: str = "rwm"


class ProfileType(enum.Enum):
    UNCONFINED = "Unconfined"
    RUNTIME_DEFAULT = "RuntimeDefault"
    LOCALHOST = "Localhost"


@dataclass(frozen=True, slots=True)
class SecurityProfile:
    """`path` is the absolute path of a Localhost profile."""

    type: ProfileType = ProfileType.UNCONFINED
    path: str = ""


@dataclass(frozen=True, slots=True)
class SecurityContext:
    """`run_as_user` None: the image's user. `run_as_username` is a name to look up in the image. `capabilities_*`
    are without the CAP_ prefix, "ALL" allowed. `supplemental_groups_policy` is Merge or Strict."""

    run_as_user: int | None = None
    run_as_username: str = ""
    run_as_group: int | None = None
    supplemental_groups: Sequence[int] = ()
    supplemental_groups_policy: str = "Merge"
    privileged: bool = False
    readonly_rootfs: bool = False
    no_new_privs: bool = False
    capabilities_add: Sequence[str] = ()
    capabilities_drop: Sequence[str] = ()
    seccomp: SecurityProfile = field(default_factory=SecurityProfile)
    apparmor: SecurityProfile | None = None
    masked_paths: Sequence[str] = ()
    readonly_paths: Sequence[str] = ()
    namespaces: NamespaceOptions = field(default_factory=NamespaceOptions)


@dataclass(frozen=True, slots=True)
class ContainerConfig:
    """CreateContainer's argument. `command` replaces the image's entrypoint and `args` its cmd, both already
    expanded; either may be None to keep the image's. `log_path` is relative to the sandbox's log directory.
    `stop_signal` "" means the image's, else SIGTERM."""

    name: str
    attempt: int
    image: str
    command: Sequence[str] | None = None
    args: Sequence[str] | None = None
    working_dir: str = ""
    env: Sequence[tuple[str, str]] = ()
    mounts: Sequence[Mount] = ()
    devices: Sequence[Device] = ()
    cdi_devices: Sequence[str] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    log_path: str = ""
    stdin: bool = False
    stdin_once: bool = False
    tty: bool = False
    resources: Resources = field(default_factory=Resources)
    security: SecurityContext = field(default_factory=SecurityContext)
    stop_signal: str = ""


class ContainerState(enum.Enum):
    CREATED = "CONTAINER_CREATED"
    RUNNING = "CONTAINER_RUNNING"
    EXITED = "CONTAINER_EXITED"
    UNKNOWN = "CONTAINER_UNKNOWN"


@dataclass(frozen=True, slots=True)
class Container:
    """What ContainerStatus tells. Times are seconds since the epoch, 0.0 if it has not come to that. `pid` is the
    first process on the host (0 if not running). `reason` is Completed, Error, OOMKilled or ContainerCannotRun once
    exited; `signal` the number that killed it, else 0 (`exit_code` is then 128 + signal). `image_ref` is the image's
    "name@digest" or id; `user` is what it runs as: (uid, gid, supplemental groups)."""

    id: str
    sandbox_id: str
    name: str
    attempt: int
    image: str
    image_ref: str
    state: ContainerState
    created_at: float
    started_at: float = 0.0
    finished_at: float = 0.0
    exit_code: int = 0
    signal: int = 0
    reason: str = ""
    message: str = ""
    pid: int = 0
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    log_path: Path = Path()
    mounts: Sequence[Mount] = ()
    resources: Resources = field(default_factory=Resources)
    cgroup: str = ""
    stop_signal: str = "SIGTERM"
    user: tuple[int, int, Sequence[int]] = (0, 0, ())


class EventType(enum.Enum):
    CREATED = "CONTAINER_CREATED_EVENT"
    STARTED = "CONTAINER_STARTED_EVENT"
    STOPPED = "CONTAINER_STOPPED_EVENT"
    DELETED = "CONTAINER_DELETED_EVENT"


@dataclass(frozen=True, slots=True)
class ContainerEvent:
    """Something happened to a container (or, `container_id` "", to the sandbox alone). `pod_uid` says whose."""

    type: EventType
    container_id: str
    sandbox_id: str
    pod_uid: str
    at: float


@dataclass(frozen=True, slots=True)
class Image:
    """`id` is the config digest ("sha256:…"); `repo_tags` full references; `repo_digests` "name@sha256:…"; `user` the
    config's User. `config` is the OCI image configuration's "config" object."""

    id: str
    repo_tags: Sequence[str]
    repo_digests: Sequence[str]
    size: int
    user: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)
    pinned: bool = False


@dataclass(frozen=True, slots=True)
class RegistryAuth:
    username: str = ""
    password: str = ""
    identity_token: str = ""
    registry_token: str = ""


@dataclass(frozen=True, slots=True)
class ExecResult:
    exit_code: int
    stdout: bytes
    stderr: bytes


class ExecSession(Protocol):
    """A process run in a container, or an attachment to its first one. Reading gives b"" at the end of a stream;
    a session with a TTY has everything on stdout. `wait` gives the exit code (for an attachment: the container's)."""

    async def write_stdin(self, data: bytes) -> None: ...

    async def close_stdin(self) -> None: ...

    async def read_stdout(self) -> bytes: ...

    async def read_stderr(self) -> bytes: ...

    async def resize(self, width: int, height: int) -> None: ...

    async def wait(self) -> int: ...

    async def aclose(self) -> None:
        """Ends the session; a process started by exec is killed with its children."""


@dataclass(frozen=True, slots=True)
class ContainerStats:
    """Usage now. CPU is nanoseconds used since start; memory and disk in bytes; `working_set` as the kubelet means
    it (usage less inactive file pages); `rootfs_bytes` the writable layer. `psi` has "cpu", "memory" and
    "io", each with "some" and "full", where the kernel keeps them by group."""

    container_id: str = ""
    name: str = ""
    at: float = 0.0
    cpu_usage: int = 0
    memory_usage: int = 0
    memory_working_set: int = 0
    memory_rss: int = 0
    memory_page_faults: int = 0
    memory_major_page_faults: int = 0
    rootfs_bytes: int = 0
    rootfs_inodes: int = 0
    disk_read_bytes: int = 0
    disk_write_bytes: int = 0
    disk_read_ops: int = 0
    disk_write_ops: int = 0
    pids: int = 0
    psi: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FilesystemUsage:
    mountpoint: str
    used_bytes: int
    inodes_used: int


@dataclass(frozen=True, slots=True)
class RuntimeVersion:
    """For nodeInfo: containerRuntimeVersion is "name://version". `handlers` are what a RuntimeClass may name, "" being
    the default."""

    name: str
    version: str
    handlers: Sequence[str] = ("",)


class ContainerRuntime(Protocol):
    """CRI's RuntimeService. Containers outlive this object: after `open` everything that ran before is there again."""

    async def open(self) -> None:
        """Finds what runs already and starts to watch exits. Raises RuntimeFailure if nothing here can run a
        container."""

    async def close(self) -> None:
        """Lets go of everything; containers keep running."""

    async def version(self) -> RuntimeVersion: ...

    async def run_pod_sandbox(self, config: SandboxConfig) -> Sandbox:
        """Makes the namespaces and the network. On failure nothing of it is left."""

    async def stop_pod_sandbox(self, sandbox_id: str) -> None:
        """Kills what still runs in it and gives back the network. Idempotent."""

    async def remove_pod_sandbox(self, sandbox_id: str) -> None:
        """Removes it and its containers. Idempotent."""

    async def pod_sandbox_status(self, sandbox_id: str) -> Sandbox: ...

    async def list_pod_sandboxes(self) -> Sequence[Sandbox]: ...

    async def create_container(self, sandbox_id: str, config: ContainerConfig, sandbox: SandboxConfig) -> str:
        """Gives the container's id; its process waits to be started."""

    async def start_container(self, container_id: str) -> None:
        """Raises RuntimeFailure with reason RunContainerError (or ContainerCannotRun, StartError) if the command
        cannot be executed; the container then is EXITED with code 127 or 128."""

    async def stop_container(self, container_id: str, timeout: float) -> None:
        """Stop signal, then SIGKILL after `timeout` seconds; returns when it is dead. Idempotent."""

    async def kill_container(self, container_id: str, signal: int) -> None: ...

    async def remove_container(self, container_id: str) -> None:
        """Kills it if it runs. Idempotent."""

    async def container_status(self, container_id: str) -> Container: ...

    async def list_containers(self) -> Sequence[Container]: ...

    async def update_container_resources(self, container_id: str, resources: Resources) -> None: ...

    async def update_pod_resources(self, sandbox_id: str, resources: Resources) -> None: ...

    async def update_parent_resources(self, cgroup_parent: str, resources: Resources) -> None:
        """Of a group above those of Pods; it is made if it is not there."""

    async def exec_sync(self, container_id: str, command: Sequence[str], timeout: float) -> ExecResult:
        """Runs to the end; after `timeout` seconds (0: none) kills the process and its children and raises
        TimeoutError."""

    async def exec(self, container_id: str, command: Sequence[str], *, stdin: bool, tty: bool) -> ExecSession: ...

    async def attach(self, container_id: str) -> ExecSession: ...

    async def port_forward(self, sandbox_id: str, port: int) -> tuple[Any, Any]:
        """An (asyncio.StreamReader, asyncio.StreamWriter) to a port of the Pod, from inside its network
        namespace."""

    async def reopen_container_log(self, container_id: str) -> None:
        """The log file was renamed: open a new one under the old name."""

    async def container_stats(self, container_id: str) -> ContainerStats: ...

    def events(self) -> AsyncIterator[ContainerEvent]:
        """Every event from now on, exits within milliseconds. One consumer."""


class ImageService(Protocol):
    """CRI's ImageService."""

    async def list_images(self) -> Sequence[Image]: ...

    async def image_status(self, reference: str) -> Image | None:
        """By tag, digest or id; short names mean docker.io/library/NAME:latest, as docker spells them out."""

    async def pull_image(self, reference: str, auth: RegistryAuth | None = None) -> str:
        """Gives the image's id. Raises ImagePullFailure."""

    async def remove_image(self, reference: str) -> None: ...

    async def filesystem_usage(self) -> FilesystemUsage: ...
