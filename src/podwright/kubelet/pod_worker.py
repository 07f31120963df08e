"""The life of one Pod on the node: synced as long as it should run, then ended, then cleared away.

One task a Pod. It sleeps until something wakes it: a change of the Pod, an exit, a probe, an object it refers to, a
delay that is over.
"""

from __future__ import annotations

import asyncio
import enum
import logging
from collections.abc import Awaitable, Callable

from podwright.api import objects, pods
from podwright.api.objects import Object
from podwright.api.status import ApiError
from podwright.client.backoff import Backoff
from podwright.client.events import NORMAL, WARNING
from podwright.client.transport import ServerUnreachable
from podwright.kubelet.container_manager import UNEXPECTED, NotAdmitted
from podwright.kubelet.devices.claims import ClaimFailure
from podwright.kubelet.pod_status import StatusMaker, Verdict
from podwright.kubelet.probing import ProbeKind
from podwright.kubelet.resize import Resizer
from podwright.kubelet.sync.actions import Observed, PodActions, compute
from podwright.kubelet.sync.container_work import ContainerWork
from podwright.kubelet.sync.ending import end_containers, remove_everything
from podwright.kubelet.sync.jobs import Jobs
from podwright.kubelet.sync.preparing import downward_facts, prepare, take_down
from podwright.kubelet.sync.sandboxes import SandboxFailure
from podwright.kubelet.sync.uncancelled import first_of
from podwright.kubelet.volumes.mounted import VolumeFailure, VolumePending
from podwright.kubelet.worker_context import WorkerContext
from podwright.runtime.protocol import RuntimeFailure, Sandbox

log = logging.getLogger(__name__)

_ROUNDS = 50
_OVER_DEADLINE = "Pod was active on the node longer than the specified deadline"


class State(enum.Enum):
    SYNCING = "syncing"
    TERMINATING = "terminating"
    TERMINATED = "terminated"


