"""The CPU manager (Kubernetes documentation, "Control CPU Management Policies on the Node"): under the static policy a
container of a Guaranteed Pod that requests whole CPUs has them for itself; all others share the rest."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import orjson

from podwright.api import objects, pods, quantity
from podwright.api.objects import Object
from podwright.api.pods import GUARANTEED, qos_class
from podwright.kubelet.config import KubeletConfig
from podwright.runtime import atomic

log = logging.getLogger(__name__)

STATIC = "static"
NONE = "none"
FILE = "cpu_manager_state"
_CPUS = Path("/sys/devices/system/cpu")

Topology = Mapping[int, tuple[int, int]]
"""CPU → (socket, core in the socket)."""


class CpusUnavailable(Exception):
    """There are not enough CPUs that nobody else has for himself."""


def topology() -> Topology:
    """Of the CPUs that this process may use."""

    def read(cpu: int, name: str) -> int:
        try:
            return int((_CPUS / f"cpu{cpu}" / "topology" / name).read_text())
        except (OSError, ValueError):
            return cpu if name == "core_id" else 0

    return {cpu: (read(cpu, "physical_package_id"), read(cpu, "core_id")) for cpu in os.sched_getaffinity(0)}


def parse(text: str) -> frozenset[int]:
    """ "0,2-3" Raises ValueError."""
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        if part.strip():
            found.update(range(int(first), int(last or first) + 1))
    return frozenset(found)


def listed(cpus: Iterable[int]) -> str:
    """As the kernel lists them: "0,2-3"."""
    runs: list[list[int]] = []
    for cpu in sorted(cpus):
        if runs and runs[-1][1] == cpu - 1:
            runs[-1][1] = cpu
        else:
            runs.append([cpu, cpu])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)


def take(free: frozenset[int], count: int, machine: Topology) -> frozenset[int]:
    """`count` of the free CPUs: whole sockets first, then whole cores, then what is left of the fullest ones, so that
    as few caches as possible are shared. Raises CpusUnavailable."""
    if count > len(free):
        raise CpusUnavailable(
            f"not enough cpus available to satisfy request: requested={count}, available={len(free)}"
        )
    taken: set[int] = set()
    for length in (1, 2):
        groups: dict[tuple[int, ...], set[int]] = {}
        for cpu, where in machine.items():
            groups.setdefault(tuple(where[:length]), set()).add(cpu)
        for _, group in sorted(groups.items()):
            if group <= free - taken and len(group) <= count - len(taken):
                taken |= group

    def crowded(cpu: int) -> tuple[int, int, int]:
        left = [machine[c] for c in free - taken]
        socket, core = machine[cpu]
        return sum(s == socket for s, _ in left), sum(where == (socket, core) for where in left), cpu

    while len(taken) < count:
        taken.add(min(free - taken, key=crowded))
    return frozenset(taken)


class CpuManager:
    """Remembers in a file who has which CPUs.

    Raises:
        ValueError: of the configuration: an unknown policy, or no CPU reserved for what is not a Pod.
    """

    def __init__(self, config: KubeletConfig, machine: Topology | None = None) -> None:
        self._file = config.data_dir / FILE
        self._machine = topology() if machine is None else machine
        self._all = frozenset(self._machine)
        self.policy = config.cpu_manager_policy
        if self.policy not in (NONE, STATIC):
            raise ValueError(f'unknown CPU manager policy "{self.policy}": expected {NONE} or {STATIC}')
        self._reserved = self._of_config(config) if self.policy == STATIC else frozenset()
        self._assigned: dict[str, dict[str, frozenset[int]]] = {}
        self.before = self._read()
        """The policy of the state that was found, "" if there was none."""

    def _of_config(self, config: KubeletConfig) -> frozenset[int]:
        reserved = parse(config.reserved_cpus)
        if not reserved <= self._all:
            raise ValueError(f"reserved CPUs {config.reserved_cpus} are not all there: {listed(self._all)}")
        amount = sum(quantity.milli(r.get("cpu", "0")) for r in (config.system_reserved, config.kube_reserved))
        if not reserved and amount <= 0:
            raise ValueError(
                "the static CPU manager policy needs reservedSystemCPUs, or CPU in systemReserved or kubeReserved"
            )
        return reserved or take(self._all, math.ceil(amount / 1000), self._machine)

    def _read(self) -> str:
        try:
            stored = orjson.loads(self._file.read_bytes())
            if self.policy == STATIC and stored["policyName"] == STATIC:
                found = {u: {c: parse(t) for c, t in each.items()} for u, each in stored["entries"].items()}
                if all(cpus <= self._all - self._reserved for each in found.values() for cpus in each.values()):
                    self._assigned = found
                else:
                    log.error("%s: CPUs that are reserved now, or gone, were assigned: nobody has any", self._file)
            return str(stored["policyName"])
        except FileNotFoundError:
            return ""
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as broken:
            log.error("%s cannot be read, exclusive CPUs are not known: %r", self._file, broken)
            return STATIC

    def _write(self) -> None:
        entries = {u: {c: listed(cpus) for c, cpus in each.items()} for u, each in self._assigned.items()}
        state = {"policyName": self.policy, "defaultCpuSet": listed(self.shared()), "entries": entries}
        atomic.write_json(self._file, state)

    def shared(self) -> frozenset[int]:
        """The CPUs of all who have none of their own, the reserved ones among them."""
        return self._all - self._taken()

    def _taken(self, but: str = "") -> frozenset[int]:
        each = (cpus for uid, of in self._assigned.items() if uid != but for cpus in of.values())
        return frozenset().union(*each)

    def allocatable(self) -> frozenset[int]:
        return self._all - self._reserved

    def exclusive(self, uid: str, container: str) -> frozenset[int]:
        return self._assigned.get(uid, {}).get(container, frozenset())

    def cpuset(self, uid: str, container: str) -> str:
        """What the container's cpuset.cpus is; "" leaves it alone."""
        if self.policy != STATIC:
            return "" if self.before != STATIC else listed(self._all)
        return listed(self.exclusive(uid, container) or self.shared())

    def obstacle(self, pod: Object) -> str:
        """Why the Pod cannot have its CPUs, "" if it can."""
        try:
            self._choose(pod)
        except CpusUnavailable as why:
            return str(why)
        return ""

    def reserve(self, pod: Object) -> None:
        """Sets CPUs aside for the Pod. Raises CpusUnavailable, OSError."""
        chosen = self._choose(pod)
        if chosen:
            self._assigned[objects.uid(pod)] = chosen
            self._write()

    def _choose(self, pod: Object) -> dict[str, frozenset[int]]:
        """What an init container had the others may have once it has ended."""
        uid = objects.uid(pod)
        before, chosen = self._assigned.get(uid, {}), {}
        free = self._all - self._reserved - self._taken(but=uid)
        left: frozenset[int] = frozenset()
        for ctr in (*pods.init_containers(pod), *pods.containers(pod)):
            count = self.wanted(pod, ctr)
            if not count:
                continue
            known = before.get(ctr["name"], frozenset())
            if len(known) == count and known <= free | left:
                cpus = known
            elif len(left) >= count:
                cpus = take(left, count, self._machine)
            else:
                cpus = left | take(free, count - len(left), self._machine)
            free -= cpus
            ends = pods.is_init(pod, ctr["name"]) and not pods.is_sidecar(ctr)
            left = left | cpus if ends else left - cpus
            chosen[ctr["name"]] = cpus
        return chosen

    def wanted(self, pod: Object, ctr: Object) -> int:
        """How many CPUs the container has for itself."""
        if self.policy != STATIC or qos_class(pod) != GUARANTEED or pod["spec"].get("resources"):
            return 0
        milli = quantity.milli(((ctr.get("resources") or {}).get("requests") or {}).get("cpu", "0"))
        return milli // 1000 if milli % 1000 == 0 else 0

    def release(self, uid: str) -> bool:
        """Nothing of the Pod runs any more. Tells whether others may use more CPUs now. Raises OSError."""
        if self._assigned.pop(uid, None) is None:
            return False
        self._write()
        return True

    def retain(self, uids: set[str]) -> bool:
        """CPUs of all other Pods are free. Raises OSError."""
        gone = set(self._assigned) - uids
        for uid in gone:
            self.release(uid)
        return bool(gone)

    def settled(self) -> None:
        """Every container has the CPUs that it should have: what an earlier policy left is forgotten. Raises
        OSError."""
        self.before = self.policy
        if self.policy == STATIC:
            self._write()
        else:
            self._file.unlink(missing_ok=True)

