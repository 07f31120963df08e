"""What every kind has done to it before validation: status and spec are written by different paths, and the generation
counts changes of what is wanted."""

from __future__ import annotations

from podwright.api.objects import Object, deepcopy
from podwright.api.resources import Resource
from podwright.api.validation import gated
from podwright.api.validation.rules import Rules

_ENVELOPE = frozenset({"apiVersion", "kind", "metadata", "status"})
_SERVER_SET = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds")


def for_create(row: Resource, rules: Rules, obj: Object) -> None:
    meta = obj.setdefault("metadata", {})
    if rules.generation:
        meta["generation"] = 1
    else:
        meta.pop("generation", None)
    if row.subresource("status") and not rules.keeps_status:
        if rules.initial_status is None:
            obj.pop("status", None)
        else:
            obj["status"] = deepcopy(dict(rules.initial_status))
    gated.drop(row, obj)
    if rules.prepare_create is not None:
        rules.prepare_create(obj)


def for_update(row: Resource, rules: Rules, new: Object, old: Object, subresource: str) -> None:
    old_meta: Object = old.get("metadata") or {}
    if subresource == "status":
        _keep_wanted(new, old)
        if rules.status_keeps_metadata:
            _keep_metadata(new, old_meta)
    elif row.subresource("status") and subresource != "approval":
        # An approval is a condition in the status.
        if "status" in old:
            new["status"] = old["status"]
        else:
            new.pop("status", None)
    meta: Object = new.setdefault("metadata", {})
    for field in _SERVER_SET:
        if field in old_meta and not meta.get(field):
            meta[field] = old_meta[field]
    if "generation" in old_meta:
        meta["generation"] = old_meta["generation"]
    else:
        meta.pop("generation", None)
    gated.drop(row, new, old)
    if rules.prepare_update is not None:
        rules.prepare_update(new, old, subresource)
    if rules.generation and subresource != "status" and _wanted_changed(new, old):
        new["metadata"]["generation"] = (old_meta.get("generation") or 0) + 1


def _keep_wanted(new: Object, old: Object) -> None:
    for field in [f for f in new if f not in _ENVELOPE and f not in old]:
        del new[field]
    for field, value in old.items():
        if field not in _ENVELOPE:
            new[field] = value


def _keep_metadata(new: Object, old_meta: Object) -> None:
    given = new.get("metadata") or {}
    kept = dict(old_meta)
    for field in ("resourceVersion", "managedFields"):
        if field in given:
            kept[field] = given[field]
        else:
            kept.pop(field, None)
    new["metadata"] = kept


def _wanted_changed(new: Object, old: Object) -> bool:
    return any(f not in _ENVELOPE and new.get(f) != old.get(f) for f in new.keys() | old.keys())