class PodWorker:
    """`pod` is the newest version from its source. Methods that are not async note something and wake the worker."""

    def __init__(self, context: WorkerContext, pod: Object) -> None:
        self.pod = pod
        self.uid = objects.uid(pod)
        self.state = State.SYNCING
        self.ended = asyncio.Event()
        """Nothing of the Pod runs any more."""
        self.unmounted = asyncio.Event()
        """Nor are its volumes mounted."""
        self.finished = asyncio.Event()
        """Nothing of it is left on the node."""
        self._context = context
        self._wake = asyncio.Event()
        self._ending = asyncio.Event()
        self._deleted = asyncio.Event()
        self._shorter = asyncio.Event()
        self._current: asyncio.Task[float] | None = None
        self._work: ContainerWork | None = None
        self._stale_volumes = False
        self._orphan = False
        self._backoff = Backoff(first=context.config.retry_initial, maximum=context.config.retry_maximum)
        self.resizer = Resizer(context, pod)
        self._status = StatusMaker(
            context,
            lambda: self.resizer.allocated(self.pod),
            waiting=lambda: self._work.waiting if self._work else {},
            starting=lambda: set(self._work.jobs.starting()) if self._work else set(),
            actual_resources=self.resizer.actual,
            extra_conditions=self.resizer.conditions,
        )

    # What others tell the worker.

    def update(self, pod: Object) -> None:
        """A new version of the Pod."""
        before, self.pod = self.pod, pod
        labels_changed = objects.labels(pod) != objects.labels(before)
        if labels_changed or objects.annotations(pod) != objects.annotations(before):
            self._stale_volumes = True
        if not self._status.ended:  # Of one that was taken out nobody would take it out again.
            self._context.probes.add_pod(pod)
        if objects.is_deleting(pod):
            if not objects.is_deleting(before) or pods.termination_grace(pod) < pods.termination_grace(before):
                self._shorter.set()
            self._end()
        self.wake()

    def source_removed(self, *, orphan: bool = False) -> None:
        """The Pod is gone from where it came from: nothing of it is to stay. `orphan`: it went while the kubelet was
        away."""
        self._orphan = orphan
        self._deleted.set()
        self._shorter.set()
        self._end()
        self.wake()

    def terminate(self, verdict: Verdict) -> None:
        """Ends the Pod as Failed."""
        if self._status.verdict is None:
            self._status.verdict = verdict
        self._end()
        self.wake()

    def wake(self) -> None:
        self._wake.set()

    def references_changed(self) -> None:
        """A ConfigMap, Secret or other object that the Pod refers to came, changed or went."""
        self._stale_volumes = True
        if self._work is not None:
            self._work.not_before = {
                n: t for n, t in self._work.not_before.items()
                if self._work.waiting.get(n, ("",))[0] != "CreateContainerConfigError"
            }  # fmt: skip
        self.wake()

    def probe_failed(self, container_id: str, kind: ProbeKind) -> None:
        if self._work is not None:
            self._work.probe_failures[container_id] = kind
        self.wake()

    @property
    def is_ending(self) -> bool:
        return self._ending.is_set()

    def _end(self) -> None:
        self._ending.set()
        if self._current is not None:
            self._current.cancel()

    # Its life.

    async def run(self) -> None:
        """Returns when nothing of the Pod is left on the node."""
        if pods.is_terminal(self.pod) or objects.is_deleting(self.pod):
            self._ending.set()
        self._context.probes.add_pod(self.pod)
        async with asyncio.TaskGroup() as group:
            jobs = Jobs(group, self.wake)
            work = self._work = ContainerWork(self._context, lambda: self.resizer.allocated(self.pod), jobs)
            while not self._ending.is_set():
                delay = await self._sync_once(work)
                if not self._ending.is_set():
                    await self._sleep(delay)
            self.state = State.TERMINATING
            await work.jobs.cancel()
        await self._until_done(self._terminate)
        self.state = State.TERMINATED
        await self._until_done(lambda: self._context.manager.release(self.uid))
        self.ended.set()
        await self._until_done(lambda: self._context.volumes.unmount(self.uid))
        self.unmounted.set()
        await self._wait_for_deletion()
        await self._until_done(lambda: remove_everything(self._context, self.pod))
        self.resizer.forget()
        self._context.statuses.gone(self.uid)
        self.finished.set()

    async def _sleep(self, seconds: float) -> None:
        timer = asyncio.ensure_future(self._context.clock.sleep(seconds))
        woken = asyncio.ensure_future(self._wake.wait())
        try:
            await asyncio.wait((timer, woken), return_when=asyncio.FIRST_COMPLETED)
        finally:
            timer.cancel()
            woken.cancel()

    async def _sync_once(self, work: ContainerWork) -> float:
        """One round, cut short when the Pod is to end; gives the seconds until the next one."""
        self._wake.clear()
        self._current = asyncio.ensure_future(self._sync(work))
        try:
            return await asyncio.shield(self._current)
        except asyncio.CancelledError:
            if not self._current.done():
                self._current.cancel()
                await asyncio.wait((self._current,))
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            return 0.0
        except Exception:
            # A bug in one Pod's sync must neither end the others nor keep this one from ending.
            log.exception("%s: sync", pods.describe(self.pod))
            return self._backoff.next()
        finally:
            self._current = None

    async def _until_done(self, step: Callable[[], Awaitable[object]]) -> None:
        """Repeats a step of the end until it succeeds: nothing may be left behind."""
        backoff = Backoff(first=0.1, maximum=30.0)
        while True:
            failure: Exception | None = None
            try:
                await step()
            except* (ClaimFailure, RuntimeFailure, VolumeFailure, OSError) as failed:
                failure = first_of(failed)
            if failure is None:
                return
            log.warning("%s: cannot be ended yet: %s", pods.describe(self.pod), failure)
            self._context.recorder.event(self.pod, WARNING, "FailedKillPod", f"error killing pod: {failure}")
            await self._context.clock.sleep(backoff.next())

    # As long as it should run.

    async def _sync(self, work: ContainerWork) -> float:
        left = self._deadline()
        if left is not None and left <= 0:
            self._context.recorder.event(self.pod, NORMAL, "DeadlineExceeded", _OVER_DEADLINE)
            self.terminate(Verdict("DeadlineExceeded", _OVER_DEADLINE))
            return 0.0
        await self._refresh_volumes()
        await self.resizer.sync(self.pod, work)
        failed = False
        for _ in range(_ROUNDS):
            actions = self._actions(work)
            self._status.publish_exits()
            if actions.finished:
                if self._context.cache.pod(self.uid).running():
                    # Sidecars have their grace to end: until then it must not look as if nothing had begun.
                    self._status.publish()
                self._ending.set()
                return 0.0
            if not (actions.create_sandbox or actions.kill_pod or actions.start or actions.kill):
                break
            try:
                await self._act(actions, work)
            except NotAdmitted as refused:
                self._context.recorder.event(self.pod, WARNING, UNEXPECTED, str(refused))
                self.terminate(Verdict(UNEXPECTED, str(refused), refused=True))
                return 0.0
            except (ClaimFailure, SandboxFailure, VolumeFailure, RuntimeFailure) as error:
                failed = True
                self._complain(error)
                break
        work.tell_probes()
        self._status.publish()
        return self._next_round(work, failed, left)

    def _actions(self, work: ContainerWork) -> PodActions:
        """What is to be done now, without what is under way or has to wait."""
        busy = work.jobs.names()
        seen = Observed(
            self._context.cache.pod(self.uid),
            busy,
            work.probe_failures,
            lambda name: self._context.probes.is_started(self.uid, name),
        )
        actions = compute(self.resizer.allocated(self.pod), seen)
        now = self._context.clock.monotonic()
        actions.start = [n for n in actions.start if n not in busy and work.not_before.get(n, 0.0) <= now]
        actions.kill = [k for k in actions.kill if k.name not in busy and work.not_before.get(k.name, 0.0) <= now]
        return actions

    async def _act(self, actions: PodActions, work: ContainerWork) -> None:
        """Ends what is to end, makes sandbox and volumes, starts containers; returns when all that is quick is done."""
        pod = self.resizer.allocated(self.pod)
        if actions.kill_pod:
            await work.jobs.cancel()
            if actions.restart_all:
                self._status.publish()
            await take_down(self._context, pod, actions)
            if actions.restart_all or not actions.create_sandbox:
                return
        for kill in actions.kill:
            work.kill(kill)
        prepared: asyncio.Future[Sandbox] = asyncio.get_running_loop().create_future()
        for name in actions.start:
            work.start(name, prepared)
        try:
            if actions.create_sandbox or actions.start:
                prepared.set_result(await prepare(self._context, pod, actions))
        except BaseException:
            await work.jobs.cancel()
            raise
        await work.jobs.settled()

    def _complain(self, error: Exception) -> None:
        if isinstance(error, VolumePending):
            log.debug("%s: %s", pods.describe(self.pod), error)
            return
        reason, message = "FailedSync", f"error syncing pod: {error}"
        if isinstance(error, VolumeFailure):
            reason, message = "FailedMount", str(error)
        elif isinstance(error, ClaimFailure):
            reason, message = "FailedPrepareDynamicResources", f"Failed to prepare dynamic resources: {error}"
        elif isinstance(error, SandboxFailure):
            reason, message = "FailedCreatePodSandBox", f"Failed to create pod sandbox: {error}"
        self._context.recorder.event(self.pod, WARNING, reason, message)
        log.info("%s: %s", pods.describe(self.pod), message)

    def _next_round(self, work: ContainerWork, failed: bool, deadline: float | None) -> float:
        if not failed:
            self._backoff.reset()
        now = self._context.clock.monotonic()
        delays = [self._backoff.next() if failed else self._context.config.sync_period]
        delays += [due - now for due in work.not_before.values()]
        if deadline is not None:
            delays.append(deadline)
        tokens = self._context.volumes.next_refresh(self.uid)
        if tokens is not None:
            # A token that is due and was refused is not asked for again at once.
            delays.append(max(tokens, self._context.config.retry_initial))
        return max(0.0, min(delays))

    def _deadline(self) -> float | None:
        """Seconds that the Pod may still be active."""
        limit = self.pod["spec"].get("activeDeadlineSeconds")
        status = self._context.statuses.get(self.uid) or self.pod.get("status") or {}
        if limit is None or not status.get("startTime"):
            return None
        return objects.parse_time(status["startTime"]) + float(limit) - self._context.clock.now()

    async def _refresh_volumes(self) -> None:
        if not self._context.volumes.mounted(self.uid):
            return
        due = self._context.volumes.next_refresh(self.uid)
        if not self._stale_volumes and (due is None or due > 0):
            return
        self._stale_volumes = False
        try:
            await self._context.volumes.refresh(self.pod, downward_facts(self._context, self.pod))
        except (VolumeFailure, ApiError, ServerUnreachable) as failed:
            log.info("%s: volumes not refreshed: %s", pods.describe(self.pod), failed)

    # Its end.

    async def _terminate(self) -> None:
        self._context.probes.pod_terminating(self.uid)
        self._status.ending = True
        if self._status.verdict is not None:
            self._status.publish()
        telling = asyncio.ensure_future(self._tell())
        try:
            await end_containers(self._context, lambda: self.pod, self._grace, self._shorter)
        finally:
            telling.cancel()
        self._status.ended = True
        self._context.probes.remove_pod(self.uid)
        self._status.publish()

    async def _tell(self) -> None:
        """Tells of each container that ends before the others, and of readiness lost on the way, until cancelled."""
        while True:
            self._wake.clear()
            await self._wake.wait()
            self._status.publish()

    def _grace(self) -> float | None:
        """Seconds that override the Pod's own grace period."""
        if self._deleted.is_set() and not pods.is_static(self.pod) and not self._orphan:
            # Its object was taken away by force: someone may count on its being gone.
            return 1.0
        if self._status.verdict is not None and not objects.is_deleting(self.pod):
            return self._status.verdict.grace
        return None

    async def _wait_for_deletion(self) -> None:
        """A Pod that has ended by itself keeps its containers, for their logs, until its object goes."""
        while not self._deleted.is_set() and not objects.is_deleting(self.pod):
            self._wake.clear()
            await self._wake.wait()
            self._status.publish()
