"""The checks that the restricted Pod Security Standard has on top of baseline, and those it replaces."""

from __future__ import annotations

from podwright.api.objects import Object
from podwright.apiserver.admission import pod_security_baseline as baseline
from podwright.apiserver.admission.pod_security_baseline import (
    Check,
    Violation,
    containers,
    context,
    in_user_namespace,
    named,
    plural,
    quoted,
)

_VOLUME_SOURCES = (
    "hostPath", "gcePersistentDisk", "awsElasticBlockStore", "gitRepo", "nfs", "iscsi", "glusterfs", "rbd",
    "flexVolume", "cinder", "cephfs", "flocker", "fc", "azureFile", "vsphereVolume", "quobyte", "azureDisk",
    "photonPersistentDisk", "portworxVolume", "scaleIO", "storageos",
)
_ALLOWED_VOLUME_SOURCES = frozenset(
    {
        "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image", "persistentVolumeClaim", "projected",
        "secret",
    }
)
_EMPTY: Object = {}


def _is_windows(spec: Object, minor: int) -> bool:
    return minor >= 25 and (spec.get("os") or _EMPTY).get("name") == "windows"


def privilege_escalation(metadata: Object, spec: Object, minor: int) -> Violation:
    if minor < 8 or _is_windows(spec, minor):
        return None
    bad = [c["name"] for c in containers(spec) if context(c).get("allowPrivilegeEscalation") is not False]
    if not bad:
        return None
    return (
        "allowPrivilegeEscalation != false", f"{named(bad)} must set securityContext.allowPrivilegeEscalation=false"
    )


def capabilities(metadata: Object, spec: Object, minor: int) -> Violation:
    if _is_windows(spec, minor):
        return None
    not_dropping, adding = [], []
    added: set[str] = set()
    for container in containers(spec):
        own = context(container).get("capabilities") or _EMPTY
        if "ALL" not in (own.get("drop") or ()):
            not_dropping.append(container["name"])
        more = set(own.get("add") or ()) - {"NET_BIND_SERVICE"}
        if more:
            adding.append(container["name"])
            added |= more
    details = []
    if not_dropping:
        details.append(f'{named(not_dropping)} must set securityContext.capabilities.drop=["ALL"]')
    if adding:
        details.append(f"{named(adding)} must not include {quoted(sorted(added))} in securityContext.capabilities.add")
    return ("unrestricted capabilities", "; ".join(details)) if details else None


def volumes(metadata: Object, spec: Object, minor: int) -> Violation:
    bad, kinds = [], set()
    for volume in spec.get("volumes") or ():
        if any(volume.get(source) is not None for source in _ALLOWED_VOLUME_SOURCES):
            continue
        kind = next((s for s in _VOLUME_SOURCES if volume.get(s) is not None), None)
        if kind is None and len(volume) == 1:
            continue  # no source at all: an emptyDir
        bad.append(volume["name"])
        kinds.add(kind or "unknown")
    if not bad:
        return None
    uses = "uses" if len(bad) == 1 else "use"
    return (
        "restricted volume types",
        f"{plural('volume', len(bad))} {quoted(bad)} {uses} {plural('restricted volume type', len(kinds))}"
        f" {quoted(sorted(kinds))}",
    )


def run_as_non_root(metadata: Object, spec: Object, minor: int) -> Violation:
    if in_user_namespace(spec, minor):
        return None
    pod_value = context(spec).get("runAsNonRoot")
    setters = ["pod"] if pod_value is False else []
    explicit, implicit = [], []
    for container in containers(spec):
        own = context(container).get("runAsNonRoot")
        if own is False:
            explicit.append(container["name"])
        elif own is None and pod_value is not True:
            implicit.append(container["name"])
    if explicit:
        setters.append(named(explicit))
    if setters:
        return "runAsNonRoot != true", f"{' and '.join(setters)} must not set securityContext.runAsNonRoot=false"
    if implicit:
        return "runAsNonRoot != true", f"pod or {named(implicit)} must set securityContext.runAsNonRoot=true"
    return None


def run_as_user(metadata: Object, spec: Object, minor: int) -> Violation:
    if minor < 23 or in_user_namespace(spec, minor):
        return None
    setters = ["pod"] if context(spec).get("runAsUser") == 0 else []
    bad = [c["name"] for c in containers(spec) if context(c).get("runAsUser") == 0]
    if bad:
        setters.append(named(bad))
    return ("runAsUser=0", f"{' and '.join(setters)} must not set runAsUser=0") if setters else None


def seccomp(metadata: Object, spec: Object, minor: int) -> Violation:
    if minor < 19 or _is_windows(spec, minor):
        return None
    if explicit := baseline.seccomp(metadata, spec, minor):
        return explicit
    if context(spec).get("seccompProfile"):
        return None
    bad = [c["name"] for c in containers(spec) if not context(c).get("seccompProfile")]
    if not bad:
        return None
    return (
        "seccompProfile",
        f'pod or {named(bad)} must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost"',
    )


def _proc_mount(metadata: Object, spec: Object, minor: int) -> Violation:
    return baseline.any_proc_mount(metadata, spec, minor)


_OWN: tuple[Check, ...] = (
    privilege_escalation, capabilities, _proc_mount, volumes, run_as_non_root, run_as_user, seccomp
)
_REPLACED_ALWAYS = {"hostPathVolumes"}


def checks(minor: int) -> list[Check]:
    """What restricted checks at version 1.minor: baseline's checks first, without those that stricter ones replace."""
    replaced = set(_REPLACED_ALWAYS)
    if minor >= 22:
        replaced.add("capabilities_baseline")
    if minor >= 19:
        replaced.add("seccompProfile_baseline")
    if minor >= 35:
        replaced.add("procMount")
    kept = [check for identifier, check in baseline.CHECKS if identifier not in replaced]
    own = [check for check in _OWN if check is not _proc_mount or minor >= 35]
    if minor < 22:
        own.remove(capabilities)
    return kept + own
