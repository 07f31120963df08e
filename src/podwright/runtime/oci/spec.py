"""The OCI runtime specification of a container, from its configuration and its image's. Pure: no I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from podwright.runtime.oci.users import Identity
from podwright.runtime.protocol import (
    ContainerConfig,
    IdMapping,
    Mount,
    MountPropagation,
    Resources,
    RuntimeFailure,
)

DEFAULT_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_BASE_MOUNTS = (
    ("/proc", "proc", "proc", ("nosuid", "noexec", "nodev")),
    ("/dev", "tmpfs", "tmpfs", ("nosuid", "strictatime", "mode=755", "size=65536k")),
    ("/dev/pts", "devpts", "devpts", ("nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5")),
    ("/dev/mqueue", "mqueue", "mqueue", ("nosuid", "noexec", "nodev")),
    ("/sys", "sysfs", "sysfs", ("nosuid", "noexec", "nodev")),
    ("/sys/fs/cgroup", "cgroup", "cgroup", ("nosuid", "noexec", "nodev", "relatime")),
)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a container gets from its sandbox and this host.

    `namespaces`: kind → path to join, "" for a new one; a kind that is missing is the host's. `image_mounts`: where
    the images of `Mount.image` are mounted, and where each "image/sub path" is. `volumes`: where else than at its own
    path a host path is mounted.
    `files`: container path → file of the sandbox. `block_devices` as "major:minor". `cgroup_path` is the container's
    own group.
    """

    rootfs: str
    cgroup_path: str
    namespaces: Mapping[str, str]
    shm: str
    hostname: str
    files: Mapping[str, str]
    cgroup_version: int = 1
    swap_accounting: bool = True
    hugetlb: bool = True
    min_oom_score_adj: int = -1000
    image_mounts: Mapping[str, str] = field(default_factory=dict)
    volumes: Mapping[str, str] = field(default_factory=dict)
    devices: Sequence[Mapping[str, Any]] = ()
    device_permissions: Sequence[str] = ()
    block_devices: Sequence[str] = ()
    capabilities: Sequence[str] = ()
    seccomp: Mapping[str, Any] | None = None
    id_mappings: Sequence[IdMapping] = ()


def arguments(config: ContainerConfig, image: Mapping[str, Any]) -> list[str]:
    """The process's command line: `command` hides the image's Entrypoint and Cmd, `args` only its Cmd.

    Raises:
        RuntimeFailure: nobody says what to run.
    """
    if config.command:
        found = [*config.command, *(config.args or ())]
    else:
        tail = config.args if config.args else image.get("Cmd")
        found = [*(image.get("Entrypoint") or ()), *(tail or ())]
    if not found or not found[0]:
        raise RuntimeFailure("no command specified", "CreateContainerError")
    return found


def environment(
    config: ContainerConfig, image: Mapping[str, Any], *, hostname: str, home: str, tty: bool
) -> list[str]:
    """PATH, TERM, HOSTNAME, HOME, overridden by the image's, overridden by the container's own."""
    merged = dict([DEFAULT_PATH.split("=", 1)])
    if tty:
        merged["TERM"] = "xterm"
    merged["HOSTNAME"] = hostname
    for entry in image.get("Env") or ():
        name, _, value = str(entry).partition("=")
        merged[name] = value
    merged.update(config.env)
    merged.setdefault("HOME", home)
    return [f"{name}={value}" for name, value in merged.items()]


def process(
    config: ContainerConfig, image: Mapping[str, Any], identity: Identity, surroundings: Surroundings
) -> dict[str, Any]:
    capabilities = list(surroundings.capabilities)
    found: dict[str, Any] = {
        "terminal": config.tty,
        "user": {"uid": identity.uid, "gid": identity.gid, "additionalGids": list(identity.groups)},
        "args": arguments(config, image),
        "env": environment(config, image, hostname=surroundings.hostname, home=identity.home, tty=config.tty),
        "cwd": config.working_dir or image.get("WorkingDir") or "/",
        "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), capabilities),
        "noNewPrivileges": config.security.no_new_privs,
    }
    if config.resources.oom_score_adj:
        found["oomScoreAdj"] = max(config.resources.oom_score_adj, surroundings.min_oom_score_adj)
    return found


def build(
    config: ContainerConfig, image: Mapping[str, Any], identity: Identity, surroundings: Surroundings
) -> dict[str, Any]:
    """The document for config.json."""
    security = config.security
    linux: dict[str, Any] = {
        "cgroupsPath": surroundings.cgroup_path,
        "namespaces": [
            {"type": kind, "path": path} if path else {"type": kind}
            for kind, path in surroundings.namespaces.items()
        ],
        "resources": resources(config.resources, surroundings, privileged=security.privileged),
        "devices": [dict(device) for device in surroundings.devices],
    }
    if not security.privileged:
        linux["maskedPaths"] = list(security.masked_paths)
        linux["readonlyPaths"] = list(security.readonly_paths)
    propagation = {mount.propagation for mount in config.mounts}
    if MountPropagation.BIDIRECTIONAL in propagation:
        linux["rootfsPropagation"] = "rshared"
    elif MountPropagation.HOST_TO_CONTAINER in propagation:
        linux["rootfsPropagation"] = "rslave"
    if surroundings.seccomp is not None:
        linux["seccomp"] = dict(surroundings.seccomp)
    linux |= id_mappings(surroundings.id_mappings)
    return {
        "ociVersion": "1.0.2",
        "process": process(config, image, identity, surroundings),
        "root": {"path": surroundings.rootfs, "readonly": security.readonly_rootfs},
        "mounts": mounts(config, surroundings),
        "linux": linux,
        "annotations": {},
    }


