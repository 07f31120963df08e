"""What is to be done for a Pod: a table over what the runtime has."""

from __future__ import annotations

import pytest

from podwright.api.objects import Object
from podwright.kubelet import labels
from podwright.kubelet.probing import ProbeKind
from podwright.kubelet.runtime_cache import PodRuntime
from podwright.kubelet.sync.actions import Observed, PodActions, compute
from podwright.runtime.protocol import Container, ContainerState, Sandbox, SandboxMetadata, SandboxState

from .conftest import make_container, make_pod

RUNNING, EXITED, CREATED = ContainerState.RUNNING, ContainerState.EXITED, ContainerState.CREATED
UNKNOWN = ContainerState.UNKNOWN


def sandbox(state: SandboxState = SandboxState.READY, attempt: int = 0) -> Sandbox:
    metadata = SandboxMetadata("web", "default", "u", attempt)
    return Sandbox(f"s{attempt}", metadata, state, float(attempt), ips=["10.0.0.2"])


def container(name: str, state: ContainerState, code: int = 0, *, note: str = "") -> Container:
    return Container(
        id=f"{name}@1.0", sandbox_id="s0", name=name, attempt=0, image="i", image_ref="i", state=state, created_at=1.0,
        exit_code=code, annotations={labels.CONTAINER_HASH: note} if note else {},
    )  # fmt: skip


def seen(*containers: Container, boxes: tuple[Sandbox, ...] | None = None, **more: object) -> Observed:
    ordered = sorted(containers, key=lambda c: -c.created_at)
    return Observed(PodRuntime((sandbox(),) if boxes is None else boxes, ordered), **more)  # type: ignore[arg-type]


def pod(**spec: object) -> Object:
    return make_pod("web", make_container("a"), make_container("b"), **spec)


def summary(actions: PodActions) -> dict[str, object]:
    found: dict[str, object] = {}
    for name in ("create_sandbox", "kill_pod", "finished", "restart_all"):
        if getattr(actions, name):
            found[name] = True
    if actions.start:
        found["start"] = actions.start
    if actions.kill:
        found["kill"] = [k.name for k in actions.kill]
    return found


INIT = [make_container("one"), make_container("side", restartPolicy="Always"), make_container("two")]


@pytest.mark.parametrize(
    ("spec", "observed", "expected"),
    [
        ({}, seen(boxes=()), {"create_sandbox": True, "start": ["a", "b"]}),
        ({}, seen(), {"start": ["a", "b"]}),
        ({}, seen(container("a", RUNNING), container("b", RUNNING)), {}),
        ({}, seen(container("a", RUNNING), container("b", EXITED, 0)), {"start": ["b"]}),
        ({}, seen(container("a", RUNNING), container("b", CREATED)), {"start": ["b"]}),
        ({}, seen(container("a", RUNNING), container("b", UNKNOWN)), {"start": ["b"], "kill": ["b"]}),
        ({}, seen(container("a", RUNNING), busy={"b"}), {}),
        ({"restartPolicy": "OnFailure"}, seen(container("a", EXITED, 0), container("b", EXITED, 1)), {"start": ["b"]}),
        (
            {"restartPolicy": "OnFailure"},
            seen(container("a", EXITED, 0), container("b", EXITED, 0)),
            {"kill_pod": True, "finished": True},
        ),
        ({"restartPolicy": "Never"}, seen(container("a", EXITED, 1), container("b", RUNNING)), {}),
        (
            {"restartPolicy": "Never"},
            seen(container("a", EXITED, 1), container("b", EXITED, 0)),
            {"kill_pod": True, "finished": True},
        ),
        # A dead sandbox.
        (
            {},
            seen(container("a", EXITED, 1), boxes=(sandbox(SandboxState.NOTREADY),)),
            {"create_sandbox": True, "kill_pod": True, "start": ["a", "b"]},
        ),
        (
            {"restartPolicy": "Never"},
            seen(container("a", EXITED, 1), container("b", EXITED), boxes=(sandbox(SandboxState.NOTREADY),)),
            {"kill_pod": True, "finished": True},
        ),
        # Init containers.
        ({"initContainers": INIT}, seen(boxes=()), {"create_sandbox": True, "start": ["one"]}),
        ({"initContainers": INIT}, seen(container("one", RUNNING)), {}),
        ({"initContainers": INIT}, seen(container("one", EXITED, 1)), {"start": ["one"]}),
        (
            {"initContainers": INIT, "restartPolicy": "Never"},
            seen(container("one", EXITED, 1)),
            {"kill_pod": True, "finished": True},
        ),
        ({"initContainers": INIT}, seen(container("one", EXITED, 0)), {"start": ["side"]}),
        (
            {"initContainers": INIT},
            seen(container("one", EXITED, 0), container("side", RUNNING), is_started=lambda name: False),
            {},
        ),
        ({"initContainers": INIT}, seen(container("one", EXITED, 0), container("side", RUNNING)), {"start": ["two"]}),
        (
            {"initContainers": INIT},
            seen(container("one", EXITED), container("side", EXITED, 1), container("two", RUNNING)),
            {"start": ["side"]},
        ),
        (
            {"initContainers": INIT},
            seen(container("one", EXITED), container("side", RUNNING), container("two", EXITED)),
            {"start": ["a", "b"]},
        ),
        (
            {"initContainers": INIT},
            seen(container("side", EXITED, 1), container("a", RUNNING), container("b", RUNNING)),
            {"start": ["side"]},
        ),
        # A finished Pod does not start its sidecar again.
        (
            {"initContainers": INIT, "restartPolicy": "Never"},
            seen(container("side", EXITED, 1), container("a", EXITED), container("b", EXITED)),
            {"kill_pod": True, "finished": True},
        ),
    ],
)
def test_table(spec: dict[str, object], observed: Observed, expected: dict[str, object]) -> None:
    assert summary(compute(pod(**spec), observed)) == expected


def test_failed_probe_kills() -> None:
    running = container("a", RUNNING), container("b", RUNNING)
    actions = compute(pod(), seen(*running, probe_failures={"a@1.0": ProbeKind.LIVENESS}))
    assert [k.message for k in actions.kill] == ["Container a failed liveness probe, will be restarted"]
    actions = compute(pod(restartPolicy="Never"), seen(*running, probe_failures={"a@1.0": ProbeKind.STARTUP}))
    assert actions.kill[0].message == "Container a failed startup probe" and not actions.finished


def test_changed_image_replaces_the_container() -> None:
    actions = compute(pod(), seen(container("a", RUNNING, note="other"), container("b", RUNNING)))
    assert [(k.name, k.start_again) for k in actions.kill] == [("a", True)]
    assert actions.kill[0].message == "Container a definition changed, will be restarted"


def test_ephemeral_container_starts_once() -> None:
    with_debug = pod()
    with_debug["spec"]["ephemeralContainers"] = [make_container("debug")]
    running = container("a", RUNNING), container("b", RUNNING)
    assert compute(with_debug, seen(*running)).start == ["debug"]
    assert compute(with_debug, seen(*running, container("debug", EXITED, 1))).start == []


def test_restart_rules() -> None:
    rules = [{"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}}]
    job = make_pod("web", make_container("a", restartPolicy="Never", restartPolicyRules=rules), restartPolicy="Never")
    assert compute(job, seen(container("a", EXITED, 42))).start == ["a"]
    assert compute(job, seen(container("a", EXITED, 1))).finished
    rules[0]["action"] = "RestartAllContainers"
    assert compute(job, seen(container("a", EXITED, 42))).restart_all
