"""Cgroup settings of containers and Pods from their resources (documentation page "Resource Management for Pods and
Containers"); ``podwright.io/disk-*`` limits throttle disk I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from podwright.api import pods, quantity
from podwright.api.objects import Object
from podwright.api.pods import BEST_EFFORT, BURSTABLE, qos_class
from podwright.kubelet import qos
from podwright.runtime.protocol import DiskLimits, Resources

MIN_SHARES = 2
MAX_SHARES = 262144
MIN_QUOTA = 1000
HUGEPAGES = "hugepages-"
DISK_PREFIX = "podwright.io/disk-"
_SHARES_PER_CPU = 1024
_DISK_FIELDS = {
    "podwright.io/disk-read-bps": "read_bps",
    "podwright.io/disk-write-bps": "write_bps",
    "podwright.io/disk-read-iops": "read_iops",
    "podwright.io/disk-write-iops": "write_iops",
}


@dataclass(frozen=True, slots=True)
class CgroupPolicy:
    """What the node adds: whether CPU limits are enforced and over which period (microseconds), the memory that the
    node has, how many processes a Pod may have (-1: any number), its swap (bytes) and who may use it, the sizes of huge
    pages that it has ("hugepages-2Mi")."""

    cpu_quota: bool = True
    cpu_period: int = 100_000
    memory_capacity: int = 0
    pod_pids_limit: int = -1
    cgroup_version: int = 1
    swap_capacity: int = 0
    swap_behavior: str = "NoSwap"
    hugepages: Sequence[str] = ()


def shares(milli_cpu: int) -> int:
    if milli_cpu == 0:
        return MIN_SHARES
    return min(MAX_SHARES, max(MIN_SHARES, milli_cpu * _SHARES_PER_CPU // 1000))


def quota(milli_cpu: int, period: int) -> int:
    """Microseconds a period; -1 for no limit."""
    if milli_cpu == 0:
        return -1
    return max(MIN_QUOTA, milli_cpu * period // 1000)


def _disk(limits: Mapping[str, str], weight: int = 0) -> DiskLimits:
    values = {name: quantity.value(limits[key]) for key, name in _DISK_FIELDS.items() if key in limits}
    return DiskLimits(**values, weight=weight)


def disk_weight(requests: Mapping[str, str], capacity: Mapping[str, str]) -> int:
    """How what is left of the disk is shared: 100, as everybody has, to 1000 by the largest part of a capacity that is
    requested. 0 (nothing said) without requests."""
    parts = [
        quantity.value(amount) / quantity.value(capacity[name])
        for name, amount in requests.items()
        if name in _DISK_FIELDS and quantity.value(capacity.get(name, "0")) > 0
    ]
    return 100 + round(900 * min(1.0, max(parts))) if parts else 0


def limits_disk_writes(pod: Object) -> bool:
    """Whether a container or the whole Pod may write only so much."""
    each = [pod["spec"].get("resources") or {}, *((c.get("resources") or {}) for _, c in pods.all_containers(pod))]
    return any(name.startswith(f"{DISK_PREFIX}write-") for r in each for name in r.get("limits") or {})


def _hugepages(limits: Mapping[str, str]) -> dict[str, int]:
    """By page size as the kernel spells it: "2MB", "1GB"."""
    found = {}
    for name, amount in limits.items():
        if name.startswith(HUGEPAGES):
            size = quantity.value(name.removeprefix(HUGEPAGES))
            power, unit = next(((p, u) for p, u in ((30, "GB"), (20, "MB")) if size >= 1 << p), (10, "KB"))
            found[f"{size >> power}{unit}"] = quantity.value(amount)
    return found


def container_resources(pod: Object, ctr: Object, policy: CgroupPolicy, *, lift: bool = False) -> Resources:
    """Of one container. Without a limit of its own it may use the Pod-level one. `lift`: what is not limited now may
    have been before, so the limit is taken away."""
    resources = ctr.get("resources") or {}
    requests, limits = resources.get("requests") or {}, dict(resources.get("limits") or {})
    for name, amount in ((pod["spec"].get("resources") or {}).get("limits") or {}).items():
        # Version 1 throttles a group's own disk I/O only, never that of the groups in it.
        if name in ("cpu", "memory", *_DISK_FIELDS):
            limits.setdefault(name, amount)
    cpu_limit = quantity.milli(limits.get("cpu", "0"))
    cpu = quantity.milli(requests["cpu"]) if "cpu" in requests else quantity.milli(
        (resources.get("limits") or {}).get("cpu", "0")
    )  # fmt: skip
    unlimited = -1 if lift else 0
    memory = quantity.value(limits.get("memory", "0")) or unlimited
    limited = policy.cpu_quota and (cpu_limit > 0 or lift)
    swap = _swap(pod, ctr, policy)
    # Upstream's singleProcessOOMKill is off under cgroup v2: a container dies as a whole. Version 1 cannot.
    unified = {"memory.oom.group": "1"}
    if policy.swap_capacity:
        unified["memory.swap.max"] = str(swap)
    # Huge pages that were not asked for cannot be used.
    none = _hugepages(dict.fromkeys(policy.hugepages, "0")) if not lift else {}
    return Resources(
        cpu_shares=shares(cpu),
        cpu_quota=quota(cpu_limit, policy.cpu_period) if limited else 0,
        cpu_period=policy.cpu_period if limited else 0,
        memory_limit=memory,
        memory_swap_limit=memory + swap if memory > 0 else memory,
        oom_score_adj=qos.oom_score_adj(pod, ctr, policy.memory_capacity),
        hugepage_limits={**none, **_hugepages(limits)},
        disk=_disk(limits),
        unified=unified,
    )


def _swap(pod: Object, ctr: Object, policy: CgroupPolicy) -> int:
    """Bytes of swap that a container may use beside its memory (KEP-2400): under LimitedSwap a Burstable Pod's have
    that part of the node's swap that they request of its memory."""
    if policy.swap_behavior != "LimitedSwap" or policy.cgroup_version != 2 or not policy.memory_capacity:
        return 0
    resources = ctr.get("resources") or {}
    request = quantity.value((resources.get("requests") or {}).get("memory", "0"))
    limit = quantity.value((resources.get("limits") or {}).get("memory", "0"))
    if qos_class(pod) != BURSTABLE or pods.is_critical(pod) or request == limit:
        return 0
    return request * policy.swap_capacity // policy.memory_capacity


