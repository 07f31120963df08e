"""What a Pod spec says that is allowed but useless, deprecated or dangerous: texts of Warning headers."""

from __future__ import annotations

from podwright.api import quantity
from podwright.api.objects import Object
from podwright.api.validation import pod_os

_NODE_LABELS = {
    "beta.kubernetes.io/arch": 'deprecated since v1.14; use "kubernetes.io/arch" instead',
    "beta.kubernetes.io/os": 'deprecated since v1.14; use "kubernetes.io/os" instead',
    "failure-domain.beta.kubernetes.io/region": 'deprecated since v1.17; use "topology.kubernetes.io/region" instead',
    "failure-domain.beta.kubernetes.io/zone": 'deprecated since v1.17; use "topology.kubernetes.io/zone" instead',
    "beta.kubernetes.io/instance-type": 'deprecated since v1.17; use "node.kubernetes.io/instance-type" instead',
}
_ANNOTATIONS = {
    "scheduler.alpha.kubernetes.io/critical-pod": 'non-functional in v1.16+; use the "priorityClassName" field instead',
    "security.alpha.kubernetes.io/sysctls": 'non-functional in v1.11+; use the "sysctls" field instead',
    "security.alpha.kubernetes.io/unsafe-sysctls": 'non-functional in v1.11+; use the "sysctls" field instead',
}
_VOLUMES = {
    "photonPersistentDisk": "deprecated in v1.11, non-functional in v1.16+",
    "gitRepo": "deprecated in v1.11, and disabled by default in v1.33+",
    "scaleIO": "deprecated in v1.16, non-functional in v1.22+",
    "flocker": "deprecated in v1.22, non-functional in v1.25+",
    "storageos": "deprecated in v1.22, non-functional in v1.25+",
    "quobyte": "deprecated in v1.22, non-functional in v1.25+",
    "glusterfs": "deprecated in v1.25, non-functional in v1.26+",
    "cephfs": "deprecated in v1.28, non-functional in v1.31+", "rbd": "deprecated in v1.28, non-functional in v1.31+",
}
_NO_SELECTOR = "a null labelSelector results in matching no pod"
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"


def pod_warnings(holder: Object, path: str = "") -> list[str]:
    """Warnings of a Pod or, with the `path` of it ("spec.template"), of a template."""
    spec, meta = holder.get("spec") or {}, holder.get("metadata") or {}
    at = f"{path}.spec" if path else "spec"
    said: list[str] = []
    said += [f"{at}.nodeSelector[{k}]: {_NODE_LABELS[k]}" for k in spec.get("nodeSelector") or () if k in _NODE_LABELS]
    if affinity := spec.get("affinity"):
        _affinity(said, affinity, f"{at}.affinity")
    for i, constraint in enumerate(spec.get("topologySpreadConstraints") or ()):
        where, key = f"{at}.topologySpreadConstraints[{i}]", constraint.get("topologyKey") or ""
        if key in _NODE_LABELS:
            said.append(f"{where}.topologyKey: {key} is {_NODE_LABELS[key]}")
        if constraint.get("labelSelector") is None:
            said.append(f"{where}.labelSelector: {_NO_SELECTOR}")
    if annotations := meta.get("annotations"):
        prefix = f"{path}.metadata" if path else "metadata"
        said += [f"{prefix}.annotations[{k}]: {text}" for k, text in _ANNOTATIONS.items() if k in annotations]
    for i, volume in enumerate(spec.get("volumes") or ()):
        for kind in volume:
            if kind in _VOLUMES:
                field = "storageOS" if kind == "storageos" else kind
                said.append(f"{at}.volumes[{i}].{field}: {_VOLUMES[kind]}")
    _repeated(said, spec.get("hostAliases") or [], "ip", f"{at}.hostAliases")
    _repeated(said, spec.get("imagePullSecrets") or [], "name", f"{at}.imagePullSecrets")
    for i, secret in enumerate(spec.get("imagePullSecrets") or ()):
        if not secret.get("name"):
            said.append(f'{at}.imagePullSecrets[{i}].name: invalid empty name ""')
    _fractions(said, spec.get("overhead") or {}, f"{at}.overhead")
    for ctr, where in pod_os.visit(spec, at):
        resources = ctr.get("resources")
        if resources:
            for which in ("limits", "requests"):
                _fractions(said, resources.get(which) or {}, f"{where}.resources.{which}")
        if len(ctr.get("env") or ()) > 1:
            _hidden(said, ctr["env"], f"{where}.env")
    _ports(said, spec, at)
    if (spec.get("terminationGracePeriodSeconds") or 0) < 0:
        text = "must be >= 0; negative values are invalid and will be treated as 1"
        said.append(f"{at}.terminationGracePeriodSeconds: {text}")
    return said


