"""PodDisruptionBudgets: how many of their Pods are healthy, and how many may be evicted now."""

from __future__ import annotations

from collections.abc import Sequence

from podwright.api import objects
from podwright.api.objects import Object, deepcopy
from podwright.api.resources import (
    DEPLOYMENTS,
    PODDISRUPTIONBUDGETS,
    PODS,
    REPLICASETS,
    REPLICATIONCONTROLLERS,
    STATEFULSETS,
)
from podwright.api.status import ApiError
from podwright.client.events import WARNING
from podwright.client.informers import latest
from podwright.controllers import pods, refs, selection
from podwright.controllers.deployment.arithmetic import scaled_value
from podwright.controllers.frame import Context, Controller, ignore_not_found
from podwright.controllers.pods import set_condition
from podwright.controllers.served import ServedResources

_EVICTION_TIMEOUT = 120.0
"""Seconds after which an evicted Pod that is still there counts again."""
_STALE = "stale//"


class NotCountable(Exception):
    """A budget in percent (or maxUnavailable) over a Pod whose controller does not say how many there should be."""


class DisruptionController(Controller):
    """Keys: budgets, and "stale//POD" for a Pod whose DisruptionTarget condition came to nothing."""

    name = "disruption-controller"
    account = "disruption-controller"
    workers = 2

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.budgets = self.informer(PODDISRUPTIONBUDGETS, self.enqueue, namespace=refs.by_namespace)
        self.pods = self.informer(PODS, self._pod_changed, namespace=refs.by_namespace)
        self.scales = {
            row.kind: self.informer(row, self._scale_changed)
            for row in (REPLICASETS, DEPLOYMENTS, STATEFULSETS, REPLICATIONCONTROLLERS)
        }
        self.served = ServedResources(context.informers)
        self._informers.append(self.served.informer)

    def _pod_changed(self, old: Object | None, new: Object | None) -> None:
        if new is not None and _is_stale_target(new):
            self.queue.add_after(_STALE + objects.key(new), _EVICTION_TIMEOUT)
        if old is not None and new is not None and _seen(old) == _seen(new):
            return
        pod = latest(old, new)
        for budget in self.budgets.by_index("namespace", objects.namespace(pod)):
            matches = selection.from_label_selector(budget["spec"].get("selector"))
            if any(seen is not None and matches(objects.labels(seen)) for seen in (old, new)):
                self.queue.add(objects.key(budget))

    def _scale_changed(self, old: Object | None, new: Object | None) -> None:
        """How many Pods there should be is part of a budget."""
        before = (old.get("spec") or {}).get("replicas") if old is not None else None
        now = (new.get("spec") or {}).get("replicas") if new is not None else None
        if old is not None and new is not None and before == now:
            return
        obj = latest(old, new)
        labels = ((obj["spec"].get("template") or {}).get("metadata") or {}).get("labels") or {}
        for budget in self.budgets.by_index("namespace", objects.namespace(obj)):
            if selection.from_label_selector(budget["spec"].get("selector"))(labels):
                self.queue.add(objects.key(budget))

    async def reconcile(self, key: str) -> None:
        if key.startswith(_STALE):
            await self._clear_stale(key.removeprefix(_STALE))
            return
        budget = self.budgets.get(key)
        if budget is None or objects.is_deleting(budget):
            return
        matches = selection.from_label_selector(budget["spec"].get("selector"))
        found = [p for p in self.pods.by_index("namespace", objects.namespace(budget)) if matches(objects.labels(p))]
        if not found:
            self.events.event(budget, "Normal", "NoPods", "No matching pods found")
        try:
            expected, desired = await self._expected(budget, found)
        except NotCountable as error:
            self.events.event(budget, WARNING, "CalculateExpectedPodCountFailed",
                              f"Failed to calculate the number of expected pods: {error}")  # fmt: skip
            await self._fail_safe(budget, str(error))
            return
        await self._write(key, budget, found, expected, desired)

    async def _expected(self, budget: Object, found: Sequence[Object]) -> tuple[int, int]:
        """(Pods there should be, of them healthy). Where the scale of controllers counts, a Pod that has none does not:
        an event says so."""
        spec = budget["spec"]
        if spec.get("maxUnavailable") is not None:
            expected = await self._scale_of_all(budget, found)
            allowed = scaled_value(spec["maxUnavailable"], expected, round_up=True)
            return expected, max(0, expected - allowed)
        minimum = spec.get("minAvailable")
        if minimum is None:
            return len(found), 1
        if isinstance(minimum, int):
            return len(found), minimum
        expected = await self._scale_of_all(budget, found)
        return expected, scaled_value(minimum, expected, round_up=True)

    async def _scale_of_all(self, budget: Object, found: Sequence[Object]) -> int:
        scales: dict[str, int] = {}
        asked: set[str] = set()
        unmanaged = False
        for pod in found:
            owner = objects.controller_of(pod)
            if owner is None:
                unmanaged = True
            elif owner["uid"] not in asked:
                asked.add(owner["uid"])
                uid, number = await self._scale(owner, objects.namespace(pod))
                scales[uid] = number
        if unmanaged:
            self.events.event(
                budget, WARNING, "UnmanagedPods",
                "Pods without a controller match this budget: nobody says how many of them there should be, so that "
                "its status cannot count them. An integer in .spec.minAvailable does.",
            )  # fmt: skip
        return sum(scales.values())

    async def _scale(self, owner: Object, namespace: str) -> tuple[str, int]:
        """(uid of what is scaled, its size): a ReplicaSet's Deployment speaks for it."""
        informer = self.scales.get(owner["kind"])
        group = owner.get("apiVersion", "").rpartition("/")[0]
        if informer is not None and informer.resource.group == group:
            obj = informer.get(f"{namespace}/{owner['name']}")
            if obj is None or objects.uid(obj) != owner["uid"]:
                raise NotCountable(f"{owner['kind']} {owner['name']} is not there")
            above = objects.controller_of(obj)
            if owner["kind"] == "ReplicaSet" and above is not None and above.get("kind") == "Deployment":
                deployment = self.scales["Deployment"].get(f"{namespace}/{above['name']}")
                if deployment is not None and objects.uid(deployment) == above["uid"]:
                    obj = deployment
            size = (obj.get("spec") or {}).get("replicas")
            return objects.uid(obj), 1 if size is None else int(size)
        row = self.served.by_kind(owner["apiVersion"], owner["kind"])
        if row is None:
            raise NotCountable(f"no resource serves {owner['apiVersion']} {owner['kind']}")
        try:
            scale = await self.client.get(row, owner["name"], namespace=namespace, subresource="scale")
        except ApiError as refused:
            if refused.code in (403, 404, 405):
                raise NotCountable(f"{row.qualified} does not implement the scale subresource") from refused
            raise
        return owner["uid"], int((scale.get("spec") or {}).get("replicas") or 0)

    async def _write(self, key: str, budget: Object, found: Sequence[Object], expected: int, desired: int) -> None:
        now = self.clock.now()
        old = budget.get("status") or {}
        living = {objects.name(p): p for p in found}
        disrupted: dict[str, str] = {}
        recheck: list[float] = []
        for name, stamp in (old.get("disruptedPods") or {}).items():
            pod = living.get(name)
            left = objects.parse_time(stamp) + _EVICTION_TIMEOUT - now
            if pod is None or objects.is_deleting(pod):
                continue
            if left <= 0:
                message = f"Pod was expected by PDB {key} to be deleted but it wasn't"
                self.events.event(pod, WARNING, "NotDeleted", message)
                continue
            disrupted[name] = stamp
            recheck.append(min(left, _EVICTION_TIMEOUT))
        healthy = sum(
            pods.is_ready(p) and not objects.is_deleting(p) and objects.name(p) not in disrupted for p in found
        )
        allowed = max(0, healthy - desired) if expected > 0 else 0
        status: Object = {
            "currentHealthy": healthy,
            "desiredHealthy": desired,
            "expectedPods": expected,
            "disruptionsAllowed": allowed,
            "observedGeneration": budget["metadata"].get("generation", 0),
        }
        if disrupted:
            status["disruptedPods"] = disrupted
        status["conditions"] = self._condition(
            old, "True" if allowed else "False", "SufficientPods" if allowed else "InsufficientPods", ""
        )
        await self._put(budget, status)
        if recheck:
            self.queue.add_after(key, min(recheck) + 0.5)

    def _condition(self, old: Object, value: str, reason: str, message: str) -> list[Object]:
        made = {
            "type": "DisruptionAllowed", "status": value, "reason": reason, "message": message,
            "lastTransitionTime": objects.format_time(self.clock.now()),
        }  # fmt: skip
        return set_condition(list(old.get("conditions") or ()), made)

    async def _fail_safe(self, budget: Object, message: str) -> None:
        """What cannot be counted must not be disrupted."""
        status = deepcopy(budget.get("status") or {})
        status["disruptionsAllowed"] = 0
        status["observedGeneration"] = budget["metadata"].get("generation", 0)
        for field in ("currentHealthy", "desiredHealthy", "expectedPods"):
            status.setdefault(field, 0)
        status["conditions"] = self._condition(status, "False", "SyncFailed", message)
        await self._put(budget, status)

    async def _put(self, budget: Object, status: Object) -> None:
        if status != (budget.get("status") or {}):
            await self.client.update_status(PODDISRUPTIONBUDGETS, {**budget, "status": status})

    async def _clear_stale(self, key: str) -> None:
        pod = self.pods.get(key)
        if pod is None or not _is_stale_target(pod):
            return
        now = self.clock.now()
        changed = []
        for condition in pod["status"].get("conditions") or ():
            if condition["type"] == "DisruptionTarget":
                left = objects.parse_time(condition["lastTransitionTime"]) + _EVICTION_TIMEOUT - now
                if left > 0:
                    self.queue.add_after(_STALE + key, min(left, _EVICTION_TIMEOUT))
                    return
                condition = {**condition, "status": "False", "lastTransitionTime": objects.format_time(now)}
            changed.append(condition)
        patch = {"metadata": {"uid": objects.uid(pod)}, "status": {"conditions": changed}}
        await ignore_not_found(
            self.client.patch(PODS, objects.name(pod), patch, namespace=objects.namespace(pod), subresource="status")
        )


def _is_stale_target(pod: Object) -> bool:
    """Chosen to be disrupted, yet neither deleted nor ended."""
    return (
        objects.condition_is_true(pod, "DisruptionTarget")
        and not objects.is_deleting(pod)
        and not pods.is_finished(pod)
    )


def _seen(pod: Object) -> tuple[object, ...]:
    return objects.labels(pod), pods.is_ready(pod), objects.is_deleting(pod), objects.controller_of(pod)
