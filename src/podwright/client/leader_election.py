"""Leader election over a Lease, with the rules of Kubernetes' client library: who holds the Lease and renews it leads;
who cannot renew it in time stops leading before another can start.

A process that is paused (SIGSTOP, a virtual machine that is moved) does not notice that its time is over, and goes on
where it stood. So what a leader writes goes through a fenced client, which looks at the clock before every write."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

from podwright.api import objects
from podwright.api.objects import Object, deepcopy
from podwright.api.resources import LEASES
from podwright.api.status import ApiError
from podwright.client.client import Client
from podwright.client.clock import Clock, SystemClock
from podwright.client.transport import Call, ServerUnreachable, Transport, WatchEvent

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds: a Lease not renewed for `lease_duration` may be taken; a leader that could not renew for
    `renew_deadline` steps down; tries are `retry_period` apart.

    Raises:
        ValueError: one of them is not less than the one before it.
    """

    lease_duration: float = 15.0
    renew_deadline: float = 10.0
    retry_period: float = 2.0

    def __post_init__(self) -> None:
        if not 0 < self.retry_period < self.renew_deadline < self.lease_duration:
            raise ValueError("leader election: retry period < renew deadline < lease duration must hold")


class NotLeading(ServerUnreachable):
    """A write of one who does not lead (any more). Nothing was sent."""


class FencedTransport:
    """Lets writes through while `leads` says so; reads always."""

    def __init__(self, inner: Transport, leads: Callable[[], bool]) -> None:
        self._inner = inner
        self._leads = leads

    async def call(self, call: Call) -> Object:
        if call.method != "GET" and not self._leads():
            raise NotLeading(f"{call.method} {call.path}: the leader's time is over")
        return await self._inner.call(call)

    def watch(self, call: Call) -> AsyncIterator[WatchEvent]:
        return self._inner.watch(call)

    async def aclose(self) -> None:
        await self._inner.aclose()


class LeaderElector:
    """`identity` must differ between candidates."""

    def __init__(
        self, client: Client, *, name: str, identity: str, namespace: str = "kube-system", timing: Timing | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._client = client
        self._name = name
        self._namespace = namespace
        self._identity = identity
        self._timing = timing or Timing()
        self._clock = clock or SystemClock()
        self._observed: Object | None = None
        self._observed_at = 0.0
        self._leads_until = float("-inf")

    def leads(self) -> bool:
        """Whether nobody else can lead yet: less than `renew_deadline` went by since the last renewal was begun."""
        return self._clock.monotonic() < self._leads_until

    def fenced(self, client: Client) -> Client:
        """The same client, whose writes raise NotLeading while :meth:`leads` is false."""
        return Client(FencedTransport(client.transport, self.leads))

    async def run(self, lead: Callable[[], Awaitable[None]]) -> None:
        """Waits to lead, runs `lead`, cancels it when leadership is lost, and waits again; until cancelled. A Lease
        held on cancellation is given back."""
        while True:
            while not await self._try():
                await self._clock.sleep(self._timing.retry_period)
            log.info("%s leads %s", self._identity, self._name)
            try:
                await self._lead(lead)
            finally:
                await self._release()

    async def _lead(self, lead: Callable[[], Awaitable[None]]) -> None:
        work = asyncio.ensure_future(lead())
        try:
            renewed = self._clock.monotonic()
            while not work.done():
                await asyncio.wait((work,), timeout=self._timing.retry_period)
                if work.done():
                    break
                try:
                    async with asyncio.timeout(self._timing.renew_deadline - (self._clock.monotonic() - renewed)):
                        if await self._try():
                            renewed = self._clock.monotonic()
                        elif self._held_by_another():
                            log.warning("%s lost %s", self._identity, self._name)
                            return
                except TimeoutError:
                    pass
                if self._clock.monotonic() - renewed >= self._timing.renew_deadline:
                    log.warning("%s could not renew %s in time", self._identity, self._name)
                    return
            await work
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)

    def _held_by_another(self) -> bool:
        holder = ((self._observed or {}).get("spec") or {}).get("holderIdentity")
        return bool(holder) and holder != self._identity

    async def _try(self) -> bool:
        begun = self._clock.monotonic()
        try:
            async with asyncio.timeout(self._timing.renew_deadline):
                held = await self._acquire_or_renew()
            if held:
                # Others count from when they see the renewal, which is later.
                self._leads_until = begun + self._timing.renew_deadline
            return held
        except (ApiError, ServerUnreachable, TimeoutError) as failed:
            log.info("lease %s: %s", self._name, str(failed) or "no answer in time")
            return False

    async def _acquire_or_renew(self) -> bool:
        now = objects.format_micro_time(self._clock.now())
        spec: Object = {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": max(1, int(self._timing.lease_duration)),
            "acquireTime": now,
            "renewTime": now,
            "leaseTransitions": 0,
        }
        try:
            lease = await self._client.get(LEASES, self._name, namespace=self._namespace)
        except ApiError as refused:
            if refused.code != 404:
                raise
            lease = await self._client.create(
                LEASES,
                {
                    "apiVersion": "coordination.k8s.io/v1",
                    "kind": "Lease",
                    "metadata": {"name": self._name, "namespace": self._namespace},
                    "spec": spec,
                },
            )
            self._observe(lease)
            return True
        self._observe(lease)
        current = lease.get("spec") or {}
        holder = current.get("holderIdentity")
        mine = holder == self._identity
        if holder and not mine and self._clock.monotonic() < self._observed_at + self._timing.lease_duration:
            return False
        if mine:
            spec["acquireTime"] = current.get("acquireTime", now)
            spec["leaseTransitions"] = current.get("leaseTransitions", 0)
        else:
            spec["leaseTransitions"] = int(current.get("leaseTransitions") or 0) + 1
        changed = deepcopy(lease)
        changed["spec"] = spec
        self._observe(await self._client.update(LEASES, changed))
        return True

    def _observe(self, lease: Object) -> None:
        # Expiry is judged by our own clock since the Lease last changed: clocks of candidates may differ.
        if self._observed is None or self._observed.get("spec") != lease.get("spec"):
            self._observed = lease
            self._observed_at = self._clock.monotonic()

    async def _release(self) -> None:
        self._leads_until = float("-inf")
        if self._observed is None or (self._observed.get("spec") or {}).get("holderIdentity") != self._identity:
            return
        try:
            async with asyncio.timeout(self._timing.renew_deadline):
                # A renewal that was cut off may have been written: what was observed last may be old.
                changed = deepcopy(await self._client.get(LEASES, self._name, namespace=self._namespace))
                if (changed.get("spec") or {}).get("holderIdentity") != self._identity:
                    return
                changed["spec"] |= {"holderIdentity": "", "leaseDurationSeconds": 1}
                await self._client.update(LEASES, changed)
        except (ApiError, ServerUnreachable, TimeoutError) as failed:
            log.info("lease %s not given back: %s", self._name, failed)
        self._observed = None
