"""Deletes finished Jobs ttlSecondsAfterFinished after their end (KEP-592)."""

from __future__ import annotations

from podwright.api import objects
from podwright.api.objects import Object
from podwright.api.resources import JOBS
from podwright.api.status import ApiError
from podwright.controllers.frame import Context, Controller


class TTLAfterFinishedController(Controller):
    name = "ttl-after-finished-controller"
    account = "ttl-after-finished-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.jobs = self.informer(JOBS, self._changed)

    def _changed(self, old: Object | None, new: Object | None) -> None:
        if new is not None and _expiry(new) is not None and not objects.is_deleting(new):
            self.enqueue(old, new)

    async def reconcile(self, key: str) -> None:
        job = self.jobs.get(key)
        if job is None or objects.is_deleting(job):
            return
        expiry = _expiry(job)
        if expiry is None:
            return
        left = expiry - self.clock.now()
        if left > 0:
            # A clock that jumps back must not keep a Job longer than its whole TTL.
            self.queue.add_after(key, min(left, float(job["spec"]["ttlSecondsAfterFinished"])))
            return
        # The TTL may just have been raised: ask for the Job itself before it goes.
        try:
            fresh = await self.client.get(JOBS, objects.name(job), namespace=objects.namespace(job))
            fresh_expiry = _expiry(fresh)
            if objects.uid(fresh) != objects.uid(job) or fresh_expiry is None or fresh_expiry > self.clock.now():
                return
            await self.client.delete(
                JOBS, objects.name(job), namespace=objects.namespace(job), propagation="Foreground",
                uid=objects.uid(job), resource_version=fresh["metadata"]["resourceVersion"],
            )  # fmt: skip
        except ApiError as refused:
            if refused.code != 404:
                raise


def _expiry(job: Object) -> float | None:
    """None if it has no TTL or has not finished."""
    ttl = (job.get("spec") or {}).get("ttlSecondsAfterFinished")
    if ttl is None:
        return None
    for kind in ("Complete", "Failed"):
        condition = objects.condition(job, kind)
        if condition is not None and condition.get("status") == "True" and condition.get("lastTransitionTime"):
            return objects.parse_time(condition["lastTransitionTime"]) + float(ttl)
    return None
