"""API priority and fairness: the default flow schemas and priority levels, and which of them a request belongs to
(Kubernetes documentation, "API Priority and Fairness")."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from podwright.api.objects import Object
from podwright.api.resources import BUILTIN, Resource
from podwright.apiserver.exchange import Request
from podwright.apiserver.flow_tallies import Tallies, Tally
from podwright.apiserver.inflight import NO_END, Level, Seats, share
from podwright.apiserver.requests import Objects, UserInfo

_GROUP = "flowcontrol.apiserver.k8s.io"
AUTOUPDATE = "apf.kubernetes.io/autoupdate-spec"


def _row(plural: str) -> Resource:
    row = BUILTIN.by_path(_GROUP, "v1", plural)
    assert row is not None
    return row


FLOW_SCHEMAS = _row("flowschemas")
PRIORITY_LEVELS = _row("prioritylevelconfigurations")

_LEVELS: tuple[tuple[str, int, int, tuple[int, int, int] | None], ...] = (
    ("system", 30, 33, (64, 6, 50)),
    ("node-high", 40, 25, (64, 6, 50)),
    ("leader-election", 10, 0, (16, 4, 50)),
    ("workload-high", 40, 50, (128, 6, 50)),
    ("workload-low", 100, 90, (128, 6, 50)),
    ("global-default", 20, 50, (128, 6, 50)),
    ("catch-all", 5, 0, None),
)
"""Name, nominal shares, lendable percent, and queues, hand size and queue length (None: reject)."""

_ALL_RESOURCES: Object = {
    "verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"], "clusterScope": True,
}
_ALL_URLS: Object = {"verbs": ["*"], "nonResourceURLs": ["*"]}
_LEASES: Object = {
    "verbs": ["get", "create", "update"], "apiGroups": ["coordination.k8s.io"], "resources": ["leases"],
    "namespaces": ["kube-system"],
}


def _user(name: str) -> Object:
    return {"kind": "User", "user": {"name": name}}


def _group(name: str) -> Object:
    return {"kind": "Group", "group": {"name": name}}


def _account(name: str) -> Object:
    return {"kind": "ServiceAccount", "serviceAccount": {"namespace": "kube-system", "name": name}}


_BOTH = (_group("system:unauthenticated"), _group("system:authenticated"))
_PROBES: Object = {"verbs": ["get"], "nonResourceURLs": ["/healthz", "/readyz", "/livez"]}
_NODE_HIGH: tuple[Object, ...] = (
    {"verbs": ["*"], "apiGroups": [""], "resources": ["nodes", "nodes/status"], "namespaces": ["*"],
     "clusterScope": True},
    {"verbs": ["*"], "apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "namespaces": ["*"]},
)

_SCHEMAS: tuple[tuple[str, str, int, str, tuple[Object, ...], tuple[Object, ...], tuple[Object, ...]], ...] = (
    ("exempt", "exempt", 1, "", (_group("system:masters"),), (_ALL_RESOURCES,), (_ALL_URLS,)),
    ("probes", "exempt", 2, "", _BOTH, (), (_PROBES,)),
    ("system-leader-election", "leader-election", 100, "ByUser",
     (_user("system:kube-controller-manager"), _user("system:kube-scheduler"), _account("*")), (_LEASES,), ()),
    ("system-node-high", "node-high", 400, "ByUser", (_group("system:nodes"),), _NODE_HIGH, ()),
    ("system-nodes", "system", 500, "ByUser", (_group("system:nodes"),), (_ALL_RESOURCES,), (_ALL_URLS,)),
    ("kube-controller-manager", "workload-high", 800, "ByNamespace", (_user("system:kube-controller-manager"),),
     (_ALL_RESOURCES,), (_ALL_URLS,)),
    ("kube-scheduler", "workload-high", 800, "ByNamespace", (_user("system:kube-scheduler"),), (_ALL_RESOURCES,),
     (_ALL_URLS,)),
    ("kube-system-service-accounts", "workload-high", 900, "ByNamespace", (_account("*"),), (_ALL_RESOURCES,),
     (_ALL_URLS,)),
    ("service-accounts", "workload-low", 9000, "ByUser", (_group("system:serviceaccounts"),), (_ALL_RESOURCES,),
     (_ALL_URLS,)),
    ("global-default", "global-default", 9900, "ByUser", _BOTH, (_ALL_RESOURCES,), (_ALL_URLS,)),
    ("catch-all", "catch-all", 10000, "ByUser", _BOTH, (_ALL_RESOURCES,), (_ALL_URLS,)),
)


def _metadata(name: str) -> Object:
    return {"name": name, "annotations": {AUTOUPDATE: "true"}}


def default_objects() -> Iterable[tuple[Resource, Object]]:
    """The mandatory and suggested configuration, as upstream makes it at start."""
    yield PRIORITY_LEVELS, {
        "metadata": _metadata("exempt"),
        "spec": {"type": "Exempt", "exempt": {"nominalConcurrencyShares": 0, "lendablePercent": 0}},
    }
    for name, shares, lendable, queuing in _LEVELS:
        response: Object = {"type": "Reject"}
        if queuing is not None:
            queues, hand, length = queuing
            limits = {"queues": queues, "handSize": hand, "queueLengthLimit": length}
            response = {"type": "Queue", "queuing": limits}
        limited = {"nominalConcurrencyShares": shares, "lendablePercent": lendable, "limitResponse": response}
        yield PRIORITY_LEVELS, {"metadata": _metadata(name), "spec": {"type": "Limited", "limited": limited}}
    for name, level, precedence, distinguisher, subjects, resources, urls in _SCHEMAS:
        rule: Object = {"subjects": list(subjects)}
        if resources:
            rule["resourceRules"] = list(resources)
        if urls:
            rule["nonResourceRules"] = list(urls)
        spec: Object = {
            "priorityLevelConfiguration": {"name": level}, "matchingPrecedence": precedence, "rules": [rule],
        }
        if distinguisher:
            spec["distinguisherMethod"] = {"type": distinguisher}
        yield FLOW_SCHEMAS, {"metadata": _metadata(name), "spec": spec}


def mandatory(row: Resource, name: str) -> Object | None:
    """The spec that an object without which there is no order must have, but for what the exempt level lends."""
    if name not in ("exempt", "catch-all"):
        return None
    spec = next(o["spec"] for kind, o in default_objects() if kind is row and o["metadata"]["name"] == name)
    return {k: v for k, v in spec.items() if k != "exempt"}


def includes(present: Any, wanted: Any) -> bool:
    """Whether `present` says all that `wanted` says: defaults come on top."""
    if isinstance(wanted, dict):
        return isinstance(present, dict) and all(includes(present.get(k), v) for k, v in wanted.items())
    if isinstance(wanted, list | tuple):
        return isinstance(present, list) and len(present) == len(wanted) and all(map(includes, present, wanted))
    return bool(present == wanted)


@dataclass(frozen=True, slots=True)
class Flow:
    """Where a request belongs: the UIDs of its flow schema and priority level, as the X-Kubernetes-PF-* headers say
    them, its level (None: there is none), what tells the flows of the schema apart, and what is counted of them."""

    schema_uid: str = ""
    level_uid: str = ""
    level: Level | None = None
    name: str = ""
    distinguisher: str = ""
    tally: Tally = field(default_factory=Tally)

    def part(self, request: Request) -> str:
        """What tells the flow from others of its schema."""
        if self.distinguisher == "ByUser":
            return request.user.name
        return request.info.namespace if self.distinguisher == "ByNamespace" else ""

    def of(self, request: Request) -> str:
        """The flow's name within its level."""
        return f"{self.name}/{self.part(request)}"


