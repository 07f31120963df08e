"""Server-side apply, and the record of who wrote which field (KEP-555, Kubernetes documentation "Server-Side Apply").

:func:`track_update` runs on every create, update and patch; :func:`apply_patch` is the apply patch itself. Both are
pure: the time is passed in. Managers of other API versions of the same object are taken as if they spoke of the version
at hand: versions of one kind name nearly all fields alike, and a field that does not exist is owned by nobody.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import orjson

from podwright.api import status
from podwright.api.apply import field_sets, managers
from podwright.api.apply.compare import Comparison, compare, reconciled, stated_fields, with_structs
from podwright.api.apply.field_sets import FieldSet, MalformedFields, from_paths
from podwright.api.apply.field_types import FieldType, field_type
from podwright.api.apply.managers import APPLY, UPDATE, Identity, Manager, Managers
from podwright.api.apply.merge import merge, problems, remove
from podwright.api.objects import Object, name, namespace, uid
from podwright.api.schema import Schema
from podwright.api.status import ApiError
from podwright.api.typecheck import prune

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
BEFORE_FIRST_APPLY = "before-first-apply"
_ANNOTATIONS_LIMIT = 256 * 1024

_STRIPPED = from_paths(
    ("f:apiVersion",), ("f:kind",), ("f:metadata",),
    *(("f:metadata", f"f:{field}") for field in (
        "name", "namespace", "creationTimestamp", "selfLink", "uid", "clusterName", "generation", "managedFields",
        "resourceVersion",
    )),
)
"""Fields that nobody owns: the object's identity, and what the server alone writes."""

_REMEMBERED = 1024
_written_lately: dict[int, tuple[FieldType, FieldSet]] = {}
"""Sets that were made for a type, by id: the next write of the same object need not reconcile them with it."""

_RESET_BY_MAIN = from_paths(("f:status",))
_RESET_BY_STATUS = from_paths(("f:spec",))


def reset_fields(schema: Schema, subresource: str) -> FieldSet:
    """Fields that a write to a built-in resource or its subresource leaves as they are, whatever is sent, so that it
    does not own them either: the status for the main resource, the spec for the status."""
    if subresource == "status":
        return _RESET_BY_STATUS
    if not subresource and not schema.custom and "status" in schema.properties and "spec" in schema.properties:
        return _RESET_BY_MAIN
    return {}


def track_update(
    schema: Schema, old: Object | None, new: Object, *, manager: str, api_version: str, operation: str = UPDATE,
    subresource: str = "", now: str, reset: FieldSet | None = None,
) -> list[Object]:
    """The managedFields of `new`, which replaces `old` (None: it is created): what it adds or changes belongs to
    `manager` now, and what it removes to nobody.

    The managedFields that `new` carries count (a client may edit them, or reset them with [] or [{}]), except for
    subresources; if it has none or malformed ones, those of `old` stay. Objects that nobody tracks stay untracked.
    `reset` overrides :func:`reset_fields`. An empty list means: no managedFields.
    """
    kind = field_type(schema)
    known = _known_managers(old, new, subresource)
    if not known and old is not None and uid(old):
        return []
    if known:
        known = _reconciled(kind, known)
    reset = reset_fields(schema, subresource) if reset is None else reset
    before = _empty(new) if old is None else old
    known = _update(kind, before, new, known, Manager(manager or "unknown", operation, api_version, subresource, {}),
                    now, reset)
    for entry in known.values():
        if len(_written_lately) >= _REMEMBERED:
            _written_lately.clear()
        _written_lately[id(entry.fields)] = kind, entry.fields
    return managers.encode(managers.capped(known))


def _empty(like: Object) -> Object:
    return {"apiVersion": like.get("apiVersion"), "kind": like.get("kind")}


def _entries(obj: Object | None) -> Any:
    return ((obj or {}).get("metadata") or {}).get("managedFields")


def _known_managers(old: Object | None, new: Object, subresource: str) -> Managers:
    before, sent = _entries(old), _entries(new)
    if subresource or sent is None or sent is before:
        return managers.stored(before or ())
    if managers.is_reset(sent):
        return {}
    if sent == before:
        return managers.stored(before)
    try:
        return managers.decode(sent) or managers.stored(before or ())
    except MalformedFields:
        return managers.stored(before or ())


def _reconciled(kind: FieldType, known: Managers) -> Managers:
    out: Managers | None = None
    for who, entry in known.items():
        if _written_lately.get(id(entry.fields)) == (kind, entry.fields):
            continue
        fields = reconciled(kind, entry.fields)
        if fields is not entry.fields:
            out = dict(known) if out is None else out
            out[who] = entry.owning(fields)
    return known if out is None else out


def _filtered(difference: Comparison, reset: FieldSet) -> Comparison:
    if not reset:
        return difference
    return Comparison(
        field_sets.recursive_difference(difference.changed, reset),
        field_sets.recursive_difference(difference.removed, reset),
    )


