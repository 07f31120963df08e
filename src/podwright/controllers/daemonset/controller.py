"""Keeps one Pod of a DaemonSet on every node that fits, and rolls a new template over them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from podwright.api import objects, taints
from podwright.api.objects import Object
from podwright.api.resources import CONTROLLERREVISIONS, DAEMONSETS, NODES, PODS
from podwright.api.status import ApiError
from podwright.client.events import NORMAL, WARNING
from podwright.client.informers import latest
from podwright.controllers import controller_revisions, pods, refs, selection
from podwright.controllers.controller_revisions import HASH_LABEL
from podwright.controllers.daemonset import placement
from podwright.controllers.deployment.arithmetic import scaled_value
from podwright.controllers.expectations import Expectations
from podwright.controllers.frame import Context, Controller, SlowStartFailed, is_terminating_namespace, slow_start

_BURST = 250
_FIRST_KILL_DELAY, _LAST_KILL_DELAY = 1.0, 900.0
GENERATION = "deprecated.daemonset.template.generation"


class DaemonSetController(Controller):
    name = "daemonset-controller"
    account = "daemon-set-controller"
    workers = 2

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.expectations = Expectations(self.clock)
        self.pod_control = pods.PodControl(self.client, self.events)
        self._kills: dict[tuple[str, str], tuple[int, float]] = {}
        self.sets = self.informer(DAEMONSETS, self._set_changed, namespace=refs.by_namespace)
        self.revisions = self.informer(
            CONTROLLERREVISIONS, self._revision_changed, controller=refs.by_controller_or_orphan
        )
        self.pods = self.informer(PODS, self._pod_changed, controller=refs.by_controller_or_orphan)
        self.nodes = self.informer(NODES, self._node_changed)

    def _set_changed(self, old: Object | None, new: Object | None) -> None:
        if new is None:
            assert old is not None
            self.expectations.forget(objects.key(old))
        self.enqueue(old, new)

    def _revision_changed(self, old: Object | None, new: Object | None) -> None:
        """Only removals: what this controller wrote itself is no news."""
        if new is None and old is not None and (found := refs.controller_key(old, "DaemonSet", "apps")):
            self.queue.add(found[0])

    def _pod_changed(self, old: Object | None, new: Object | None) -> None:
        pod = latest(old, new)
        found = refs.controller_key(pod, "DaemonSet", "apps")
        was = refs.controller_key(old, "DaemonSet", "apps") if old is not None else None
        if was is not None and was != found:
            self.queue.add(was[0])
        if found is None:
            if new is not None and objects.controller_of(new) is None and not objects.is_deleting(new):
                if old is None or objects.labels(old) != objects.labels(new) or was is not None:
                    self._enqueue_matching(new)
            return
        if new is None or objects.is_deleting(new):
            self.expectations.removed(found[0], objects.uid(pod))
        elif old is None:
            self.expectations.added(found[0])
        self.queue.add(found[0])

    def _enqueue_matching(self, pod: Object) -> None:
        labels = objects.labels(pod)
        for owner in self.sets.by_index("namespace", objects.namespace(pod)):
            if labels and selection.from_label_selector(owner["spec"].get("selector"))(labels):
                self.queue.add(objects.key(owner))

    def _node_changed(self, old: Object | None, new: Object | None) -> None:
        """Only those DaemonSets for which the node's answer changed."""
        if old is not None and new is not None:
            if objects.labels(old) == objects.labels(new) and taints.of(old) == taints.of(new):
                return
        for owner in self.sets.items():
            template = owner["spec"]["template"]
            before = placement.judge(template, old) if old is not None else (False, False)
            now = placement.judge(template, new) if new is not None else (False, False)
            if before != now:
                self.queue.add(objects.key(owner))

    async def reconcile(self, key: str) -> None:
        owner = self.sets.get(key)
        if owner is None:
            self.expectations.forget(key)
            return
        selector = owner["spec"].get("selector")
        if selection.is_empty(selector):
            self.events.event(owner, WARNING, "SelectingAll",
                              "This daemon set is selecting all pods. A non-empty selector is required.")  # fmt: skip
            return
        if objects.is_deleting(owner):
            return
        predicate = selection.from_label_selector(selector)
        history = await refs.claim(
            self.client, owner=owner, owner_resource=DAEMONSETS, resource=CONTROLLERREVISIONS,
            informer=self.revisions, selector=predicate,
        )  # fmt: skip
        collisions = int((owner.get("status") or {}).get("collisionCount") or 0)
        current, collisions = await controller_revisions.current(self.client, owner, history, collisions)
        children = await refs.claim(
            self.client, owner=owner, owner_resource=DAEMONSETS, resource=PODS, informer=self.pods, selector=predicate,
        )  # fmt: skip
        by_node: dict[str, list[Object]] = {}
        for pod in children:
            by_node.setdefault(placement.node_of(pod), []).append(pod)
        hash_value = controller_revisions.hash_of(current)
        failure: Exception | None = None
        if self.expectations.satisfied(key):
            try:
                await self._manage(key, owner, by_node, hash_value)
                if self.expectations.satisfied(key):
                    await self._roll(key, owner, by_node, hash_value)
            except (ApiError, SlowStartFailed) as error:
                failure = error.cause if isinstance(error, SlowStartFailed) else error
            in_use = {objects.name(current)} | {
                objects.name(r) for r in history
                if any(objects.labels(p).get(HASH_LABEL) == controller_revisions.hash_of(r) for p in children)
            }  # fmt: skip
            limit = owner["spec"].get("revisionHistoryLimit")
            await controller_revisions.truncate(self.client, history, in_use, 10 if limit is None else int(limit))
        await self._write_status(key, owner, by_node, hash_value, collisions)
        if failure is not None:
            raise failure

    # -- one Pod a node ---------------------------------------------------------------------------------------------

    async def _manage(self, key: str, owner: Object, by_node: Mapping[str, Sequence[Object]], hash_value: str) -> None:
        wanted: list[str] = []
        doomed: list[Object] = []
        for node in self.nodes.items():
            self._manage_node(key, owner, node, by_node.get(objects.name(node), ()), hash_value, wanted, doomed)
        for name, found in by_node.items():
            if name and self.nodes.get(name) is None:
                # Unscheduled Pods of a node that is gone will never be anything.
                doomed.extend(p for p in found if not pods.node_name(p) and not objects.is_deleting(p))
        await self._apply(key, owner, wanted[:_BURST], doomed[:_BURST], hash_value)

    def _manage_node(
        self, key: str, owner: Object, node: Object, found: Sequence[Object], hash_value: str, wanted: list[str],
        doomed: list[Object],
    ) -> None:  # fmt: skip
        name = objects.name(node)
        should_run, may_stay = placement.judge(owner["spec"]["template"], node)
        if not may_stay:
            doomed.extend(p for p in found if not objects.is_deleting(p))
            return
        if should_run and not found:
            wanted.append(name)
            return
        running: list[Object] = []
        for pod in found:
            if objects.is_deleting(pod):
                continue
            if pods.is_finished(pod):
                self._end_finished(key, owner, name, pod, doomed)
            else:
                running.append(pod)
        surge = max_surge(owner, len(self.nodes))
        if len(running) > 1 and not surge:
            running.sort(key=lambda p: (not pods.node_name(p), pods.creation_time(p), objects.name(p)))
            doomed.extend(running[1:])
        elif surge and running:
            old = [p for p in running if objects.labels(p).get(HASH_LABEL) != hash_value]
            new = [p for p in running if p not in old]
            doomed.extend(sorted(old, key=pods.creation_time)[1:])
            doomed.extend(sorted(new, key=pods.creation_time)[1:])
            minimum = int(owner["spec"].get("minReadySeconds") or 0)
            if old and any(pods.is_available(p, minimum, self.clock.now()) for p in new):
                doomed.extend(p for p in old if p not in doomed)

    def _end_finished(self, key: str, owner: Object, node: str, pod: Object, doomed: list[Object]) -> None:
        """A daemon that ended is made anew, with growing delay on each node."""
        now = self.clock.monotonic()
        count, last = self._kills.get((key, node), (0, -_LAST_KILL_DELAY * 2))
        if now - last > 2 * _LAST_KILL_DELAY:
            count = 0
        delay = min(_LAST_KILL_DELAY, _FIRST_KILL_DELAY * 2.0**count) if count else 0.0
        if now - last < delay:
            self.queue.add_after(key, max(0.01, delay - (now - last)))
            return
        self._kills[(key, node)] = count + 1, now
        failed = pods.phase(pod) == "Failed"
        kind, word = (WARNING, "failed") if failed else (NORMAL, "succeeded")
        todo = "will try to kill it" if failed else "will try to delete it"
        self.events.event(
            owner, kind, "FailedDaemonPod" if failed else "SucceededDaemonPod",
            f"Found {word} daemon pod {objects.key(pod)} on node {node}, {todo}",
        )  # fmt: skip
        doomed.append(pod)

    async def _apply(
        self, key: str, owner: Object, wanted: Sequence[str], doomed: Sequence[Object], hash_value: str
    ) -> None:
        if not wanted and not doomed:
            return
        self.expectations.expect(key, additions=len(wanted), removals=[objects.uid(p) for p in doomed])

        async def create(index: int) -> None:
            pod = placement.tie(pods.from_template(owner["spec"]["template"], owner), wanted[index])
            pod["metadata"]["labels"] = {**objects.labels(pod), HASH_LABEL: hash_value}
            generation = objects.annotations(owner).get(GENERATION)
            if generation:
                pod["metadata"]["labels"]["pod-template-generation"] = generation
            await self.pod_control.create(pod, owner)

        async def delete(index: int) -> None:
            try:
                if not await self.pod_control.delete(doomed[index], owner):
                    self.expectations.removed(key, objects.uid(doomed[index]))
            except BaseException:
                self.expectations.removed(key, objects.uid(doomed[index]))
                raise

        made = 0
        try:
            made = await slow_start(len(wanted), create)
        except SlowStartFailed as failed:
            made = failed.succeeded
            if not (isinstance(failed.cause, ApiError) and is_terminating_namespace(failed.cause)):
                for pod in doomed:
                    self.expectations.removed(key, objects.uid(pod))
                raise
        finally:
            self.expectations.added(key, len(wanted) - made)
        await slow_start(len(doomed), delete, initial=len(doomed))

    # -- rolling ----------------------------------------------------------------------------------------------------

    async def _roll(self, key: str, owner: Object, by_node: Mapping[str, Sequence[Object]], hash_value: str) -> None:
        strategy = owner["spec"].get("updateStrategy") or {}
        if (strategy.get("type") or "RollingUpdate") != "RollingUpdate":
            return
        nodes = [n for n in self.nodes.items() if placement.judge(owner["spec"]["template"], n)[0]]
        unavailable_allowed, surge = max_unavailable(owner, len(nodes)), max_surge(owner, len(nodes))
        minimum, now = int(owner["spec"].get("minReadySeconds") or 0), self.clock.now()
        at_once: list[Object] = []
        in_turn: list[Object] = []
        surge_at_once: list[str] = []
        surge_in_turn: list[str] = []
        unavailable = surging = 0
        for node in nodes:
            name = objects.name(node)
            found = [p for p in by_node.get(name, ()) if not pods.is_finished(p)]
            living = [p for p in found if not objects.is_deleting(p)]
            new = next((p for p in living if objects.labels(p).get(HASH_LABEL) == hash_value), None)
            old = next((p for p in living if objects.labels(p).get(HASH_LABEL) != hash_value), None)
            if surge:
                if new is not None and not pods.is_available(new, minimum, now):
                    surging += old is not None
                elif old is not None and new is None:
                    if len(found) > len(living):
                        surging += 1
                    elif pods.is_available(old, minimum, now):
                        surge_in_turn.append(name)
                    else:
                        surge_at_once.append(name)
                continue
            if new is not None:
                unavailable += not pods.is_available(new, minimum, now)
            elif old is None:
                unavailable += 1
            elif pods.is_available(old, minimum, now):
                in_turn.append(old)
            else:
                # An old Pod that does not work is replaced whatever the budget says.
                at_once.append(old)
                unavailable += 1
        if surge:
            chosen = surge_at_once + surge_in_turn[: max(0, surge - surging - len(surge_at_once))]
            await self._apply(key, owner, chosen, [], hash_value)
            return
        await self._apply(key, owner, [], at_once + in_turn[: max(0, unavailable_allowed - unavailable)], hash_value)

    # -- status -----------------------------------------------------------------------------------------------------

    async def _write_status(
        self, key: str, owner: Object, by_node: Mapping[str, Sequence[Object]], hash_value: str, collisions: int
    ) -> None:
        now, minimum = self.clock.now(), int(owner["spec"].get("minReadySeconds") or 0)
        desired = current = misplaced = ready = available = updated = 0
        waits: list[float] = []
        for node in self.nodes.items():
            should_run, _ = placement.judge(owner["spec"]["template"], node)
            found = by_node.get(objects.name(node), ())
            if not should_run:
                misplaced += bool(found)
                continue
            desired += 1
            if not found:
                continue
            current += 1
            oldest = sorted(found, key=lambda p: (objects.is_deleting(p), pods.creation_time(p), objects.name(p)))
            if any(pods.is_ready(p) for p in found):
                ready += 1
            if any(pods.is_available(p, minimum, now) for p in found):
                available += 1
            waits += [w for p in found if (w := pods.until_available(p, minimum, now)) is not None]
            updated += any(objects.labels(p).get(HASH_LABEL) == hash_value for p in oldest)
        status: Object = {
            "currentNumberScheduled": current,
            "desiredNumberScheduled": desired,
            "numberMisscheduled": misplaced,
            "numberReady": ready,
            "numberAvailable": available,
            "numberUnavailable": desired - available,
            "updatedNumberScheduled": updated,
            "observedGeneration": owner["metadata"].get("generation", 0),
            "collisionCount": collisions,
        }
        old = owner.get("status") or {}
        if old.get("conditions"):
            # This controller sets none; those of others stay.
            status["conditions"] = old["conditions"]
        if {k: v for k, v in status.items() if v} != {k: v for k, v in old.items() if v}:
            always = ("currentNumberScheduled", "desiredNumberScheduled", "numberMisscheduled", "numberReady")
            shown = {k: v for k, v in status.items() if v or k in always}
            await self.client.update_status(DAEMONSETS, {**owner, "status": shown})
        if waits:
            self.queue.add_after(key, min(waits) + 1)


def _rolling(owner: Object) -> Object:
    strategy = owner["spec"].get("updateStrategy") or {}
    if (strategy.get("type") or "RollingUpdate") != "RollingUpdate":
        return {}
    return strategy.get("rollingUpdate") or {}


def max_surge(owner: Object, nodes: int) -> int:
    return scaled_value(_rolling(owner).get("maxSurge", 0), nodes, round_up=True)


def max_unavailable(owner: Object, nodes: int) -> int:
    """One, if both this and maxSurge come to nothing."""
    number = scaled_value(_rolling(owner).get("maxUnavailable", 1), nodes, round_up=True)
    return number or (0 if max_surge(owner, nodes) else 1)
