"""Brings up, scales, and rolls a StatefulSet's Pods in their order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from podwright.api import objects
from podwright.api.objects import Object, deepcopy
from podwright.api.resources import CONTROLLERREVISIONS, PERSISTENTVOLUMECLAIMS, PODS, STATEFULSETS
from podwright.api.status import ApiError
from podwright.client.events import NORMAL, WARNING
from podwright.controllers import controller_revisions, pods, refs, selection
from podwright.controllers.controller_revisions import HASH_LABEL
from podwright.controllers.deployment.arithmetic import scaled_value
from podwright.controllers.frame import Context, Controller, is_terminating_namespace
from podwright.controllers.freshness import RETRY, Freshness
from podwright.controllers.refused_pods import RefusedPods
from podwright.controllers.statefulset import identity
from podwright.controllers.statefulset.storage import ClaimControl, ClaimTerminating


@dataclass(frozen=True, slots=True)
class _Revisions:
    """Where the set is, and where it goes."""

    current: Object
    update: Object
    collisions: int

    def template_for(self, owner: Object, ordinal: int) -> tuple[Object, str]:
        """(template, hash) for a new Pod: below the partition the current revision, else the new one."""
        strategy = owner["spec"].get("updateStrategy") or {}
        rolling = strategy.get("rollingUpdate")
        behind = False
        if (strategy.get("type") or "RollingUpdate") == "RollingUpdate":
            start = identity.start_ordinal(owner)
            if rolling is not None and rolling.get("partition") is not None:
                behind = ordinal < start + int(rolling["partition"])
            else:
                behind = ordinal < start + int((owner.get("status") or {}).get("currentReplicas") or 0)
        if not behind or self.current is self.update:
            return owner["spec"]["template"], controller_revisions.hash_of(self.update)
        template = {k: v for k, v in self.current["data"]["spec"]["template"].items() if k != "$patch"}
        return template, controller_revisions.hash_of(self.current)


class StatefulSetController(Controller):
    name = "statefulset-controller"
    account = "statefulset-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.sets = self.informer(STATEFULSETS, self._set_changed, namespace=refs.by_namespace)
        self.revisions = self.informer(CONTROLLERREVISIONS, controller=refs.by_controller_or_orphan)
        self.pods = self.informer(PODS, self._pod_changed, controller=refs.by_controller_or_orphan)
        self.claims = self.informer(PERSISTENTVOLUMECLAIMS, self._claim_changed)
        self._storage = ClaimControl(self.client, self.events, self.claims)
        self._refused = RefusedPods(self.clock, self.events)
        self._fresh = Freshness(self.sets, self.clock)
        self._fresh_pods = Freshness(self.pods, self.clock)

    def _set_changed(self, old: Object | None, new: Object | None) -> None:
        if new is None and old is not None:
            self._refused.forget(old)
        self.enqueue(old, new)

    def _pod_changed(self, old: Object | None, new: Object | None) -> None:
        for seen in (old, new):
            if seen is not None and (found := refs.controller_key(seen, "StatefulSet", "apps")):
                self.queue.add(found[0])
        if new is not None and objects.controller_of(new) is None and not objects.is_deleting(new):
            if old is None or objects.labels(old) != objects.labels(new) or objects.controller_of(old) is not None:
                labels = objects.labels(new)
                for owner in self.sets.by_index("namespace", objects.namespace(new)):
                    if labels and selection.from_label_selector(owner["spec"].get("selector"))(labels):
                        self.queue.add(objects.key(owner))

    def _claim_changed(self, old: Object | None, new: Object | None) -> None:
        """A claim that goes may be one that a Pod waits to have made anew."""
        if new is None and old is not None:
            for owner in self.sets.by_index("namespace", objects.namespace(old)):
                if f"-{objects.name(owner)}-" in objects.name(old):
                    self.queue.add(objects.key(owner))

    async def reconcile(self, key: str) -> None:
        owner = self.sets.get(key)
        if owner is None:
            return
        if self._fresh.is_stale(key):
            self.queue.add_after(key, RETRY)
            return
        selector = owner["spec"].get("selector")
        if selection.is_empty(selector) or objects.is_deleting(owner):
            return
        predicate = selection.from_label_selector(selector)
        history = await refs.claim(
            self.client, owner=owner, owner_resource=STATEFULSETS, resource=CONTROLLERREVISIONS,
            informer=self.revisions, selector=predicate,
        )  # fmt: skip
        children = [
            p for p in await refs.claim(
                self.client, owner=owner, owner_resource=STATEFULSETS, resource=PODS, informer=self.pods,
                selector=predicate,
            ) if identity.ordinal_of(owner, p) >= 0
        ]  # fmt: skip
        if any(self._fresh_pods.is_stale(f"{key}-{i}") for i in self._ordinals(owner)):
            self.queue.add_after(key, RETRY)
            return
        revisions = await self._revisions(owner, history)
        failure: Exception | None = None
        try:
            await self._advance(owner, children, revisions)
        except (ApiError, ClaimTerminating) as error:
            if isinstance(error, ApiError) and is_terminating_namespace(error):
                return
            failure = error
        await self._write_status(key, owner, children, revisions)
        await self._truncate(owner, history, children, revisions)
        if failure is not None:
            raise failure

    @staticmethod
    def _ordinals(owner: Object) -> range:
        start = identity.start_ordinal(owner)
        return range(start, start + identity.replicas(owner))

    async def _revisions(self, owner: Object, history: Sequence[Object]) -> _Revisions:
        status = owner.get("status") or {}
        collisions = int(status.get("collisionCount") or 0)
        update, collisions = await controller_revisions.current(self.client, owner, history, collisions)
        known = status.get("currentRevision")
        current = next((r for r in history if objects.name(r) == known and known), update)
        if objects.name(current) == objects.name(update):
            current = update
        return _Revisions(current, update, collisions)

    # -- the Pods ---------------------------------------------------------------------------------------------------

    def _is_healthy(self, pod: Object) -> bool:
        return pods.phase(pod) == "Running" and pods.is_ready(pod) and not objects.is_deleting(pod)

    def _is_available(self, owner: Object, pod: Object) -> bool:
        minimum = int(owner["spec"].get("minReadySeconds") or 0)
        return self._is_healthy(pod) and pods.is_available(pod, minimum, self.clock.now())

    async def _advance(self, owner: Object, children: list[Object], revisions: _Revisions) -> None:
        ordered = (owner["spec"].get("podManagementPolicy") or "OrderedReady") == "OrderedReady"
        by_ordinal = {identity.ordinal_of(owner, p): p for p in children}
        for ordinal in self._ordinals(owner):
            if not await self._advance_replica(owner, by_ordinal, ordinal, revisions, ordered):
                return
        condemned = sorted((o for o in by_ordinal if not identity.in_range(owner, o)), reverse=True)
        for ordinal in condemned:
            await self._storage.retain(owner, by_ordinal[ordinal], ordinal, condemned=True)
        first_unhealthy = self._first_unhealthy(owner, by_ordinal)
        for ordinal in condemned:
            pod = by_ordinal[ordinal]
            if objects.is_deleting(pod):
                if ordered:
                    return
                continue
            if ordered and first_unhealthy is not None and first_unhealthy is not pod:
                # Nothing is scaled away while an earlier Pod is not well.
                return
            await self._delete(owner, pod)
            if ordered:
                return
        await self._roll(owner, by_ordinal, revisions, ordered)

    def _first_unhealthy(self, owner: Object, by_ordinal: dict[int, Object]) -> Object | None:
        for ordinal in sorted(by_ordinal):
            if not self._is_healthy(by_ordinal[ordinal]):
                return by_ordinal[ordinal]
        return None

    async def _advance_replica(
        self, owner: Object, by_ordinal: dict[int, Object], ordinal: int, revisions: _Revisions, ordered: bool
    ) -> bool:
        """False if later ordinals must wait."""
        pod = by_ordinal.get(ordinal)
        if pod is None:
            await self._storage.ensure(owner, ordinal)
            template, hash_value = revisions.template_for(owner, ordinal)
            by_ordinal[ordinal] = await self._create(owner, identity.new_pod(owner, template, ordinal, hash_value))
            return not ordered
        if pods.is_finished(pod):
            if (refused := self._refused.wait(owner, (pod,), objects.name(pod))) > 0:
                self.queue.add_after(objects.key(owner), refused)
            elif not objects.is_deleting(pod):
                if pods.phase(pod) == "Failed":
                    self.events.event(
                        owner, WARNING, "RecreatingFailedPod",
                        f"StatefulSet {objects.key(owner)} is recreating failed Pod {objects.name(pod)}",
                    )  # fmt: skip
                else:
                    self.events.event(
                        owner, NORMAL, "RecreatingTerminatedPod",
                        f"StatefulSet {objects.key(owner)} is recreating terminated Pod {objects.name(pod)}",
                    )  # fmt: skip
                await self._delete(owner, pod)
            return not ordered
        if pods.phase(pod) == "Pending" and not objects.is_deleting(pod):
            await self._storage.ensure(owner, ordinal)
        await self._storage.retain(owner, pod, ordinal, condemned=False)
        if objects.is_deleting(pod):
            return not ordered
        if not identity.matches_identity(owner, pod):
            changed = deepcopy(pod)
            identity.stamp_identity(owner, changed, ordinal)
            by_ordinal[ordinal] = await self.client.update(PODS, changed)
        if ordered and not self._is_available(owner, pod):
            wait = pods.until_available(pod, int(owner["spec"].get("minReadySeconds") or 0), self.clock.now())
            if wait is not None:
                self.queue.add_after(objects.key(owner), wait + 1)
            return False
        return True

    async def _create(self, owner: Object, pod: Object) -> Object:
        name = objects.name(pod)
        what = f"create Pod {name} in StatefulSet {objects.name(owner)}"
        try:
            made = await self.client.create(PODS, pod)
        except ApiError as refused:
            if refused.reason == "AlreadyExists" or is_terminating_namespace(refused):
                raise
            self.events.event(owner, WARNING, "FailedCreate", f"{what} failed error: {refused}")
            raise
        self._fresh_pods.wrote(made)
        self.events.event(owner, NORMAL, "SuccessfulCreate", f"{what} successful")
        return made

    async def _delete(self, owner: Object, pod: Object) -> None:
        what = f"delete Pod {objects.name(pod)} in StatefulSet {objects.name(owner)}"
        try:
            await self.client.delete(PODS, objects.name(pod), namespace=objects.namespace(pod), uid=objects.uid(pod))
        except ApiError as refused:
            if refused.code == 404:
                return
            self.events.event(owner, WARNING, "FailedDelete", f"{what} failed error: {refused}")
            raise
        self.events.event(owner, NORMAL, "SuccessfulDelete", f"{what} successful")

    async def _roll(self, owner: Object, by_ordinal: dict[int, Object], revisions: _Revisions, ordered: bool) -> None:
        """Replaces Pods of older revisions from the highest ordinal down to the partition, as many at a time as
        maxUnavailable allows."""
        strategy = owner["spec"].get("updateStrategy") or {}
        if (strategy.get("type") or "RollingUpdate") == "OnDelete":
            return
        rolling = strategy.get("rollingUpdate") or {}
        count = identity.replicas(owner)
        allowed = max(1, scaled_value(rolling.get("maxUnavailable", 1), count, round_up=True))
        partition = identity.start_ordinal(owner) + int(rolling.get("partition") or 0)
        wanted = controller_revisions.hash_of(revisions.update)
        ordinals = [o for o in self._ordinals(owner) if o in by_ordinal]
        unavailable = sum(not self._is_available(owner, by_ordinal[o]) for o in ordinals)
        unavailable += count - len(ordinals)
        for ordinal in sorted((o for o in ordinals if o >= partition), reverse=True):
            pod = by_ordinal[ordinal]
            if objects.labels(pod).get(HASH_LABEL) == wanted:
                if allowed == 1 and not self._is_available(owner, pod):
                    return
                continue
            if objects.is_deleting(pod):
                if allowed == 1:
                    return
                continue
            if self._is_available(owner, pod):
                if unavailable >= allowed:
                    return
                unavailable += 1
            await self._delete(owner, pod)
            if allowed == 1:
                return

    # -- status -----------------------------------------------------------------------------------------------------

    async def _write_status(self, key: str, owner: Object, children: Sequence[Object], revisions: _Revisions) -> None:
        now, minimum = self.clock.now(), int(owner["spec"].get("minReadySeconds") or 0)
        current, update = (controller_revisions.hash_of(r) for r in (revisions.current, revisions.update))
        created = [p for p in children if pods.phase(p)]
        living = [p for p in created if not objects.is_deleting(p)]
        running = [p for p in created if pods.phase(p) == "Running" and pods.is_ready(p)]
        status: Object = {
            "observedGeneration": owner["metadata"].get("generation", 0),
            "replicas": len(created),
            "readyReplicas": len(running),
            "availableReplicas": sum(pods.is_available(p, minimum, now) for p in running),
            "currentReplicas": sum(objects.labels(p).get(HASH_LABEL) == current for p in living),
            "updatedReplicas": sum(objects.labels(p).get(HASH_LABEL) == update for p in living),
            "currentRevision": objects.name(revisions.current),
            "updateRevision": objects.name(revisions.update),
            "collisionCount": revisions.collisions,
        }
        rolled = (
            (owner["spec"].get("updateStrategy") or {}).get("type", "RollingUpdate") == "RollingUpdate"
            and status["updatedReplicas"] == status["replicas"] == identity.replicas(owner)
            and status["readyReplicas"] == status["replicas"]
        )
        if rolled:
            status["currentReplicas"] = status["updatedReplicas"]
            status["currentRevision"] = status["updateRevision"]
        waits = [w for p in children if (w := pods.until_available(p, minimum, now)) is not None]
        if waits:
            self.queue.add_after(key, min(waits) + 1)
        old = owner.get("status") or {}
        if old.get("conditions"):
            status["conditions"] = old["conditions"]
        always = ("replicas", "availableReplicas", "collisionCount")
        shown = {k: v for k, v in status.items() if v or k in always}
        if {k: v for k, v in old.items() if v} != {k: v for k, v in shown.items() if v}:
            self._fresh.wrote(await self.client.update_status(STATEFULSETS, {**owner, "status": shown}))

    async def _truncate(
        self, owner: Object, history: Sequence[Object], children: Sequence[Object], revisions: _Revisions
    ) -> None:
        hashes = {objects.labels(p).get(HASH_LABEL) for p in children}
        in_use = {objects.name(revisions.current), objects.name(revisions.update)}
        in_use |= {objects.name(r) for r in history if controller_revisions.hash_of(r) in hashes}
        limit = owner["spec"].get("revisionHistoryLimit")
        await controller_revisions.truncate(self.client, history, in_use, 10 if limit is None else int(limit))
