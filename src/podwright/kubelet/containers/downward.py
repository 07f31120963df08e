"""The downward API: fields of the Pod and resources of a container as text (documentation page "Downward API")."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, Decimal

from podwright.api import objects, pods, quantity
from podwright.api.objects import Object

_SUBSCRIPT = re.compile(r"^metadata\.(labels|annotations)\['(.+)'\]$")


@dataclass(frozen=True, slots=True)
class DownwardFacts:
    """What the downward API tells beside the Pod's spec. `allocatable` are the node's quantities: the limits of a
    container that has none."""

    node_name: str = ""
    pod_ips: Sequence[str] = ()
    host_ips: Sequence[str] = ()
    allocatable: Mapping[str, str] = field(default_factory=dict)


def field_value(pod: Object, path: str, facts: DownwardFacts) -> str:
    """The value of a fieldRef.

    Raises:
        ValueError: there is no such field.
    """
    subscript = _SUBSCRIPT.match(path)
    if subscript:
        kind, key = subscript.groups()
        source = objects.labels(pod) if kind == "labels" else objects.annotations(pod)
        return str(source.get(key, ""))
    simple = _FIELDS.get(path)
    if simple is None:
        raise ValueError(f'unsupported fieldPath: {path}')
    return simple(pod, facts)


def _map_text(values: Mapping[str, str]) -> str:
    return "\n".join(f"{key}={_quoted(values[key])}" for key in sorted(values))


def _quoted(text: str) -> str:
    """As Go's strconv.Quote."""
    escapes = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t", "\a": "\\a", "\b": "\\b",
               "\f": "\\f", "\v": "\\v"}  # fmt: skip
    out = []
    for char in text:
        if char in escapes:
            out.append(escapes[char])
        elif char.isprintable():
            out.append(char)
        else:
            code = ord(char)
            out.append(f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}")
    return '"' + "".join(out) + '"'


_FIELDS: dict[str, Callable[[Object, DownwardFacts], str]] = {
    "metadata.name": lambda pod, facts: objects.name(pod),
    "metadata.namespace": lambda pod, facts: objects.namespace(pod),
    "metadata.uid": lambda pod, facts: objects.uid(pod),
    "metadata.labels": lambda pod, facts: _map_text(objects.labels(pod)),
    "metadata.annotations": lambda pod, facts: _map_text(objects.annotations(pod)),
    "spec.nodeName": lambda pod, facts: str(pod["spec"].get("nodeName") or facts.node_name),
    "spec.serviceAccountName": lambda pod, facts: str(pod["spec"].get("serviceAccountName") or ""),
    "status.hostIP": lambda pod, facts: facts.host_ips[0] if facts.host_ips else "",
    "status.hostIPs": lambda pod, facts: ",".join(facts.host_ips),
    "status.podIP": lambda pod, facts: facts.pod_ips[0] if facts.pod_ips else "",
    "status.podIPs": lambda pod, facts: ",".join(facts.pod_ips),
}


def resource_value(pod: Object, selector: Object, facts: DownwardFacts, default_container: str) -> str:
    """The value of a resourceFieldRef, divided by its divisor and rounded up.

    Raises:
        ValueError: there is no such container or resource.
    """
    name = selector.get("containerName") or default_container
    ctr = pods.container(pod, name)
    if ctr is None:
        raise ValueError(f"container {name} not found")
    which, _, resource = str(selector["resource"]).partition(".")
    if which not in ("limits", "requests"):
        raise ValueError(f"unsupported container resource : {selector['resource']}")
    found = ((ctr.get("resources") or {}).get(which) or {}).get(resource)
    if found is None or quantity.parse(found) == 0:
        level = ((pod["spec"].get("resources") or {}).get(which) or {}).get(resource)
        if level is not None:
            found = level
        elif which == "limits" and resource in ("cpu", "memory", "ephemeral-storage"):
            found = facts.allocatable.get(resource, "0")
    value = quantity.parse(found or "0")
    divisor = quantity.parse(selector.get("divisor") or "1") or Decimal(1)
    return str(int((value / divisor).to_integral_value(ROUND_CEILING)))
