"""Facts about Pods that several components need: what they ask for, their quality of service, their containers.

All are pure functions of the Pod object. The arithmetic of requests and limits is that of component-helpers' resource
package (KEP-753 "Sidecar containers", KEP-1287 "In-place update of Pod resources", KEP-2837 "Pod level resources").
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal

from podwright.api import objects, quantity
from podwright.api.objects import Object, condition, condition_is_true

INIT = "init"
REGULAR = "regular"
EPHEMERAL = "ephemeral"

GUARANTEED = "Guaranteed"
BURSTABLE = "Burstable"
BEST_EFFORT = "BestEffort"

CONFIG_SOURCE = "kubernetes.io/config.source"
CONFIG_MIRROR = "kubernetes.io/config.mirror"
CONFIG_HASH = "kubernetes.io/config.hash"
CONFIG_SEEN = "kubernetes.io/config.seen"

CRITICAL_PRIORITY = 2_000_000_000

_NANO = 10**9
_MILLI = 10**6
_LISTS = (("initContainers", INIT), ("containers", REGULAR), ("ephemeralContainers", EPHEMERAL))
_STATUSES = ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses")
_COMPUTE = ("cpu", "memory")
_HUGE_PAGES = "hugepages-"

Amounts = dict[str, int]
"""Resource name → billionths."""


def all_containers(pod: Object) -> Iterator[tuple[str, Object]]:
    """Each container with its kind: INIT, REGULAR or EPHEMERAL, in this order."""
    spec = pod.get("spec") or {}
    for field, kind in _LISTS:
        for container in spec.get(field) or ():
            yield kind, container


def containers(pod: Object) -> Sequence[Object]:
    return pod["spec"].get("containers") or ()


def init_containers(pod: Object) -> Sequence[Object]:
    return pod["spec"].get("initContainers") or ()


def ephemeral_containers(pod: Object) -> Sequence[Object]:
    return pod["spec"].get("ephemeralContainers") or ()


def is_init(pod: Object, name: str) -> bool:
    return any(c["name"] == name for c in init_containers(pod))


def is_ephemeral(pod: Object, name: str) -> bool:
    return any(c["name"] == name for c in ephemeral_containers(pod))


def container(pod: Object, name: str) -> Object | None:
    return next((c for _, c in all_containers(pod) if c.get("name") == name), None)


def container_status(pod: Object, name: str) -> Object | None:
    """The status of a container of any kind."""
    status = pod.get("status") or {}
    for field in _STATUSES:
        for found in status.get(field) or ():
            if found.get("name") == name:
                return dict(found)
    return None


def is_sidecar(container: Object) -> bool:
    """Of an init container: whether it is restartable, and so runs beside the regular ones."""
    return container.get("restartPolicy") == "Always"


def phase(pod: Object) -> str:
    return str((pod.get("status") or {}).get("phase") or "")


def is_terminal(pod: Object) -> bool:
    """Whether it has ended for good: Succeeded or Failed."""
    return phase(pod) in ("Succeeded", "Failed")


def is_ready(pod: Object) -> bool:
    return condition_is_true(pod, "Ready")


def is_mirror(pod: Object) -> bool:
    """Whether it only shows a static Pod in the API."""
    return CONFIG_MIRROR in objects.annotations(pod)


def is_static(pod: Object) -> bool:
    """Whether it came from a kubelet's own files or URL. Its mirror, which carries the same annotation, did not."""
    return objects.annotations(pod).get(CONFIG_SOURCE, "api") != "api" and not is_mirror(pod)


def is_critical(pod: Object) -> bool:
    """Static and system-critical Pods: admitted first, evicted last."""
    return is_static(pod) or is_mirror(pod) or priority(pod) >= CRITICAL_PRIORITY


def priority(pod: Object) -> int:
    return int((pod.get("spec") or {}).get("priority") or 0)


def node_name(pod: Object) -> str:
    return str((pod.get("spec") or {}).get("nodeName") or "")


def host_network(pod: Object) -> bool:
    return bool(pod["spec"].get("hostNetwork"))


def termination_grace(pod: Object) -> float:
    """Seconds between the stop signal and SIGKILL when the Pod is ended: of its deletion, else of its spec."""
    meta = pod["metadata"]
    if meta.get("deletionTimestamp") and meta.get("deletionGracePeriodSeconds") is not None:
        return float(meta["deletionGracePeriodSeconds"])
    grace = pod["spec"].get("terminationGracePeriodSeconds")
    return float(30 if grace is None else grace)


def describe(pod: Object) -> str:
    """"namespace/name(uid)": how logs call a Pod."""
    return f"{objects.key(pod)}({objects.uid(pod)})"


