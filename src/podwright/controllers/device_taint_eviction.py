"""Evicts Pods that use devices with NoExecute taints which their claims do not tolerate, or no longer tolerate. The
taints are the drivers', in ResourceSlices, or an admin's, by DeviceTaintRules (KEP-5055)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from podwright.api import objects, taints
from podwright.api.objects import Object
from podwright.api.resources import DEVICETAINTRULES, PODS, RESOURCECLAIMS, RESOURCESLICES
from podwright.client.events import NORMAL
from podwright.controllers import pods
from podwright.controllers.frame import Context, Controller, ignore_not_found
from podwright.controllers.resource_claims import by_pod_uid
from podwright.controllers.taint_eviction import delete_as_disruption

IN_PROGRESS = "EvictionInProgress"
_RULE = "rule//"
_AGAIN = 10.0
"""Seconds until a rule's count of Pods is looked at once more."""


class DeviceTaintEvictionController(Controller):
    """Keys: Pods, and "rule//RULE" for what a rule says about its evictions."""

    name = "device-taint-eviction-controller"
    account = "device-taint-eviction-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._evicted: Counter[str] = Counter()
        self.claims = self.informer(RESOURCECLAIMS, self._claim_changed, reserved_for=by_pod_uid)
        self.slices = self.informer(RESOURCESLICES, self._slice_changed)
        self.rules = self.informer(DEVICETAINTRULES, self._rule_changed)
        self.pods = self.informer(PODS, self._pod_changed)

    def _claim_changed(self, old: Object | None, new: Object | None) -> None:
        if new is not None:
            self._queue_users(new)

    def _slice_changed(self, old: Object | None, new: Object | None) -> None:
        seen = [piece for piece in (old, new) if piece is not None]
        if any(device.get("taints") for piece in seen for device in piece["spec"].get("devices") or ()):
            self._queue_all()

    def _rule_changed(self, old: Object | None, new: Object | None) -> None:
        if new is None:
            assert old is not None
            self._evicted.pop(objects.uid(old), None)
        elif old is None or old.get("spec") != new.get("spec"):
            self.queue.add(_RULE + objects.name(new))
            self._queue_all()

    def _pod_changed(self, old: Object | None, new: Object | None) -> None:
        if new is not None and (new.get("spec") or {}).get("resourceClaims"):
            self.enqueue(old, new)

    def _queue_all(self) -> None:
        """Taints are rare: what they say is looked up for every claim."""
        for claim in self.claims.items():
            self._queue_users(claim)

    def _queue_users(self, claim: Object) -> None:
        for user in (claim.get("status") or {}).get("reservedFor") or ():
            if user.get("resource") == "pods" and not user.get("apiGroup"):
                self.queue.add(f"{objects.namespace(claim)}/{user['name']}")

    async def reconcile(self, key: str) -> None:
        if key.startswith(_RULE):
            await self._show(key.removeprefix(_RULE))
            return
        pod = self.pods.get(key)
        if pod is None or not pods.is_active(pod):
            return
        due = self._earliest(pod)
        if not due:
            return
        wait = min(due.values()) - self.clock.now()
        if wait > 0:
            self.queue.add_after(key, wait)
            return
        self.events.event(pod, NORMAL, "DeviceTaintManagerEviction", "Marking for deletion")
        await delete_as_disruption(
            self.client, pod, "DeletionByDeviceTaintManager", "Device Taint manager: deleting due to NoExecute taint",
            self.clock.now(),
        )  # fmt: skip
        for rule in self.rules.items():
            if objects.uid(rule) in due:
                self._evicted[objects.uid(rule)] += 1
                self.queue.add(_RULE + objects.name(rule))

    def _earliest(self, pod: Object) -> dict[str, float]:
        """The same, by rule."""
        found: dict[str, float] = {}
        for rule, when in self._due(pod):
            found[rule] = min(when, found.get(rule, when))
        return found

    def _due(self, pod: Object) -> Iterator[tuple[str, float]]:
        """(uid of the rule or "", when it is to go) for each taint that the Pod's claims do not tolerate for good."""
        for claim in self.claims.by_index("reserved_for", objects.uid(pod)):
            allocation = (claim.get("status") or {}).get("allocation") or {}
            for device in (allocation.get("devices") or {}).get("results") or ():
                for rule, taint in self._taints(device):
                    if taint.get("effect") != taints.NO_EXECUTE:
                        continue
                    using = [t for t in device.get("tolerations") or () if taints.tolerates(t, taint)]
                    if any(t.get("tolerationSeconds") is None for t in using):
                        continue
                    added = objects.parse_time(taint["timeAdded"]) if taint.get("timeAdded") else 0.0
                    yield rule, added + min((max(0.0, float(t["tolerationSeconds"])) for t in using), default=0.0)

    def _taints(self, device: Object) -> Iterator[tuple[str, Object]]:
        """(uid of the rule or "", taint) of an allocated device."""
        for piece in self._pool(device["driver"], device["pool"]):
            for entry in piece["spec"].get("devices") or ():
                if entry.get("name") == device["device"]:
                    yield from (("", taint) for taint in entry.get("taints") or ())
        for rule in self.rules.items():
            selector = rule["spec"].get("deviceSelector")
            if selector is not None and all(device.get(k) == v for k, v in selector.items() if v is not None):
                yield objects.uid(rule), rule["spec"]["taint"]

    def _pool(self, driver: str, pool: str) -> Iterable[Object]:
        """The slices of the pool's newest generation."""
        found = [
            s for s in self.slices.items() if s["spec"].get("driver") == driver and s["spec"]["pool"]["name"] == pool
        ]
        newest = max((int(s["spec"]["pool"].get("generation") or 0) for s in found), default=0)
        return [s for s in found if int(s["spec"]["pool"].get("generation") or 0) == newest]

    async def _show(self, name: str) -> None:
        """The rule's condition: how many Pods still have to go because of it."""
        rule = self.rules.get(name)
        if rule is None:
            return
        uid, effect = objects.uid(rule), rule["spec"]["taint"].get("effect")
        pending = self._pending(uid) if effect == taints.NO_EXECUTE else []
        done = self._evicted[uid]
        sentences = []
        if pending:
            spaces = len({objects.namespace(p) for p in pending})
            which = "1 pod needs" if len(pending) == 1 else f"{len(pending)} pods need"
            where = "1 namespace" if spaces == 1 else f"{spaces} different namespaces"
            sentences.append(f"{which} to be evicted in {where}.")
            self.queue.add_after(_RULE + name, _AGAIN)
        if done:
            sentences.append(f"{done} pod{'s' if done > 1 else ''} evicted since starting the controller.")
        reason = "PodsPendingEviction" if pending else "Completed" if done else "NotStarted"
        if effect != taints.NO_EXECUTE:
            reason = "NoEffect" if effect == "None" else f"Effect{effect}"
        made = {
            "type": IN_PROGRESS, "status": "True" if pending else "False", "reason": reason,
            "message": " ".join(sentences), "observedGeneration": rule["metadata"].get("generation", 0),
            "lastTransitionTime": objects.format_time(self.clock.now()),
        }  # fmt: skip
        old = list((rule.get("status") or {}).get("conditions") or ())
        known: Object = next((c for c in old if c["type"] == IN_PROGRESS), {})
        if all(known.get(k) == made[k] for k in made if k != "lastTransitionTime"):
            return
        others = [c for c in old if c["type"] != IN_PROGRESS]
        if known.get("status") == made["status"]:
            made["lastTransitionTime"] = known["lastTransitionTime"]
        changed = {**rule, "status": {**(rule.get("status") or {}), "conditions": [*others, made]}}
        await ignore_not_found(self.client.update_status(DEVICETAINTRULES, changed))

    def _pending(self, uid: str) -> list[Object]:
        found: dict[str, Object] = {}
        for claim in self.claims.items():
            for user in (claim.get("status") or {}).get("reservedFor") or ():
                pod = self.pods.get(f"{objects.namespace(claim)}/{user['name']}")
                if pod is not None and pods.is_active(pod) and uid in self._earliest(pod):
                    found[objects.uid(pod)] = pod
        return list(found.values())
