"""PodTopologySpread (Kubernetes documentation: "Pod Topology Spread Constraints")."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from podwright.api import objects, taints
from podwright.api.objects import Object
from podwright.api.resources import REPLICASETS, REPLICATIONCONTROLLERS, SERVICES, STATEFULSETS
from podwright.api.selectors.labels import InvalidSelector, LabelSelector, Requirement, from_label_selector, from_map
from podwright.scheduler.framework.events import ASSIGNED_POD, NODE, Action, ClusterEvent, Interest
from podwright.scheduler.framework.handle import Handle
from podwright.scheduler.framework.protocols import MAX_SCORE
from podwright.scheduler.framework.verdicts import SKIP, Reason, SkipType
from podwright.scheduler.plugins.node_affinity import matching_required
from podwright.scheduler.state.affinity_terms import with_label_keys
from podwright.scheduler.state.nodes import ALL, Ints, Mask, Rows
from podwright.scheduler.state.pods import PodInfo
from podwright.scheduler.state.topology import by_domain

MESSAGE = "node(s) didn't match pod topology spread constraints"
MISSING = f"{MESSAGE} (missing required label)"
_HOSTNAME = "kubernetes.io/hostname"
_SYSTEM_DEFAULTS: tuple[Object, ...] = (
    {"topologyKey": _HOSTNAME, "maxSkew": 3, "whenUnsatisfiable": "ScheduleAnyway"},
    {"topologyKey": "topology.kubernetes.io/zone", "maxSkew": 5, "whenUnsatisfiable": "ScheduleAnyway"},
)
_NO_DOMAIN = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Constraint:
    key: str
    max_skew: int
    selector: LabelSelector
    min_domains: int
    honors_affinity: bool
    honors_taints: bool


def _constraint(raw: Object, selector: LabelSelector) -> Constraint:
    return Constraint(
        str(raw.get("topologyKey") or ""),
        int(raw.get("maxSkew") or 1),
        selector,
        int(raw.get("minDomains") or 1),
        (raw.get("nodeAffinityPolicy") or "Honor") == "Honor",
        (raw.get("nodeTaintsPolicy") or "Ignore") == "Honor",
    )


@dataclass(slots=True)
class _Soft:
    constraints: list[Constraint]
    needs_all: bool
    ignored: Mask
    """Over all rows: nodes without a label that every node should have."""
    counts: list[Ints]
    """For each constraint by row: the Pods of the row's domain."""
    weights: list[float]


