"""Why a Pod is, or is not, on a node: the scheduler's own rules, asked about one Pod and every node."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from podwright.api import objects, pods
from podwright.api.objects import Object
from podwright.scheduler.scheduler import refusals, score, total


@dataclass(frozen=True, slots=True)
class Placement:
    """A node's answer: every reason against it (none: the Pod fits), and its score from 0 to 1."""

    node: str
    refusals: Sequence[str]
    score: float
    chosen: bool


def explain(pod: Object, nodes: Sequence[Object], all_pods: Sequence[Object]) -> list[Placement]:
    """Each node as the scheduler would see it now if the Pod were not placed yet; the best first."""
    wanted = pods.requests(pod)
    ports = set(pods.host_ports(pod))
    chosen = (pod.get("spec") or {}).get("nodeName")
    answers = []
    for node in nodes:
        name = objects.name(node)
        here = [
            p for p in all_pods
            if (p.get("spec") or {}).get("nodeName") == name
            and objects.uid(p) != objects.uid(pod) and not pods.is_terminal(p)
        ]  # fmt: skip
        used = total(here)
        against = refusals(pod, node, wanted, used, len(here), ports, here)
        answers.append(Placement(name, against, round(score(node, wanted, used), 4), name == chosen))
    return sorted(answers, key=lambda a: (bool(a.refusals), -a.score, a.node))
