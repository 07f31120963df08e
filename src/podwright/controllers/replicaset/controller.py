"""Keeps as many active Pods as spec.replicas says, by creating from the template and deleting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from podwright.api import objects
from podwright.api.objects import Object
from podwright.api.resources import PODS, REPLICASETS, REPLICATIONCONTROLLERS, Resource
from podwright.api.status import ApiError
from podwright.client.transport import ServerUnreachable
from podwright.controllers import pods, refs, selection
from podwright.controllers.expectations import Expectations
from podwright.controllers.frame import (
    Context,
    Controller,
    SlowStartFailed,
    ignore_not_found,
    is_terminating_namespace,
    slow_start,
)
from podwright.controllers.refused_pods import RefusedPods
from podwright.controllers.replicaset import ranking, status

_BURST = 500
_BATCH = 0.01
"""Seconds that changes of the status alone wait for each other."""


class ReplicaSetController(Controller):
    """See the module; KEP-3973 for terminatingReplicas."""

    name = "replicaset-controller"
    account = "replicaset-controller"
    workers = 5
    resource: ClassVar[Resource] = REPLICASETS
    counts_terminating: ClassVar[bool] = True

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.expectations = Expectations(self.clock)
        self.pod_control = pods.PodControl(self.client, self.events)
        self.refused = RefusedPods(self.clock, self.events)
        self.sets = self.informer(self.resource, self._set_changed, namespace=refs.by_namespace,
                                  controller=refs.by_controller_or_orphan)  # fmt: skip
        self.pods = self.informer(PODS, self._pod_changed, controller=refs.by_controller_or_orphan)

    def selector(self, owner: Object) -> selection.Predicate:
        return selection.from_label_selector((owner.get("spec") or {}).get("selector"))

    def _set_changed(self, old: Object | None, new: Object | None) -> None:
        if new is None:
            assert old is not None
            self.expectations.forget(objects.key(old))
            self.refused.forget(old)
        self.enqueue(old, new)

    def _pod_changed(self, old: Object | None, new: Object | None) -> None:
        mine = self._owner_key(new) if new is not None else None
        before = self._owner_key(old) if old is not None else None
        if before is not None and before != mine:
            self.queue.add(before)
        if new is None:
            if before is not None and old is not None:
                self.expectations.removed(before, objects.uid(old))
            return
        if mine is None:
            if objects.controller_of(new) is None and not objects.is_deleting(new):
                if old is None or objects.labels(old) != objects.labels(new) or before is not None:
                    self._enqueue_matching(new)
            return
        if objects.is_deleting(new):
            self.expectations.removed(mine, objects.uid(new))
        elif old is None:
            self.expectations.added(mine)
        if old is not None and mine == before and pods.is_active(old) == pods.is_active(new):
            # Nothing to heal, only to count: Pods of one set tend to become ready together.
            self.queue.add_after(mine, _BATCH)
        else:
            self.queue.add(mine)
        owner = self.sets.get(mine)
        if owner is not None and pods.is_ready(new) and (old is None or not pods.is_ready(old)):
            minimum = int((owner.get("spec") or {}).get("minReadySeconds") or 0)
            if minimum:
                # One second more: times in objects have whole seconds.
                self.queue.add_after(mine, minimum + 1)

    def _owner_key(self, pod: Object) -> str | None:
        group = self.resource.group
        found = refs.controller_key(pod, self.resource.kind, group)
        return found[0] if found else None

    def _enqueue_matching(self, pod: Object) -> None:
        labels = objects.labels(pod)
        if labels:
            for owner in self.sets.by_index("namespace", objects.namespace(pod)):
                if self.selector(owner)(labels):
                    self.queue.add(objects.key(owner))

    async def reconcile(self, key: str) -> None:
        owner = self.sets.get(key)
        if owner is None:
            self.expectations.forget(key)
            return
        settled = self.expectations.satisfied(key)
        children = await refs.claim(
            self.client, owner=owner, owner_resource=self.resource, resource=PODS, informer=self.pods,
            selector=self.selector(owner),
        )  # fmt: skip
        active = [p for p in children if pods.is_active(p)]
        terminating = sum(objects.is_deleting(p) and not pods.is_finished(p) for p in children)
        difference = len(active) - self._replicas(owner)
        failure: Exception | None = None
        if difference < 0 and (wait := self.refused.wait(owner, children)) > 0:
            self.queue.add_after(key, wait)
        elif settled and not objects.is_deleting(owner):
            try:
                await self._manage(key, owner, active, difference)
            except (ApiError, ServerUnreachable) as error:
                failure = error
        await self._write_status(owner, active, terminating, failure, difference)
        self._wait_for_availability(key, owner, active)
        if failure is not None:
            raise failure

    @staticmethod
    def _replicas(owner: Object) -> int:
        replicas = (owner.get("spec") or {}).get("replicas")
        return 1 if replicas is None else int(replicas)

    async def _manage(self, key: str, owner: Object, active: Sequence[Object], difference: int) -> None:
        if difference < 0:
            await self._create(key, owner, min(-difference, _BURST))
        elif difference > 0:
            await self._delete(key, owner, active, min(difference, _BURST))

    async def _create(self, key: str, owner: Object, count: int) -> None:
        self.expectations.expect(key, additions=count)
        template = owner["spec"]["template"]

        async def one(_: int) -> None:
            await self.pod_control.create(pods.from_template(template, owner), owner)

        succeeded = 0
        try:
            succeeded = await slow_start(count, one)
        except SlowStartFailed as failed:
            succeeded = failed.succeeded
            if isinstance(failed.cause, ApiError) and is_terminating_namespace(failed.cause):
                return
            raise failed.cause from None
        finally:
            # What was not created will never be seen.
            self.expectations.added(key, count - succeeded)

    async def _delete(self, key: str, owner: Object, active: Sequence[Object], count: int) -> None:
        related = self._related(owner)
        chosen = ranking.victims(active, related, count, self.clock.now())
        self.expectations.expect(key, removals=[objects.uid(p) for p in chosen])

        async def one(index: int) -> None:
            pod = chosen[index]
            try:
                gone = not await self.pod_control.delete(pod, owner)
            except BaseException:
                self.expectations.removed(key, objects.uid(pod))
                raise
            if gone:
                self.expectations.removed(key, objects.uid(pod))

        try:
            await slow_start(len(chosen), one, initial=len(chosen))
        except SlowStartFailed as failed:
            raise failed.cause from None

    def _related(self, owner: Object) -> Sequence[Object]:
        """Pods of every set of the same controller: a Deployment's old and new Pods crowd the same nodes."""
        above = objects.controller_of(owner)
        if above is None:
            return refs.owned(self.pods, owner)
        related: list[Object] = []
        for sibling in self.sets.by_index(refs.CHILDREN, above["uid"]):
            related.extend(refs.owned(self.pods, sibling))
        return related

    async def _write_status(
        self, owner: Object, active: Sequence[Object], terminating: int, failure: Exception | None, difference: int
    ) -> None:
        new = status.calculate(
            owner, active, terminating if self.counts_terminating else None, failure, difference, self.clock.now()
        )
        if status.differs(owner.get("status") or {}, new):
            await ignore_not_found(self.client.update_status(self.resource, {**owner, "status": new}))

    def _wait_for_availability(self, key: str, owner: Object, active: Sequence[Object]) -> None:
        minimum = int((owner.get("spec") or {}).get("minReadySeconds") or 0)
        if minimum:
            waits = [w for p in active if (w := pods.until_available(p, minimum, self.clock.now())) is not None]
            if waits:
                self.queue.add_after(key, min(waits) + 1)


class ReplicationController(ReplicaSetController):
    """The same for core/v1 ReplicationControllers, whose selector is a plain map and defaults to the template's
    labels."""

    name = "replicationcontroller-controller"
    account = "replication-controller"
    resource = REPLICATIONCONTROLLERS
    counts_terminating = False

    def selector(self, owner: Object) -> selection.Predicate:
        spec = owner.get("spec") or {}
        template = ((spec.get("template") or {}).get("metadata") or {}).get("labels")
        return selection.from_map(spec.get("selector") or template)
