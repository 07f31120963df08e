"""The default filters and scores, stated slowly and plainly, one Pod and one node at a time, as upstream's
documentation does. Nothing here is shared with the scheduler but the parsing of API objects."""

from __future__ import annotations

import math
from typing import Any

from podwright.api import node_affinity, objects, pods, quantity, taints
from podwright.api.objects import Object
from podwright.api.selectors.labels import from_label_selector

REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"


class Cluster:
    """Nodes, and Pods with spec.nodeName."""

    def __init__(self, nodes: list[Object], placed: list[Object]) -> None:
        self.nodes = nodes
        self.placed = [p for p in placed if any(objects.name(n) == pods.node_name(p) for n in nodes)]

    def on(self, node: Object) -> list[Object]:
        return [p for p in self.placed if pods.node_name(p) == objects.name(node)]

    def node_of(self, pod: Object) -> Object:
        return next(n for n in self.nodes if objects.name(n) == pods.node_name(pod))

    def feasible(self, pod: Object) -> set[str]:
        return {objects.name(n) for n in self.nodes if all(rule(self, pod, n) for rule in FILTERS)}

    def winners(self, pod: Object) -> set[str]:
        left = [n for n in self.nodes if objects.name(n) in self.feasible(pod)]
        totals = dict.fromkeys((objects.name(n) for n in left), 0)
        for weight, score in SCORES:
            for name, value in score(self, pod, left).items():
                totals[name] += weight * value
        return {name for name, total in totals.items() if total == max(totals.values())}


def allocatable(node: Object, resource: str) -> int:
    text = node["status"]["allocatable"].get(resource, "0")
    return quantity.milli(text) if resource == "cpu" else quantity.value(text)


def schedulable(c: Cluster, pod: Object, node: Object) -> bool:
    taint = {"key": taints.UNSCHEDULABLE, "effect": "NoSchedule"}
    return not node["spec"].get("unschedulable") or taints.is_tolerated(taint, pod["spec"].get("tolerations") or [])


def tolerated(c: Cluster, pod: Object, node: Object) -> bool:
    return taints.untolerated(node["spec"].get("taints") or [], pod["spec"].get("tolerations") or []) is None


def node_matches(c: Cluster, pod: Object, node: Object) -> bool:
    return node_affinity.pod_matches_node(pod, node)


def ports_free(c: Cluster, pod: Object, node: Object) -> bool:
    taken = [port for other in c.on(node) for port in pods.host_ports(other)]
    return not any(
        a[0] == b[0] and a[2] == b[2] and (a[1] == b[1] or "0.0.0.0" in (a[1], b[1]))
        for a in pods.host_ports(pod) for b in taken
    )  # fmt: skip


def fits(c: Cluster, pod: Object, node: Object) -> bool:
    here = c.on(node)
    if len(here) + 1 > allocatable(node, "pods"):
        return False
    for resource, amount in pods.requests(pod).items():
        used = sum(pods.requests(p).get(resource, 0) for p in here)
        if amount > 0 and used + amount > allocatable(node, resource):
            return False
    return True


def term_matches(term: Object, owner: Object, other: Object) -> bool:
    spaces = term.get("namespaces") or [objects.namespace(owner)]
    return objects.namespace(other) in spaces and from_label_selector(term.get("labelSelector")).matches(
        objects.labels(other)
    )


def together(a: Object, b: Object, key: str) -> bool:
    """Whether two nodes are of one domain."""
    return key in objects.labels(a) and objects.labels(a).get(key) == objects.labels(b).get(key)


def terms(pod: Object, kind: str, strength: str) -> list[Object]:
    return ((pod["spec"].get("affinity") or {}).get(kind) or {}).get(strength) or []