def _update(
    kind: FieldType, old: Object, new: Object, known: Managers, self_: Manager, now: str, reset: FieldSet
) -> Managers:
    difference = _filtered(compare(kind, _bare(old), _bare(new)), reset)
    out = _disowned(known, difference)
    mine = field_sets.difference(difference.changed, _STRIPPED)
    if mine:
        previous = out.get(self_.identity)
        if previous is not None:
            mine = field_sets.union(mine, previous.fields)
        out[self_.identity] = replace(self_, fields=mine, time=now)
    return out


def _bare(obj: Object) -> Object:
    """The object without its managedFields, which are nobody's and large."""
    meta = obj.get("metadata")
    if not meta or "managedFields" not in meta:
        return obj
    return {**obj, "metadata": {k: v for k, v in meta.items() if k != "managedFields"}}


def _disowned(known: Managers, difference: Comparison, but: Identity | None = None) -> Managers:
    """The managers without the fields that were changed or removed under them, and without those left with none."""
    out: Managers = {}
    for who, entry in known.items():
        fields = entry.fields
        if who != but:
            fields = field_sets.difference(fields, field_sets.intersection(fields, difference.changed))
            fields = field_sets.difference(fields, difference.removed)
        if fields:
            out[who] = entry.owning(fields)
    return out


def apply_patch(
    schema: Schema, live: Object | None, applied: Object, *, manager: str, api_version: str, subresource: str = "",
    force: bool = False, now: str, reset: FieldSet | None = None,
) -> Object:
    """The object after `manager` applied its configuration: what it states is set and owned, what it stated before and
    no longer does is removed unless others own it. The result carries its managedFields; if nothing changed it equals
    `live` but for them. `applied` counts as sent: check its types with ``typecheck.check(..., as_sent=True)``, and do
    not prune it, because a zero that is stated is owned too. The result is pruned.

    Raises:
        ApiError: 409 with causes FieldManagerConflict if the configuration changes fields of others and `force` is not
            set; 400 if it is of another version, carries managedFields, or does not fit the type.
    """
    kind = field_type(schema)
    _check(kind, applied, api_version)
    reset = reset_fields(schema, subresource) if reset is None else reset
    current: Object = _empty(applied) if live is None else live
    known = managers.stored(_entries(live) or ())
    current = _bare(current)
    if not known:
        first = Manager(BEFORE_FIRST_APPLY, UPDATE, api_version, subresource, {})
        known = _update(kind, _empty(applied), current, known, first, now, reset)
    known = _reconciled(kind, known)
    self_ = Manager(manager or "unknown", APPLY, api_version, subresource, {})
    try:
        result, known = _apply(kind, current, applied, known, self_, force, reset)
    except _Conflicts as e:
        conflicts = e.conflicts
        if self_.name == "kubectl":
            conflicts = _without_last_applied(kind, current, api_version, conflicts)
        if conflicts:
            raise _conflict_error(conflicts) from None
        result, known = _apply(kind, current, applied, known, self_, True, reset)
    result = prune(schema, result)
    changed = result != current
    mine = known.get(self_.identity)
    if mine is not None:
        fields = field_sets.difference(mine.fields, _STRIPPED)
        if fields:
            known[self_.identity] = replace(mine, fields=fields, time=now if changed or not mine.time else mine.time)
        else:
            del known[self_.identity]
    if self_.name == "kubectl":
        result = _with_last_applied(result, applied)
    meta = dict(result.get("metadata") or {})
    entries = managers.encode(known)
    if entries:
        meta["managedFields"] = entries
    return {**result, "metadata": meta}


def _check(kind: FieldType, applied: Object, api_version: str) -> None:
    if applied.get("apiVersion") != api_version:
        raise status.bad_request(
            "Incorrect version specified in apply patch. "
            f"Specified patch version: {applied.get('apiVersion')}, expected: {api_version}"
        )
    if "managedFields" in (applied.get("metadata") or {}):
        raise status.bad_request("metadata.managedFields must be nil")
    wrong = problems(kind, applied)
    if wrong:
        raise _untyped(applied, wrong)


def undeclared(schema: Schema, applied: Object, paths: Sequence[str]) -> ApiError:
    """What an apply with fields that its kind does not have is told, whatever fieldValidation says: `paths` are those
    that the schema alone knows of."""
    found = problems(field_type(schema), applied)
    return _untyped(applied, found or [f".{path}: field not declared in schema" for path in paths])


def _untyped(applied: Object, wrong: Sequence[str]) -> ApiError:
    where = f"{namespace(applied)}/{name(applied)}; {_gvk(applied)}"
    text = wrong[0] if len(wrong) == 1 else "\n".join(["errors:", *(f"  {w}" for w in wrong)])
    return status.bad_request(f"failed to create typed patch object ({where}): {text}")


def _gvk(obj: Object) -> str:
    group, _, version = str(obj.get("apiVersion") or "").rpartition("/")
    return f"{group}/{version}, Kind={obj.get('kind')}"


_Conflict = tuple[Manager, field_sets.Path]


class _Conflicts(Exception):
    def __init__(self, conflicts: list[_Conflict]) -> None:
        super().__init__(f"{len(conflicts)} conflicts")
        self.conflicts = conflicts


