"""Field selectors (Kubernetes documentation: "Field Selectors"): which labels each kind has, and what they match.

Every kind has metadata.name, and metadata.namespace if it is namespaced; the table below adds what upstream's
conversion functions add for some kinds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from podwright.api.objects import Object, name, namespace
from podwright.api.resources import Resource
from podwright.api.selectors.labels import InvalidSelector

EQUALS = "="
NOT_EQUALS = "!="

Getter = Callable[[str], str]
Extract = Callable[[Object], str]


@dataclass(frozen=True, slots=True)
class FieldSelector:
    """All of some terms, each (field, "=" or "!=", value); with none it matches everything."""

    terms: tuple[tuple[str, str, str], ...] = ()

    def matches(self, getter: Getter) -> bool:
        """`getter` gives a field's value by its label, "" if it has none."""
        return all((getter(field) == value) == (op == EQUALS) for field, op, value in self.terms)

    def exact(self, field: str) -> str | None:
        """The one value that the field must have, if the selector asks for one: what an index can use."""
        return next((value for wanted, op, value in self.terms if wanted == field and op == EQUALS), None)

    @property
    def empty(self) -> bool:
        return not self.terms

    def __str__(self) -> str:
        return ",".join(f"{field}{op}{_escape(value)}" for field, op, value in self.terms)


EVERYTHING = FieldSelector()


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace(",", "\\,").replace("=", "\\=")


def parse(text: str) -> FieldSelector:
    """The text form, such as "spec.nodeName=node-1,status.phase!=Running".

    Raises:
        InvalidSelector: the text is no field selector.
    """
    terms = []
    for part in sorted(_split(text)):
        if not part:
            continue
        at = next((i for i, c in enumerate(part) if c == "=" or part.startswith("!=", i)), -1)
        if at < 0:
            raise InvalidSelector(f"invalid selector: '{text}'; can't understand '{part}'")
        op = next(o for o in ("!=", "==", "=") if part.startswith(o, at))
        terms.append((part[:at], NOT_EQUALS if op == "!=" else EQUALS, _unescape(part[at + len(op) :])))
    return FieldSelector(tuple(terms)) if terms else EVERYTHING


def _split(text: str) -> list[str]:
    parts, start, escaped = [], 0, False
    for i, c in enumerate(text):
        if escaped:
            escaped = False
        elif c == "\\":
            escaped = True
        elif c == ",":
            parts.append(text[start:i])
            start = i + 1
    return [*parts, text[start:]]


def _unescape(value: str) -> str:
    out, escaped = [], False
    for c in value:
        if escaped:
            if c not in "\\,=":
                raise InvalidSelector(f"invalid field selector: invalid escape sequence: \\{c}")
            out.append(c)
            escaped = False
        elif c == "\\":
            escaped = True
        elif c in ",=":
            raise InvalidSelector(f"invalid field selector: unescaped character in value: {ord(c)}")
        else:
            out.append(c)
    if escaped:
        raise InvalidSelector("invalid field selector: invalid escape sequence: \\")
    return "".join(out)


def _at(path: str) -> Extract:
    steps = path.split(".")

    def extract(obj: Object) -> str:
        value: Any = obj
        for step in steps:
            value = value.get(step) if isinstance(value, dict) else None
        return _text(value)

    return extract


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _flag(path: str) -> Extract:
    extract = _at(path)
    return lambda obj: extract(obj) or "false"


def _number(path: str) -> Extract:
    extract = _at(path)
    return lambda obj: extract(obj) or "0"


def _pod_ip(pod: Object) -> str:
    state = pod.get("status") or {}
    ips = state.get("podIPs")
    return _text(ips[0].get("ip")) if ips else _text(state.get("podIP"))


def _pod_ips(pod: Object) -> str:
    return ",".join(_text(ip.get("ip")) for ip in (pod.get("status") or {}).get("podIPs") or ())


def _first(*paths: str) -> Extract:
    extracts = [_at(path) for path in paths]
    return lambda obj: next((text for extract in extracts if (text := extract(obj))), "")


def _paths(*paths: str) -> dict[str, Extract]:
    return {path: _at(path) for path in paths}


_REFERENCE = ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")

