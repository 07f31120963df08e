"""All Pod workers of the node: one for each Pod that is here or was, until nothing of it is left."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence

from podwright.api import objects, pods
from podwright.api.objects import Object
from podwright.client.events import WARNING
from podwright.kubelet.admission import NodeView, admit
from podwright.kubelet.labels import pod_from_runtime
from podwright.kubelet.pod_status import Verdict
from podwright.kubelet.pod_worker import PodWorker, State
from podwright.kubelet.probing import ProbeKind
from podwright.kubelet.worker_context import WorkerContext

log = logging.getLogger(__name__)


class PodWorkers:
    """Also a ProbeListener. Run :meth:`run` as a task before the first :meth:`update`."""

    def __init__(
        self, context: WorkerContext, view: Callable[[], NodeView], ended: Callable[[Object], None]
    ) -> None:
        self._context = context
        self._view = view
        self._ended = ended
        self._workers: dict[str, PodWorker] = {}
        self._group: asyncio.TaskGroup | None = None
        self._waiting: list[PodWorker] = []

    async def run(self) -> None:
        """Keeps the workers until cancelled. Cancelling it ends no Pod."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            for worker in self._waiting:
                group.create_task(self._live(worker), name=f"pod {pods.describe(worker.pod)}")
            self._waiting.clear()
            await asyncio.Event().wait()

    def get(self, uid: str) -> PodWorker | None:
        return self._workers.get(uid)

    def is_ending(self, uid: str) -> bool:
        """Whether the Pod's status is looked at no more at every change."""
        worker = self._workers.get(uid)
        return worker is None or worker.is_ending

    def active(self) -> Iterable[Object]:
        """Pods that take up room, as allocated: all that have not ended."""
        return [w.resizer.allocated(w.pod) for w in self._workers.values() if w.state is not State.TERMINATED]

    def others(self, uid: str) -> Iterable[Object]:
        return [p for p in self.active() if objects.uid(p) != uid]

    def update(self, pod: Object) -> None:
        """A Pod that should be here, or its new version."""
        uid = objects.uid(pod)
        worker = self._workers.get(uid)
        if worker is not None:
            worker.update(pod)
            return
        worker = self._new(pod)
        fresh = self._context.cache.pod(uid).sandbox is None
        if fresh and not pods.is_terminal(pod) and not objects.is_deleting(pod):
            refused = admit(pod, self.others(uid), self._view())
            if refused is None:
                self._context.manager.reserve(pod)
            else:
                self._context.recorder.event(pod, WARNING, refused.reason, refused.message)
                log.info("%s refused: %s: %s", pods.describe(pod), refused.reason, refused.message)
                worker.terminate(Verdict(refused.reason, refused.message, refused=True))
        self._start(worker)

    def _new(self, pod: Object) -> PodWorker:
        worker = self._workers[objects.uid(pod)] = PodWorker(self._context, pod)
        return worker

    def _start(self, worker: PodWorker) -> None:
        if self._group is None:
            self._waiting.append(worker)
        else:
            self._group.create_task(self._live(worker), name=f"pod {pods.describe(worker.pod)}")

    async def _live(self, worker: PodWorker) -> None:
        try:
            if pods.is_static(worker.pod):
                await self._turn(worker)
            await worker.run()
        except Exception:
            log.exception("worker of %s", pods.describe(worker.pod))
        finally:
            worker.ended.set()
            worker.unmounted.set()
            worker.finished.set()
        if self._workers.get(worker.uid) is worker:
            del self._workers[worker.uid]
        self._ended(worker.pod)

    async def _turn(self, worker: PodWorker) -> None:
        """A static Pod whose manifest changed starts when its predecessor of the same name has ended."""
        key = objects.key(worker.pod)
        for other in list(self._workers.values()):
            if other is not worker and objects.key(other.pod) == key and pods.is_static(other.pod):
                if other.is_ending:
                    await other.finished.wait()

    def remove(self, uid: str) -> None:
        """The Pod is gone from its source."""
        worker = self._workers.get(uid)
        if worker is not None:
            worker.source_removed()

    def remove_orphans(self, wanted: Iterable[str]) -> None:
        """What the runtime or the disk has of Pods that nobody wants is ended and cleared away."""
        keep = set(wanted) | set(self._workers)
        for uid in (self._context.cache.uids() | self._context.volumes.uids_on_disk()) - keep:
            found = self._context.cache.pod(uid)
            if found.sandboxes or found.containers:
                pod = pod_from_runtime(uid, tuple(found.sandboxes), tuple(found.containers))
            else:
                pod = {
                    "apiVersion": "v1",
                    "kind": "Pod",
                    "metadata": {"name": uid, "namespace": "", "uid": uid},
                    "spec": {"containers": []},
                }
            log.info("clearing away orphaned Pod %s", pods.describe(pod))
            worker = self._new(pod)
            worker.source_removed(orphan=True)
            self._start(worker)

    def evict(self, uid: str, verdict: Verdict) -> asyncio.Event | None:
        """Ends a Pod as Failed. Gives the event that is set when nothing of it runs, None if it is not here."""
        worker = self._workers.get(uid)
        if worker is None:
            return None
        worker.terminate(verdict)
        return worker.ended

    def wake(self, uid: str) -> None:
        worker = self._workers.get(uid)
        if worker is not None:
            worker.wake()

    def references_changed(self, uid: str) -> None:
        worker = self._workers.get(uid)
        if worker is not None:
            worker.references_changed()

    def probe_failed(self, pod_uid: str, container_name: str, container_id: str, kind: ProbeKind) -> None:
        worker = self._workers.get(pod_uid)
        if worker is not None:
            worker.probe_failed(container_id, kind)

    def readiness_changed(self, pod_uid: str, container_name: str) -> None:
        self.wake(pod_uid)

    def all(self) -> Sequence[PodWorker]:
        return list(self._workers.values())
