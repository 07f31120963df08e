"""Rules that depend on the operating system a Pod says it is for."""

from __future__ import annotations

from collections.abc import Iterator

from podwright.api.objects import Object
from podwright.api.status import FieldError
from podwright.api.validation.field_errors import forbidden, invalid, not_supported, required

_NOT_LINUX = "windows options cannot be set for a linux pod"
_NOT_WINDOWS = "cannot be set for a windows pod"
_POD_LINUX_ONLY = (
    "appArmorProfile", "seLinuxOptions", "seccompProfile", "fsGroup", "fsGroupChangePolicy", "sysctls", "runAsUser",
    "runAsGroup", "supplementalGroups", "supplementalGroupsPolicy", "seLinuxChangePolicy",
)
_CONTAINER_LINUX_ONLY = (
    "appArmorProfile", "seLinuxOptions", "seccompProfile", "capabilities", "readOnlyRootFilesystem", "privileged",
    "allowPrivilegeEscalation", "procMount", "runAsUser", "runAsGroup",
)


def visit(spec: Object, path: str) -> Iterator[tuple[Object, str]]:
    """All containers of a Pod with their field paths, in upstream's order."""
    for group in ("initContainers", "containers", "ephemeralContainers"):
        for i, ctr in enumerate(spec.get(group) or ()):
            yield ctr, f"{path}.{group}[{i}]"


def pod_os(errs: list[FieldError], spec: Object, path: str) -> None:
    name = spec["os"].get("name") or ""
    if not name:
        errs.append(required(f"{path}.os.name"))
    elif name == "linux":
        _linux(errs, spec, path)
    elif name == "windows":
        _windows(errs, spec, path)
    else:
        errs.append(not_supported(f"{path}.os", name, ("linux", "windows")))


def _linux(errs: list[FieldError], spec: Object, path: str) -> None:
    if (spec.get("securityContext") or {}).get("windowsOptions") is not None:
        errs.append(forbidden(f"{path}.securityContext.windowsOptions", _NOT_LINUX))
    for ctr, where in visit(spec, path):
        if (ctr.get("securityContext") or {}).get("windowsOptions") is not None:
            errs.append(forbidden(f"{where}.securityContext.windowsOptions", _NOT_LINUX))


def _windows(errs: list[FieldError], spec: Object, path: str) -> None:
    context = spec.get("securityContext") or {}
    for field in _POD_LINUX_ONLY:
        if context.get(field) is not None:
            errs.append(forbidden(f"{path}.securityContext.{field}", _NOT_WINDOWS))
    for field in ("hostUsers", "shareProcessNamespace"):
        if spec.get(field) is not None:
            errs.append(forbidden(f"{path}.{field}", _NOT_WINDOWS))
    for field in ("hostPID", "hostIPC"):
        if spec.get(field):
            errs.append(forbidden(f"{path}.{field}", _NOT_WINDOWS))
    for ctr, where in visit(spec, path):
        context = ctr.get("securityContext") or {}
        for field in _CONTAINER_LINUX_ONLY:
            if context.get(field) is not None:
                errs.append(forbidden(f"{where}.securityContext.{field}", _NOT_WINDOWS))


def host_process(errs: list[FieldError], spec: Object, path: str) -> None:
    """HostProcess containers of Windows: all or none, and on the host's network."""
    of_pod = ((spec.get("securityContext") or {}).get("windowsOptions") or {}).get("hostProcess")
    count = host = 0
    for ctr, where in visit(spec, path):
        count += 1
        own = ((ctr.get("securityContext") or {}).get("windowsOptions") or {}).get("hostProcess")
        if of_pod is not None and own is not None and own != of_pod:
            field = f"{where}.securityContext.windowsOptions.hostProcess"
            said = f"pod hostProcess value must be identical if both are specified, was {str(of_pod).lower()}"
            errs.append(invalid(field, own, said))
        host += bool(own if own is not None else of_pod)
    if not host:
        return
    if host != count:
        said = "If pod contains any hostProcess containers then all containers must be HostProcess containers"
        errs.append(invalid(path, "", said))
    if not spec.get("hostNetwork"):
        said = "hostNetwork must be true if pod contains any hostProcess containers"
        errs.append(invalid(f"{path}.hostNetwork", False, said))
