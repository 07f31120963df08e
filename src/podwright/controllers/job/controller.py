"""Brings a Job to its end: makes Pods, counts each exactly once (by a finalizer on it), and says how it went."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from podwright.api import objects
from podwright.api.objects import Object, deepcopy
from podwright.api.resources import JOBS, PODS
from podwright.api.status import ApiError
from podwright.client.events import NORMAL, WARNING
from podwright.client.informers import latest
from podwright.client.transport import STRATEGIC_MERGE_PATCH
from podwright.controllers import pods, refs, selection
from podwright.controllers.expectations import Expectations
from podwright.controllers.frame import Context, Controller, SlowStartFailed, is_terminating_namespace, slow_start
from podwright.controllers.freshness import RETRY, Freshness
from podwright.controllers.job import indexes, tally, verdict
from podwright.controllers.job import pods as job_pods
from podwright.controllers.job.backoff import BackoffStore, finished_at, remaining
from podwright.controllers.job.tally import FINALIZER, Tally

MANAGER = "kubernetes.io/job-controller"
_AT_ONCE = 500
_ORPHAN = "orphan//"
_BATCH = 0.02
"""Seconds that changes of Pods wait for each other."""


class JobController(Controller):
    """Keys: Jobs, and "orphan//POD" for a Pod whose Job is gone: its finalizer must not hold it."""

    name = "job-controller"
    account = "job-controller"
    max_delay = 60.0

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.expectations = Expectations(self.clock)
        self.pod_control = pods.PodControl(self.client, self.events)
        self._backoff = BackoffStore()
        self._removing: dict[str, set[str]] = {}
        self._noted: dict[str, set[str]] = {}
        self.jobs = self.informer(JOBS, self._job_changed, namespace=refs.by_namespace)
        self.pods = self.informer(PODS, self._pod_changed, controller=refs.by_controller_or_orphan)
        self._fresh = Freshness(self.jobs, self.clock)

    def _job_changed(self, old: Object | None, new: Object | None) -> None:
        if new is not None:
            self.enqueue(old, new)
            return
        assert old is not None
        key = objects.key(old)
        self.expectations.forget(key)
        self._backoff.forget(key)
        self._removing.pop(key, None)
        self._noted.pop(key, None)
        for pod in refs.owned(self.pods, old):
            if tally.is_tracked(pod):
                self.queue.add(_ORPHAN + objects.key(pod))

    def _pod_changed(self, old: Object | None, new: Object | None) -> None:
        pod = latest(old, new)
        found = refs.controller_key(pod, "Job", "batch")
        if found is None:
            was = refs.controller_key(old, "Job", "batch") if old is not None else None
            if was is not None:
                self.queue.add(was[0])
            if new is not None and not objects.is_deleting(new):
                self._enqueue_matching(old, new)
            return
        key, owner_uid = found
        if new is None or not tally.is_tracked(new):
            self._removing.get(key, set()).discard(objects.uid(pod))
        if new is None or objects.is_deleting(new):
            self.expectations.removed(key, objects.uid(pod))
        elif old is None:
            self.expectations.added(key)
        if new is not None and tally.is_tracked(new):
            job = self.jobs.get(key)
            if job is None or objects.uid(job) != owner_uid:
                # Looked at again later: the Job may only be slower to arrive than its Pod.
                self.queue.add_after(_ORPHAN + objects.key(new), 1.0)
                return
        self.queue.add_after(key, _BATCH)

    def _enqueue_matching(self, old: Object | None, new: Object) -> None:
        if old is not None and objects.labels(old) == objects.labels(new) and objects.controller_of(old) is None:
            return
        labels = objects.labels(new)
        for job in self.jobs.by_index("namespace", objects.namespace(new)):
            if labels and selection.from_label_selector(job_pods.selector(job))(labels):
                self.queue.add(objects.key(job))

    async def reconcile(self, key: str) -> None:
        if key.startswith(_ORPHAN):
            await self._free_orphan(key.removeprefix(_ORPHAN))
            return
        cached = self.jobs.get(key)
        if cached is None or (cached["spec"].get("managedBy") or MANAGER) != MANAGER:
            return
        if self._fresh.is_stale(key):
            self.queue.add_after(key, RETRY)
            return
        job = deepcopy(cached)
        children = await refs.claim(
            self.client, owner=job, owner_resource=JOBS, resource=PODS, informer=self.pods,
            selector=selection.from_label_selector(job_pods.selector(job)), finalizers=(FINALIZER,),
        )  # fmt: skip
        if verdict.is_finished(job) or objects.is_deleting(job):
            await self._free_all(key, [p for p in children if not pods.is_active(p) or objects.is_deleting(job)])
            return
        settled = self.expectations.satisfied(key)
        counted = tally.count(job, children, self._removing.setdefault(key, set()))
        self._note_backoff(key, counted)
        status = self._started(job)
        ending = verdict.interim(job)
        if ending is None:
            ending = verdict.judge(job, counted, self.clock.now())
            if ending is not None:
                status["conditions"] = pods.set_condition(list(status.get("conditions") or ()), ending)
        failure: Exception | None = None
        if settled:
            try:
                await self._manage(key, job, counted, ending)
            except ApiError as refused:
                failure = refused
        await self._account(key, job, status, children, counted, ending)
        if failure is not None:
            raise failure

    def _note_backoff(self, key: str, counted: Tally) -> None:
        known = self._noted.setdefault(key, set())
        fresh_good = [p for p in counted.new_succeeded if objects.uid(p) not in known]
        fresh_bad = [p for p in counted.new_failed if objects.uid(p) not in known]
        if fresh_good or fresh_bad:
            known.update(objects.uid(p) for p in (*fresh_good, *fresh_bad))
            self._backoff.observe(key, fresh_good, fresh_bad, self.clock.now())

    # -- starting, suspending ---------------------------------------------------------------------------------------

    def _started(self, job: Object) -> Object:
        """The status with startTime and the Suspended condition as spec.suspend asks."""
        status: Object = dict(job.get("status") or {})
        spec, now = job["spec"], self.clock.now()
        suspended = objects.condition(job, "Suspended")
        conditions = list(status.get("conditions") or ())
        if spec.get("suspend"):
            if suspended is None or suspended.get("status") != "True":
                conditions = _replace(conditions, verdict.condition("Suspended", "JobSuspended", "Job suspended", now))
                self.events.event(job, NORMAL, "Suspended", "Job suspended")
            status.pop("startTime", None)
        else:
            if suspended is not None and suspended.get("status") == "True":
                conditions = _replace(
                    conditions, verdict.condition("Suspended", "JobResumed", "Job resumed", now, "False")
                )
                status["startTime"] = objects.format_time(now)
                self.events.event(job, NORMAL, "Resumed", "Job resumed")
            status.setdefault("startTime", objects.format_time(now))
            deadline = spec.get("activeDeadlineSeconds")
            if deadline is not None:
                left = objects.parse_time(status["startTime"]) + deadline - now
                self.queue.add_after(objects.key(job), min(max(left, RETRY), float(deadline) + 1))
        if conditions:
            status["conditions"] = conditions
        return status

    # -- making and ending Pods -------------------------------------------------------------------------------------

    async def _manage(self, key: str, job: Object, counted: Tally, ending: Object | None) -> None:
        spec = job["spec"]
        indexed = indexes.is_indexed(job)
        completions = spec.get("completions")
        active = counted.active
        if ending is not None or spec.get("suspend"):
            counted.active = await self._delete(key, job, counted, active)
            return
        if indexed:
            doomed = [p for p in active if (i := indexes.of(p)) is not None and i in counted.failed_indexes]
            if doomed:
                active = counted.active = await self._delete(key, job, counted, doomed)
        parallelism = spec.get("parallelism")
        parallelism = 1 if parallelism is None else int(parallelism)
        if completions is None:
            wanted = len(active) if counted.succeeded > 0 else parallelism
            wanted = min(wanted, parallelism)
        else:
            left = int(completions) - counted.succeeded - len(counted.failed_indexes)
            wanted = max(0, min(parallelism, left))
        extra = job_pods.surplus(active, max(0, len(active) - wanted), completions, indexed)
        if extra:
            counted.active = await self._delete(key, job, counted, extra)
            return
        missing = wanted - len(active)
        if tally.replaces_only_failed(job):
            missing -= len(counted.terminating)
        if missing <= 0:
            return
        await self._create(key, job, counted, min(missing, _AT_ONCE))

    async def _delete(self, key: str, job: Object, counted: Tally, victims: Sequence[Object]) -> list[Object]:
        """Gives the Pods that stay active."""
        if not victims:
            return counted.active
        self.expectations.expect(key, removals=[objects.uid(p) for p in victims])

        async def one(index: int) -> None:
            try:
                if not await self.pod_control.delete(victims[index], job):
                    self.expectations.removed(key, objects.uid(victims[index]))
            except BaseException:
                self.expectations.removed(key, objects.uid(victims[index]))
                raise

        try:
            await slow_start(len(victims), one, initial=len(victims))
        except SlowStartFailed as failed:
            raise failed.cause from None
        gone = {objects.uid(p) for p in victims}
        counted.terminating = [*counted.terminating, *victims]
        return [p for p in counted.active if objects.uid(p) not in gone]

    async def _create(self, key: str, job: Object, counted: Tally, number: int) -> None:
        wanted: list[Object]
        if indexes.is_indexed(job):
            wanted = self._indexed_pods(key, job, counted, number)
        else:
            wait = self._backoff.remaining(key, self.clock.now())
            if wait > 0:
                self.queue.add_after(key, wait)
                return
            wanted = [job_pods.make(job, None) for _ in range(number)]
        if not wanted:
            return
        self.expectations.expect(key, additions=len(wanted))
        made: list[Object] = []

        async def one(index: int) -> None:
            made.append(await self.pod_control.create(wanted[index], job))

        try:
            await slow_start(len(wanted), one)
        except SlowStartFailed as failed:
            if not (isinstance(failed.cause, ApiError) and is_terminating_namespace(failed.cause)):
                raise failed.cause from None
        finally:
            self.expectations.added(key, len(wanted) - len(made))
            counted.active = [*counted.active, *made]

    def _indexed_pods(self, key: str, job: Object, counted: Tally, number: int) -> list[Object]:
        completions = int(job["spec"].get("completions") or 0)
        busy = [i for p in counted.active if (i := indexes.of(p)) is not None]
        if tally.replaces_only_failed(job):
            busy += [i for p in counted.terminating if (i := indexes.of(p)) is not None]
        limited = tally.per_index_limit(job) is not None
        if not limited:
            wait = self._backoff.remaining(key, self.clock.now())
            if wait > 0:
                self.queue.add_after(key, wait)
                return []
            return [job_pods.make(job, i) for i in job_pods.pending_indexes(counted, completions, busy, number)]
        failures: dict[int, tuple[int, int, float]] = {}
        ignored = {objects.uid(p) for p in counted.ignored}
        now = self.clock.now()
        for pod in (*counted.new_failed, *counted.ignored):
            index = indexes.of(pod)
            if index is not None:
                was_ignored = objects.uid(pod) in ignored
                counted_before = tally.annotated(pod, tally.INDEX_FAILURES) + (not was_ignored)
                ignored_before = tally.annotated(pod, tally.INDEX_IGNORED_FAILURES) + was_ignored
                known = failures.get(index, (0, 0, 0.0))
                failures[index] = max(known, (counted_before, ignored_before, finished_at(pod, now)))
        # The last Pod of an index keeps its finalizer until its replacement stands: it alone knows the count.
        made: list[Object] = []
        for index in job_pods.pending_indexes(counted, completions, busy, completions):
            if len(made) >= number:
                break
            counted_before, ignored_before, at = failures.get(index, (0, 0, 0.0))
            wait = remaining(counted_before + ignored_before, at, now)
            if wait > 0:
                self.queue.add_after(key, wait)
                continue
            made.append(job_pods.make(job, index, (counted_before, ignored_before)))
        return made

    # -- accounting -------------------------------------------------------------------------------------------------

    async def _account(
        self, key: str, job: Object, status: Object, children: Sequence[Object], counted: Tally, ending: Object | None
    ) -> None:
        """First the status names the Pods that ended, then they lose their finalizer, then they are only a number:
        whatever is interrupted, none is lost and none is counted twice."""
        by_uid = {objects.uid(p): p for p in children}
        removing = self._removing[key]
        uncounted = status.get("uncountedTerminatedPods") or {}
        held = {f: list(uncounted.get(f) or ()) for f in ("succeeded", "failed")}
        status["succeeded"] = int(status.get("succeeded") or 0)
        status["failed"] = int(status.get("failed") or 0)
        self._settle(status, held, by_uid, removing)
        indexed = indexes.is_indexed(job)
        to_free = list(counted.ignored)
        kept = self._kept_for_index(job, counted)
        if indexed:
            text = indexes.compress(counted.completed)
            if text or status.get("completedIndexes"):
                status["completedIndexes"] = text
            status["succeeded"] = len(counted.completed)
            if tally.per_index_limit(job) is not None:
                status["failedIndexes"] = indexes.compress(counted.failed_indexes)
            to_free += counted.new_succeeded
        else:
            held["succeeded"] += [objects.uid(p) for p in counted.new_succeeded]
        failed = [p for p in counted.new_failed if objects.uid(p) not in kept]
        if ending is not None and ending["type"] == verdict.SUCCESS_CRITERIA:
            # What a Job that succeeded ends itself did not fail.
            to_free += [p for p in failed if pods.phase(p) != "Failed"]
            failed = [p for p in failed if pods.phase(p) == "Failed"]
        held["failed"] += [objects.uid(p) for p in failed]
        status["uncountedTerminatedPods"] = {f: u for f, u in held.items() if u}
        status["active"] = len(counted.active)
        status["ready"] = sum(pods.is_ready(p) for p in counted.active)
        status["terminating"] = len(counted.terminating)
        job = await self._write(job, status)
        to_free += [by_uid[u] for u in (*held["succeeded"], *held["failed"]) if u in by_uid]
        to_free = [p for p in to_free if objects.uid(p) not in kept]
        await self._free_all(key, to_free)
        status = dict(job.get("status") or {})
        held = {f: list(u) for f, u in (status.get("uncountedTerminatedPods") or {}).items()}
        self._settle(status, held, by_uid, removing)
        status["uncountedTerminatedPods"] = {f: u for f, u in held.items() if u}
        self._finish(job, status, counted, ending)
        await self._write(job, status)

    @staticmethod
    def _kept_for_index(job: Object, counted: Tally) -> set[str]:
        """Of each index that will be tried again the last failed Pod stays uncounted until its successor is there."""
        if tally.per_index_limit(job) is None:
            return set()
        running = {indexes.of(p) for p in counted.active}
        latest: dict[int, Object] = {}
        for pod in (*counted.new_failed, *counted.ignored):
            index = indexes.of(pod)
            if index is None or index in running or index in counted.completed or index in counted.failed_indexes:
                continue
            known = latest.get(index)
            if known is None or tally.annotated(pod, tally.INDEX_FAILURES) >= tally.annotated(
                known, tally.INDEX_FAILURES
            ):
                latest[index] = pod
        return {objects.uid(p) for p in latest.values()}

    @staticmethod
    def _settle(status: Object, held: dict[str, list[str]], by_uid: dict[str, Object], removing: set[str]) -> None:
        """Noted Pods without their finalizer become part of the numbers."""
        for field, uids in held.items():
            done = [u for u in uids if u not in by_uid or u in removing or not tally.is_tracked(by_uid[u])]
            if done:
                status[field] = int(status.get(field) or 0) + len(done)
                held[field] = [u for u in uids if u not in done]

    def _finish(self, job: Object, status: Object, counted: Tally, ending: Object | None) -> None:
        if ending is None or status.get("uncountedTerminatedPods") or counted.active or counted.terminating:
            return
        now = self.clock.now()
        success = ending["type"] == verdict.SUCCESS_CRITERIA
        kind = verdict.COMPLETE if success else verdict.FAILED
        done = verdict.condition(kind, ending.get("reason", ""), ending.get("message", ""), now)
        status["conditions"] = _replace(list(status.get("conditions") or ()), done)
        if success:
            status["completionTime"] = objects.format_time(now)
            self.events.event(job, NORMAL, "Completed", "Job completed")
        else:
            self.events.event(job, WARNING, ending.get("reason", ""), ending.get("message", ""))

    async def _write(self, job: Object, status: Object) -> Object:
        if _shown(status) == _shown(job.get("status") or {}):
            return job
        written = await self.client.update_status(JOBS, {**job, "status": _shown(status)})
        self._fresh.wrote(written)
        return {**written, "apiVersion": JOBS.api_version, "kind": JOBS.kind}

    # -- finalizers -------------------------------------------------------------------------------------------------

    async def _free_all(self, key: str, finished: Sequence[Object]) -> None:
        removing = self._removing.setdefault(key, set())
        held = [p for p in finished if tally.is_tracked(p) and objects.uid(p) not in removing]
        if not held:
            return
        results = await asyncio.gather(*(self._free(p) for p in held), return_exceptions=True)
        for pod, result in zip(held, results, strict=True):
            if not isinstance(result, BaseException):
                cached = self.pods.get(objects.key(pod))
                if cached is not None and objects.uid(cached) == objects.uid(pod) and tally.is_tracked(cached):
                    removing.add(objects.uid(pod))
        for result in results:
            if isinstance(result, BaseException):
                raise result

    async def _free(self, pod: Object) -> None:
        """Takes our finalizer off, whatever else changes on the Pod meanwhile."""
        meta = {"uid": objects.uid(pod), "$deleteFromPrimitiveList/finalizers": [FINALIZER]}
        try:
            await self.client.patch(
                PODS, objects.name(pod), {"metadata": meta}, namespace=objects.namespace(pod),
                content_type=STRATEGIC_MERGE_PATCH,
            )  # fmt: skip
        except ApiError as refused:
            # Gone, or another Pod of that name.
            if refused.code not in (404, 409):
                raise

    async def _free_orphan(self, pod_key: str) -> None:
        pod = self.pods.get(pod_key)
        if pod is None or not tally.is_tracked(pod):
            return
        found = refs.controller_key(pod, "Job", "batch")
        if found is not None:
            job = self.jobs.get(found[0])
            if job is not None and objects.uid(job) == found[1]:
                self.queue.add(found[0])
                return
        await self._free(pod)


def _replace(conditions: list[Object], condition: Object) -> list[Object]:
    return [*(c for c in conditions if c["type"] != condition["type"]), condition]


def _shown(status: Object) -> Object:
    """Without zeroes, but with those that upstream always writes."""
    always = ("ready", "terminating", "uncountedTerminatedPods")
    return {k: v for k, v in status.items() if v or (k in always and v is not None)}
