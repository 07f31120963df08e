"""How fast and how far a size may change: limits, policies and stabilization windows (KEP-853)."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from podwright.api.objects import Object

_DEFAULT_UP: Object = {
    "stabilizationWindowSeconds": 0,
    "selectPolicy": "Max",
    "policies": [
        {"type": "Pods", "value": 4, "periodSeconds": 15},
        {"type": "Percent", "value": 100, "periodSeconds": 15},
    ],
}
_DEFAULT_DOWN: Object = {"selectPolicy": "Max", "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}]}
_LONGEST_WINDOW = 3600.0


def rules(spec: Object, direction: str, downscale_window: float) -> Object:
    """The scaleUp or scaleDown rules with what was left out filled in."""
    default = dict(_DEFAULT_UP) if direction == "scaleUp" else {
        **_DEFAULT_DOWN, "stabilizationWindowSeconds": downscale_window,
    }  # fmt: skip
    given = (spec.get("behavior") or {}).get(direction) or {}
    return {**default, **{k: v for k, v in given.items() if v is not None}}


@dataclass(slots=True)
class History:
    """What was proposed and what was done of late, in monotonic seconds."""

    proposals: deque[tuple[float, int]] = field(default_factory=deque)
    changes: deque[tuple[float, int]] = field(default_factory=deque)

    def propose(self, now: float, replicas: int) -> None:
        self.proposals.append((now, replicas))
        while self.proposals and self.proposals[0][0] < now - _LONGEST_WINDOW:
            self.proposals.popleft()

    def changed(self, now: float, difference: int) -> None:
        self.changes.append((now, difference))
        while self.changes and self.changes[0][0] < now - _LONGEST_WINDOW:
            self.changes.popleft()

    def added(self, now: float, period: float) -> int:
        return sum(d for at, d in self.changes if d > 0 and at > now - period)

    def removed(self, now: float, period: float) -> int:
        return -sum(d for at, d in self.changes if d < 0 and at > now - period)


def stabilize(history: History, now: float, current: int, desired: int, up: Object, down: Object) -> tuple[int, str]:
    """(size, direction in which a window held it: "", "up" or "down")."""
    lowest = highest = desired
    up_window, down_window = (float(r.get("stabilizationWindowSeconds") or 0) for r in (up, down))
    for at, proposal in history.proposals:
        if at > now - up_window:
            lowest = min(lowest, proposal)
        if at > now - down_window:
            highest = max(highest, proposal)
    history.propose(now, desired)
    size = min(max(current, lowest), highest)
    if size < desired:
        return size, "up"
    return size, "down" if size > desired else ""


def rate_limit(
    history: History, now: float, current: int, desired: int, spec: Object, up: Object, down: Object
) -> tuple[int, str, str]:
    """(size, reason, message): reason is what limits it, DesiredWithinRange if nothing does."""
    most, least = int(spec["maxReplicas"]), int(spec.get("minReplicas", 1))
    if desired > current:
        allowed = _up_limit(history, now, current, up)
        allowed = max(allowed, current)
        if most < allowed and desired > most:
            return most, "TooManyReplicas", "the desired replica count is more than the maximum replica count"
        if desired > allowed:
            return allowed, "ScaleUpLimit", "the desired replica count is increasing faster than the maximum scale rate"
    elif desired < current:
        allowed = min(_down_limit(history, now, current, down), current)
        if least > allowed and desired < least:
            return least, "TooFewReplicas", "the desired replica count is less than the minimum replica count"
        if desired < allowed:
            return (
                allowed, "ScaleDownLimit", "the desired replica count is decreasing faster than the maximum scale rate"
            )  # fmt: skip
    if desired > most:
        return most, "TooManyReplicas", "the desired replica count is more than the maximum replica count"
    if desired < least:
        return least, "TooFewReplicas", "the desired replica count is less than the minimum replica count"
    return desired, "DesiredWithinRange", "the desired count is within the acceptable range"


def _choose(select: Any, limits: list[int], *, largest_change_is_max: bool) -> int | None:
    if select == "Disabled" or not limits:
        return None
    widest = max(limits) if largest_change_is_max else min(limits)
    narrowest = min(limits) if largest_change_is_max else max(limits)
    return narrowest if select == "Min" else widest


def _up_limit(history: History, now: float, current: int, up: Object) -> int:
    limits = []
    for policy in up.get("policies") or ():
        period = float(policy["periodSeconds"])
        start = current - history.added(now, period) + history.removed(now, period)
        if policy["type"] == "Pods":
            limits.append(start + int(policy["value"]))
        else:
            limits.append(math.ceil(start * (1 + policy["value"] / 100) - 1e-9))
    chosen = _choose(up.get("selectPolicy"), limits, largest_change_is_max=True)
    return current if chosen is None else chosen


def _down_limit(history: History, now: float, current: int, down: Object) -> int:
    limits = []
    for policy in down.get("policies") or ():
        period = float(policy["periodSeconds"])
        start = current + history.removed(now, period) - history.added(now, period)
        if policy["type"] == "Pods":
            limits.append(start - int(policy["value"]))
        else:
            limits.append(int(start * (1 - policy["value"] / 100)))
    chosen = _choose(down.get("selectPolicy"), limits, largest_change_is_max=False)
    return current if chosen is None else chosen
