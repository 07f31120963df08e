"""Which Pods go first when a ReplicaSet shrinks: those whose loss matters least."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from podwright.api import objects
from podwright.api.objects import Object
from podwright.controllers import pods

DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
_PHASES = {"Pending": 0, "Unknown": 1, "Running": 2}


def victims(candidates: Sequence[Object], related: Sequence[Object], count: int, now: float) -> Sequence[Object]:
    """`count` of the candidates, in upstream's order: unassigned, pending, not ready, cheap by annotation, doubled up
    on a node with `related` Pods, ready or created more recently (by powers of two of age), restarted more often."""
    if count >= len(candidates):
        return candidates
    crowd = Counter(pods.node_name(p) for p in related if pods.is_active(p))

    def rank(pod: Object) -> tuple[float, ...]:
        since = pods.ready_since(pod)
        node = pods.node_name(pod)
        return (
            bool(node), _PHASES.get(pods.phase(pod), 1), since is not None, deletion_cost(pod),
            -crowd[node] if node else 0, _age_bucket(now - since) if since else 0, -pods.restarts(pod),
            _age_bucket(now - pods.creation_time(pod)),
        )

    return sorted(candidates, key=lambda pod: (rank(pod), objects.uid(pod)))[:count]


def deletion_cost(pod: Object) -> int:
    try:
        return int(objects.annotations(pod).get(DELETION_COST, "0"))
    except ValueError:
        return 0


def _age_bucket(seconds: float) -> int:
    """Ages within a power of two count as equal, so that near-equals are chosen from at random (by uid)."""
    return int(math.log2(seconds)) + 1 if seconds >= 1 else 0
