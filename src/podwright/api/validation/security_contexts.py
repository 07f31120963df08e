"""Rules for the security contexts of Pods and containers."""

from __future__ import annotations

import re

from podwright.api.objects import Object
from podwright.api.status import FieldError
from podwright.api.validation import names, paths
from podwright.api.validation.field_errors import duplicate, formed, invalid, not_supported, one_of, required, too_long

_PROFILE_TYPES = ("Localhost", "RuntimeDefault", "Unconfined")
_SYSCTL_SEGMENT = "[a-z0-9]([-_a-z0-9]*[a-z0-9])?"
_SYSCTL = f"({_SYSCTL_SEGMENT}[\\./])*{_SYSCTL_SEGMENT}"
_sysctl = re.compile(_SYSCTL).fullmatch
_NET_SYSCTLS = ("net.",)
_IPC_SYSCTLS = ("fs.mqueue.", "kernel.shm", "kernel.msg")
_GMSA_BYTES = 64 * 1024
_control = re.compile(r"[\x00-\x1f\x7f]").search
_net_bios = re.compile(r'[^\\/:*?"<>|.][^\\/:*?"<>|]{0,14}').fullmatch
_DNS_LABEL = "[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
_windows_domain = re.compile(rf"{_DNS_LABEL}(?:\.{_DNS_LABEL})*").fullmatch
_user_characters = re.compile(r'["/\\:;|=,+*?<>@\[\]]').search
_dots_or_spaces = re.compile(r"[. ]+").fullmatch


def _ids(errs: list[FieldError], context: Object, path: str, *fields: str) -> None:
    for field in fields:
        value = context.get(field)
        if value is not None and not 0 <= value <= 2**31 - 1:
            formed(errs, value, f"{path}.{field}", names.user_or_group_id)


def pod_context(errs: list[FieldError], spec: Object, path: str) -> None:
    """spec.securityContext; `path` is the spec's."""
    context = spec.get("securityContext")
    if spec.get("shareProcessNamespace") and spec.get("hostPID"):
        said = "ShareProcessNamespace and HostPID cannot both be enabled"
        errs.append(invalid(f"{path}.shareProcessNamespace", True, said))
    if not context:
        return
    where = f"{path}.securityContext"
    _ids(errs, context, where, "fsGroup", "runAsUser", "runAsGroup")
    for i, group in enumerate(context.get("supplementalGroups") or ()):
        for said in names.user_or_group_id(group):
            errs.append(invalid(f"{where}.supplementalGroups[{i}]", group, said))
    if listed := context.get("sysctls"):
        _sysctls(errs, listed, spec, f"{where}.sysctls")
    for field, allowed in (
        ("fsGroupChangePolicy", ("Always", "OnRootMismatch")),
        ("supplementalGroupsPolicy", ("Merge", "Strict")),
        ("seLinuxChangePolicy", ("MountOption", "Recursive")),
    ):
        if (value := context.get(field)) is not None:
            one_of(errs, value, f"{where}.{field}", allowed)
    _profiles(errs, context, where)


def _sysctls(errs: list[FieldError], listed: list[Object], spec: Object, path: str) -> None:
    seen: set[str] = set()
    for i, sysctl in enumerate(listed):
        field = f"{path}[{i}].name"
        name = sysctl.get("name") or ""
        if not name:
            errs.append(required(field))
        elif len(name) > 253 or not _sysctl(name):
            errs.append(invalid(field, name, f"must have at most 253 characters and match regex ^{_SYSCTL}$"))
        elif name in seen:
            errs.append(duplicate(field, name))
        dotted = name.replace("/", ".")
        if spec.get("hostNetwork") and dotted.startswith(_NET_SYSCTLS):
            errs.append(invalid(field, name, "may not be specified when 'hostNetwork' is true"))
        elif spec.get("hostIPC") and (dotted.startswith(_IPC_SYSCTLS) or dotted == "kernel.sem"):
            errs.append(invalid(field, name, "may not be specified when 'hostIPC' is true"))
        seen.add(name)