def affinity(c: Cluster, pod: Object, node: Object) -> bool:
    wanted = terms(pod, "podAffinity", REQUIRED)
    if any(t["topologyKey"] not in objects.labels(node) for t in wanted):
        return False
    others = [p for p in c.placed if all(term_matches(t, pod, p) for t in wanted)]
    if all(any(together(node, c.node_of(p), t["topologyKey"]) for p in others) for t in wanted):
        return True
    nobody = not any(t["topologyKey"] in objects.labels(c.node_of(p)) for p in others for t in wanted)
    return nobody and all(term_matches(t, pod, pod) for t in wanted)


def anti_affinity(c: Cluster, pod: Object, node: Object) -> bool:
    for other in c.placed:
        where = c.node_of(other)
        for t in terms(pod, "podAntiAffinity", REQUIRED):
            if term_matches(t, pod, other) and together(node, where, t["topologyKey"]):
                return False
        for t in terms(other, "podAntiAffinity", REQUIRED):
            if term_matches(t, other, pod) and together(node, where, t["topologyKey"]):
                return False
    return True


def counts_for(c: Cluster, constraint: Object, pod: Object, node: Object) -> bool:
    """Whether a node's Pods count for a constraint."""
    if (constraint.get("nodeAffinityPolicy") or "Honor") == "Honor" and not node_matches(c, pod, node):
        return False
    return (constraint.get("nodeTaintsPolicy") or "Ignore") == "Ignore" or tolerated(c, pod, node)


def constraints(pod: Object, action: str) -> list[Object]:
    return [t for t in pod["spec"].get("topologySpreadConstraints") or [] if t["whenUnsatisfiable"] == action]


def matching(c: Cluster, constraint: Object, pod: Object, nodes: list[Object]) -> int:
    selector = from_label_selector(constraint.get("labelSelector"))
    return sum(
        objects.namespace(p) == objects.namespace(pod) and not objects.is_deleting(p) and
        selector.matches(objects.labels(p)) for n in nodes for p in c.on(n)
    )  # fmt: skip


def spread(c: Cluster, pod: Object, node: Object) -> bool:
    hard = constraints(pod, "DoNotSchedule")
    if any(t["topologyKey"] not in objects.labels(node) for t in hard):
        return False
    keyed = [n for n in c.nodes if all(t["topologyKey"] in objects.labels(n) for t in hard)]
    for constraint in hard:
        key = constraint["topologyKey"]
        counting = [n for n in keyed if counts_for(c, constraint, pod, n)]
        domains: dict[str, list[Object]] = {}
        for n in counting:
            domains.setdefault(objects.labels(n)[key], []).append(n)
        sizes = {value: matching(c, constraint, pod, members) for value, members in domains.items()}
        least = min(sizes.values(), default=2**31 - 1)
        if len(sizes) < (constraint.get("minDomains") or 1):
            least = 0
        itself = from_label_selector(constraint.get("labelSelector")).matches(objects.labels(pod))
        if sizes.get(objects.labels(node)[key], 0) + itself - least > constraint["maxSkew"]:
            return False
    return True


FILTERS = (schedulable, tolerated, node_matches, ports_free, fits, spread, affinity, anti_affinity)

Scores = dict[str, int]


