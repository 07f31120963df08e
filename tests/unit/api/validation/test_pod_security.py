"""One case for each rule of security contexts, and of the annotations that once stood for them."""

from __future__ import annotations

from typing import Any

import pytest

from podwright.api import defaulting, validation
from podwright.api.objects import Object, deepcopy
from podwright.api.resources import PODS
from podwright.api.status import FieldError
from podwright.api.validation.field_errors import duplicate, forbidden, invalid, not_supported, required, too_long

P = "spec.securityContext"
C = "spec.containers[0].securityContext"
W = f"{C}.windowsOptions"
ID = "must be between 0 and 2147483647, inclusive"
PROFILES = ["Localhost", "RuntimeDefault", "Unconfined"]
SYSCTL = (
    "must have at most 253 characters and match regex "
    "^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$"
)
SECCOMP = "seccomp.security.alpha.kubernetes.io/pod"
ARMOR = "container.apparmor.security.beta.kubernetes.io/"
COST = "controller.kubernetes.io/pod-deletion-cost"


def pod(spec: Object | None = None, annotations: Object | None = None, **context: Any) -> Object:
    container: Object = {"name": "c", "image": "x"}
    if context:
        container["securityContext"] = context
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "a", "namespace": "default", "annotations": annotations or {}},
        "spec": {"serviceAccountName": "default", "containers": [container], **(spec or {})},
    }


def whole(spec: Object | None = None, **context: Any) -> Object:
    return pod({"securityContext": context, **(spec or {})})


def windows(**options: Any) -> Object:
    return pod({"os": {"name": "windows"}}, windowsOptions=options)


def sysctls(*names: str, **spec: Any) -> Object:
    return whole(spec, sysctls=[{"name": n, "value": "1"} for n in names])


def created(obj: Object) -> list[FieldError]:
    obj = deepcopy(obj)
    defaulting.apply(PODS, obj)
    validation.prepare_for_create(PODS, obj)
    return validation.validate_create(PODS, obj)


def user_name(value: str, said: str) -> tuple[Object, FieldError]:
    return windows(runAsUserName=value), invalid(f"{W}.runAsUserName", value, f"runAsUserName{said}")


RIGHT: dict[str, Object] = {
    "everything": pod(
        {"securityContext": {"runAsUser": 2**31 - 1, "supplementalGroups": [0], "fsGroup": 1}},
        privileged=True,
        allowPrivilegeEscalation=True,
        procMount="Default",
        seccompProfile={"type": "Localhost", "localhostProfile": "a/b.json"},
        appArmorProfile={"type": "Localhost", "localhostProfile": "a"},
    ),
    "sysctls": sysctls("net.core.somaxconn", "kernel/shm_rmid_forced"),
    "other sysctls beside host namespaces": sysctls("kernel.sem", hostNetwork=True),
    "local user": windows(runAsUserName="Administrator"),
    "domain user": windows(runAsUserName="example.com\\me", gmsaCredentialSpecName="a", gmsaCredentialSpec="{}"),
    "annotations": pod(annotations={SECCOMP: "localhost/a", f"{ARMOR}c": "localhost/a", COST: "-5"}),
}


@pytest.mark.parametrize("case", RIGHT)
def test_what_is_right_passes(case: str) -> None:
    assert created(RIGHT[case]) == []


