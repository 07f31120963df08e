"""A Pod's status as a function of what the runtime has."""

from __future__ import annotations

from dataclasses import replace

import pytest

from podwright.api.objects import Object
from podwright.kubelet.runtime_cache import PodRuntime
from podwright.kubelet.status.container_statuses import ContainerFacts
from podwright.kubelet.status.generate import PodFacts, generate
from podwright.kubelet.status.status_patch import status_patch
from podwright.runtime.protocol import Container, ContainerState, Sandbox, SandboxMetadata, SandboxState

from .conftest import make_container, make_pod

BOX = Sandbox("s0", SandboxMetadata("web", "default", "u"), SandboxState.READY, 0.0, ips=["10.0.0.2"])


def container(name: str, state: str, code: int = 0, at: float = 1.0, reason: str = "") -> Container:
    return Container(
        id=f"{name}{at:g}", sandbox_id="s0", name=name, attempt=0, image="i", image_ref="i@sha256:0",
        state=ContainerState[state], created_at=at, started_at=at, finished_at=at + 1, exit_code=code, reason=reason,
    )  # fmt: skip


def facts(*containers: Container, **more: object) -> PodFacts:
    ordered = sorted(containers, key=lambda c: -c.created_at)
    made = PodFacts(PodRuntime((BOX,), ordered), previous={}, now=100.0, started_at=100.0, host_ips=("192.0.2.7",))
    return replace(made, **more)  # type: ignore[arg-type]


def pod(**spec: object) -> Object:
    made = make_pod("web", make_container("a"), make_container("b"), **spec)
    made["metadata"]["generation"] = 3
    return made


@pytest.mark.parametrize(
    ("spec", "containers", "expected"),
    [
        ({}, (), "Pending"),
        ({}, (container("a", "RUNNING"),), "Pending"),
        ({}, (container("a", "RUNNING"), container("b", "RUNNING")), "Running"),
        ({}, (container("a", "RUNNING"), container("b", "EXITED", 1)), "Running"),
        ({}, (container("a", "EXITED"), container("b", "EXITED", 1)), "Running"),
        ({"restartPolicy": "Never"}, (container("a", "EXITED"), container("b", "EXITED", 1)), "Failed"),
        ({"restartPolicy": "Never"}, (container("a", "EXITED"), container("b", "EXITED")), "Succeeded"),
        ({"restartPolicy": "OnFailure"}, (container("a", "EXITED"), container("b", "EXITED", 1)), "Running"),
        ({"initContainers": [make_container("i")]}, (container("i", "RUNNING"),), "Pending"),
        ({"initContainers": [make_container("i")], "restartPolicy": "Never"}, (container("i", "EXITED", 1),), "Failed"),
        ({"initContainers": [make_container("i")]}, (container("i", "EXITED", 1),), "Pending"),
    ],
)
def test_phase(spec: dict[str, object], containers: tuple[Container, ...], expected: str) -> None:
    assert generate(pod(**spec), facts(*containers))["phase"] == expected


def test_terminal_phase_stays() -> None:
    done = pod()
    done["status"] = {"phase": "Failed", "reason": "Evicted", "message": "m"}
    status = generate(done, facts(container("a", "RUNNING"), container("b", "RUNNING"), previous=done["status"]))
    assert (status["phase"], status["reason"], status["message"]) == ("Failed", "Evicted", "m")


def test_a_pod_that_ends_is_not_over_before_the_node_has_its_room_back() -> None:
    dead = container("a", "EXITED", 1), container("b", "EXITED")
    told = {"phase": "Running"}
    once = pod(restartPolicy="Never")
    assert generate(once, facts(*dead, ending=True, previous=told))["phase"] == "Running"
    assert generate(once, facts(*dead, ending=True, ended=True, previous=told))["phase"] == "Failed"


def test_waiting_reason_and_last_state() -> None:
    why = {"a": ("CrashLoopBackOff", "back-off")}
    status = generate(
        pod(), facts(container("a", "EXITED", 2), container("b", "RUNNING"), containers=ContainerFacts(waiting=why))
    )
    first = status["containerStatuses"][0]
    assert first["state"] == {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}}
    assert first["lastState"]["terminated"]["exitCode"] == 2
    assert status["phase"] == "Running"


def test_lost_container_of_an_ended_pod() -> None:
    status = generate(pod(), facts(container("a", "EXITED"), ending=True, ended=True))
    assert status["phase"] == "Failed"
    lost = status["containerStatuses"][1]["state"]["terminated"]
    assert (lost["reason"], lost["exitCode"]) == ("ContainerStatusUnknown", 137)


def test_readiness() -> None:
    not_ready = ContainerFacts(is_ready=lambda name: name != "b")
    both = container("a", "RUNNING"), container("b", "RUNNING")
    status = generate(pod(), facts(*both, containers=not_ready))
    ready = next(c for c in status["conditions"] if c["type"] == "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "ContainersNotReady")
    assert ready["message"] == "containers with unready status: [b]" and ready["observedGeneration"] == 3
    gated = pod(readinessGates=[{"conditionType": "example.com/up"}])
    status = generate(gated, facts(*both))
    ready = next(c for c in status["conditions"] if c["type"] == "Ready")
    assert ready["reason"] == "ReadinessGatesNotReady"
    gated["status"] = {"conditions": [{"type": "example.com/up", "status": "True"}]}
    status = generate(gated, facts(*both))
    assert next(c for c in status["conditions"] if c["type"] == "Ready")["status"] == "True"
    assert any(c["type"] == "example.com/up" for c in status["conditions"])


def test_transition_times_change_with_the_status_only() -> None:
    both = container("a", "RUNNING"), container("b", "RUNNING")
    first = generate(pod(), facts(*both))
    second = generate(pod(), facts(*both, previous=first, now=200.0))
    assert first == second
    unready = ContainerFacts(is_ready=lambda name: False)
    third = generate(pod(), facts(*both, previous=first, now=200.0, containers=unready))
    ready = next(c for c in third["conditions"] if c["type"] == "Ready")
    assert ready["lastTransitionTime"] == "1970-01-01T00:03:20Z"


def test_patch_leaves_others_alone() -> None:
    both = container("a", "RUNNING"), container("b", "RUNNING")
    wanted = generate(pod(), facts(*both))
    foreign = {"type": "example.com/up", "status": "True"}
    current = {**wanted, "conditions": [*wanted["conditions"], foreign]}
    assert status_patch(current, wanted) == {}
    current["podIPs"] = [{"ip": "10.0.0.1"}]
    current["podIP"] = "10.0.0.1"
    assert status_patch(current, wanted) == {
        "podIP": "10.0.0.2",
        "podIPs": [{"ip": "10.0.0.2"}, {"$patch": "delete", "ip": "10.0.0.1"}],
    }
