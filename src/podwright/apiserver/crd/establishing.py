"""A definition's own life: names accepted, established at once, gone when its objects are."""

from __future__ import annotations

from typing import Any

import orjson

from podwright.api import objects, status
from podwright.api.objects import Object
from podwright.api.resources import CUSTOMRESOURCEDEFINITIONS
from podwright.api.status import FieldError
from podwright.api.validation import field_errors
from podwright.api.validation.custom_resources import APPROVAL, approval_problem, conversion_config, is_protected
from podwright.api.validation.webhooks import ca_bundle_problem
from podwright.apiserver.admission.refusals import aggregated
from podwright.apiserver.crd import rule_checks
from podwright.apiserver.crd.definitions import FINALIZER, storage_version
from podwright.apiserver.registry.registry import Registry
from podwright.apiserver.registry.strategies import Strategy, Undo


class DefinitionStrategy(Strategy):
    """Conditions are decided when the definition is written, so that it is served with its first revision."""

    async def begin_create(self, registry: Registry, obj: Object, dry_run: bool) -> list[Undo]:
        finalizers = obj["metadata"].setdefault("finalizers", [])
        if FINALIZER not in finalizers:
            finalizers.append(FINALIZER)
        _check(obj, {})
        _fill_names(obj["spec"])
        obj["status"] = accepted_status(registry, obj, {})
        return []

    async def begin_update(self, registry: Registry, obj: Object, old: Object, dry_run: bool) -> list[Undo]:
        _check(obj, old)
        _fill_names(obj["spec"])
        if not obj["metadata"].get("deletionTimestamp"):
            obj["status"] = accepted_status(registry, obj, old.get("status") or {})
        return []

    def begin_delete(self, obj: Object, now: str) -> bool:
        if FINALIZER in (obj["metadata"].get("finalizers") or []):
            conditions = (obj.setdefault("status", {})).setdefault("conditions", [])
            _set(
                conditions, "Terminating", "True", "InstanceDeletionInProgress",
                "CustomResource deletion is in progress", now,
            )
        return False


class EndingStrategy(Strategy):
    """Of objects whose definition goes: those that are there may still change, no new one comes."""

    def __init__(self, group: str, plural: str) -> None:
        self._group = group
        self._plural = plural

    async def begin_create(self, registry: Registry, obj: Object, dry_run: bool) -> list[Undo]:
        why = "create not allowed while custom resource definition is terminating"
        raise status.forbidden(self._group, self._plural, objects.name(obj), why)


def _check_shape(crd: Object) -> list[FieldError]:
    """What must hold for names and versions to be read at all."""
    spec = crd.get("spec") or {}
    names = spec.get("names") or {}
    found = [field_errors.required("spec.group")] if not spec.get("group") else []
    found += [field_errors.required(f"spec.names.{f}") for f in ("plural", "kind") if not names.get(f)]
    if spec.get("scope") not in ("Cluster", "Namespaced"):
        found.append(field_errors.not_supported("spec.scope", spec.get("scope") or "", ("Cluster", "Namespaced")))
    versions = spec.get("versions") or []
    if not versions:
        found.append(field_errors.required("spec.versions", "must have at least one version"))
    found += [field_errors.required(f"spec.versions[{i}].name") for i, v in enumerate(versions) if not v.get("name")]
    if sum(1 for v in versions if v.get("storage")) != 1:
        found.append(
            field_errors.invalid("spec.versions", versions, "must have exactly one version marked as storage version")
        )
    wanted = f"{names.get('plural')}.{spec.get('group')}"
    if not found and objects.name(crd) != wanted:
        detail = 'must be spec.names.plural+"."+spec.group'
        found.append(field_errors.invalid("metadata.name", objects.name(crd), detail))
    return found


def _check(crd: Object, before: Object) -> None:
    """Raises ApiError (422) for a definition that cannot be read, or whose validation rules cannot stand."""
    found = _check_shape(crd)
    if found:
        row = CUSTOMRESOURCEDEFINITIONS
        raise status.invalid(row.group, row.kind, objects.name(crd), found)
    standing = {v.get("name"): _schema(v) for v in (before.get("spec") or {}).get("versions") or []}
    for i, version in enumerate(crd["spec"].get("versions") or []):
        raw = _schema(version)
        if isinstance(raw, dict):
            path = f"spec.versions[{i}].schema.openAPIV3Schema"
            found += rule_checks.errors_of(raw, path, standing.get(version["name"]))
    if found:
        row = CUSTOMRESOURCEDEFINITIONS
        raise status.invalid(row.group, row.kind, objects.name(crd), found)