def _apply(
    kind: FieldType, live: Object, applied: Object, known: Managers, self_: Manager, force: bool, reset: FieldSet
) -> tuple[Object, Managers]:
    """The new object and its managers."""
    who = self_.identity
    last = known.get(who)
    stated = field_sets.recursive_difference(stated_fields(kind, applied), reset)
    known = {**known, who: replace(self_, fields=stated, time=last.time if last is not None else "")}
    merged = merge(kind, live, applied)
    if last is not None and last.fields:
        merged = _pruned(kind, merged, known, last.fields)
    difference = _filtered(compare(kind, live, merged), reset)
    if not force:
        conflicts = [
            (entry, path)
            for other, entry in known.items()
            if other != who
            for path in field_sets.paths(field_sets.intersection(entry.fields, difference.changed))
        ]
        if conflicts:
            raise _Conflicts(conflicts)
    return merged, _disowned(known, difference, but=who)


def _pruned(kind: FieldType, merged: Object, known: Managers, last: FieldSet) -> Object:
    """Without what the manager stated the last time and states no more, but for what others own or what stands apart
    from it."""
    last = with_structs(kind, last)
    pruned = remove(kind, merged, last, keep_emptied=True)
    owned: FieldSet = {}
    for entry in known.values():
        owned = field_sets.union(owned, entry.fields)
    there = with_structs(kind, stated_fields(kind, merged))
    kept = field_sets.union(with_structs(kind, stated_fields(kind, pruned)), with_structs(kind, owned))
    pruned = remove(kind, merged, field_sets.difference(there, kept), keep_emptied=True)
    left = with_structs(kind, stated_fields(kind, pruned))
    result: Object = remove(kind, merged, field_sets.intersection(field_sets.difference(there, left), last))
    return result


def _describe(manager: Manager) -> str:
    text = orjson.dumps(manager.name).decode()
    if manager.subresource:
        text += f" with subresource {orjson.dumps(manager.subresource).decode()}"
    return text if manager.applied else f"{text} using {manager.api_version}"


def _conflict_error(conflicts: list[_Conflict]) -> ApiError:
    causes = [
        {
            "reason": "FieldManagerConflict",
            "message": f"conflict with {_describe(manager)}",
            "field": field_sets.path_text(path),
        }
        for manager, path in conflicts
    ]
    if len(conflicts) == 1:
        manager, path = conflicts[0]
        text = f"conflict with {_describe(manager)}: {field_sets.path_text(path)}"
        return status.apply_conflict(f"Apply failed with 1 conflict: {text}", causes)
    by_manager: dict[str, list[str]] = {}
    for manager, path in conflicts:
        by_manager.setdefault(_describe(manager), []).append(field_sets.path_text(path))
    lines = []
    for described, paths in sorted(by_manager.items()):
        lines.append(f"conflicts with {described}:")
        lines += [f"- {path}" for path in paths]
    return status.apply_conflict(f"Apply failed with {len(conflicts)} conflicts: " + "\n".join(lines), causes)


def _without_last_applied(
    kind: FieldType, live: Object, api_version: str, conflicts: list[_Conflict]
) -> list[_Conflict]:
    """The conflicts that are not about fields which client-side apply set and nobody changed since: those move to
    kubectl's server-side apply without a conflict."""
    annotations: Mapping[str, str] = (live.get("metadata") or {}).get("annotations") or {}
    try:
        last = orjson.loads(annotations.get(LAST_APPLIED) or "")
    except orjson.JSONDecodeError:
        return conflicts
    if not isinstance(last, dict) or last.get("apiVersion") != api_version or problems(kind, last):
        return conflicts
    difference = compare(kind, last, live)
    mine = field_sets.difference(stated_fields(kind, last), difference.changed)
    mine = field_sets.difference(mine, difference.removed)
    allowed = set(field_sets.paths(mine))
    return [(manager, path) for manager, path in conflicts if path not in allowed]


def _with_last_applied(result: Object, applied: Object) -> Object:
    """kubectl's annotation follows a server-side apply for as long as the object has it, so that client-side apply
    still works."""
    meta = result.get("metadata") or {}
    annotations: Mapping[str, str] = meta.get("annotations") or {}
    if not annotations.get(LAST_APPLIED):
        return result
    stated = dict(applied)
    stated_meta = dict(stated.get("metadata") or {})
    stated_annotations = {k: v for k, v in (stated_meta.get("annotations") or {}).items() if k != LAST_APPLIED}
    if "annotations" in stated_meta:
        stated_meta["annotations"] = stated_annotations
        if not stated_annotations:
            del stated_meta["annotations"]
    stated["metadata"] = stated_meta
    text = orjson.dumps(stated, option=orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE).decode()
    following = {**annotations, LAST_APPLIED: text}
    if sum(len(k.encode()) + len(v.encode()) for k, v in following.items()) > _ANNOTATIONS_LIMIT:
        del following[LAST_APPLIED]
    return {**result, "metadata": {**meta, "annotations": following}}
