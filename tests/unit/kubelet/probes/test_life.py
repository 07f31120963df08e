from __future__ import annotations

import asyncio
import time

from podwright.kubelet.probing import ProbeKind
from podwright.runtime.protocol import ExecResult, RuntimeFailure

from .conftest import UID, Bench

OK, BAD = ExecResult(0, b"fine", b""), ExecResult(1, b"no ", b"good")


def probe(**more: object) -> dict[str, object]:
    return {"exec": {"command": ["check"]}, "periodSeconds": 0.03, **more}


async def test_a_readiness_probe_is_tried_at_once_not_after_its_period(bench: Bench) -> None:
    bench.add(readinessProbe=probe(periodSeconds=1000))
    assert not bench.ready
    bench.start()
    await bench.until(lambda: bench.ready)
    assert bench.changes == 1


async def test_a_container_without_probes_is_ready(bench: Bench) -> None:
    bench.add()
    bench.start()
    assert bench.ready and bench.started


async def test_readiness_turns_false_only_at_the_failure_threshold_and_back_at_the_success_threshold(
    bench: Bench,
) -> None:
    bench.add(readinessProbe=probe(failureThreshold=3, successThreshold=2))
    bench.start()
    await bench.until(lambda: bench.ready)
    assert len(bench.execs.commands) >= 2
    bench.execs.result = BAD
    await bench.until(lambda: not bench.ready)
    assert len(bench.recorder.events) >= 3
    assert bench.recorder.events[0] == (
        "Warning", "Unhealthy", "Readiness probe failed: no good", "spec.containers{web}"
    )  # fmt: skip
    assert bench.failed == []


async def test_a_failed_liveness_probe_asks_for_a_kill_once_and_waits_for_a_new_container(bench: Bench) -> None:
    bench.execs.result = BAD
    bench.add(livenessProbe=probe(failureThreshold=2))
    bench.start()
    await bench.until(lambda: bench.failed)
    await asyncio.sleep(0.1)
    assert bench.failed == [("c1", ProbeKind.LIVENESS)]
    assert bench.messages == ["Liveness probe failed: no good"] * 2
    bench.execs.result = OK
    bench.probes.container_stopped(UID, "web", "c1")
    bench.start("c2")
    await bench.until(lambda: len(bench.execs.commands) > 4)
    assert bench.execs.commands[-1][0] == "c2"


async def test_liveness_and_readiness_wait_for_startup(bench: Bench) -> None:
    bench.execs.result = BAD
    startup = {"exec": {"command": ["startup"]}, "periodSeconds": 0.03, "failureThreshold": 100}
    bench.add(startupProbe=startup, readinessProbe=probe(), livenessProbe=probe())
    bench.start()
    await bench.until(lambda: len(bench.execs.commands) >= 3)
    assert {c[1][0] for c in bench.execs.commands} == {"startup"}
    assert not bench.started and not bench.ready
    bench.execs.result = OK
    await bench.until(lambda: bench.ready)
    assert bench.started
    seen = len(bench.execs.commands)
    await bench.until(lambda: len(bench.execs.commands) > seen + 4)
    assert "startup" not in {c[1][0] for c in bench.execs.commands[seen:]}


async def test_without_readiness_probe_a_container_is_ready_only_once_started(bench: Bench) -> None:
    bench.execs.result = BAD
    bench.add(startupProbe=probe(failureThreshold=100))
    bench.start()
    await bench.until(lambda: bench.execs.commands)
    assert not bench.ready
    bench.execs.result = OK
    await bench.until(lambda: bench.ready)


async def test_a_failed_startup_probe_asks_for_a_kill(bench: Bench) -> None:
    bench.execs.result = BAD
    bench.add(startupProbe=probe(failureThreshold=2))
    bench.start()
    await bench.until(lambda: bench.failed)
    assert bench.failed == [("c1", ProbeKind.STARTUP)]
    assert bench.messages[0] == "Startup probe failed: no good"


async def test_the_initial_delay_counts_from_the_start_of_the_container(bench: Bench) -> None:
    bench.add(readinessProbe=probe(initialDelaySeconds=0.2))
    began = time.monotonic()
    bench.start()
    await bench.until(lambda: bench.ready)
    assert time.monotonic() - began > 0.18


async def test_a_new_container_is_not_ready_because_the_old_one_was(bench: Bench) -> None:
    bench.add(readinessProbe=probe())
    bench.start()
    await bench.until(lambda: bench.ready)
    bench.execs.result = BAD
    bench.probes.container_stopped(UID, "web", "c1")
    assert not bench.ready
    bench.start("c2")
    assert not bench.ready


async def test_of_a_terminating_pod_only_readiness_is_probed(bench: Bench) -> None:
    bench.add(readinessProbe=probe(), livenessProbe={**probe(), "exec": {"command": ["live"]}, "failureThreshold": 1})
    bench.start()
    await bench.until(lambda: bench.ready)
    bench.probes.pod_terminating(UID)
    bench.execs.result = BAD
    await bench.until(lambda: not bench.ready)
    assert bench.failed == []


async def test_after_a_restart_of_the_kubelet_a_container_stays_as_the_status_says(bench: Bench) -> None:
    status = {"containerStatuses": [{"name": "web", "containerID": "podwright://c1", "ready": True, "started": True}]}
    bench.add(readinessProbe=probe(periodSeconds=1000), startupProbe=probe(), status=status)
    assert bench.ready
    bench.execs.result = BAD
    bench.start("c1", at=time.time() - 100)
    assert bench.ready and bench.started
    bench.probes.container_stopped(UID, "web", "c1")
    assert not bench.ready


async def test_a_removed_pod_is_probed_no_more_and_a_running_attempt_ends(bench: Bench) -> None:
    bench.add(readinessProbe=probe())
    bench.start()
    await bench.until(lambda: bench.ready)
    bench.probes.remove_pod(UID)
    await asyncio.sleep(0.05)
    seen = len(bench.execs.commands)
    await asyncio.sleep(0.1)
    assert len(bench.execs.commands) == seen


async def test_an_attempt_that_cannot_be_carried_out_says_nothing_about_the_container(bench: Bench) -> None:
    bench.execs.result = RuntimeFailure("no such file")
    bench.add(livenessProbe=probe(failureThreshold=1))
    bench.start()
    await bench.until(lambda: bench.recorder.events)
    assert bench.messages[0] == "Liveness probe errored and resulted in unknown state: no such file"
    assert len(bench.execs.commands) >= 3
    assert bench.failed == []


async def test_an_exec_probe_that_hangs_has_failed(bench: Bench) -> None:
    bench.execs.result = TimeoutError()
    action = {"exec": {"command": ["check", "$(WHAT)", "$(ELSE)"]}, "timeoutSeconds": 2}
    bench.add(env=[{"name": "WHAT", "value": "disk"}], livenessProbe={**action, "failureThreshold": 1})
    bench.start()
    await bench.until(lambda: bench.failed)
    assert bench.execs.commands[0][1:] == (["check", "disk", "$(ELSE)"], 2.0)
    assert bench.messages == ['Liveness probe failed: command timed out: "check disk $(ELSE)" timed out after 2s']