def container_context(errs: list[FieldError], context: Object, path: str, *, host_users: bool) -> None:
    _ids(errs, context, path, "runAsUser", "runAsGroup")
    if (mount := context.get("procMount")) is not None:
        one_of(errs, mount, f"{path}.procMount", ("Default", "Unmasked"))
        if host_users and mount == "Unmasked":
            errs.append(invalid(f"{path}.procMount", mount, "`hostUsers` must be false to use `Unmasked`"))
    if context.get("allowPrivilegeEscalation") is False:
        if context.get("privileged"):
            said = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true"
            errs.append(invalid(path, context, said))
        if "CAP_SYS_ADMIN" in ((context.get("capabilities") or {}).get("add") or ()):
            said = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN"
            errs.append(invalid(path, context, said))
    _profiles(errs, context, path)


def _profiles(errs: list[FieldError], context: Object, path: str) -> None:
    if (profile := context.get("seccompProfile")) is not None:
        _seccomp(errs, profile, f"{path}.seccompProfile")
    if (options := context.get("windowsOptions")) is not None:
        _windows_options(errs, options, f"{path}.windowsOptions")
    if (profile := context.get("appArmorProfile")) is not None:
        app_armor(errs, profile, f"{path}.appArmorProfile")


def _seccomp(errs: list[FieldError], profile: Object, path: str) -> None:
    kind, file = profile.get("type") or "", profile.get("localhostProfile")
    if not kind:
        errs.append(required(f"{path}.type", "type is required when seccompProfile is set"))
    elif kind not in _PROFILE_TYPES:
        errs.append(not_supported(f"{path}.type", kind, _PROFILE_TYPES))
    field = f"{path}.localhostProfile"
    if kind == "Localhost":
        if file is None:
            errs.append(required(field, "must be set when seccomp type is Localhost"))
        else:
            paths.local_descending(errs, file, field)
    elif file is not None:
        errs.append(invalid(field, profile, "can only be set when seccomp type is Localhost"))


def app_armor(errs: list[FieldError], profile: Object, path: str) -> None:
    kind, name = profile.get("type") or "", profile.get("localhostProfile")
    field = f"{path}.localhostProfile"
    if kind == "Localhost":
        if not name:
            errs.append(required(field, "must be set when AppArmor type is Localhost"))
            return
        if name.strip() != name:
            errs.append(invalid(field, name, "must not be padded with whitespace"))
        if len(name) > 4095:
            errs.append(too_long(field, 4095))
    elif kind in _PROFILE_TYPES:
        if name is not None:
            errs.append(invalid(field, name, "can only be set when AppArmor type is Localhost"))
    elif not kind:
        errs.append(required(f"{path}.type", "type is required when appArmorProfile is set"))
    else:
        errs.append(not_supported(f"{path}.type", kind, _PROFILE_TYPES))


def _windows_options(errs: list[FieldError], options: Object, path: str) -> None:
    if (name := options.get("gmsaCredentialSpecName")) is not None:
        formed(errs, name, f"{path}.gmsaCredentialSpecName", names.dns_subdomain)
    if (credentials := options.get("gmsaCredentialSpec")) is not None:
        field = f"{path}.gmsaCredentialSpec"
        if not credentials:
            errs.append(invalid(field, credentials, "gmsaCredentialSpec cannot be an empty string"))
        elif len(credentials) > _GMSA_BYTES:
            errs.append(invalid(field, credentials, "gmsaCredentialSpec size must be under 64 KiB"))
    if (user := options.get("runAsUserName")) is not None:
        errs += [invalid(f"{path}.runAsUserName", user, f"runAsUserName{said}") for said in _windows_user(user)]


def _windows_user(name: str) -> list[str]:
    if not name:
        return [" cannot be an empty string"]
    if _control(name):
        return [" cannot contain control characters"]
    domain, slash, user = name.rpartition("\\")
    if "\\" in domain:
        return [" cannot contain more than one backslash"]
    problems = []
    if len(domain) >= 256:
        problems.append("'s Domain length must be under 256 characters")
    if slash and not (_net_bios(domain) or _windows_domain(domain)):
        problems.append("'s Domain doesn't match the NetBios nor the DNS format")
    if not user:
        problems.append("'s User cannot be empty")
    elif len(user) > 104:
        problems.append("'s User length must not be longer than 104 characters")
    if _dots_or_spaces(user):
        problems.append("'s User cannot contain only periods or spaces")
    if _user_characters(user):
        problems.append('\'s User cannot contain the following characters: "/\\:;|=,+*?<>@[]')
    return problems
