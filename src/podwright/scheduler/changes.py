"""What changed about an object between two states, in terms of scheduling."""

from __future__ import annotations

from podwright.api import objects
from podwright.api.objects import Object
from podwright.scheduler.framework.events import Action

_NOTHING = Action(0)


def node_actions(old: Object, new: Object) -> Action:
    found = _NOTHING
    before, after = old.get("status") or {}, new.get("status") or {}
    if before.get("allocatable") != after.get("allocatable"):
        found |= Action.UPDATE_ALLOCATABLE
    if objects.labels(old) != objects.labels(new):
        found |= Action.UPDATE_LABELS
    spec_before, spec_after = old.get("spec") or {}, new.get("spec") or {}
    if spec_before.get("taints") != spec_after.get("taints") or (
        spec_before.get("unschedulable") != spec_after.get("unschedulable")
    ):
        found |= Action.UPDATE_TAINTS
    if _states(before) != _states(after):
        found |= Action.UPDATE_CONDITION
    if objects.annotations(old) != objects.annotations(new):
        found |= Action.UPDATE_ANNOTATIONS
    return found


def _states(status: Object) -> dict[object, object]:
    return {c.get("type"): c.get("status") for c in status.get("conditions") or ()}


def pending_pod_actions(old: Object, new: Object) -> Action:
    """Of a Pod that waits. Changes of its status are none but for the claims made for it: the scheduler writes the rest
    itself."""
    found = _NOTHING
    if objects.labels(old) != objects.labels(new):
        found |= Action.UPDATE_LABELS
    before, after = old.get("spec") or {}, new.get("spec") or {}
    if before.get("schedulingGates") != after.get("schedulingGates"):
        found |= Action.UPDATE_GATES
    if before.get("tolerations") != after.get("tolerations"):
        found |= Action.UPDATE_TOLERATIONS
    made, known = ((o.get("status") or {}).get("resourceClaimStatuses") for o in (new, old))
    if not found and (before != after or made != known):
        found |= Action.UPDATE_OTHER
    return found
