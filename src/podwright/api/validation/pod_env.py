"""Rules for environment variables and the selectors of fields and resources that volumes share with them."""

from __future__ import annotations

from podwright.api import quantity
from podwright.api.objects import Object
from podwright.api.status import FieldError
from podwright.api.validation import names, paths
from podwright.api.validation.field_errors import formed, invalid, named, not_supported, required

_ENV_FIELDS = (
    "metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName",
    "status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs",
)
VOLUME_FIELDS = ("metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid")
_KNOWN_FIELDS = frozenset((*_ENV_FIELDS, *VOLUME_FIELDS, "spec.restartPolicy", "spec.schedulerName", "status.phase"))
_RESOURCES = (
    "limits.cpu", "limits.ephemeral-storage", "limits.memory", "requests.cpu", "requests.ephemeral-storage",
    "requests.memory",
)
_HUGE_PAGES = ("limits.hugepages-", "requests.hugepages-")
_BYTES = "1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei"
_BYTE_DIVISORS = frozenset(_BYTES.split(", "))


def env(errs: list[FieldError], variables: list[Object], path: str) -> None:
    for i, variable in enumerate(variables):
        name = variable.get("name")
        named(errs, name, f"{path}[{i}].name", names.relaxed_env_name)
        if (source := variable.get("valueFrom")) is not None:
            _value_from(errs, variable, source, f"{path}[{i}].valueFrom")


def _value_from(errs: list[FieldError], variable: Object, source: Object, path: str) -> None:
    count = 0
    if (ref := source.get("fieldRef")) is not None:
        count += 1
        field_ref(errs, ref, _ENV_FIELDS, f"{path}.fieldRef")
    if (ref := source.get("resourceFieldRef")) is not None:
        count += 1
        resource_ref(errs, ref, f"{path}.resourceFieldRef", volume=False)
    for kind in ("configMapKeyRef", "secretKeyRef"):
        if (ref := source.get(kind)) is not None:
            count += 1
            _key_ref(errs, ref, f"{path}.{kind}")
    if (ref := source.get("fileKeyRef")) is not None:
        count += 1
        _file_ref(errs, ref, f"{path}.fileKeyRef")
    if not count:
        errs.append(
            invalid(
                path,
                "",
                "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or "
                "`fileKeyRef`",
            )
        )
    elif variable.get("value"):
        errs.append(invalid(path, "", "may not be specified when `value` is not empty"))
    elif count > 1:
        errs.append(invalid(path, "", "may not have more than one field specified at a time"))


def field_ref(errs: list[FieldError], ref: Object, allowed: tuple[str, ...], path: str) -> None:
    """A fieldRef; `allowed` are the fields (sorted) that this place can read."""
    if not ref.get("apiVersion"):
        errs.append(required(f"{path}.apiVersion"))
        return
    field = ref.get("fieldPath")
    if not field:
        errs.append(required(f"{path}.fieldPath"))
        return
    base, bracket, rest = field.partition("['")
    if bracket and rest.endswith("']"):
        key = rest[:-2]
        if base == "metadata.annotations":
            errs += [invalid(path, key.lower(), said) for said in names.qualified_name(key.lower())]
        elif base == "metadata.labels":
            formed(errs, key, path, names.qualified_name)
        elif base in _KNOWN_FIELDS:
            errs.append(invalid(path, base, "does not support subscript"))
        else:
            errs.append(_unknown_field(field, path))
    elif ref["apiVersion"] != "v1":
        said = f"error converting fieldPath: unsupported pod version: {ref['apiVersion']}"
        errs.append(invalid(f"{path}.fieldPath", field, said))
    elif field not in _KNOWN_FIELDS:
        errs.append(_unknown_field(field, path))
    elif field not in allowed:
        errs.append(not_supported(f"{path}.fieldPath", field, allowed))


def _unknown_field(field: str, path: str) -> FieldError:
    return invalid(f"{path}.fieldPath", field, f"error converting fieldPath: field label not supported: {field}")


def resource_ref(errs: list[FieldError], ref: Object, path: str, *, volume: bool) -> None:
    resource = ref.get("resource") or ""
    if volume and not ref.get("containerName"):
        errs.append(required(f"{path}.containerName"))
    elif not resource:
        errs.append(required(f"{path}.resource"))
    elif resource not in _RESOURCES and not resource.startswith(_HUGE_PAGES):
        errs.append(not_supported(f"{path}.resource", resource, _RESOURCES))
    divisor = ref.get("divisor")
    if not divisor or not quantity.is_valid(divisor) or not quantity.parse(divisor):
        return
    text = quantity.canonical(divisor)
    if resource in ("limits.cpu", "requests.cpu"):
        if text not in ("1m", "1"):
            said = "only divisor's values 1m and 1 are supported with the cpu resource"
            errs.append(invalid(f"{path}.divisor", resource, said))
        return
    kind = {"memory": "memory", "ephemeral-storage": "local ephemeral storage"}.get(resource.partition(".")[2])
    if kind is None and resource.startswith(_HUGE_PAGES):
        kind = "hugepages"
    if kind and text not in _BYTE_DIVISORS:
        said = f"only divisor's values {_BYTES} are supported with the {kind} resource"
        errs.append(invalid(f"{path}.divisor", resource, said))


def _key_ref(errs: list[FieldError], ref: Object, path: str) -> None:
    name = ref.get("name") or ""
    formed(errs, name, f"{path}.name", names.dns_subdomain)
    key = ref.get("key")
    named(errs, key, f"{path}.key", names.config_map_key)


def _file_ref(errs: list[FieldError], ref: Object, path: str) -> None:
    if not (key := ref.get("key")):
        errs.append(required(f"{path}.key"))
    else:
        formed(errs, key, f"{path}.key", names.relaxed_env_name)
    if not (volume := ref.get("volumeName")):
        errs.append(required(f"{path}.volumeName"))
    else:
        formed(errs, volume, f"{path}.volumeName", names.dns_label)
    if not (file := ref.get("path")):
        errs.append(required(f"{path}.path"))
    else:
        paths.no_backsteps(errs, file, f"{path}.path")


def env_from(errs: list[FieldError], sources: list[Object], path: str) -> None:
    for i, source in enumerate(sources):
        if prefix := source.get("prefix"):
            formed(errs, prefix, f"{path}[{i}].prefix", names.relaxed_env_name)
        count = 0
        for kind in ("configMapRef", "secretRef"):
            if (ref := source.get(kind)) is None:
                continue
            count += 1
            if not (name := ref.get("name")):
                errs.append(required(f"{path}[{i}].{kind}.name"))
            else:
                problems = names.subdomain_name(name, True)
                errs += [invalid(f"{path}[{i}].{kind}.name", name, said) for said in problems]
        if not count:
            errs.append(invalid(path, "", "must specify one of: `configMapRef` or `secretRef`"))
        elif count > 1:
            errs.append(invalid(path, "", "may not have more than one field specified at a time"))