def id_mappings(mappings: Sequence[IdMapping]) -> dict[str, Any]:
    """The entries of `linux` for a user namespace; none without one."""
    if not mappings:
        return {}
    entries = [{"containerID": m.container_id, "hostID": m.host_id, "size": m.length} for m in mappings]
    return {"uidMappings": entries, "gidMappings": entries}


def mounts(config: ContainerConfig, surroundings: Surroundings) -> list[dict[str, Any]]:
    """The kernel's filesystems, the sandbox's files, then the container's own mounts, parents before children."""
    taken = {mount.container_path.rstrip("/") or "/" for mount in config.mounts}
    found: list[dict[str, Any]] = []
    for target, kind, source, options in _BASE_MOUNTS:
        if target in taken:
            continue
        if kind in ("sysfs", "cgroup"):
            options = (*options, "rw" if config.security.privileged else "ro")
        if kind == "cgroup" and surroundings.cgroup_version == 1 and surroundings.id_mappings:
            continue  # only the first user namespace may mount version 1
        found.append({"destination": target, "type": kind, "source": source, "options": list(options)})
    if "/dev/shm" not in taken and surroundings.shm:
        found.append(_bind("/dev/shm", surroundings.shm, ("rbind", "rprivate", "rw")))
    for target, source in surroundings.files.items():
        if target not in taken:
            readonly = "ro" if config.security.readonly_rootfs else "rw"
            found.append(_bind(target, source, ("rbind", "rprivate", readonly)))
    for mount in sorted(config.mounts, key=lambda m: m.container_path.rstrip("/").count("/")):
        part = f"{mount.image}/{mount.image_sub_path}" if mount.image_sub_path else mount.image
        source = surroundings.image_mounts[part] if mount.image else mount.host_path
        source = surroundings.volumes.get(source, source)
        found.append(_bind(mount.container_path, source, _options(mount)))
    return found


def _bind(target: str, source: str, options: Sequence[str]) -> dict[str, Any]:
    return {"destination": target, "type": "bind", "source": source, "options": list(options)}


def _options(mount: Mount) -> tuple[str, ...]:
    access = "rw"
    if mount.readonly or mount.image:
        access = "rro" if mount.recursive_readonly else "ro"
    return ("rbind", mount.propagation.value if mount.propagation.value != "private" else "rprivate", access)


def resources(limits: Resources, surroundings: Surroundings, *, privileged: bool) -> dict[str, Any]:
    """The `linux.resources` object."""
    found: dict[str, Any] = {"devices": _device_rules(surroundings, privileged=privileged)}
    cpu = {
        "shares": limits.cpu_shares, "quota": limits.cpu_quota, "period": limits.cpu_period, "cpus": limits.cpuset_cpus,
        "mems": limits.cpuset_mems,
    }
    if chosen := {key: value for key, value in cpu.items() if value}:
        found["cpu"] = chosen
    memory: dict[str, int] = {}
    if limits.memory_limit:
        memory["limit"] = limits.memory_limit
        if surroundings.swap_accounting:
            memory["swap"] = limits.memory_swap_limit or limits.memory_limit
    if limits.memory_reservation:
        memory["reservation"] = limits.memory_reservation
    if memory:
        found["memory"] = memory
    if limits.pids_limit:
        found["pids"] = {"limit": limits.pids_limit}
    if limits.hugepage_limits and surroundings.hugetlb:
        found["hugepageLimits"] = [{"pageSize": size, "limit": n} for size, n in limits.hugepage_limits.items()]
    if limits.unified and surroundings.cgroup_version == 2:
        found["unified"] = dict(limits.unified)
    if block := _block_io(limits, surroundings.block_devices):
        found["blockIO"] = block
    return found


def _device_rules(surroundings: Surroundings, *, privileged: bool) -> list[dict[str, Any]]:
    if privileged:
        return [{"allow": True, "access": "rwm"}]
    rules: list[dict[str, Any]] = [{"allow": False, "access": "rwm"}]
    for device, access in zip(surroundings.devices, surroundings.device_permissions, strict=True):
        rules.append({
            "allow": True, "type": device["type"], "major": device["major"], "minor": device["minor"],
            "access": access or "rwm",
        })
    return rules


def _block_io(limits: Resources, devices: Sequence[str]) -> dict[str, Any]:
    disk = limits.disk
    fields = {
        "throttleReadBpsDevice": disk.read_bps, "throttleWriteBpsDevice": disk.write_bps,
        "throttleReadIOPSDevice": disk.read_iops, "throttleWriteIOPSDevice": disk.write_iops,
    }
    found: dict[str, Any] = {}
    for name, rate in fields.items():
        if rate and devices:
            pairs = (device.split(":") for device in devices)
            found[name] = [{"major": int(major), "minor": int(minor), "rate": rate} for major, minor in pairs]
    return found
