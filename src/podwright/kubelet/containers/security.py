"""The security context that a container runs with: the container's own over the Pod's (documentation page "Configure a
Security Context for a Pod or Container")."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from podwright.api import objects
from podwright.api.objects import Object
from podwright.kubelet.containers.failures import CREATE_ERROR, ContainerFailure, config_error
from podwright.runtime.protocol import (
    Image,
    NamespaceOptions,
    ProfileType,
    SecurityContext,
    SecurityProfile,
)

MASKED_PATHS = (
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
)
READONLY_PATHS = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")


def security_context(
    pod: Object,
    ctr: Object,
    image: Image,
    namespaces: NamespaceOptions,
    *,
    seccomp_dir: Path,
    seccomp_default: bool,
) -> SecurityContext:
    """What the runtime is told.

    Raises:
        ContainerFailure: it must not run as root and would, or a profile is not there.
    """
    own: Mapping[str, Any] = ctr.get("securityContext") or {}
    of_pod: Mapping[str, Any] = pod["spec"].get("securityContext") or {}

    def either(name: str) -> Any:
        value = own.get(name)
        return of_pod.get(name) if value is None else value

    user = either("runAsUser")
    if either("runAsNonRoot"):
        _verify_non_root(pod, ctr, user, image)
    privileged = bool(own.get("privileged"))
    capabilities = own.get("capabilities") or {}
    groups = [int(g) for g in of_pod.get("supplementalGroups") or ()]
    if of_pod.get("fsGroup") is not None:
        groups.append(int(of_pod["fsGroup"]))
    unmasked = privileged or own.get("procMount") == "Unmasked"
    name = "" if user is not None else _image_user_name(image)
    return SecurityContext(
        run_as_user=None if user is None else int(user),
        run_as_username=name,
        run_as_group=None if either("runAsGroup") is None else int(either("runAsGroup")),
        supplemental_groups=tuple(groups),
        supplemental_groups_policy=str(of_pod.get("supplementalGroupsPolicy") or "Merge"),
        privileged=privileged,
        readonly_rootfs=bool(own.get("readOnlyRootFilesystem")),
        no_new_privs=own.get("allowPrivilegeEscalation") is False,
        capabilities_add=tuple(_bare(c) for c in capabilities.get("add") or ()),
        capabilities_drop=tuple(_bare(c) for c in capabilities.get("drop") or ()),
        seccomp=_seccomp(either("seccompProfile"), privileged, seccomp_dir, seccomp_default),
        apparmor=_apparmor(either("appArmorProfile")),
        masked_paths=() if unmasked else MASKED_PATHS,
        readonly_paths=() if unmasked else READONLY_PATHS,
        namespaces=namespaces,
    )


def _bare(capability: str) -> str:
    return capability.removeprefix("CAP_")


def _image_user_name(image: Image) -> str:
    """The name that the image runs as, if it names one rather than a number."""
    name = image.user.partition(":")[0]
    return "" if not name or name.isdecimal() else name


def _verify_non_root(pod: Object, ctr: Object, user: Any, image: Image) -> None:
    who = (
        f'(pod: "{objects.name(pod)}_{objects.namespace(pod)}({objects.uid(pod)})", container: {ctr["name"]})'
    )
    if user is not None:
        if int(user) == 0:
            raise config_error(f"container's runAsUser breaks non-root policy {who}")
        return
    name = image.user.partition(":")[0]
    if name in ("", "0"):
        raise config_error(f"container has runAsNonRoot and image will run as root {who}")
    if not name.isdecimal():
        raise config_error(
            f"container has runAsNonRoot and image has non-numeric user ({name}), "
            f"cannot verify user is non-root {who}"
        )


def _seccomp(profile: Mapping[str, Any] | None, privileged: bool, directory: Path, default: bool) -> SecurityProfile:
    if privileged:
        return SecurityProfile(ProfileType.UNCONFINED)
    kind = (profile or {}).get("type")
    if kind is None:
        return SecurityProfile(ProfileType.RUNTIME_DEFAULT if default else ProfileType.UNCONFINED)
    if kind == "Localhost":
        path = directory / str((profile or {}).get("localhostProfile") or "")
        if not path.is_file():
            raise ContainerFailure(
                CREATE_ERROR, f'cannot load seccomp profile "{path}": open {path}: no such file or directory'
            )
        return SecurityProfile(ProfileType.LOCALHOST, str(path))
    return SecurityProfile(ProfileType.RUNTIME_DEFAULT if kind == "RuntimeDefault" else ProfileType.UNCONFINED)


def _apparmor(profile: Mapping[str, Any] | None) -> SecurityProfile | None:
    kind = (profile or {}).get("type")
    if kind is None:
        return None
    if kind == "Localhost":
        return SecurityProfile(ProfileType.LOCALHOST, str((profile or {}).get("localhostProfile") or ""))
    return SecurityProfile(ProfileType.RUNTIME_DEFAULT if kind == "RuntimeDefault" else ProfileType.UNCONFINED)


def apparmor_required(pod: Object) -> bool:
    """Whether the Pod must not run on a kernel without AppArmor."""
    contexts = [pod["spec"].get("securityContext") or {}]
    for kind in ("initContainers", "containers", "ephemeralContainers"):
        contexts += [c.get("securityContext") or {} for c in pod["spec"].get(kind) or ()]
    return any((c.get("appArmorProfile") or {}).get("type") in ("RuntimeDefault", "Localhost") for c in contexts)
