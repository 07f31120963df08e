"""Moves a Deployment's ReplicaSets towards its spec, one step for each change that it sees."""

from __future__ import annotations

from collections.abc import Sequence

from podwright.api import objects
from podwright.api.objects import Object, deepcopy
from podwright.api.resources import DEPLOYMENTS, PODS, REPLICASETS
from podwright.api.status import ApiError
from podwright.client.events import NORMAL, WARNING
from podwright.controllers import pods, refs, selection
from podwright.controllers.deployment import arithmetic, revisions, status
from podwright.controllers.deployment.arithmetic import replicas, status_count
from podwright.controllers.frame import Context, Controller, ignore_not_found, is_terminating_namespace

_BATCH = 0.01
"""Seconds that changes of the numbers alone wait for each other."""
_SELECTING_ALL = "This deployment is selecting all pods. A non-empty selector is required."


class DeploymentController(Controller):
    name = "deployment-controller"
    account = "deployment-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.deployments = self.informer(DEPLOYMENTS, self.enqueue, namespace=refs.by_namespace)
        self.sets = self.informer(
            REPLICASETS, self._set_changed, controller=refs.by_controller_or_orphan, namespace=refs.by_namespace
        )
        self.pods = self.informer(PODS, self._pod_changed, controller=refs.by_controller_or_orphan)

    def _set_changed(self, old: Object | None, new: Object | None) -> None:
        counts_only = old is not None and new is not None and old.get("spec") == new.get("spec")
        for seen in (old, new):
            if seen is not None and (found := refs.controller_key(seen, "Deployment", "apps")):
                self.queue.add_after(found[0], _BATCH if counts_only else 0.0)
        if new is not None and objects.controller_of(new) is None and not objects.is_deleting(new):
            if old is None or objects.labels(old) != objects.labels(new) or objects.controller_of(old) is not None:
                labels = objects.labels(new)
                for deployment in self.deployments.by_index("namespace", objects.namespace(new)):
                    selector = deployment["spec"].get("selector")
                    if labels and not selection.is_empty(selector) and selection.from_label_selector(selector)(labels):
                        self.queue.add(objects.key(deployment))

    def _pod_changed(self, old: Object | None, new: Object | None) -> None:
        """Recreate waits for the last old Pod to be gone."""
        if old is None or new is not None:
            return
        found = refs.controller_key(old, "ReplicaSet", "apps")
        rs = self.sets.get(found[0]) if found else None
        above = refs.controller_key(rs, "Deployment", "apps") if rs is not None else None
        deployment = self.deployments.get(above[0]) if above else None
        if deployment is not None and not arithmetic.is_rolling_update(deployment):
            self.queue.add(objects.key(deployment))

    async def reconcile(self, key: str) -> None:
        deployment = self.deployments.get(key)
        if deployment is None:
            return
        deployment = deepcopy(deployment)
        selector = deployment["spec"].get("selector") or {}
        if selection.is_empty(selector):
            self.events.event(deployment, WARNING, "SelectingAll", _SELECTING_ALL)
            generation = deployment["metadata"].get("generation", 0)
            if (deployment.get("status") or {}).get("observedGeneration", 0) < generation:
                deployment.setdefault("status", {})["observedGeneration"] = generation
                await self.client.update_status(DEPLOYMENTS, deployment)
            return
        sets = await refs.claim(
            self.client, owner=deployment, owner_resource=DEPLOYMENTS, resource=REPLICASETS, informer=self.sets,
            selector=selection.from_label_selector(selector),
        )  # fmt: skip
        if objects.is_deleting(deployment):
            new = revisions.find_new(deployment, sets)
            await self._write(deployment, status.calculate(deployment, sets, new, self.clock.now()))
            return
        deployment = await self._note_pause(deployment)
        if deployment["spec"].get("paused"):
            await self._sync(deployment, sets)
        elif objects.annotations(deployment).get(revisions.ROLLBACK_TO) is not None:
            await self._roll_back(deployment, sets)
        elif self._is_scaling(deployment, sets):
            await self._sync(deployment, sets)
        elif arithmetic.is_rolling_update(deployment):
            await self._roll(deployment, sets)
        else:
            await self._recreate(deployment, sets)

    # -- scaling and pausing ----------------------------------------------------------------------------------------

    async def _note_pause(self, deployment: Object) -> Object:
        """A paused Deployment's deadline does not run: the Progressing condition says so."""
        if not status.has_deadline(deployment):
            return deployment
        current = objects.condition(deployment, status.PROGRESSING)
        if current is not None and current.get("reason") == status.TIMED_OUT:
            return deployment
        noted = current is not None and current.get("reason") == "DeploymentPaused"
        paused = bool(deployment["spec"].get("paused"))
        if paused == noted:
            return deployment
        reason, message = (
            ("DeploymentPaused", "Deployment is paused") if paused else ("DeploymentResumed", "Deployment is resumed")
        )
        return await self._set_progressing(deployment, "Unknown", reason, message)

    async def _set_progressing(self, deployment: Object, value: str, reason: str, message: str) -> Object:
        made = status.make_condition(status.PROGRESSING, value, reason, message, self.clock.now())
        old = deployment.get("status") or {}
        conditions = pods.set_condition(list(old.get("conditions") or ()), made)
        if conditions == old.get("conditions"):
            return deployment
        changed = {**deployment, "status": {**old, "conditions": conditions}}
        return deepcopy(await self.client.update_status(DEPLOYMENTS, changed))

    @staticmethod
    def _is_scaling(deployment: Object, sets: Sequence[Object]) -> bool:
        for rs in sets:
            desired = objects.annotations(rs).get(arithmetic.DESIRED_REPLICAS)
            if replicas(rs) > 0 and desired is not None and desired != str(replicas(deployment)):
                return True
        return False

    async def _sync(self, deployment: Object, sets: Sequence[Object]) -> None:
        deployment, new, old = await self._new_and_old(deployment, sets, create=False)
        await self._scale_all(deployment, new, old)
        if deployment["spec"].get("paused") and revisions.ROLLBACK_TO not in objects.annotations(deployment):
            await self._clean_up(deployment, old)
        everything = [*old, new] if new is not None else old
        await self._write(deployment, status.calculate(deployment, everything, new, self.clock.now()))

    async def _scale_all(self, deployment: Object, new: Object | None, old: list[Object]) -> None:
        wanted = replicas(deployment)
        active = [rs for rs in (*old, *([new] if new is not None else [])) if replicas(rs) > 0]
        if len(active) <= 1:
            latest = [new] if new is not None else arithmetic.by_creation(old)[-1:]
            for only in active or latest:
                await self._scale(deployment, only, wanted)
            return
        if arithmetic.is_saturated(deployment, new):
            for rs in old:
                if replicas(rs) > 0:
                    await self._scale(deployment, rs, 0)
            return
        if not arithmetic.is_rolling_update(deployment):
            return
        allowed = wanted + arithmetic.max_surge(deployment) if wanted > 0 else 0
        to_add = allowed - arithmetic.total_replicas(active)
        sizes: list[tuple[Object, int]] = []
        added = 0
        for rs in arithmetic.by_size(active, newest_first=to_add > 0):
            share = arithmetic.proportion(rs, deployment, to_add, added)
            added += share
            sizes.append((rs, replicas(rs) + share))
        for index, (rs, size) in enumerate(sizes):
            if index == 0:
                size = max(0, size + to_add - added)
            await self._scale(deployment, rs, size)

    async def _scale(self, deployment: Object, rs: Object, size: int) -> Object:
        """Gives the ReplicaSet its size, and the annotations by which a later change of scale is recognised."""
        wanted = {
            arithmetic.DESIRED_REPLICAS: str(replicas(deployment)),
            arithmetic.MAX_REPLICAS: str(replicas(deployment) + arithmetic.max_surge(deployment)),
        }
        before = replicas(rs)
        known = objects.annotations(rs)
        if before == size and all(known.get(k) == v for k, v in wanted.items()):
            return rs
        changed = deepcopy(rs)
        changed["metadata"]["annotations"] = {**known, **wanted}
        changed["spec"]["replicas"] = size
        written = await self.client.update(REPLICASETS, changed)
        if before != size:
            how = "up" if size > before else "down"
            self.events.event(
                deployment, NORMAL, "ScalingReplicaSet",
                f"Scaled {how} replica set {objects.name(rs)} from {before} to {size}",
            )  # fmt: skip
        return written

    # -- the new ReplicaSet -----------------------------------------------------------------------------------------

    async def _new_and_old(
        self, deployment: Object, sets: Sequence[Object], *, create: bool
    ) -> tuple[Object, Object | None, list[Object]]:
        """The Deployment (its revision noted), its new ReplicaSet (made, if `create`), and the others."""
        new = revisions.find_new(deployment, sets)
        old = [rs for rs in sets if new is None or objects.uid(rs) != objects.uid(new)]
        number = revisions.max_revision(old) + 1
        if new is None:
            if not create:
                return deployment, None, old
            made = await self._create_new(deployment, old, number)
            if made is None:
                return deployment, None, old
            deployment, new = made
            return deployment, new, old
        annotations = revisions.new_set_annotations(deployment, objects.annotations(new), number, exists=True)
        minimum = deployment["spec"].get("minReadySeconds") or 0
        if annotations != objects.annotations(new) or (new["spec"].get("minReadySeconds") or 0) != minimum:
            changed = deepcopy(new)
            changed["metadata"]["annotations"] = annotations
            changed["spec"]["minReadySeconds"] = minimum
            new = await self.client.update(REPLICASETS, changed)
        deployment = await self._note_revision(deployment, objects.annotations(new).get(revisions.REVISION, ""))
        if status.has_deadline(deployment) and objects.condition(deployment, status.PROGRESSING) is None:
            message = f'Found new replica set "{objects.name(new)}"'
            deployment = await self._set_progressing(deployment, "True", "FoundNewReplicaSet", message)
        return deployment, new, old

    async def _note_revision(self, deployment: Object, number: str) -> Object:
        if not number or objects.annotations(deployment).get(revisions.REVISION) == number:
            return deployment
        changed = deepcopy(deployment)
        changed["metadata"]["annotations"] = {**objects.annotations(deployment), revisions.REVISION: number}
        # By its status: annotations written there are no new generation of the Deployment.
        return deepcopy(await self.client.update_status(DEPLOYMENTS, changed))

    async def _create_new(self, deployment: Object, old: list[Object], number: int) -> tuple[Object, Object] | None:
        collisions = (deployment.get("status") or {}).get("collisionCount")
        rs = revisions.new_set(deployment, revisions.template_hash(deployment["spec"]["template"], collisions))
        size = arithmetic.new_set_size(deployment, old, None)
        rs["spec"]["replicas"] = size
        rs["metadata"]["annotations"] = {
            **revisions.new_set_annotations(deployment, {}, number, exists=False),
            arithmetic.DESIRED_REPLICAS: str(replicas(deployment)),
            arithmetic.MAX_REPLICAS: str(replicas(deployment) + arithmetic.max_surge(deployment)),
        }
        name = objects.name(rs)
        fresh = True
        try:
            made = await self.client.create(REPLICASETS, rs)
        except ApiError as refused:
            if is_terminating_namespace(refused):
                return None
            if refused.reason != "AlreadyExists":
                message = f'Failed to create new replica set "{name}": {refused}'
                await self._set_progressing(deployment, "False", "ReplicaSetCreateError", message)
                raise
            fresh = False
            made = await self.client.get(REPLICASETS, name, namespace=objects.namespace(deployment))
            owner = objects.controller_of(made)
            mine = owner is not None and owner["uid"] == objects.uid(deployment)
            if not mine or not revisions.templates_equal(made["spec"]["template"], deployment["spec"]["template"]):
                current = deployment.get("status") or {}
                changed = {**deployment, "status": {**current, "collisionCount": int(collisions or 0) + 1}}
                await self.client.update_status(DEPLOYMENTS, changed)
                raise
        if fresh and size > 0:
            self.events.event(deployment, NORMAL, "ScalingReplicaSet", f"Scaled up replica set {name} from 0 to {size}")
        deployment = await self._note_revision(deployment, str(number))
        if fresh and status.has_deadline(deployment):
            message = f'Created new replica set "{name}"'
            deployment = await self._set_progressing(deployment, "True", "NewReplicaSetCreated", message)
        return deployment, made

    # -- strategies -------------------------------------------------------------------------------------------------

    async def _roll(self, deployment: Object, sets: Sequence[Object]) -> None:
        deployment, new, old = await self._new_and_old(deployment, sets, create=True)
        if new is None:
            return
        size = replicas(new)
        wanted = replicas(deployment)
        if size != wanted:
            target = wanted if size > wanted else arithmetic.new_set_size(deployment, [*old, new], new)
            new = await self._scale(deployment, new, target)
        if replicas(new) == size:
            old = await self._shrink_old(deployment, new, old)
        if status.is_complete(deployment, deployment.get("status") or {}):
            await self._clean_up(deployment, old)
        await self._write_rollout(deployment, new, old)

    async def _shrink_old(self, deployment: Object, new: Object, old: list[Object]) -> list[Object]:
        """Never below minimum availability, Pods that are not available first."""
        if arithmetic.total_replicas(old) == 0:
            return old
        floor = replicas(deployment) - arithmetic.max_unavailable(deployment)
        missing = replicas(new) - status_count(new, "availableReplicas")
        allowed = arithmetic.total_replicas([*old, new]) - floor - missing
        if allowed <= 0:
            return old
        ordered = arithmetic.by_creation(old)
        cleaned = 0
        for index, rs in enumerate(ordered):
            unhealthy = replicas(rs) - status_count(rs, "availableReplicas")
            take = min(allowed - cleaned, unhealthy)
            if replicas(rs) > 0 and take > 0:
                ordered[index] = await self._scale(deployment, rs, replicas(rs) - take)
                cleaned += take
        spare = arithmetic.total_status([*ordered, new], "availableReplicas") - floor
        for index, rs in enumerate(ordered):
            take = min(spare, replicas(rs))
            if take > 0:
                ordered[index] = await self._scale(deployment, rs, replicas(rs) - take)
                spare -= take
        return ordered

    async def _recreate(self, deployment: Object, sets: Sequence[Object]) -> None:
        deployment, new, old = await self._new_and_old(deployment, sets, create=False)
        active = [rs for rs in old if replicas(rs) > 0]
        if active:
            shrunk = {objects.uid(rs): await self._scale(deployment, rs, 0) for rs in active}
            await self._write_rollout(deployment, new, [shrunk.get(objects.uid(rs), rs) for rs in old])
            return
        if arithmetic.total_status(old, "replicas") > 0 or any(
            not pods.is_finished(p) for rs in old for p in refs.owned(self.pods, rs)
        ):
            await self._write_rollout(deployment, new, old)
            return
        if new is None:
            deployment, new, old = await self._new_and_old(deployment, sets, create=True)
            if new is None:
                return
        new = await self._scale(deployment, new, replicas(deployment))
        if status.is_complete(deployment, deployment.get("status") or {}):
            await self._clean_up(deployment, old)
        await self._write_rollout(deployment, new, old)

    async def _roll_back(self, deployment: Object, sets: Sequence[Object]) -> None:
        try:
            number = int(objects.annotations(deployment)[revisions.ROLLBACK_TO])
        except ValueError:
            number = -1
        if number == 0:
            number = revisions.last_revision(sets) or -1
        target = next((rs for rs in sets if revisions.revision(rs) == number), None)
        changed = deepcopy(deployment)
        del changed["metadata"]["annotations"][revisions.ROLLBACK_TO]
        if target is None:
            self.events.event(deployment, WARNING, "DeploymentRollbackRevisionNotFound",
                              "Unable to find the revision to rollback to.")  # fmt: skip
        elif revisions.templates_equal(target["spec"]["template"], deployment["spec"]["template"]):
            self.events.event(
                deployment, WARNING, "DeploymentRollbackTemplateUnchanged",
                f'The rollback revision contains the same template as current deployment "{objects.name(deployment)}"',
            )  # fmt: skip
        else:
            template = deepcopy(target["spec"]["template"])
            ((template.get("metadata") or {}).get("labels") or {}).pop(revisions.HASH_LABEL, None)
            changed["spec"]["template"] = template
            self.events.event(
                deployment, NORMAL, "DeploymentRollback",
                f'Rolled back deployment "{objects.name(deployment)}" to revision {number}',
            )  # fmt: skip
        await self.client.update(DEPLOYMENTS, changed)

    # -- afterwards -------------------------------------------------------------------------------------------------

    async def _clean_up(self, deployment: Object, old: Sequence[Object]) -> None:
        """Keeps spec.revisionHistoryLimit old ReplicaSets."""
        limit = deployment["spec"].get("revisionHistoryLimit")
        if limit is None:
            return
        kept = [rs for rs in old if not objects.is_deleting(rs)]
        surplus = len(kept) - int(limit)
        for rs in sorted(kept, key=revisions.revision)[: max(0, surplus)]:
            seen = status_count(rs, "observedGeneration") >= rs["metadata"].get("generation", 0)
            if status_count(rs, "replicas") or replicas(rs) or not seen:
                continue
            await ignore_not_found(
                self.client.delete(REPLICASETS, objects.name(rs), namespace=objects.namespace(rs), uid=objects.uid(rs))
            )

    async def _write_rollout(self, deployment: Object, new: Object | None, old: Sequence[Object]) -> None:
        everything = [*old, new] if new is not None else list(old)
        now = self.clock.now()
        rolled = status.roll(deployment, everything, new, now)
        await self._write(deployment, rolled)
        progressing = status.condition_of(rolled, status.PROGRESSING)
        if not status.has_deadline(deployment) or progressing is None:
            return
        if status.is_complete(deployment, rolled) or progressing.get("reason") in (
            status.TIMED_OUT, status.NEW_SET_AVAILABLE,
        ):  # fmt: skip
            return
        self.queue.add_after(objects.key(deployment), max(1.0, status.deadline_at(deployment, progressing) - now + 1))

    async def _write(self, deployment: Object, new: Object) -> None:
        if status.without_zero(deployment.get("status") or {}) != status.without_zero(new):
            await self.client.update_status(DEPLOYMENTS, {**deployment, "status": new})