def _schema(version: Object) -> Any:
    return (version.get("schema") or {}).get("openAPIV3Schema")


def _fill_names(spec: Object) -> None:
    names = spec.setdefault("names", {})
    kind = names.get("kind") or ""
    names.setdefault("singular", kind.lower())
    names.setdefault("listKind", f"{kind}List")


def accepted_status(registry: Registry, crd: Object, before: Object) -> Object:
    """The status that follows from the spec and from what other definitions of the group use."""
    now = objects.format_time(registry.now())
    conditions = [dict(c) for c in before.get("conditions") or []]
    accepted, reason, problem = _names(registry, crd, before.get("acceptedNames") or {})
    if problem:
        _set(conditions, "NamesAccepted", "False", reason, problem, now)
        if objects.condition({"status": before}, "Established") is None:
            _set(conditions, "Established", "False", "NotAccepted", "not all names are accepted", now)
    else:
        _set(conditions, "NamesAccepted", "True", "NoConflicts", "no conflicts found", now)
        if not objects.condition_is_true({"status": before}, "Established") and ca_bundle_problem(
            conversion_config(crd["spec"])
        ):
            _set(
                conditions, "Established", "False", "InvalidCABundle", "The conversion webhook CABundle is invalid", now
            )
        else:
            _set(conditions, "Established", "True", "InitialNamesAccepted", "the initial names have been accepted", now)
    if approval := _approval(crd):
        _set(conditions, "KubernetesAPIApprovalPolicyConformant", *approval, now)
    stored = list(before.get("storedVersions") or [])
    version = storage_version(crd["spec"])
    if version not in stored:
        stored.append(version)
    return {**before, "conditions": conditions, "acceptedNames": accepted, "storedVersions": stored}


def _approval(crd: Object) -> tuple[str, str, str] | None:
    """Status, reason and message of the condition about groups that belong to the project; None for all others."""
    if not is_protected(crd["spec"]["group"]):
        return None
    value = objects.annotations(crd).get(APPROVAL) or ""
    if problem := approval_problem(value):
        return "False", "InvalidAnnotation" if value else "MissingAnnotation", problem
    if value.startswith("unapproved"):
        return "False", "UnapprovedAnnotation", f"not approved: {orjson.dumps(value).decode()}"
    return "True", "ApprovedAnnotation", f"approved in {value}"


def _set(conditions: list[Object], kind: str, state: str, reason: str, message: str, now: str) -> None:
    for condition in conditions:
        if condition.get("type") == kind:
            if condition.get("status") != state:
                condition["lastTransitionTime"] = now
            condition.update(status=state, reason=reason, message=message)
            return
    conditions.append({"type": kind, "status": state, "reason": reason, "message": message, "lastTransitionTime": now})


def _names(registry: Registry, crd: Object, accepted: Object) -> tuple[Object, str, str]:
    """The names that the definition has now, and of the last that another one of its group has, why it cannot have it:
    reason and message, "" if there is none. What was accepted once stays its own."""
    spec, name = crd["spec"], objects.name(crd)
    wanted: Object = spec["names"]
    resources: set[Any] = set()
    kinds: set[Any] = set()
    for other in registry.read_all(CUSTOMRESOURCEDEFINITIONS):
        if objects.name(other) != name and other["spec"]["group"] == spec["group"]:
            taken = (other.get("status") or {}).get("acceptedNames") or {}
            resources |= {taken.get("plural"), taken.get("singular"), *(taken.get("shortNames") or ())}
            kinds |= {taken.get("kind"), taken.get("listKind")}
    made: Object = {"plural": "", "kind": "", **accepted}
    reason, message = "", ""
    for field, among in (
        ("plural", resources), ("singular", resources), ("shortNames", resources), ("kind", kinds), ("listKind", kinds)
    ):
        value, had = wanted.get(field), accepted.get(field)
        asked, held = (value or (), had or ()) if field == "shortNames" else ((value,), (had,))
        problems = [f'"{n}" is already in use' for n in asked if n and n in among and n not in held]
        if problems:
            reason, message = f"{field[0].upper()}{field[1:]}Conflict", aggregated(problems)
        elif value:
            made[field] = value
        else:
            made.pop(field, None)
    made.pop("categories", None)
    if wanted.get("categories"):
        made["categories"] = wanted["categories"]
    return made, reason, message