def _affinity(said: list[str], affinity: Object, path: str) -> None:
    node = affinity.get("nodeAffinity") or {}
    for i, term in enumerate((node.get(_REQUIRED) or {}).get("nodeSelectorTerms") or ()):
        _node_term(said, term, f"{path}.nodeAffinity.{_REQUIRED}.nodeSelectorTerms[{i}]")
    for i, term in enumerate(node.get(_PREFERRED) or ()):
        _node_term(said, term.get("preference") or {}, f"{path}.nodeAffinity.{_PREFERRED}[{i}].preference")
    for kind in ("podAffinity", "podAntiAffinity"):
        pods = affinity.get(kind) or {}
        for i, term in enumerate(pods.get(_REQUIRED) or ()):
            if term.get("labelSelector") is None:
                said.append(f"{path}.{kind}.{_REQUIRED}[{i}].labelSelector: {_NO_SELECTOR}")
        for i, weighted in enumerate(pods.get(_PREFERRED) or ()):
            if (weighted.get("podAffinityTerm") or {}).get("labelSelector") is None:
                said.append(f"{path}.{kind}.{_PREFERRED}[{i}].podAffinityTerm.labelSelector: {_NO_SELECTOR}")


def _node_term(said: list[str], term: Object, path: str) -> None:
    for i, expression in enumerate(term.get("matchExpressions") or ()):
        key = expression.get("key") or ""
        if key in _NODE_LABELS:
            said.append(f"{path}.matchExpressions[{i}].key: {key} is {_NODE_LABELS[key]}")


def _repeated(said: list[str], entries: list[Object], field: str, path: str) -> None:
    seen: set[str] = set()
    for i, entry in enumerate(entries):
        value = entry.get(field) or ""
        if value in seen:
            said.append(f'{path}[{i}].{field}: duplicate {field} "{value}"')
        seen.add(value)


def _fractions(said: list[str], amounts: Object, path: str) -> None:
    for name in ("memory", "ephemeral-storage"):
        amount = amounts.get(name)
        if amount is not None and quantity.is_valid(amount) and quantity.milli(amount) % 1000:
            said.append(f'{path}[{name}]: fractional byte value "{amount}" is invalid, must be an integer')


def _hidden(said: list[str], variables: list[Object], path: str) -> None:
    seen: set[str] = set()
    for i, variable in enumerate(variables):
        name, value = variable.get("name") or "", variable.get("value") or ""
        reference = f"$({name})"
        extends = variable.get("valueFrom") is None and value != reference and reference in value
        if name in seen and not extends:
            said.append(f'{path}[{i}]: hides previous definition of "{name}", which may be dropped when using apply')
        seen.add(name)


def _ports(said: list[str], spec: Object, at: str) -> None:
    by_number: dict[tuple[int, str], list[tuple[str, Object]]] = {}
    by_name: dict[str, str] = {}
    repeated: list[str] = []
    for ctr, where in pod_os.visit(spec, at):
        for i, port in enumerate(ctr.get("ports") or ()):
            field = f"{where}.ports[{i}]"
            others = by_number.setdefault((port.get("containerPort") or 0, port.get("protocol") or ""), [])
            host, number = port.get("hostIP") or "", port.get("hostPort") or 0
            if host and not number:
                said.append(f"{field}: hostIP set without hostPort: {host}")
            for other_field, other in others:
                other_host, other_number = other.get("hostIP") or "", other.get("hostPort") or 0
                if (host, number) == (other_host, other_number):
                    said.append(f"{field}: duplicate port definition with {other_field}")
                elif not number or not other_number:
                    said.append(f"{field}: overlapping port definition with {other_field}")
                elif number == other_number and bool(host) != bool(other_host):
                    said.append(f"{field}: dangerously ambiguous port definition with {other_field}")
            others.append((field, port))
            if name := port.get("name"):
                first = by_name.setdefault(name, field)
                if first != field:
                    repeated.append(
                        f'{field}: duplicate port name "{name}" with {first}, services and probes that select ports by '
                        f"name will use {first}"
                    )
    said += repeated


def of_pod(new: Object, _old: Object | None) -> list[str]:
    return pod_warnings(new)


def of_template(new: Object, old: Object | None) -> list[str]:
    """Warnings of a workload's template, if it is new or changed."""
    template = (new.get("spec") or {}).get("template") or {}
    if old is not None and template == ((old.get("spec") or {}).get("template") or {}):
        return []
    return pod_warnings(template, "spec.template")


def of_job_template(new: Object, _old: Object | None) -> list[str]:
    template = (((new.get("spec") or {}).get("jobTemplate") or {}).get("spec") or {}).get("template") or {}
    return pod_warnings(template, "spec.jobTemplate.spec.template")