def pod_requests_limits(pod: Object) -> tuple[dict[str, str], dict[str, str]]:
    """What the whole Pod requests, and its limits where every container (or the Pod) has one; with overhead. Sidecars
    count with the main containers, an ordinary init container only as far as it is larger than what runs later."""
    spec = pod["spec"]
    level = spec.get("resources") or {}
    requests = _aggregate(pod, "requests", need_all=False)
    limits = _aggregate(pod, "limits", need_all=True)
    requests.update(level.get("requests") or {})
    limits.update(level.get("limits") or {})
    for name, amount in (level.get("limits") or {}).items():
        if name not in (level.get("requests") or {}) and name not in requests:
            requests[name] = amount
    for name, amount in (spec.get("overhead") or {}).items():
        requests[name] = quantity.add(requests.get(name, "0"), amount)
        if name in limits:
            limits[name] = quantity.add(limits[name], amount)
    return requests, limits


def _aggregate(pod: Object, which: str, *, need_all: bool) -> dict[str, str]:
    def of(ctr: Object) -> Mapping[str, str]:
        return (ctr.get("resources") or {}).get(which) or {}

    mains = list(pods.containers(pod))
    sidecars = [c for c in pods.init_containers(pod) if pods.is_sidecar(c)]
    total: dict[str, str] = {}
    for ctr in (*mains, *sidecars):
        for name, amount in of(ctr).items():
            total[name] = quantity.add(total[name], amount) if name in total else amount
    beside: dict[str, str] = {}
    for ctr in pods.init_containers(pod):
        for name, amount in of(ctr).items():
            needed = quantity.add(amount, beside[name]) if name in beside else amount
            if pods.is_sidecar(ctr):
                beside[name] = needed
            if name not in total or quantity.compare(needed, total[name]) > 0:
                total[name] = needed
    if need_all:
        everyone = (*mains, *pods.init_containers(pod))
        return {n: a for n, a in total.items() if n not in ("cpu", "memory") or all(n in of(c) for c in everyone)}
    return total


def pids_limit(pod: Object, policy: CgroupPolicy) -> tuple[int, int]:
    """How many processes the Pod may have, and how many it asks for (KEP-6063); 0: any number."""
    asked = quantity.value(((pod["spec"].get("resources") or {}).get("limits") or {}).get("pids", "0"))
    return min((n for n in (asked, policy.pod_pids_limit) if n > 0), default=0), asked


def pod_resources(
    pod: Object, policy: CgroupPolicy, capacity: Mapping[str, str] | None = None, *, lift: bool = False
) -> Resources:
    """Of the Pod's own cgroup, in which its containers' lie. `capacity` is the node's; `lift` as for a container."""
    requests, limits = pod_requests_limits(pod)
    level_disk = (pod["spec"].get("resources") or {}).get("limits") or {}
    memory = quantity.value(limits.get("memory", "0")) or (-1 if lift else 0)
    cpu = quantity.milli(limits.get("cpu", "0"))
    limited = policy.cpu_quota and (cpu > 0 or lift)
    return Resources(
        cpu_shares=shares(quantity.milli(requests.get("cpu", "0"))),
        memory_limit=memory,
        # Swap is each container's matter.
        memory_swap_limit=-1,
        pids_limit=pids_limit(pod, policy)[0],
        hugepage_limits=_hugepages(limits),
        disk=_disk(level_disk, disk_weight(requests, capacity or {})),
        cpu_quota=quota(cpu, policy.cpu_period) if limited else 0,
        cpu_period=policy.cpu_period if limited else 0,
    )


def qos_cgroup(pod: Object, root: str) -> str:
    """The parent cgroup of the Pod's containers: Guaranteed Pods at the top, the others below their class."""
    middle = {BURSTABLE: "/burstable", BEST_EFFORT: "/besteffort"}.get(qos_class(pod), "")
    return f"{root}{middle}/pod{pod['metadata']['uid']}"