CASES: dict[str, tuple[Object, FieldError]] = {
    "pod user": (whole(runAsUser=-1), invalid(f"{P}.runAsUser", -1, ID)),
    "pod group": (whole(runAsGroup=2**31), invalid(f"{P}.runAsGroup", 2**31, ID)),
    "pod fsGroup": (whole(fsGroup=-1), invalid(f"{P}.fsGroup", -1, ID)),
    "supplemental group": (whole(supplementalGroups=[-1]), invalid(f"{P}.supplementalGroups[0]", -1, ID)),
    "fsGroup policy": (
        whole(fsGroupChangePolicy="x"),
        not_supported(f"{P}.fsGroupChangePolicy", "x", ["Always", "OnRootMismatch"]),
    ),
    "groups policy": (
        whole(supplementalGroupsPolicy="x"),
        not_supported(f"{P}.supplementalGroupsPolicy", "x", ["Merge", "Strict"]),
    ),
    "label policy": (
        whole(seLinuxChangePolicy="x"),
        not_supported(f"{P}.seLinuxChangePolicy", "x", ["MountOption", "Recursive"]),
    ),
    "processes shared twice": (
        pod({"shareProcessNamespace": True, "hostPID": True}),
        invalid("spec.shareProcessNamespace", True, "ShareProcessNamespace and HostPID cannot both be enabled"),
    ),
    "sysctl empty": (sysctls(""), required(f"{P}.sysctls[0].name")),
    "sysctl form": (sysctls("A"), invalid(f"{P}.sysctls[0].name", "A", SYSCTL)),
    "sysctl length": (sysctls("a" * 254), invalid(f"{P}.sysctls[0].name", "a" * 254, SYSCTL)),
    "sysctl twice": (sysctls("a", "a"), duplicate(f"{P}.sysctls[1].name", "a")),
    "sysctl of the host's network": (
        sysctls("net/core/a", hostNetwork=True),
        invalid(f"{P}.sysctls[0].name", "net/core/a", "may not be specified when 'hostNetwork' is true"),
    ),
    "sysctl of the host's memory": (
        sysctls("kernel.shmmax", hostIPC=True),
        invalid(f"{P}.sysctls[0].name", "kernel.shmmax", "may not be specified when 'hostIPC' is true"),
    ),
    "user": (pod(runAsUser=-1), invalid(f"{C}.runAsUser", -1, ID)),
    "group": (pod(runAsGroup=-1), invalid(f"{C}.runAsGroup", -1, ID)),
    "procMount": (pod(procMount="x"), not_supported(f"{C}.procMount", "x", ["Default", "Unmasked"])),
    "procMount of the host": (
        pod(procMount="Unmasked"),
        invalid(f"{C}.procMount", "Unmasked", "`hostUsers` must be false to use `Unmasked`"),
    ),
    "escalation of the privileged": (
        pod(allowPrivilegeEscalation=False, privileged=True),
        invalid(
            C,
            {"allowPrivilegeEscalation": False, "privileged": True},
            "cannot set `allowPrivilegeEscalation` to false and `privileged` to true",
        ),
    ),
    "escalation of administrators": (
        pod(allowPrivilegeEscalation=False, capabilities={"add": ["CAP_SYS_ADMIN"]}),
        invalid(
            C,
            {"allowPrivilegeEscalation": False, "capabilities": {"add": ["CAP_SYS_ADMIN"]}},
            "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN",
        ),
    ),
    "seccomp untyped": (
        pod(seccompProfile={}),
        required(f"{C}.seccompProfile.type", "type is required when seccompProfile is set"),
    ),
    "seccomp type": (
        whole(seccompProfile={"type": "x"}),
        not_supported(f"{P}.seccompProfile.type", "x", PROFILES),
    ),
    "seccomp file": (
        pod(seccompProfile={"type": "Localhost"}),
        required(f"{C}.seccompProfile.localhostProfile", "must be set when seccomp type is Localhost"),
    ),
    "seccomp absolute": (
        pod(seccompProfile={"type": "Localhost", "localhostProfile": "/a"}),
        invalid(f"{C}.seccompProfile.localhostProfile", "/a", "must be a relative path"),
    ),
    "seccomp file too many": (
        pod(seccompProfile={"type": "Unconfined", "localhostProfile": "a"}),
        invalid(
            f"{C}.seccompProfile.localhostProfile",
            {"localhostProfile": "a", "type": "Unconfined"},
            "can only be set when seccomp type is Localhost",
        ),
    ),
    "AppArmor untyped": (
        pod(appArmorProfile={}),
        required(f"{C}.appArmorProfile.type", "type is required when appArmorProfile is set"),
    ),
    "AppArmor type": (
        pod(appArmorProfile={"type": "x"}),
        not_supported(f"{C}.appArmorProfile.type", "x", PROFILES),
    ),
    "AppArmor name": (
        pod(appArmorProfile={"type": "Localhost"}),
        required(f"{C}.appArmorProfile.localhostProfile", "must be set when AppArmor type is Localhost"),
    ),
    "AppArmor padded": (
        pod(appArmorProfile={"type": "Localhost", "localhostProfile": " a"}),
        invalid(f"{C}.appArmorProfile.localhostProfile", " a", "must not be padded with whitespace"),
    ),
    "AppArmor length": (
        pod(appArmorProfile={"type": "Localhost", "localhostProfile": "a" * 4096}),
        too_long(f"{C}.appArmorProfile.localhostProfile", 4095),
    ),
    "credentials empty": (
        windows(gmsaCredentialSpec=""),
        invalid(f"{W}.gmsaCredentialSpec", "", "gmsaCredentialSpec cannot be an empty string"),
    ),
    "credentials size": (
        windows(gmsaCredentialSpec="x" * 65537),
        invalid(f"{W}.gmsaCredentialSpec", "x" * 65537, "gmsaCredentialSpec size must be under 64 KiB"),
    ),
    "user name empty": user_name("", " cannot be an empty string"),
    "user name control": user_name("a\tb", " cannot contain control characters"),
    "user name backslashes": user_name("a\\b\\c", " cannot contain more than one backslash"),
    "user name domain": user_name("a*\\b", "'s Domain doesn't match the NetBios nor the DNS format"),
    "user name without user": user_name("a\\", "'s User cannot be empty"),
    "user name long": user_name("a" * 105, "'s User length must not be longer than 104 characters"),
    "user name dots": user_name("..", "'s User cannot contain only periods or spaces"),
    "user name characters": user_name(
        "a:b", "'s User cannot contain the following characters: \"/\\:;|=,+*?<>@[]"
    ),
    "deletion cost": (
        pod(annotations={COST: "01"}),
        invalid(f"metadata.annotations[{COST}]", "01", "must be a 32bit integer"),
    ),
    "deletion cost range": (
        pod(annotations={COST: "2147483648"}),
        invalid(f"metadata.annotations[{COST}]", "2147483648", "must be a 32bit integer"),
    ),
    "mirror without node": (
        pod(annotations={"kubernetes.io/config.mirror": "x"}),
        invalid(
            "metadata.annotations[kubernetes.io/config.mirror]",
            "x",
            "must set spec.nodeName if mirror pod annotation is set",
        ),
    ),
    "seccomp annotation": (
        pod(annotations={SECCOMP: "x"}),
        invalid(f"metadata.annotations.{SECCOMP}", "x", "must be a valid seccomp profile"),
    ),
    "AppArmor annotation": (
        pod(annotations={f"{ARMOR}c": "x"}),
        invalid(f"metadata.annotations[{ARMOR}c]", "x", 'invalid AppArmor profile name: "x"'),
    ),
    "AppArmor annotation of nobody": (
        pod(annotations={f"{ARMOR}z": "unconfined"}),
        invalid(f"metadata.annotations[{ARMOR}z]", "z", "container not found"),
    ),
    "seccomp annotation against field": (
        pod({"securityContext": {"seccompProfile": {"type": "RuntimeDefault"}}}, {SECCOMP: "unconfined"}),
        forbidden(f"{P}.seccompProfile.type", "seccomp type in annotation and field must match"),
    ),
    "AppArmor annotation against field": (
        pod(None, {f"{ARMOR}c": "localhost/b"}, appArmorProfile={"type": "Localhost", "localhostProfile": "a"}),
        forbidden(
            f"{C}.appArmorProfile.localhostProfile", "apparmor profile in annotation and field must match"
        ),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_wrong_is_said(case: str) -> None:
    obj, expected = CASES[case]
    assert created(obj) == [expected]


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ({f"{ARMOR}c": "unconfined"}, {}, "may not remove or update AppArmor annotations"),
        ({}, {f"{ARMOR}c": "unconfined"}, "may not add AppArmor annotations"),
    ],
)
def test_annotations_of_profiles_stay(before: Object, after: Object, said: str) -> None:
    old = pod(annotations=before)
    old["metadata"] |= {"uid": "u", "resourceVersion": "1"}
    defaulting.apply(PODS, old)
    validation.prepare_for_create(PODS, old)
    new = deepcopy(old)
    new["metadata"]["annotations"] = after
    validation.prepare_for_update(PODS, new, old)
    assert forbidden(f"metadata.annotations[{ARMOR}c]", said) in validation.validate_update(PODS, new, old)