def host_ports(pod: Object) -> list[tuple[str, str, int]]:
    """(protocol, host IP, port) of each port that the Pod takes on its node. The IP is "0.0.0.0" for all."""
    found = []
    for kind, c in all_containers(pod):
        if kind == REGULAR or (kind == INIT and is_sidecar(c)):
            found += [
                (port.get("protocol") or "TCP", port.get("hostIP") or "0.0.0.0", int(port["hostPort"]))
                for port in c.get("ports") or ()
                if port.get("hostPort")
            ]
    return found


def qos_class(pod: Object) -> str:
    """The class that the status says, which never changes, or else the computed one."""
    return str((pod.get("status") or {}).get("qosClass") or compute_qos_class(pod))


def compute_qos_class(pod: Object) -> str:
    """Guaranteed, Burstable or BestEffort by the requests and limits for CPU and memory (Kubernetes documentation: "Pod
    Quality of Service Classes")."""
    spec = pod.get("spec") or {}
    if _has_pod_level(spec, "requests", "limits"):
        sets = [spec["resources"]]
    else:
        sets = [c.get("resources") or {} for kind, c in all_containers(pod) if kind != EPHEMERAL]
    requested: Amounts = {}
    limited: Amounts = {}
    guaranteed = True
    for resources in sets:
        _add(requested, _positive(resources.get("requests")))
        limits_here = _positive(resources.get("limits"))
        _add(limited, limits_here)
        guaranteed = guaranteed and len(limits_here) == len(_COMPUTE)
    if not requested and not limited:
        return BEST_EFFORT
    return GUARANTEED if guaranteed and requested == limited else BURSTABLE


def _positive(listed: Mapping[str, quantity.Quantity] | None) -> Amounts:
    amounts = {name: quantity.nano(listed[name]) for name in _COMPUTE if name in listed} if listed else {}
    return {name: amount for name, amount in amounts.items() if amount > 0}


def requests(pod: Object, *, for_scheduling: bool = True) -> dict[str, int]:
    """What the Pod requests of its node: "cpu" in milli-CPUs, everything else in whole units (bytes), rounded up.

    The sum over its regular containers and sidecars, or the most that an init container needs with the sidecars before
    it, whichever is more; Pod-level requests in their stead; and the overhead. With `for_scheduling`, resources that a
    resize has not yet given back count as well.

    Raises:
        QuantityError: a quantity is malformed.
    """
    return _whole(_requests(pod, for_scheduling))


def limits(pod: Object, *, for_scheduling: bool = False) -> dict[str, int]:
    """As :func:`requests`, of limits. A resource is there only if some container limits it.

    Raises:
        QuantityError: a quantity is malformed.
    """
    return _whole(_limits(pod, for_scheduling))


def total(pod: Object, field: str, *, with_status: bool = False) -> dict[str, Decimal]:
    """The "requests" or "limits" of the Pod as exact numbers in base units (CPUs, bytes): limit ranges compare those
    of its spec, quotas also what it holds until a resize is done."""
    amounts = _requests(pod, with_status) if field == "requests" else _limits(pod, with_status)
    return {name: Decimal(amount).scaleb(-9) for name, amount in amounts.items()}


