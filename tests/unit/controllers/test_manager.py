"""The manager: identities, isolation, restarts; and the small shared parts."""

from __future__ import annotations

import asyncio

import pytest
from controller_harness import FakeClock, Harness

from podwright.api.objects import Object
from podwright.api.resources import CONFIGMAPS, NAMESPACES, SERVICEACCOUNTS
from podwright.api.status import failure
from podwright.client.client import Client
from podwright.controllers import selection
from podwright.controllers.config import ControllerConfig
from podwright.controllers.expectations import Expectations
from podwright.controllers.frame import Context, Controller, SlowStartFailed, slow_start
from podwright.controllers.manager import ControllerManager
from podwright.controllers.registry import CONTROLLERS
from podwright.controllers.service_accounts import ServiceAccountController


class Broken(Controller):
    name = "broken-controller"
    account = "broken"
    runs = 0

    async def background(self) -> None:
        type(self).runs += 1
        raise RuntimeError("a bug")


class NotEvenBuilt(Controller):
    name = "unbuilt-controller"
    account = "unbuilt"

    def __init__(self, context: Context) -> None:
        raise RuntimeError("a bug")


class Raising(Controller):
    name = "raising-controller"
    account = "raising"
    tries = 0

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.informer(CONFIGMAPS, self.enqueue)

    async def reconcile(self, key: str) -> None:
        type(self).tries += 1
        raise RuntimeError("a bug")


async def test_a_bug_in_one_controller_ends_no_other() -> None:
    h = Harness()
    users: list[str] = []

    def client_for(user: str) -> Client:
        users.append(user)
        return h.client

    Broken.runs = 0
    manager = ControllerManager(client_for, clock=h.clock, controllers=(Broken, NotEvenBuilt, ServiceAccountController))
    task = asyncio.ensure_future(manager.run())
    h.api.add(NAMESPACES, {"metadata": {"name": "a"}})
    await h.advance(5)
    assert h.api.find(SERVICEACCOUNTS, "default", "a") is not None
    assert 2 <= Broken.runs <= 5
    assert not task.done()
    assert users[0] == "system:kube-controller-manager"
    assert "system:serviceaccount:kube-system:service-account-controller" in users
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_key_that_keeps_failing_is_tried_ever_more_rarely() -> None:
    Raising.tries = 0
    async with Harness().running(Raising) as h:
        h.api.add(CONFIGMAPS, {"metadata": {"name": "c", "namespace": "default"}})
        await h.advance(3600)
        assert 10 < Raising.tries < 25


async def test_every_controller_starts_and_an_empty_cluster_is_quiet() -> None:
    h = Harness()
    manager = ControllerManager(lambda user: h.client, clock=h.clock)
    task = asyncio.ensure_future(manager.run())
    await h.advance(60)
    assert not task.done()
    before = h.api.total
    await h.advance(3600)
    assert h.api.total == before
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def test_names_are_unique_and_can_be_left_out() -> None:
    names = [c.name for c in CONTROLLERS]
    assert len(set(names)) == len(names)
    config = ControllerConfig(controllers=("*", "-job-controller"))
    assert config.enabled("cronjob-controller") and not config.enabled("job-controller")
    assert not ControllerConfig(controllers=("job-controller",)).enabled("cronjob-controller")


async def test_slow_start_doubles_and_stops_at_the_first_failure() -> None:
    calls: list[int] = []

    async def call(index: int) -> None:
        calls.append(index)
        if index == 4:
            raise failure(403, "Forbidden", "no")

    with pytest.raises(SlowStartFailed) as caught:
        await slow_start(100, call)
    assert calls == list(range(7))
    assert caught.value.succeeded == 6


def test_expectations_expire() -> None:
    clock = FakeClock()
    expectations = Expectations(clock)
    expectations.expect("k", additions=2, removals=["a"])
    assert not expectations.satisfied("k")
    expectations.added("k", 2)
    expectations.removed("k", "a")
    expectations.removed("k", "a")
    assert expectations.satisfied("k")
    expectations.expect("k", additions=1)
    clock.move(299)
    assert not expectations.satisfied("k")
    clock.move(301)
    assert expectations.satisfied("k")


@pytest.mark.parametrize(
    ("selector", "labels", "selected"),
    [
        (None, {"a": "b"}, False),
        ({}, {"a": "b"}, True),
        ({"matchLabels": {"a": "b"}}, {"a": "b", "c": "d"}, True),
        ({"matchLabels": {"a": "b"}}, {}, False),
        ({"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["b"]}]}, {}, True),
        ({"matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}]}, {}, False),
        ({"matchExpressions": [{"key": "a", "operator": "DoesNotExist"}]}, {}, True),
    ],
)
def test_label_selectors(selector: Object | None, labels: dict[str, str], selected: bool) -> None:
    assert selection.from_label_selector(selector)(labels) == selected
