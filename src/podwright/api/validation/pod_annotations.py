"""Rules for the annotations by which Pods once said what fields say today, and for mirror Pods."""

from __future__ import annotations

from podwright.api.objects import Object
from podwright.api.status import FieldError
from podwright.api.validation import paths, pod_os, security_contexts
from podwright.api.validation.field_errors import forbidden, invalid

MIRROR = "kubernetes.io/config.mirror"
DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
APP_ARMOR = "container.apparmor.security.beta.kubernetes.io/"
_SECCOMP_POD = "seccomp.security.alpha.kubernetes.io/pod"
_SECCOMP_CONTAINER = "container.seccomp.security.alpha.kubernetes.io/"
_SECCOMP_KNOWN = ("runtime/default", "docker/default", "unconfined")


def annotations_of_pod(errs: list[FieldError], values: dict[str, str], spec: Object, path: str) -> None:
    """`path` is that of the annotations."""
    if MIRROR in values and not spec.get("nodeName"):
        said = "must set spec.nodeName if mirror pod annotation is set"
        errs.append(invalid(f"{path}[{MIRROR}]", values[MIRROR], said))
    cost = values.get(DELETION_COST)
    if cost is not None and not _int32(cost):
        errs.append(invalid(f"{path}[{DELETION_COST}]", cost, "must be a 32bit integer"))
    for key, value in values.items():
        if key == _SECCOMP_POD or key.startswith(_SECCOMP_CONTAINER):
            _seccomp(errs, value, f"{path}.{key}")
        elif key.startswith(APP_ARMOR):
            name = key.removeprefix(APP_ARMOR)
            if not any(ctr.get("name") == name for ctr, _ in pod_os.visit(spec, "")):
                errs.append(invalid(f"{path}[{key}]", name, "container not found"))
            if value not in ("", "runtime/default", "unconfined") and not value.startswith("localhost/"):
                errs.append(invalid(f"{path}[{key}]", value, f'invalid AppArmor profile name: "{value}"'))


def _int32(text: str) -> bool:
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit()) or (len(digits) > 1 and digits[0] == "0") or text == "-0":
        return False
    return -(2**31) <= int(text) < 2**31


def _seccomp(errs: list[FieldError], profile: str, path: str) -> None:
    if profile in _SECCOMP_KNOWN:
        return
    if profile.startswith("localhost/"):
        paths.local_descending(errs, profile.removeprefix("localhost/"), path)
    else:
        errs.append(invalid(path, profile, "must be a valid seccomp profile"))


def match_fields(errs: list[FieldError], values: dict[str, str], spec: Object, path: str) -> None:
    """Where annotation and field both name a profile, they must name the same; `path` is the spec's."""
    context = spec.get("securityContext") or {}
    if (profile := context.get("seccompProfile")) and _SECCOMP_POD in values:
        _same(errs, profile, values[_SECCOMP_POD], "seccomp", f"{path}.securityContext.seccompProfile")
    windows = (spec.get("os") or {}).get("name") == "windows"
    for ctr, where in pod_os.visit(spec, path):
        own = ctr.get("securityContext") or {}
        key = _SECCOMP_CONTAINER + (ctr.get("name") or "")
        if (profile := own.get("seccompProfile")) and key in values:
            _same(errs, profile, values[key], "seccomp", f"{where}.securityContext.seccompProfile")
        key = APP_ARMOR + (ctr.get("name") or "")
        profile = own.get("appArmorProfile") or context.get("appArmorProfile")
        if profile and key in values and not windows:
            _same(errs, profile, values[key], "apparmor", f"{where}.securityContext.appArmorProfile")


def _same(errs: list[FieldError], profile: Object, annotation: str, what: str, path: str) -> None:
    kind = profile.get("type")
    wrong_type = forbidden(f"{path}.type", f"{what} type in annotation and field must match")
    if kind == "Unconfined":
        if annotation != "unconfined":
            errs.append(wrong_type)
    elif kind == "RuntimeDefault":
        if annotation != "runtime/default" and (what != "seccomp" or annotation != "docker/default"):
            errs.append(wrong_type)
    elif kind == "Localhost":
        if not annotation.startswith("localhost/"):
            errs.append(wrong_type)
        elif annotation.removeprefix("localhost/") != profile.get("localhostProfile"):
            errs.append(forbidden(f"{path}.localhostProfile", f"{what} profile in annotation and field must match"))


def app_armor_fields(values: dict[str, str], spec: Object) -> None:
    """AppArmor profiles that are only in annotations become fields (KEP-24, version skew); invalid ones do not."""
    if (spec.get("os") or {}).get("name") == "windows":
        return
    for ctr, _ in pod_os.visit(spec, ""):
        annotation = values.get(APP_ARMOR + (ctr.get("name") or ""))
        if annotation is None or (ctr.get("securityContext") or {}).get("appArmorProfile"):
            continue
        profile: Object
        if annotation == "unconfined":
            profile = {"type": "Unconfined"}
        elif annotation == "runtime/default":
            profile = {"type": "RuntimeDefault"}
        elif annotation.startswith("localhost/") and annotation != "localhost/":
            profile = {"type": "Localhost", "localhostProfile": annotation.removeprefix("localhost/")}
        else:
            continue
        errs: list[FieldError] = []
        security_contexts.app_armor(errs, profile, "")
        if not errs and profile != (spec.get("securityContext") or {}).get("appArmorProfile"):
            ctr["securityContext"] = {**(ctr.get("securityContext") or {}), "appArmorProfile": profile}


def changes(errs: list[FieldError], new: dict[str, str], old: dict[str, str], path: str) -> None:
    for key, value in old.items():
        if new.get(key) == value:
            continue
        if key.startswith(APP_ARMOR):
            errs.append(forbidden(f"{path}[{key}]", "may not remove or update AppArmor annotations"))
        if key == MIRROR:
            errs.append(forbidden(f"{path}[{key}]", "may not remove or update mirror pod annotation"))
    for key in new:
        if key in old:
            continue
        if key.startswith(APP_ARMOR):
            errs.append(forbidden(f"{path}[{key}]", "may not add AppArmor annotations"))
        if key == MIRROR:
            errs.append(forbidden(f"{path}[{key}]", "may not add mirror pod annotation"))
