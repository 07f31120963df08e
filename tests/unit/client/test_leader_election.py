from __future__ import annotations

import asyncio

import pytest
from tests.unit.client import fake_clock

from podwright.api.objects import Object, deepcopy
from podwright.api.resources import NODES
from podwright.api.status import MODIFIED, already_exists, conflict, not_found
from podwright.client.client import Client
from podwright.client.leader_election import LeaderElector, NotLeading
from podwright.client.transport import Call, ServerUnreachable


class OneLease:
    """A server that keeps a single Lease."""

    def __init__(self) -> None:
        self.lease: Object | None = None
        self.version = 0
        self.cut_off: set[str] = set()

    def transport(self, who: str) -> LeaseTransport:
        return LeaseTransport(self, who)


class LeaseTransport:
    def __init__(self, server: OneLease, who: str) -> None:
        self.server, self.who = server, who

    async def call(self, call: Call) -> Object:
        server = self.server
        if self.who in server.cut_off:
            raise ServerUnreachable("cut off")
        if call.method == "GET":
            if server.lease is None:
                raise not_found("coordination.k8s.io", "leases", "l")
            return deepcopy(server.lease)
        obj = deepcopy(call.body)
        if call.method == "POST" and server.lease is not None:
            raise already_exists("coordination.k8s.io", "leases", "l")
        if call.method == "PUT":
            assert server.lease is not None
            if obj["metadata"]["resourceVersion"] != server.lease["metadata"]["resourceVersion"]:
                raise conflict("coordination.k8s.io", "leases", "l", MODIFIED)
        server.version += 1
        obj["metadata"]["resourceVersion"] = str(server.version)
        server.lease = obj
        return deepcopy(obj)

    async def aclose(self) -> None: ...


async def test_only_one_leads_and_the_next_takes_over_after_expiry_only() -> None:
    clock, server = fake_clock.FakeClock(), OneLease()
    leading: set[str] = set()
    overlaps: list[set[str]] = []

    def lead(who: str):
        async def run() -> None:
            leading.add(who)
            overlaps.append(set(leading))
            try:
                await asyncio.Event().wait()
            finally:
                leading.discard(who)

        return run

    tasks = []
    for who in ("a", "b"):
        elector = LeaderElector(Client(server.transport(who)), name="l", identity=who, clock=clock)
        tasks.append(asyncio.ensure_future(elector.run(lead(who))))
        await fake_clock.settle()
    assert leading == {"a"}
    await clock.advance(8)
    assert leading == {"a"}
    tasks[0].cancel()
    await asyncio.gather(tasks[0], return_exceptions=True)
    await clock.advance(3)
    assert leading == {"b"}, "a Lease given back is taken at the next try"
    assert all(len(o) == 1 for o in overlaps)
    assert server.lease["spec"]["leaseTransitions"] >= 1
    tasks[1].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_lease_of_a_dead_holder_is_taken_only_once_it_expired() -> None:
    clock, server = fake_clock.FakeClock(), OneLease()
    server.lease = {
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": "l", "namespace": "kube-system", "resourceVersion": "0"},
        "spec": {"holderIdentity": "dead", "leaseTransitions": 3},
    }  # fmt: skip
    began = asyncio.Event()

    async def lead() -> None:
        began.set()
        await asyncio.Event().wait()

    task = asyncio.ensure_future(
        LeaderElector(Client(server.transport("b")), name="l", identity="b", clock=clock).run(lead)
    )
    await clock.advance(14)
    assert not began.is_set()
    await clock.advance(4)
    assert began.is_set()
    assert server.lease["spec"]["leaseTransitions"] == 4
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


class Recorder(LeaseTransport):
    """Also takes what the leader writes."""

    def __init__(self, server: OneLease, who: str, written: list[str]) -> None:
        super().__init__(server, who)
        self.written = written

    async def call(self, call: Call) -> Object:
        if "/leases" in call.path:
            return await super().call(call)
        self.written.append(f"{self.who} {call.method}")
        return {"metadata": {"name": "x"}}


async def test_a_leader_that_was_paused_writes_nothing_any_more() -> None:
    clock, server = fake_clock.FakeClock(), OneLease()
    written: list[str] = []
    refused: list[str] = []
    work = asyncio.Event()

    async def lead(client: Client, who: str) -> None:
        while True:
            await work.wait()
            work.clear()
            await client.get(NODES, "x")
            try:
                await client.create(NODES, {"metadata": {"name": "x"}})
            except NotLeading:
                refused.append(who)

    electors = {}
    for who in ("a", "b"):
        plain = Client(Recorder(server, who, written))
        electors[who] = LeaderElector(plain, name="l", identity=who, clock=clock)
    fenced = electors["a"].fenced(Client(Recorder(server, "a", written)))
    task = asyncio.ensure_future(electors["a"].run(lambda: lead(fenced, "a")))
    await fake_clock.settle()
    work.set()
    await fake_clock.settle()
    assert written == ["a GET", "a POST"] and electors["a"].leads()
    # The whole process stands still for longer than its Lease; then its work goes on before its elector looks.
    clock.jump(12)
    work.set()
    await fake_clock.settle()
    assert written == ["a GET", "a POST", "a GET"] and refused == ["a"] and not electors["a"].leads()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    with pytest.raises(NotLeading):
        await electors["b"].fenced(Client(Recorder(server, "b", written))).delete(NODES, "x")
