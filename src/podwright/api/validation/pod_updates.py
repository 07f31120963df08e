"""Which fields of a Pod may change after its creation, and by which path."""

from __future__ import annotations

import difflib
from typing import Any

import orjson

from podwright.api.objects import Object, deepcopy
from podwright.api.pods import compute_qos_class, qos_class
from podwright.api.status import FieldError
from podwright.api.validation import scheduling
from podwright.api.validation.field_errors import forbidden, in_range, invalid, required
from podwright.api.validation.rules import spec_of

_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_UPDATABLE = (
    "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only "
    "additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was "
    "previously negative)"
)
_MAX_INT32 = 2**31 - 1
_RESIZABLE = frozenset(
    ("cpu", "memory", *(f"podwright.io/disk-{what}" for what in ("read-bps", "write-bps", "read-iops", "write-iops")))
)


def diff(old: Object, new: Object) -> str:
    """The changed lines of two objects, as the end of a message."""
    before, after = (
        orjson.dumps(o, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS).decode().splitlines() for o in (old, new)
    )
    lines = list(difflib.unified_diff(before, after, lineterm="", n=2))
    return "\n".join(lines[2:])


def spec_change(errs: list[FieldError], new: Object, old: Object) -> None:
    spec, before = spec_of(new), spec_of(old)
    for group in ("containers", "initContainers"):
        if not _container_change(errs, spec.get(group) or [], before.get(group) or [], f"spec.{group}"):
            return
    if not _deadline_change(errs, spec.get("activeDeadlineSeconds"), before.get("activeDeadlineSeconds")):
        return
    _only_added_tolerations(errs, spec.get("tolerations") or [], before.get("tolerations") or [])
    _only_removed_gates(errs, spec.get("schedulingGates") or [], before.get("schedulingGates") or [])
    if spec == before:
        return
    masked = deepcopy(spec)
    for group in ("containers", "initContainers"):
        for ctr, earlier in zip(masked.get(group) or (), before.get(group) or (), strict=True):
            ctr["image"] = earlier.get("image")
    for field in ("activeDeadlineSeconds", "schedulingGates", "tolerations"):
        _mask(masked, before, field)
    if (before.get("terminationGracePeriodSeconds") or 0) < 0 and masked.get("terminationGracePeriodSeconds") == 1:
        masked["terminationGracePeriodSeconds"] = before["terminationGracePeriodSeconds"]
    if before.get("schedulingGates"):
        _gated_change(errs, masked, before)
    if _without_empty(masked) != _without_empty(before):
        said = f"pod updates may not change fields other than {_UPDATABLE}\n{diff(before, masked)}"
        errs.append(forbidden("spec", said))


def _mask(masked: Object, before: Object, field: str) -> None:
    if field in before:
        masked[field] = before[field]
    else:
        masked.pop(field, None)


def _without_empty(value: Any) -> Any:
    """Semantic equality: a nil and an empty list or map are the same."""
    if isinstance(value, dict):
        kept = {k: _without_empty(v) for k, v in value.items()}
        return {k: v for k, v in kept.items() if v not in (None, [], {})}
    if isinstance(value, list):
        return [_without_empty(v) for v in value]
    return value


def _container_change(errs: list[FieldError], new: list[Object], old: list[Object], path: str) -> bool:
    if len(new) != len(old):
        errs.append(forbidden(path, "pod updates may not add or remove containers"))
        return False
    for i, ctr in enumerate(new):
        image = ctr.get("image") or ""
        if not image:
            errs.append(required(f"{path}[{i}].image"))
        if image != image.strip():
            errs.append(invalid(f"{path}[{i}].image", image, "must not have leading or trailing whitespace"))
    return True


def _deadline_change(errs: list[FieldError], new: int | None, old: int | None) -> bool:
    field = "spec.activeDeadlineSeconds"
    if new is None:
        if old is not None:
            errs.append(invalid(field, None, "must not update from a positive integer to nil value"))
        return True
    if not 0 <= new <= _MAX_INT32:
        errs.append(invalid(field, new, in_range(0, _MAX_INT32)))
        return False
    if old is not None and old < new:
        errs.append(invalid(field, new, "must be less than or equal to previous value"))
        return False
    return True


