"""Validation of API objects, and what upstream's strategies do before it.

For each request the API server calls, in this order, defaulting, :func:`prepare_for_create` or
:func:`prepare_for_update`, admission, then :func:`validate_create` or :func:`validate_update`. Objects were checked
against their schema before: types can be trusted, missing fields cannot.

Rules, field paths and messages are those of upstream's ``pkg/apis/*/validation`` and ``pkg/registry`` for 1.37;
docs/differences.md lists the exceptions.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module

from podwright.api.objects import Object
from podwright.api.resources import Resource
from podwright.api.status import FieldError
from podwright.api.validation import metadata, preparation, ratcheting
from podwright.api.validation.rules import Kinds, Rules

_MODULES: dict[str, str] = {
    "": "core", "apps": "apps", "batch": "batch", "autoscaling": "autoscaling", "policy": "policy",
    "networking.k8s.io": "networking", "discovery.k8s.io": "discovery", "rbac.authorization.k8s.io": "rbac",
    "storage.k8s.io": "storage", "scheduling.k8s.io": "scheduling_kinds", "node.k8s.io": "scheduling_kinds",
    "coordination.k8s.io": "coordination", "events.k8s.io": "events", "admissionregistration.k8s.io": "admission",
    "apiextensions.k8s.io": "custom_resources", "apiregistration.k8s.io": "aggregation",
    "certificates.k8s.io": "certificates", "authentication.k8s.io": "reviews", "authorization.k8s.io": "reviews",
    "flowcontrol.apiserver.k8s.io": "flowcontrol", "resource.k8s.io": "dra",
}
"""API group → module of this package that holds its rules (imported when the group is first written)."""

_PLAIN = Rules()
_CUSTOM = Rules(generation=True, initial_status=None, status_keeps_metadata=True)


@cache
def _builtin(group: str, kind: str) -> Rules:
    module = _MODULES.get(group)
    if module is None:
        return _PLAIN
    kinds: Kinds = import_module(f"{__name__}.{module}").KINDS
    return kinds.get((group, kind), _PLAIN)


_OWN_FINALIZERS = ("apiextensions.k8s.io", "apiregistration.k8s.io")


def _has_kube_finalizers(row: Resource) -> bool:
    """Whether finalizers must be qualified or standard; kinds outside kube-apiserver's own registry are not asked."""
    return not row.custom and row.group not in _OWN_FINALIZERS


def _rules(row: Resource) -> Rules:
    return _CUSTOM if row.custom else _builtin(row.group, row.kind)


def validate_create(row: Resource, obj: Object) -> list[FieldError]:
    """Everything wrong with a new object, in upstream's order; empty if nothing is."""
    rules = _rules(row)
    meta = obj.get("metadata") or {}
    errs = metadata.on_create(meta, row.namespaced, rules.name, kube_finalizers=_has_kube_finalizers(row))
    if rules.create is not None:
        rules.create(errs, obj)
    return errs


def validate_update(row: Resource, new: Object, old: Object, subresource: str = "") -> list[FieldError]:
    """Everything wrong with the change from `old` to `new`, made by the main path or by a subresource."""
    rules = _rules(row)
    meta, old_meta = new.get("metadata") or {}, old.get("metadata") or {}
    errs = metadata.on_update(meta, old_meta, kube_finalizers=_has_kube_finalizers(row))
    if subresource:
        if check := rules.subresources.get(subresource):
            check(errs, new, old)
    elif rules.update is not None:
        rules.update(errs, new, old)
    elif rules.create is not None:
        rules.create(errs, new)
    return ratcheting.broken_anew(errs, _wrong_before(rules, old, subresource), rules.ratchet) if errs else errs


def _wrong_before(rules: Rules, old: Object, subresource: str) -> list[FieldError]:
    errs: list[FieldError] = []
    if subresource:
        if check := rules.subresources.get(subresource):
            check(errs, old, old)
    elif rules.create is not None:
        rules.create(errs, old)
    return errs


def warnings(row: Resource, obj: Object, old: Object | None = None) -> list[str]:
    """The texts of the Warning headers that answer this object: deprecated or useless fields."""
    rules = _rules(row)
    return rules.warnings(obj, old) if rules.warnings is not None else []


def prepare_for_create(row: Resource, obj: Object) -> None:
    """Drop what only the server may say and fill in what it says, in place."""
    preparation.for_create(row, _rules(row), obj)


def prepare_for_update(row: Resource, new: Object, old: Object, subresource: str = "") -> None:
    """Bring back in `new` what this path may not change, and count its generation, in place. `old` stays as it is."""
    preparation.for_update(row, _rules(row), new, old, subresource)
