"""AdmissionConfiguration: settings of plugins (Kubernetes documentation, "Configure the Admission Controller")."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from podwright.api.objects import Object
from podwright.api.status import FieldError
from podwright.api.validation import names
from podwright.api.validation.field_errors import duplicate, invalid
from podwright.apiserver import config_files
from podwright.apiserver.admission.pod_security_levels import LEVELS, MODES, VERSION

_POD_SECURITY = tuple(f"pod-security.admission.config.k8s.io/{v}" for v in ("v1", "v1beta1", "v1alpha1"))
_KIND = "PodSecurityConfiguration"
_LEGACY = {"ImagePolicyWebhook": "imagePolicy", "PodNodeSelector": "podNodeSelectorPluginConfig"}
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


class Settings:
    """The parts of an AdmissionConfiguration, by the names of plugins. Those of plugins that have no settings are
    ignored, as upstream ignores them."""

    def __init__(self, path: Path | None, plugins: Container[str]) -> None:
        """Raises OSError; ValueError for a file that is refused, and for a plugin that there is not."""
        self.path = path or Path()
        self._parts: dict[str, Object] = {}
        if path is None:
            return
        text = config_files.load(path)
        if any(key in text for key in _LEGACY.values()):
            # Before there was an AdmissionConfiguration, the file was these plugins' own.
            self._parts = {name: {"configuration": text} for name in _LEGACY}
            return
        plugin = {"name": str, "path": str, "configuration": None}
        versions = ("apiserver.config.k8s.io/v1", "apiserver.config.k8s.io/v1alpha1")
        document = config_files.read(path, "AdmissionConfiguration", versions, {"plugins": [plugin]})
        for entry in document.get("plugins") or ():
            if (name := entry.get("name")) not in plugins:
                raise ValueError(f"{path}: there is no plugin {name!r}")
            self._parts.setdefault(name, entry)

    def of(
        self, name: str, kinds: Mapping[str, Sequence[str]], shape: Mapping[str, Any], *, unversioned: bool = False
    ) -> Object | None:
        """A plugin's settings, of one of the `kinds` and its versions (none: the file has neither); None without any.
        Raises OSError, ValueError."""
        part = self._parts.get(name, {})
        path, given = self.path, part.get("configuration")
        if given is None and part.get("path"):
            path = self.path.parent / str(part["path"])
            given = config_files.load(path)
        if given is None:
            return None
        if not isinstance(given, dict):
            raise ValueError(f"{path}: {name}: no object")
        own = dict(shape)
        if name in _LEGACY:
            given = {key: value for key, value in given.items() if key not in _LEGACY.values() or key in shape}
        if kinds and not (unversioned and "kind" not in given):
            own |= {"apiVersion": str, "kind": str}
            if given.get("apiVersion") not in kinds.get(given.get("kind") or "", ()):
                raise ValueError(f"{path}: no {next(iter(kinds))}")
        config_files.check(path, given, own)
        return given

    def refuse(self, errs: Sequence[FieldError]) -> None:
        """Raises ValueError with a line for each."""
        if errs:
            raise ValueError("\n".join(f"{self.path}: {e.field}: {e.message}" for e in errs))


def pod_security_settings(settings: Settings) -> PodSecurityConfiguration:
    """The PodSecurity plugin's part. Raises OSError; ValueError for what is refused."""
    given = settings.of("PodSecurity", {_KIND: _POD_SECURITY}, _SHAPE)
    if given is None:
        return PodSecurityConfiguration()
    settings.refuse(_errors(given))
    defaults, exemptions = (given.get(part) or {} for part in ("defaults", "exemptions"))
    exempt = (frozenset(exemptions.get(f) or ()) for f in ("namespaces", "runtimeClasses", "usernames"))
    return PodSecurityConfiguration(defaults, *exempt)


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