_NOWHERE = Flow()


class Classifier:
    """Finds the flow schema of a request: the first match by precedence, then by name. Answers are kept by user and
    kind of request until the configuration changes. The seats follow the configuration too; who sits already, sits."""

    def __init__(self, objects: Objects, seats: Seats, max_wait: float, now: Callable[[], float]) -> None:
        self.now = now
        self.tallies = Tallies()
        self.tallies.levels = self.levels
        self._objects = objects
        self._seats = seats
        self._max_wait = max_wait
        self._levels: dict[str, Level] = {}
        self._schemas: list[tuple[Object, Flow]] | None = None
        self._answers: dict[tuple[Any, ...], Flow] = {}
        for row in (FLOW_SCHEMAS, PRIORITY_LEVELS):
            objects.subscribe(row, self._changed)

    def _changed(self, old: Object | None, new: Object | None) -> None:
        self._schemas = None
        self._answers.clear()

    def of(self, request: Request) -> Flow:
        found: Flow | None = request.flow
        if found is not None:
            return found
        info, user = request.info, request.user
        key = (
            user.name, tuple(user.groups), info.verb, info.group, info.resource, info.subresource, info.namespace,
            "" if info.is_resource else info.path,
        )
        answer = self._answers.get(key)
        if answer is None:
            if len(self._answers) >= 8192:
                self._answers.clear()
            answer = self._answers[key] = self._find(request)
        request.flow = answer
        return answer

    def levels(self) -> list[Level]:
        if self._schemas is None:
            self._schemas = self._read()
        return sorted(self._levels.values(), key=lambda level: level.name)

    def _find(self, request: Request) -> Flow:
        if self._schemas is None:
            self._schemas = self._read()
        for schema, flow in self._schemas:
            if any(_matches(rule, request) for rule in schema["spec"].get("rules") or []):
                return flow
        return _NOWHERE

    def _read(self) -> list[tuple[Object, Flow]]:
        levels = {o["metadata"]["name"]: o for o in self._objects.list(PRIORITY_LEVELS)}
        self._deal(levels)
        found = []
        for schema in self._objects.list(FLOW_SCHEMAS):
            spec, metadata = schema.get("spec") or {}, schema["metadata"]
            name = str((spec.get("priorityLevelConfiguration") or {}).get("name"))
            if name in levels:
                flow = Flow(
                    str(metadata["uid"]), str(levels[name]["metadata"]["uid"]), self._levels.get(name),
                    metadata["name"], (spec.get("distinguisherMethod") or {}).get("type") or "",
                    self.tallies.of(name, metadata["name"], limited=levels[name]["spec"].get("type") != "Exempt"),
                )
                found.append((schema, flow))
        found.sort(key=lambda s: (s[0]["spec"].get("matchingPrecedence") or 0, s[0]["metadata"]["name"]))
        return found

    def _deal(self, configured: dict[str, Object]) -> None:
        dealt = []
        kept: dict[str, Level] = {}
        for name, obj in configured.items():
            spec = obj.get("spec") or {}
            limited = spec.get("limited") or {}
            level = kept[name] = self._levels.get(name) or Level(name, self._seats, self._max_wait)
            level.limited = spec.get("type") != "Exempt"
            if not level.limited:
                level.seats = level.most = NO_END
                continue
            response = limited.get("limitResponse") or {}
            queuing = response.get("queuing") or {} if response.get("type") == "Queue" else {}
            length = queuing.get("queueLengthLimit") or 0
            level.per_flow = length * (queuing.get("handSize") or 0)
            level.queued = length * (queuing.get("queues") or 0)
            dealt.append(
                (level, limited.get("nominalConcurrencyShares", 30), limited.get("lendablePercent") or 0,
                 limited.get("borrowingLimitPercent"))
            )
        self._levels = kept
        share(self._seats, dealt)