def _only_added_tolerations(errs: list[FieldError], new: list[Object], old: list[Object]) -> None:
    def key(toleration: Object) -> Object:
        return {k: v for k, v in toleration.items() if k != "tolerationSeconds" and v}

    kept = [key(t) for t in new]
    if any(key(t) not in kept for t in old):
        said = "existing toleration can not be modified except its tolerationSeconds"
        errs.append(forbidden("spec.tolerations", said))
    elif new != old:
        scheduling.tolerations(errs, new, "spec.tolerations")


def _only_removed_gates(errs: list[FieldError], new: list[Object], old: list[Object]) -> None:
    known = {gate.get("name") for gate in old}
    for i, gate in enumerate(new):
        if gate.get("name") not in known:
            said = f"only deletion is allowed, but found new scheduling gate '{gate.get('name')}'"
            errs.append(forbidden(f"spec.schedulingGates[{i}].name", said))


def _gated_change(errs: list[FieldError], masked: Object, before: Object) -> None:
    """While gates hold a Pod back, its node selector and required node affinity may be made stricter (KEP-3838)."""
    selector, old_selector = masked.get("nodeSelector") or {}, before.get("nodeSelector") or {}
    if any(selector.get(k) != v for k, v in old_selector.items()):
        said = "only additions to spec.nodeSelector are allowed (no mutations or deletions)"
        errs.append(invalid("spec.nodeSelector", selector, said))
    _mask(masked, before, "nodeSelector")
    new_node = (masked.get("affinity") or {}).get("nodeAffinity")
    old_node = (before.get("affinity") or {}).get("nodeAffinity")
    if new_node == old_node:
        return
    _node_affinity_change(errs, new_node or {}, old_node or {})
    affinity = masked.setdefault("affinity", {})
    if old_node is None:
        affinity.pop("nodeAffinity", None)
    else:
        affinity["nodeAffinity"] = old_node


def _node_affinity_change(errs: list[FieldError], new: Object, old: Object) -> None:
    if old.get(_REQUIRED) is None:
        return
    field = f"spec.affinity.nodeAffinity.{_REQUIRED}.nodeSelectorTerms"
    old_terms = old[_REQUIRED].get("nodeSelectorTerms") or []
    new_terms = (new.get(_REQUIRED) or {}).get("nodeSelectorTerms") or []
    if old_terms and len(old_terms) != len(new_terms):
        errs.append(invalid(field, new_terms, "no additions/deletions to non-empty NodeSelectorTerms list are allowed"))
        return
    for i, term in enumerate(old_terms):
        if not _only_additions(new_terms[i], term):
            said = "only additions are allowed (no mutations or deletions)"
            errs.append(invalid(f"{field}[{i}]", new_terms[i], said))


def _only_additions(new: Object, old: Object) -> bool:
    parts = [(new.get(f) or [], old.get(f) or []) for f in ("matchExpressions", "matchFields")]
    if not any(earlier for _, earlier in parts) and any(later for later, _ in parts):
        return False
    return all(later[: len(earlier)] == earlier for later, earlier in parts)


def ephemeral_change(errs: list[FieldError], new: Object, old: Object) -> None:
    now = {c.get("name"): c for c in spec_of(new).get("ephemeralContainers") or ()}
    field = "spec.ephemeralContainers"
    for ctr in spec_of(old).get("ephemeralContainers") or ():
        name = ctr.get("name") or ""
        if name not in now:
            errs.append(forbidden(field, f'existing ephemeral containers "{name}" may not be removed\n'))
        elif _without_empty(now[name]) != _without_empty(ctr):
            said = f'existing ephemeral containers "{name}" may not be changed\n{diff(ctr, now[name])}'
            errs.append(forbidden(field, said))