class PodTopologySpread:
    """Arguments: ``defaultingType`` (System or List) and ``defaultConstraints``: for Pods without constraints of their
    own, over the Pods of their Services and controllers."""

    name = "PodTopologySpread"
    row_local = False

    def __init__(self, handle: Handle, args: Mapping[str, Any]) -> None:
        self._handle = handle
        self._nodes = handle.nodes
        self._counts = handle.state.counts
        kind = args.get("defaultingType") or "System"
        if kind not in ("System", "List"):
            raise ValueError(f'defaultingType: Unsupported value: "{kind}": supported values: "List", "System"')
        if kind == "System" and args.get("defaultConstraints"):
            raise ValueError("defaultingType: Invalid value: \"System\": when .defaultConstraints are specified")
        self._system = kind == "System"
        self._services: tuple[str, dict[str, list[LabelSelector]]] = ("", {})
        listed: Sequence[Object] = args.get("defaultConstraints") or ()
        self._defaults = _SYSTEM_DEFAULTS if self._system else tuple(listed)

    def _constraints(self, pod: PodInfo, action: str) -> list[Constraint]:
        own = pod.cls.spec.get("topologySpreadConstraints") or ()
        if own:
            found = []
            for raw in own:
                if (raw.get("whenUnsatisfiable") or "DoNotSchedule") != action:
                    continue
                try:
                    selector = from_label_selector(raw.get("labelSelector"))
                except InvalidSelector:
                    selector = from_label_selector(None)
                keys = raw.get("matchLabelKeys") or ()
                found.append(_constraint(raw, with_label_keys(selector, pod.labels, keys)))
            return found
        wanted = [raw for raw in self._defaults if raw.get("whenUnsatisfiable") == action]
        if not wanted or not pod.labels:
            return []
        selector = self._of_owners(pod)
        return [] if selector.empty else [_constraint(raw, selector) for raw in wanted]

    def _service_selectors(self) -> dict[str, list[LabelSelector]]:
        """The selectors of Services by namespace, read again only when a Service has changed."""
        version = self._handle.version_of(SERVICES)
        if self._services[0] != version or not version:
            found: dict[str, list[LabelSelector]] = {}
            for service in self._handle.objects_of(SERVICES):
                pairs = (service.get("spec") or {}).get("selector")
                if pairs:
                    found.setdefault(objects.namespace(service), []).append(from_map(pairs))
            self._services = version, found
        return self._services[1]

    def _of_owners(self, pod: PodInfo) -> LabelSelector:
        """What the Services and the controller of a Pod select."""
        found: list[Requirement] = []
        for selector in self._service_selectors().get(pod.namespace, ()):
            if selector.matches(pod.labels):
                found += selector.requirements
        owner = objects.controller_of(pod.pod) or {}
        rows = {"ReplicaSet": REPLICASETS, "StatefulSet": STATEFULSETS, "ReplicationController": REPLICATIONCONTROLLERS}
        row = rows.get(owner.get("kind") or "")
        if row is not None:
            controller = self._handle.object_of(row, f"{pod.namespace}/{owner.get('name')}") or {}
            raw = (controller.get("spec") or {}).get("selector")
            if raw and row is REPLICATIONCONTROLLERS:
                found += from_map(raw).requirements
            elif raw:
                found += from_label_selector(raw).requirements
        return LabelSelector(dict.fromkeys(found))

    def _included(self, pod: PodInfo, constraint: Constraint, keyed: Mask) -> Mask:
        """The rows whose Pods count."""
        included = keyed & self._nodes.alive.of()
        if constraint.honors_affinity:
            included &= matching_required(self._nodes, pod.cls.required_affinity, ALL)
        if constraint.honors_taints:
            sets = [[{"key": k, "value": v, "effect": e} for k, v, e in s] for s in self._nodes.taint_sets]
            open_ = np.array([taints.untolerated(s, pod.cls.tolerations) is None for s in sets], np.bool_)
            included &= open_[self._nodes.taint_set.of()]
        return np.asarray(included)

    def _keyed(self, constraints: Sequence[Constraint]) -> Mask:
        keyed = np.ones(self._nodes.size, np.bool_)
        for constraint in constraints:
            keyed &= self._nodes.labels(constraint.key).column.of() > 0
        return keyed

    def _matching(self, pod: PodInfo, constraint: Constraint) -> Ints:
        return self._counts.selected((frozenset((pod.namespace,)), constraint.selector), living=True)

    def pre_filter(self, pod: PodInfo) -> SkipType | None:
        constraints = self._constraints(pod, "DoNotSchedule")
        if not constraints:
            return SKIP
        pod.state[self.name] = constraints
        return None

    def _judged(self, pod: PodInfo, rows: Rows) -> tuple[Mask, Mask]:
        """Rows that lack a label, and rows where a skew would be too great."""
        size = len(self._nodes.alive.of(rows))
        missing, skewed = np.zeros(size, np.bool_), np.zeros(size, np.bool_)
        constraints: list[Constraint] = pod.state[self.name]
        keyed = self._keyed(constraints)
        for constraint in constraints:
            labels = self._nodes.labels(constraint.key)
            included = self._included(pod, constraint, keyed)
            sums = by_domain(self._nodes, constraint.key, self._matching(pod, constraint), included)
            domains = np.bincount(labels.column.of()[included], minlength=labels.domains) > 0
            domains[0] = False
            known = int(np.count_nonzero(domains))
            least = int(sums[domains].min()) if known else _NO_DOMAIN
            if known < constraint.min_domains:
                least = 0
            itself = int(constraint.selector.matches(pod.labels))
            ids = labels.column.of(rows)
            missing |= ids == 0
            skewed |= sums[ids] + itself - least > constraint.max_skew
        return missing, skewed & ~missing

    def filter(self, pod: PodInfo, rows: Rows) -> Mask:
        missing, skewed = self._judged(pod, rows)
        return ~(missing | skewed)

    def reasons(self, pod: PodInfo, rows: Rows) -> Sequence[Reason]:
        missing, skewed = self._judged(pod, rows)
        return Reason(MISSING, missing, resolvable=False), Reason(MESSAGE, skewed)

    def pre_score(self, pod: PodInfo, feasible: Ints) -> SkipType | None:
        constraints = self._constraints(pod, "ScheduleAnyway")
        if not constraints:
            return SKIP
        needs_all = bool(pod.cls.spec.get("topologySpreadConstraints")) or not self._system
        keyed = self._keyed(constraints) if needs_all else np.ones(self._nodes.size, np.bool_)
        left = feasible[keyed[feasible]]
        counts, weights = [], []
        for constraint in constraints:
            labels = self._nodes.labels(constraint.key)
            matching = self._matching(pod, constraint)
            if constraint.key == _HOSTNAME:
                counts.append(matching)
                weights.append(math.log(len(left) + 2))
                continue
            included = self._included(pod, constraint, keyed)
            sums = by_domain(self._nodes, constraint.key, matching, included)
            counts.append(sums[labels.column.of()])
            ids = labels.column.of()[left]
            weights.append(math.log(len(np.unique(ids[ids > 0])) + 2))
        pod.state[self.name + ".soft"] = _Soft(constraints, needs_all, ~keyed, counts, weights)
        return None

    def score(self, pod: PodInfo, rows: Rows) -> Ints:
        soft: _Soft = pod.state[self.name + ".soft"]
        total = np.zeros(len(self._nodes.alive.of(rows)))
        for constraint, counts, weight in zip(soft.constraints, soft.counts, soft.weights, strict=True):
            has = self._nodes.labels(constraint.key).column.of(rows) > 0
            total += np.where(has, counts[rows] * weight + (constraint.max_skew - 1), 0.0)
        scores = np.floor(total + 0.5).astype(np.int64)
        return np.where(soft.ignored[rows], -1, scores)

    def normalize(self, pod: PodInfo, scores: Ints) -> Ints:
        there = scores >= 0
        if not there.any():
            return np.zeros_like(scores)
        least, most = int(scores[there].min()), int(scores[there].max())
        if most == 0:
            return np.where(there, MAX_SCORE, 0)
        return np.where(there, MAX_SCORE * (most + least - scores) // most, 0)

    def interests(self) -> Sequence[Interest]:
        return (
            Interest(ASSIGNED_POD, Action.ADD | Action.DELETE | Action.UPDATE_LABELS),
            Interest(NODE, Action.ADD | Action.DELETE | Action.UPDATE_LABELS | Action.UPDATE_TAINTS),
        )

    def helps(self, pod: PodInfo, event: ClusterEvent) -> bool:
        if event.kind == NODE:
            return True
        constraints = self._constraints(pod, "DoNotSchedule")
        changed = [o for o in (event.new, event.old) if o is not None and objects.namespace(o) == pod.namespace]
        return any(c.selector.matches(objects.labels(o)) for c in constraints for o in changed)
