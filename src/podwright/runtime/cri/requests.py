"""The protocol's dataclasses → CRI's messages. Pure."""

from __future__ import annotations

import base64

from podwright.api.objects import Object
from podwright.runtime.protocol import (
    ContainerConfig,
    IdMapping,
    Mount,
    MountPropagation,
    NamespaceMode,
    NamespaceOptions,
    ProfileType,
    Resources,
    SandboxConfig,
    SecurityContext,
    SecurityProfile,
)

MODES = (NamespaceMode.POD, NamespaceMode.CONTAINER, NamespaceMode.NODE, NamespaceMode.TARGET)
_PROPAGATION = (MountPropagation.PRIVATE, MountPropagation.HOST_TO_CONTAINER, MountPropagation.BIDIRECTIONAL)
_PROFILES = (ProfileType.RUNTIME_DEFAULT, ProfileType.UNCONFINED, ProfileType.LOCALHOST)
_PROTOCOLS = ("TCP", "UDP", "SCTP")
SIGNALS = (
    "", "ABRT", "ALRM", "BUS", "CHLD", "CLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "IOT", "KILL", "PIPE", "POLL",
    "PROF", "PWR", "QUIT", "SEGV", "STKFLT", "STOP", "SYS", "TERM", "TRAP", "TSTP", "TTIN", "TTOU", "URG", "USR1",
    "USR2", "VTALRM", "WINCH", "XCPU", "XFSZ", "RTMIN", *(f"RTMIN+{n}" for n in range(1, 16)),
    *(f"RTMAX-{n}" for n in range(14, 0, -1)), "RTMAX",
)  # fmt: skip
"""The number of a signal in CRI is its place here."""


def sandbox(config: SandboxConfig, labels: dict[str, str], annotations: dict[str, str]) -> Object:
    """PodSandboxConfig, with these labels and annotations beside its own."""
    made: Object = {
        "metadata": {
            "name": config.metadata.name, "namespace": config.metadata.namespace, "uid": config.metadata.uid,
            "attempt": config.metadata.attempt,
        },
        "hostname": config.hostname,
        "log_directory": str(config.log_directory),
        "port_mappings": [
            {
                "protocol": _PROTOCOLS.index(port.protocol), "container_port": port.container_port,
                "host_port": port.host_port, "host_ip": port.host_ip,
            }
            for port in config.port_mappings
        ],
        "labels": {**config.labels, **labels},
        "annotations": {**config.annotations, **annotations},
        "linux": {
            "cgroup_parent": config.cgroup_parent,
            "sysctls": dict(config.sysctls),
            "security_context": {
                "namespace_options": _namespaces(config.namespaces), "privileged": config.privileged,
                "seccomp": {"profile_type": _PROFILES.index(ProfileType.RUNTIME_DEFAULT)},
            },
        },
    }  # fmt: skip
    if config.dns is not None:
        made["dns_config"] = {
            "servers": list(config.dns.servers), "searches": list(config.dns.searches),
            "options": list(config.dns.options),
        }  # fmt: skip
    return made


def container(config: ContainerConfig, labels: dict[str, str], *, unified: bool) -> Object:
    """ContainerConfig, with these labels beside its own."""
    return {
        "metadata": {"name": config.name, "attempt": config.attempt},
        "image": {"image": config.image, "user_specified_image": config.image},
        "command": list(config.command or ()),
        "args": list(config.args or ()),
        "working_dir": config.working_dir,
        "envs": [{"key": key, "value": base64.b64encode(value.encode()).decode()} for key, value in config.env],
        "mounts": [_mount(mount) for mount in config.mounts],
        "devices": [
            {"container_path": d.container_path, "host_path": d.host_path, "permissions": d.permissions}
            for d in config.devices
        ],
        "CDI_devices": [{"name": name} for name in config.cdi_devices],
        "labels": {**config.labels, **labels},
        "annotations": dict(config.annotations),
        "log_path": config.log_path,
        "stdin": config.stdin,
        "stdin_once": config.stdin_once,
        "tty": config.tty,
        "stop_signal": SIGNALS.index(config.stop_signal.removeprefix("SIG")) if config.stop_signal else 0,
        "linux": {
            "resources": resources(config.resources, unified=unified), "security_context": _security(config.security)
        },
    }


def resources(given: Resources, *, unified: bool) -> Object:
    """LinuxContainerResources, with raw files of cgroup v2 if the host is `unified`: runtimes refuse them elsewhere.
    CRI has no words for disk limits and, under cgroup v1, for the number of processes."""
    return {
        "cpu_period": given.cpu_period,
        "cpu_quota": given.cpu_quota,
        "cpu_shares": given.cpu_shares,
        "memory_limit_in_bytes": given.memory_limit,
        "memory_swap_limit_in_bytes": given.memory_swap_limit,
        "oom_score_adj": given.oom_score_adj,
        "cpuset_cpus": given.cpuset_cpus,
        "cpuset_mems": given.cpuset_mems,
        "hugepage_limits": [{"page_size": size, "limit": limit} for size, limit in given.hugepage_limits.items()],
        "unified": dict(given.unified) if unified else {},
    }


def _mount(mount: Mount) -> Object:
    made: Object = {
        "container_path": mount.container_path, "host_path": mount.host_path, "readonly": mount.readonly,
        "recursive_read_only": mount.recursive_readonly, "propagation": _PROPAGATION.index(mount.propagation),
    }
    if mount.image:
        made |= {"image": {"image": mount.image}, "image_sub_path": mount.image_sub_path}
    return made


def _namespaces(options: NamespaceOptions) -> Object:
    made: Object = {
        "network": MODES.index(options.network), "pid": MODES.index(options.pid), "ipc": MODES.index(options.ipc),
        "target_id": options.target_id,
    }
    if options.user_namespace:
        ids = [_mapping(mapping) for mapping in options.user_namespace]
        made["userns_options"] = {"mode": MODES.index(NamespaceMode.POD), "uids": ids, "gids": ids}
    return made


def _mapping(mapping: IdMapping) -> Object:
    return {"host_id": mapping.host_id, "container_id": mapping.container_id, "length": mapping.length}


def _security(context: SecurityContext) -> Object:
    made: Object = {
        "capabilities": {
            "add_capabilities": list(context.capabilities_add), "drop_capabilities": list(context.capabilities_drop),
        },
        "privileged": context.privileged,
        "namespace_options": _namespaces(context.namespaces),
        "run_as_username": context.run_as_username,
        "readonly_rootfs": context.readonly_rootfs,
        "supplemental_groups": list(context.supplemental_groups),
        "supplemental_groups_policy": ("Merge", "Strict").index(context.supplemental_groups_policy),
        "no_new_privs": context.no_new_privs,
        "masked_paths": list(context.masked_paths),
        "readonly_paths": list(context.readonly_paths),
        "seccomp": _profile(context.seccomp),
    }  # fmt: skip
    if context.run_as_user is not None:
        made["run_as_user"] = {"value": context.run_as_user}
    if context.run_as_group is not None:
        made["run_as_group"] = {"value": context.run_as_group}
    if context.apparmor is not None:
        made["apparmor"] = _profile(context.apparmor)
    return made


def _profile(profile: SecurityProfile) -> Object:
    return {"profile_type": _PROFILES.index(profile.type), "localhost_ref": profile.path}
