"""Numbers of a rollout: surge and unavailability, who is how large, and how a change of scale is shared out."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from podwright.api import objects
from podwright.api.objects import Object
from podwright.controllers import pods

DESIRED_REPLICAS = "deployment.kubernetes.io/desired-replicas"
MAX_REPLICAS = "deployment.kubernetes.io/max-replicas"


def replicas(obj: Object) -> int:
    value = (obj.get("spec") or {}).get("replicas")
    return 1 if value is None else int(value)


def status_count(obj: Object, field: str) -> int:
    return int((obj.get("status") or {}).get(field) or 0)


def scaled_value(value: Any, total: int, *, round_up: bool) -> int:
    """An int-or-percentage of `total`.

    Raises:
        ValueError: a string that is no percentage.
    """
    if isinstance(value, int):
        return value
    text = str(value)
    if not text.endswith("%"):
        raise ValueError(f"invalid value for IntOrString: {text}")
    exact = int(text[:-1]) * total / 100
    return math.ceil(exact) if round_up else math.floor(exact)


def is_rolling_update(deployment: Object) -> bool:
    return ((deployment["spec"].get("strategy") or {}).get("type") or "RollingUpdate") == "RollingUpdate"


def fenceposts(deployment: Object) -> tuple[int, int]:
    """(maxSurge, maxUnavailable) in Pods. Both zero would stop a rollout: then one Pod may be unavailable."""
    rolling = (deployment["spec"].get("strategy") or {}).get("rollingUpdate") or {}
    total = replicas(deployment)
    surge = scaled_value(rolling.get("maxSurge", "25%"), total, round_up=True)
    unavailable = scaled_value(rolling.get("maxUnavailable", "25%"), total, round_up=False)
    if surge == 0 and unavailable == 0:
        unavailable = 1
    return surge, unavailable


def max_surge(deployment: Object) -> int:
    return fenceposts(deployment)[0] if is_rolling_update(deployment) else 0


def max_unavailable(deployment: Object) -> int:
    if not is_rolling_update(deployment) or replicas(deployment) == 0:
        return 0
    return min(fenceposts(deployment)[1], replicas(deployment))


def total_replicas(sets: Iterable[Object]) -> int:
    return sum(replicas(rs) for rs in sets)


def total_status(sets: Iterable[Object], field: str) -> int:
    return sum(status_count(rs, field) for rs in sets)


def new_set_size(deployment: Object, all_sets: Sequence[Object], new: Object | None) -> int:
    """To what size the new ReplicaSet may grow now."""
    wanted, current = replicas(deployment), replicas(new) if new is not None else 0
    if not is_rolling_update(deployment):
        return wanted
    ceiling = wanted + max_surge(deployment)
    running = total_replicas(all_sets)
    if running >= ceiling:
        return current
    return current + min(ceiling - running, wanted - current)


def is_saturated(deployment: Object, new: Object | None) -> bool:
    """The new ReplicaSet is as large as asked, knows it, and all of it is available."""
    if new is None:
        return False
    desired = objects.annotations(new).get(DESIRED_REPLICAS, "")
    wanted = replicas(deployment)
    return desired == str(wanted) and replicas(new) == wanted and status_count(new, "availableReplicas") == wanted


def proportion(rs: Object, deployment: Object, to_add: int, added: int) -> int:
    """This ReplicaSet's share of a change by `to_add`, of which `added` was given out already."""
    if not replicas(rs) or not to_add or to_add == added:
        return 0
    fraction, allowed = _fraction(rs, deployment), to_add - added
    return min(fraction, allowed) if to_add > 0 else max(fraction, allowed)


def _fraction(rs: Object, deployment: Object) -> int:
    wanted, current = replicas(deployment), replicas(rs)
    if wanted == 0:
        return -current
    ceiling = wanted + max_surge(deployment)
    try:
        before = int(objects.annotations(rs)[MAX_REPLICAS])
    except (KeyError, ValueError):
        before = status_count(deployment, "replicas")
    if before == 0:
        return 0
    return math.floor(current * ceiling / before + 0.5) - current


def by_creation(sets: Iterable[Object]) -> list[Object]:
    return sorted(sets, key=lambda rs: (pods.creation_time(rs), objects.name(rs)))


def by_size(sets: Iterable[Object], *, newest_first: bool) -> list[Object]:
    """Largest first; of equals the newest or the oldest."""
    ordered = by_creation(sets)
    if newest_first:
        ordered.reverse()
    return sorted(ordered, key=replicas, reverse=True)
