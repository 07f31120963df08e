"""The CRI runtime without one: messages, the words of a session's end, and a small CRI server of our own for the event
stream that newer runtimes have."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from grpclib.const import Cardinality, Handler, Status
from grpclib.exceptions import GRPCError
from grpclib.server import Server

from podwright.api.protobuf import messages
from podwright.runtime.cri import answers, requests
from podwright.runtime.cri.calls import _Codec
from podwright.runtime.cri.runtime import CriRuntime
from podwright.runtime.cri.streams import _exit_code
from podwright.runtime.protocol import (
    ContainerConfig,
    ContainerState,
    EventType,
    IdMapping,
    NamespaceMode,
    NamespaceOptions,
    NoSuchThing,
    Resources,
    RuntimeFailure,
    SandboxConfig,
    SandboxMetadata,
    SecurityContext,
)

_RUNNING, _EXITED = 1, 2


class FakeCri:
    """Containers by id → state. `events` False: a runtime without the stream."""

    def __init__(self, *, events: bool) -> None:
        self.containers = {"c1": _RUNNING}
        self.lists = 0
        self._events = events
        self._changed = asyncio.Event()

    def end(self, container: str) -> None:
        self.containers[container] = _EXITED
        self._changed.set()

    def __mapping__(self) -> dict[str, Handler]:
        calls = {
            "Version": lambda _: {"runtime_name": "fake", "runtime_version": "1"},
            "Status": lambda _: {},
            "ListContainers": self._list,
            "ListPodSandbox": lambda _: {"items": [{"id": "s1", "metadata": {"uid": "u1"}}]},
            "ContainerStatus": self._status,
        }
        service = "/runtime.v1.RuntimeService"
        found = {f"{service}/{name}": _handler(name, call) for name, call in calls.items()}
        if self._events:
            found[f"{service}/GetContainerEvents"] = Handler(
                self._stream, Cardinality.UNARY_STREAM,
                "runtime.v1.GetEventsRequest", "runtime.v1.ContainerEventResponse",  # type: ignore[arg-type]
            )  # fmt: skip
        return found

    def _list(self, request: dict[str, Any]) -> dict[str, Any]:
        assert request["filter"]["label_selector"] == {answers.OWNER: "me"}
        self.lists += 1
        return {
            "containers": [{"id": c, "pod_sandbox_id": "s1", "state": state} for c, state in self.containers.items()]
        }

    def _status(self, request: dict[str, Any]) -> dict[str, Any]:
        if request["container_id"] not in self.containers:
            raise GRPCError(Status.NOT_FOUND, f"no container {request['container_id']}")
        return {"status": {"id": "c1", "state": self.containers["c1"], "exit_code": 7}, "info": {"info": '{"pid": 12}'}}

    async def _stream(self, stream: Any) -> None:
        await stream.recv_message()
        while True:
            await self._changed.wait()
            self._changed.clear()
            await stream.send_message({"container_id": "c1", "container_event_type": 2})


def _handler(name: str, call: Any) -> Handler:
    async def serve(stream: Any) -> None:
        await stream.send_message(call(await stream.recv_message()))

    return Handler(
        serve, Cardinality.UNARY_UNARY, f"runtime.v1.{name}Request", f"runtime.v1.{name}Response"  # type: ignore[arg-type]
    )


@pytest.fixture(params=[True, False], ids=["with-events", "without-events"])
async def fake(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[FakeCri, CriRuntime]]:
    served = FakeCri(events=request.param)
    server = Server([served], codec=_Codec())
    await server.start(path=str(tmp_path / "cri.sock"))
    runtime = CriRuntime(tmp_path / "cri.sock", owner="me")
    await runtime.open()
    yield served, runtime
    await runtime.close()
    server.close()
    await server.wait_closed()


async def test_an_exit_is_an_event_with_and_without_the_runtimes_stream(fake: tuple[FakeCri, CriRuntime]) -> None:
    served, runtime = fake
    assert (await runtime.container_status("c1")).pid == 12
    async with asyncio.timeout(60):
        waiting = asyncio.ensure_future(anext(runtime.events()))
        await asyncio.sleep(0.05)
        served.end("c1")
        event = await waiting
    assert (event.type, event.container_id, event.sandbox_id, event.pod_uid) == (EventType.STOPPED, "c1", "s1", "u1")
    status = await runtime.container_status("c1")
    assert (status.state, status.exit_code, status.pid, status.sandbox_id) == (ContainerState.EXITED, 7, 0, "s1")
    del served.containers["c1"]
    with pytest.raises(NoSuchThing, match="no container c1"):
        await runtime.container_status("c1")


def test_signals_have_the_interfaces_numbers() -> None:
    numbers = {"TERM": 23, "KILL": 13, "USR1": 29, "RTMIN": 35, "RTMIN+15": 50, "RTMAX-14": 51, "RTMAX": 65}
    assert {name: requests.SIGNALS.index(name) for name in numbers} == numbers


def test_a_sandbox_keeps_what_the_interface_does_not_tell_in_an_annotation() -> None:
    config = SandboxConfig(
        SandboxMetadata("p", "ns", "uid", 2), cgroup_parent="/podwright/x", labels={"a": "b"},
        namespaces=NamespaceOptions(
            network=NamespaceMode.NODE, pid=NamespaceMode.POD, user_namespace=[IdMapping(65536, 0, 65536)]
        ),
    )  # fmt: skip
    made = requests.sandbox(config, {answers.OWNER: "me"}, {answers.CGROUP_PARENT: config.cgroup_parent})
    sent = messages.decode("runtime.v1.PodSandboxConfig", messages.encode("runtime.v1.PodSandboxConfig", made))
    options = sent["linux"]["security_context"]["namespace_options"]
    assert options["network"] == 2 and options["userns_options"]["uids"] == [{"host_id": 65536, "length": 65536}]
    status = {
        "id": "s", "metadata": sent["metadata"], "labels": sent["labels"], "annotations": sent["annotations"],
        "linux": {"namespaces": {"options": options}}, "network": {"ip": "10.0.0.1"},
    }  # fmt: skip
    found = answers.sandbox({"status": status})
    assert found.metadata == config.metadata and found.namespaces.network == NamespaceMode.NODE
    assert (found.cgroup_parent, found.labels, found.annotations, found.ips) == ("/podwright/x", {"a": "b"}, {}, ())


def test_a_containers_user_zero_is_said_and_no_user_is_not() -> None:
    config = ContainerConfig(
        "c", 0, "i", env=[("A", "ü")], security=SecurityContext(run_as_user=0), stop_signal="SIGUSR1",
        resources=Resources(unified={"memory.high": "1"}, cpu_shares=2),
    )  # fmt: skip
    for unified in (True, False):
        made = requests.container(config, {}, unified=unified)
        sent = messages.decode("runtime.v1.ContainerConfig", messages.encode("runtime.v1.ContainerConfig", made))
        security = sent["linux"]["security_context"]
        assert "run_as_user" in security and "run_as_group" not in security
        assert sent["stop_signal"] == 29
        assert ("unified" in sent["linux"]["resources"]) == unified


def test_the_words_at_a_sessions_end() -> None:
    assert _exit_code(b'{"status": "Success"}') == 0
    failed = b'{"status": "Failure", "details": {"causes": [{"reason": "ExitCode", "message": "42"}]}}'
    assert _exit_code(failed) == 42
    with pytest.raises(RuntimeFailure, match="no such file"):
        _exit_code(b'{"status": "Failure", "message": "no such file"}')
    with pytest.raises(RuntimeFailure, match="without a word"):
        _exit_code(b"")
