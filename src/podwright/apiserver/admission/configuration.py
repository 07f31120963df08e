"""AdmissionConfiguration: settings of plugins (Kubernetes documentation, "Configure the Admission Controller")."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from podwright.api.objects import Object
from podwright.api.status import FieldError
from podwright.api.validation import names
from podwright.api.validation.field_errors import duplicate, invalid
from podwright.apiserver import config_files
from podwright.apiserver.admission.pod_security_levels import LEVELS, MODES, VERSION

_POD_SECURITY = tuple(f"pod-security.admission.config.k8s.io/{v}" for v in ("v1", "v1beta1", "v1alpha1"))
_KIND = "PodSecurityConfiguration"
_SHAPE = {
    "defaults": {f"{mode}{part}": str for mode in MODES for part in ("", "-version")},
    "exemptions": {"usernames": [str], "namespaces": [str], "runtimeClasses": [str]},
}


@dataclass(frozen=True, slots=True)
class PodSecurityConfiguration:
    """What namespaces without labels keep, by the names of the labels; and whose Pods are not looked at."""

    defaults: Mapping[str, str] = field(default_factory=dict)
    namespaces: frozenset[str] = frozenset()
    runtime_classes: frozenset[str] = frozenset()
    usernames: frozenset[str] = frozenset()


def pod_security(path: Path | None) -> PodSecurityConfiguration:
    """The PodSecurity plugin's part of an AdmissionConfiguration. Raises OSError; ValueError for what is refused, and
    for settings of other plugins, which have none here."""
    found = PodSecurityConfiguration()
    if path is None:
        return found
    plugin = {"name": str, "path": str, "configuration": None}
    versions = ("apiserver.config.k8s.io/v1",)
    document = config_files.read(path, "AdmissionConfiguration", versions, {"plugins": [plugin]})
    for entry in document.get("plugins") or ():
        name = entry.get("name")
        if name != "PodSecurity":
            raise ValueError(f"{path}: plugin {name!r} takes no configuration")
        given = entry.get("configuration")
        if given is None:
            given = config_files.read(path.parent / str(entry.get("path")), _KIND, _POD_SECURITY, _SHAPE)
        config_files.check(path, given, {"apiVersion": str, "kind": str, **_SHAPE})
        if given.get("kind") != _KIND or given.get("apiVersion") not in _POD_SECURITY:
            raise ValueError(f"{path}: no {_KIND}")
        if errs := _errors(given):
            raise ValueError("\n".join(f"{path}: {e.field}: {e.message}" for e in errs))
        defaults, exemptions = (given.get(part) or {} for part in ("defaults", "exemptions"))
        exempt = (frozenset(exemptions.get(f) or ()) for f in ("namespaces", "runtimeClasses", "usernames"))
        found = PodSecurityConfiguration(defaults, *exempt)
    return found


def _user_name(value: str) -> names.Problems:
    return () if value else ("username must not be empty",)


_EXEMPT: Mapping[str, Callable[[str], names.Problems]] = {
    "namespaces": names.dns_label, "runtimeClasses": names.dns_subdomain, "usernames": _user_name,
}  # fmt: skip


def _errors(given: Object) -> list[FieldError]:
    errs: list[FieldError] = []
    defaults = given.get("defaults") or {}
    for mode in MODES:
        level, version = defaults.get(mode, "privileged"), defaults.get(f"{mode}-version", "latest")
        if level not in LEVELS:
            errs.append(invalid(f"defaults.{mode}", level, f"must be one of {', '.join(LEVELS)}"))
        if version != "latest" and VERSION.fullmatch(version) is None:
            errs.append(invalid(f"defaults.{mode}-version", version, 'must be "latest" or "v1.x"'))
    for part, check in _EXEMPT.items():
        listed = (given.get("exemptions") or {}).get(part) or []
        for i, value in enumerate(listed):
            where = f"exemptions.{part}[{i}]"
            if problems := check(value):
                errs.append(invalid(where, value, ", ".join(problems)))
            elif value in listed[:i]:
                errs.append(duplicate(where, value))
    return errs
