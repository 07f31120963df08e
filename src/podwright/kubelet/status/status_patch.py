"""The smallest strategic merge patch that brings a Pod's status from what the API has to what the kubelet wants,
leaving alone what others own."""

from __future__ import annotations

from collections.abc import Sequence

from podwright.api.objects import Object
from podwright.kubelet.status.conditions import OWNED

_LISTS_BY_IP = ("podIPs", "hostIPs")
_KUBELET_FIELDS = (
    "observedGeneration",
    "phase",
    "reason",
    "message",
    "startTime",
    "qosClass",
    "hostIP",
    "podIP",
    "containerStatuses",
    "initContainerStatuses",
    "ephemeralContainerStatuses",
    "resources",
    "allocatedResources",
)


def status_patch(current: Object, wanted: Object) -> Object:
    """{} if they agree."""
    patch: Object = {}
    for name in _KUBELET_FIELDS:
        have, want = current.get(name), wanted.get(name)
        if have == want or (not have and not want):
            continue
        if name == "startTime" and want is None:
            continue
        patch[name] = want
    for name in _LISTS_BY_IP:
        changed = _by_ip(current.get(name) or (), wanted.get(name) or ())
        if changed:
            patch[name] = changed
    conditions = _conditions(current.get("conditions") or (), wanted.get("conditions") or ())
    if conditions:
        patch["conditions"] = conditions
    return patch


def _by_ip(have: Sequence[Object], want: Sequence[Object]) -> list[Object]:
    if list(have) == list(want):
        return []
    wanted = {entry["ip"] for entry in want}
    gone: list[Object] = [{"$patch": "delete", "ip": entry["ip"]} for entry in have if entry["ip"] not in wanted]
    return [*want, *gone] if want or gone else []


def _conditions(have: Sequence[Object], want: Sequence[Object]) -> list[Object]:
    known = {c["type"]: c for c in have}
    changed: list[Object] = []
    for condition in want:
        before = known.get(condition["type"])
        if before is None:
            changed.append(condition)
        elif any(before.get(k) != v for k, v in condition.items()) or _dropped(before, condition):
            changed.append({**dict.fromkeys(_dropped(before, condition)), **condition})
    wanted = {c["type"] for c in want}
    changed += [{"$patch": "delete", "type": t} for t in known if t in OWNED and t not in wanted]
    return changed


def _dropped(before: Object, after: Object) -> list[str]:
    return [k for k in before if k not in after and before[k] is not None and k != "lastProbeTime"]