_TABLE: Mapping[tuple[str, str], dict[str, Extract]] = {
    ("", "Pod"): {
        **_paths("spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName",
                 "status.phase", "status.nominatedNodeName"),
        "spec.hostNetwork": _flag("spec.hostNetwork"),
        "spec.host": _at("spec.nodeName"),
        "status.podIP": _pod_ip,
        "status.podIPs": _pod_ips,
    },
    ("", "Node"): {"spec.unschedulable": _flag("spec.unschedulable")},
    ("", "ReplicationController"): {"status.replicas": _number("status.replicas")},
    ("", "Namespace"): _paths("status.phase"),
    ("", "Secret"): _paths("type"),
    ("", "Service"): _paths("spec.clusterIP", "spec.type"),
    ("", "Event"): {
        **{f"involvedObject.{part}": _at(f"involvedObject.{part}") for part in _REFERENCE},
        **_paths("reason", "reportingComponent", "type"),
        "source": _first("source.component", "reportingComponent"),
    },
    ("events.k8s.io", "Event"): {
        **{f"regarding.{part}": _at(f"regarding.{part}") for part in _REFERENCE},
        **_paths("reason", "reportingController", "type"),
    },
    ("apps", "ReplicaSet"): {"status.replicas": _number("status.replicas")},
    ("batch", "Job"): {"status.successful": _number("status.succeeded")},
    ("certificates.k8s.io", "CertificateSigningRequest"): _paths("spec.signerName"),
    ("certificates.k8s.io", "ClusterTrustBundle"): _paths("spec.signerName"),
    ("certificates.k8s.io", "PodCertificateRequest"): _paths("spec.signerName", "spec.podName", "spec.nodeName"),
    ("resource.k8s.io", "ResourceSlice"): _paths("spec.nodeName", "spec.driver"),
}

_NAME: dict[str, Extract] = {"metadata.name": name}
_NAMESPACED: dict[str, Extract] = {"metadata.name": name, "metadata.namespace": namespace}


def labels_of(row: Resource, selectable: Mapping[str, str] | None = None) -> dict[str, Extract]:
    """The field labels that a kind supports, each with the function that reads its value from an object.
    `selectable` adds the selectableFields of a custom resource definition: label → dotted path."""
    more = {label: _at(path.lstrip(".")) for label, path in (selectable or {}).items()}
    return {**(_NAMESPACED if row.namespaced else _NAME), **_TABLE.get((row.group, row.kind), {}), **more}


def fields_of(row: Resource, obj: Object, selectable: Mapping[str, str] | None = None) -> Mapping[str, str]:
    """The values of all field labels of an object."""
    return {label: extract(obj) for label, extract in labels_of(row, selectable).items()}


def check_supported(row: Resource, selector: FieldSelector, selectable: Mapping[str, str] | None = None) -> None:
    """Raises:
        InvalidSelector: the kind does not support one of the labels.
    """
    supported = labels_of(row, selectable)
    for field, _, _ in selector.terms:
        if field in supported:
            continue
        if (row.group, row.kind) in _TABLE or selectable:
            of = f" for {row.group}/{row.version}, Kind={row.kind}" if row.kind == "ResourceSlice" else ""
            raise InvalidSelector(f"field label not supported{of}: {field}")
        raise InvalidSelector(f'"{field}" is not a known field selector: only "metadata.name", "metadata.namespace"')


def parse_for(row: Resource, text: str, selectable: Mapping[str, str] | None = None) -> FieldSelector:
    """:func:`parse` and :func:`check_supported` in one.

    Raises:
        InvalidSelector: the text is no field selector, or the kind does not support one of its labels.
    """
    selector = parse(text)
    check_supported(row, selector, selectable)
    return selector


def predicate(
    row: Resource, selector: FieldSelector, selectable: Mapping[str, str] | None = None
) -> Callable[[Object], bool]:
    """A supported selector as a fast test of objects, for lists and watches."""
    supported = labels_of(row, selectable)
    tests = [(supported[field], value, op == EQUALS) for field, op, value in selector.terms]

    def matches(obj: Object) -> bool:
        for extract, value, wanted in tests:  # noqa: SIM110 (a generator costs twice as much here)
            if (extract(obj) == value) is not wanted:
                return False
        return True

    return matches