def _matches(rule: Object, request: Request) -> bool:
    if not any(_is_subject(subject, request.user) for subject in rule.get("subjects") or []):
        return False
    info = request.info
    if not info.is_resource:
        return any(
            _in(info.verb, url.get("verbs")) and any(_is_path(p, info.path) for p in url.get("nonResourceURLs") or [])
            for url in rule.get("nonResourceRules") or []
        )
    resource = f"{info.resource}/{info.subresource}" if info.subresource else info.resource
    return any(
        _in(info.verb, entry.get("verbs"))
        and _in(info.group, entry.get("apiGroups"))
        and _in(resource, entry.get("resources"))
        and (_in(info.namespace, entry.get("namespaces")) if info.namespace else bool(entry.get("clusterScope")))
        for entry in rule.get("resourceRules") or []
    )


def _in(value: str, among: list[str] | None) -> bool:
    return among is not None and ("*" in among or value in among)


def _is_path(pattern: str, path: str) -> bool:
    return pattern in ("*", path) or (pattern.endswith("/*") and path.startswith(pattern[:-1]))


def _is_subject(subject: Object, user: UserInfo) -> bool:
    kind = subject.get("kind")
    if kind == "User":
        return (subject.get("user") or {}).get("name") in ("*", user.name)
    if kind == "Group":
        name = (subject.get("group") or {}).get("name")
        return name == "*" or name in user.groups
    account = subject.get("serviceAccount") or {}
    prefix = f"system:serviceaccount:{account.get('namespace')}:"
    return user.name == prefix + str(account.get("name")) or (
        account.get("name") == "*" and user.name.startswith(prefix)
    )