def _whole(amounts: Amounts) -> dict[str, int]:
    return {name: -(-amount // (_MILLI if name == "cpu" else _NANO)) for name, amount in amounts.items()}


def _parsed(listed: Mapping[str, quantity.Quantity] | None) -> Amounts:
    return {name: quantity.nano(text) for name, text in listed.items()} if listed else {}


def _add(total: Amounts, more: Amounts) -> None:
    for name, amount in more.items():
        total[name] = total.get(name, 0) + amount


def _raise(total: Amounts, to: Amounts) -> None:
    for name, amount in to.items():
        if name not in total or amount > total[name]:
            total[name] = amount


def _most(*lists: Amounts) -> Amounts:
    out: Amounts = {}
    for amounts in lists:
        _raise(out, amounts)
    return out


Of = Callable[[Object, Mapping[str, Object]], Amounts]
"""Of a container and the statuses by name."""


def _aggregate(pod: Object, of: Of, statuses: Mapping[str, Object]) -> Amounts:
    spec = pod.get("spec") or {}
    total: Amounts = {}
    for c in spec.get("containers") or ():
        _add(total, of(c, statuses))
    inits = spec.get("initContainers")
    if not inits:
        return total
    sidecars: Amounts = {}
    peak: Amounts = {}
    for c in inits:
        amounts = of(c, statuses)
        if is_sidecar(c):
            _add(total, amounts)
            _add(sidecars, amounts)
            _raise(peak, sidecars)
        else:
            needs = dict(amounts)
            _add(needs, sidecars)
            _raise(peak, needs)
    _raise(total, peak)
    return total


def _spec_requests(c: Object, _: Mapping[str, Object]) -> Amounts:
    return _parsed((c.get("resources") or {}).get("requests"))


def _spec_limits(c: Object, _: Mapping[str, Object]) -> Amounts:
    return _parsed((c.get("resources") or {}).get("limits"))


def _is_infeasible(pod: Object) -> bool:
    pending = condition(pod, "PodResizePending")
    return pending is not None and pending.get("reason") == "Infeasible"


def _statuses(pod: Object) -> dict[str, Object]:
    status = pod.get("status") or {}
    return {
        s.get("name") or "": s
        for field in ("initContainerStatuses", "containerStatuses")
        for s in status.get(field) or ()
        if s.get("resources") is not None or s.get("allocatedResources") is not None
    }


def _requests(pod: Object, with_status: bool) -> Amounts:
    spec = pod.get("spec") or {}
    total = _container_requests(pod, with_status)
    overhead = _parsed(spec.get("overhead"))
    if _has_pod_level(spec, "requests"):
        level = _parsed(spec["resources"]["requests"])
        status = pod.get("status") or {}
        if with_status and (status.get("resources") is not None or status.get("allocatedResources") is not None):
            given = _less(_parsed((status.get("resources") or {}).get("requests")), overhead)
            allocated = _less(_parsed(status.get("allocatedResources")), overhead)
            level = _most({} if _is_infeasible(pod) else level, given, allocated)
        total.update({name: amount for name, amount in level.items() if _is_pod_level(name)})
    _add(total, overhead)
    return total


def _container_requests(pod: Object, with_status: bool) -> Amounts:
    asked = _aggregate(pod, _spec_requests, {})
    if not with_status:
        return asked
    statuses = _statuses(pod)
    if not statuses:
        # Nothing was resized or admitted yet: the spec says it all.
        return asked
    infeasible = _is_infeasible(pod)

    def allocated(c: Object, by_name: Mapping[str, Object]) -> Amounts:
        status = by_name.get(c.get("name") or "") or {}
        if status.get("allocatedResources") is not None:
            return _parsed(status["allocatedResources"])
        return {} if infeasible else _spec_requests(c, by_name)

    def actuated(c: Object, by_name: Mapping[str, Object]) -> Amounts:
        status = by_name.get(c.get("name") or "") or {}
        given = (status.get("resources") or {}).get("requests")
        return _parsed(given) if given is not None else allocated(c, by_name)

    now = _most(_aggregate(pod, actuated, statuses), _aggregate(pod, allocated, statuses))
    return now if infeasible else _most(asked, now)


def _limits(pod: Object, with_status: bool) -> Amounts:
    spec = pod.get("spec") or {}
    total = _container_limits(pod, with_status)
    overhead = _parsed(spec.get("overhead"))
    if _has_pod_level(spec, "requests", "limits"):
        level = _parsed(spec["resources"].get("limits"))
        given = (pod.get("status") or {}).get("resources")
        if with_status and given is not None:
            now = _less(_parsed(given.get("limits")), overhead)
            level = _most({} if _is_infeasible(pod) else level, now)
        total.update({name: amount for name, amount in level.items() if _is_pod_level(name)})
    for name, amount in overhead.items():
        if total.get(name):
            total[name] += amount
    return total


def _container_limits(pod: Object, with_status: bool) -> Amounts:
    asked = _aggregate(pod, _spec_limits, {})
    statuses = _statuses(pod) if with_status else {}
    if not statuses:
        return asked
    infeasible = _is_infeasible(pod)

    def actuated(c: Object, by_name: Mapping[str, Object]) -> Amounts:
        given = ((by_name.get(c.get("name") or "") or {}).get("resources") or {}).get("limits")
        if given is not None:
            return _parsed(given)
        return {} if infeasible else _spec_limits(c, by_name)

    now = _aggregate(pod, actuated, statuses)
    return now if infeasible else _most(asked, now)


def _less(amounts: Amounts, by: Amounts) -> Amounts:
    return {name: max(0, amount - by.get(name, 0)) for name, amount in amounts.items()}


def _is_pod_level(name: str) -> bool:
    return name in _COMPUTE or name.startswith(_HUGE_PAGES)


def _has_pod_level(spec: Object, *fields: str) -> bool:
    resources = spec.get("resources") or {}
    return any(_is_pod_level(name) for field in fields for name in resources.get(field) or ())