def proportional(raw: Scores, *, reverse: bool = False) -> Scores:
    most = max(raw.values(), default=0)
    if most == 0:
        return {n: 100 if reverse else v for n, v in raw.items()}
    return {n: 100 - v * 100 // most if reverse else v * 100 // most for n, v in raw.items()}


def taint_score(c: Cluster, pod: Object, nodes: list[Object]) -> Scores:
    tolerations = [t for t in pod["spec"].get("tolerations") or [] if t.get("effect") in (None, "", "PreferNoSchedule")]
    return proportional(
        {
            objects.name(n): sum(
                t["effect"] == "PreferNoSchedule" and not taints.is_tolerated(t, tolerations)
                for t in n["spec"].get("taints") or []
            )
            for n in nodes
        },
        reverse=True,
    )


def affinity_score(c: Cluster, pod: Object, nodes: list[Object]) -> Scores:
    preferred = node_affinity.preferred(pod)
    raw = {
        objects.name(n): sum(w for w, t in preferred if t.matches(objects.labels(n), objects.name(n))) for n in nodes
    }
    return proportional(raw)


def non_zero(pod: Object, resource: str) -> int:
    default = 100 if resource == "cpu" else 200 * 1024 * 1024
    total = 0
    for container in pod["spec"]["containers"]:
        asked = ((container.get("resources") or {}).get("requests") or {}).get(resource)
        if asked is None:
            total += default
        else:
            total += quantity.milli(asked) if resource == "cpu" else quantity.value(asked)
    return total


def least_allocated(c: Cluster, pod: Object, nodes: list[Object]) -> Scores:
    found = {}
    for n in nodes:
        parts = []
        for resource in ("cpu", "memory"):
            have = allocatable(n, resource)
            used = sum(non_zero(p, resource) for p in [*c.on(n), pod])
            if have:
                parts.append(0 if used > have else (have - used) * 100 // have)
        found[objects.name(n)] = sum(parts) // len(parts) if parts else 0
    return found


def balanced(c: Cluster, pod: Object, nodes: list[Object]) -> Scores:
    if not any(pods.requests(pod).get(r) for r in ("cpu", "memory")):
        return {}
    found = {}
    for n in nodes:
        parts = []
        for resource in ("cpu", "memory"):
            have = allocatable(n, resource)
            used = sum(pods.requests(p).get(resource, 0) for p in [*c.on(n), pod])
            if have:
                parts.append(min(1.0, used / have))
        deviation = abs((parts[0] - parts[1]) / 2) if len(parts) == 2 else 0.0
        found[objects.name(n)] = int((1 - deviation) * 100.0)
    return found


def spread_score(c: Cluster, pod: Object, nodes: list[Object]) -> Scores:
    soft = constraints(pod, "ScheduleAnyway")
    if not soft:
        return {}
    keyed = [n for n in nodes if all(t["topologyKey"] in objects.labels(n) for t in soft)]
    raw: dict[str, int] = {}
    for n in keyed:
        total = 0.0
        for t in soft:
            key = t["topologyKey"]
            if key == "kubernetes.io/hostname":
                count, size = matching(c, t, pod, [n]), len(keyed)
            else:
                counting = [
                    m for m in c.nodes
                    if all(s["topologyKey"] in objects.labels(m) for s in soft) and counts_for(c, t, pod, m)
                ]  # fmt: skip
                count = matching(c, t, pod, [m for m in counting if together(m, n, key)])
                size = len({objects.labels(m)[key] for m in keyed})
            total += count * math.log(size + 2) + (t["maxSkew"] - 1)
        raw[objects.name(n)] = math.floor(total + 0.5)
    if not raw:
        return {}
    least, most = min(raw.values()), max(raw.values())
    return {name: 100 if most == 0 else 100 * (most + least - value) // most for name, value in raw.items()}


def inter_pod_score(c: Cluster, pod: Object, nodes: list[Object]) -> Scores:
    raw: dict[str, int] = {objects.name(n): 0 for n in nodes}
    for n in nodes:
        for other in c.placed:
            where = c.node_of(other)

            def near(term: Object, n: Object = n, where: Object = where) -> bool:
                return together(n, where, term["topologyKey"])

            for sign, kind in ((1, "podAffinity"), (-1, "podAntiAffinity")):
                for a, b in ((pod, other), (other, pod)):
                    for weighted in terms(a, kind, PREFERRED):
                        term = weighted["podAffinityTerm"]
                        if term_matches(term, a, b) and near(term):
                            raw[objects.name(n)] += sign * weighted["weight"]
            for term in terms(other, "podAffinity", REQUIRED):
                if term_matches(term, other, pod) and near(term):
                    raw[objects.name(n)] += 1
    least, most = min(raw.values()), max(raw.values())
    return {name: int(100 * ((v - least) / (most - least))) if most > least else 0 for name, v in raw.items()}


SCORES: tuple[tuple[int, Any], ...] = (
    (3, taint_score), (2, affinity_score), (1, least_allocated), (2, spread_score), (2, inter_pod_score), (1, balanced),
)  # fmt: skip