def resize_change(errs: list[FieldError], new: Object, old: Object) -> None:
    """KEP-1287: CPU, memory (and disk I/O) of a running Pod, of containers and sidecars or of the whole Pod."""
    spec, before = spec_of(new), spec_of(old)
    if qos_class(old) != compute_qos_class(new):
        said = "Pod QOS Class may not change as a result of resizing"
        errs.append(invalid("spec", (new.get("status") or {}).get("qosClass") or "", said))
    running = next(
        (s for s in (old.get("status") or {}).get("containerStatuses") or () if (s.get("state") or {}).get("running")),
        None,
    )
    if running is not None and running.get("resources") is None:
        errs.append(forbidden("spec", "Pod running on node without support for resize"))
    if (old.get("status") or {}).get("nodeAllocatableResourceClaimStatuses"):
        errs.append(forbidden("spec", "pods with node allocatable resource claims cannot be resized"))
    if not _same_order(errs, spec, before):
        return
    masked = deepcopy(spec)
    for group in ("initContainers", "containers"):
        for i, (ctr, earlier) in enumerate(zip(masked.get(group) or (), before.get(group) or (), strict=True)):
            where, init = f"spec.{group}[{i}]", group == "initContainers"
            if init and ctr.get("restartPolicy") != "Always" and _without_empty(ctr) != _without_empty(earlier):
                if any(policy.get("restartPolicy") == "RestartContainer" for policy in ctr.get("resizePolicy") or ()):
                    said = "non-sidecar init containers with a resize policy of RestartContainer cannot be resized"
                    errs.append(forbidden(where, said))
            _not_removed(errs, ctr.get("resources") or {}, earlier.get("resources") or {}, f"{where}.resources")
            _put_back(ctr, earlier)
            if _without_empty(ctr) != _without_empty(earlier):
                which = " for init or sidecar containers" if init else ""
                errs.append(forbidden(where if init else "spec", _only_these(which)))
    if before.get("resources") is not None or masked.get("resources") is not None:
        _pod_level(errs, masked, before)
    if not errs and _without_empty(masked) != _without_empty(before):
        errs.append(forbidden("spec", "only cpu and memory resources are mutable"))


def _only_these(which: str) -> str:
    return f"only cpu and memory resources{which} are mutable"


def _pod_level(errs: list[FieldError], masked: Object, before: Object) -> None:
    resources, earlier = masked.get("resources"), before.get("resources") or {}
    if resources is None:
        errs.append(forbidden("spec.resources", "pod-level resources cannot be removed"))
    else:
        _not_removed(errs, resources, earlier, "spec.resources", "pod-level resource")
    _put_back(masked, before)
    if _without_empty(masked["resources"]) != _without_empty(earlier):
        errs.append(forbidden("spec.resources", "only cpu and memory resources are mutable at pod-level"))
    _mask(masked, before, "resources")


def _same_order(errs: list[FieldError], new: Object, old: Object) -> bool:
    before = len(errs)
    for group in ("containers", "initContainers"):
        later, earlier = new.get(group) or [], old.get(group) or []
        if len(later) != len(earlier):
            errs.append(forbidden(f"spec.{group}", f"{group} may not be added or removed on resize"))
            continue
        for i, ctr in enumerate(earlier):
            if later[i].get("name") != ctr.get("name"):
                errs.append(forbidden(f"spec.{group}[{i}].name", f"{group} may not be renamed or reordered on resize"))
    return len(errs) == before


def _not_removed(errs: list[FieldError], new: Object, old: Object, path: str, what: str = "resource") -> None:
    for which in ("requests", "limits"):
        if (old.get(which) or {}).keys() - (new.get(which) or {}).keys():
            errs.append(forbidden(f"{path}.{which}", f"{what} {which} cannot be removed"))


def _put_back(holder: Object, earlier: Object) -> None:
    """Undo the part of a change that a resize may make."""
    resources, old = holder.get("resources") or {}, earlier.get("resources") or {}
    for which in ("requests", "limits"):
        amounts = {k: v for k, v in (resources.get(which) or {}).items() if k not in _RESIZABLE}
        amounts |= {k: v for k, v in (old.get(which) or {}).items() if k in _RESIZABLE}
        resources[which] = amounts
    holder["resources"] = resources
