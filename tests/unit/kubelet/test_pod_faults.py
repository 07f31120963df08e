"""What may go wrong, or be asked for, in a Pod's life: probes, hooks, evictions, refusals, resizes, restarts of all."""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path
from typing import Any

import pytest

from podwright.api import objects
from podwright.api.objects import Object
from podwright.api.resources import PODS, RUNTIMECLASSES, SECRETS
from podwright.kubelet.image_access import ImageAccess
from podwright.kubelet.pod_status import Verdict
from podwright.kubelet.probing import NoProbes, ProbeKind, ProbeListener
from podwright.runtime.protocol import ContainerState, ExecResult, RuntimeFailure

from .conftest import Cluster, make_container, make_pod
from .test_pod_life import statuses


class HandProbes(NoProbes):
    """Probes whose word a test gives."""

    def __init__(self) -> None:
        self.listener: ProbeListener | None = None
        self.unready: set[str] = set()
        self.unstarted: set[str] = set()
        self.told: list[tuple[str, ...]] = []

    def listen(self, listener: ProbeListener) -> None:
        self.listener = listener

    def container_started(self, pod_uid: str, container_name: str, container_id: str, pid: int, at: float) -> None:
        self.told.append(("started", container_name, container_id))

    def container_stopped(self, pod_uid: str, container_name: str, container_id: str) -> None:
        self.told.append(("stopped", container_name, container_id))

    def is_ready(self, uid: str, container: str) -> bool:
        return container not in self.unready

    def is_started(self, uid: str, container: str) -> bool:
        return container not in self.unstarted

    async def run(self) -> None:
        await asyncio.Event().wait()


@pytest.fixture
async def probed(cluster: Cluster) -> tuple[Cluster, HandProbes]:
    from podwright.kubelet.kubelet import Kubelet

    await cluster.kill()
    probes = HandProbes()
    cluster.kubelet = Kubelet(cluster.config, cluster.api.client, cluster.runtime, cluster.images, probes=probes)
    await cluster.start()
    return cluster, probes


async def test_failed_liveness_restarts_the_container(probed: tuple[Cluster, HandProbes]) -> None:
    cluster, probes = probed
    probe = {"exec": {"command": ["x"]}, "terminationGracePeriodSeconds": 5}
    await cluster.create(make_pod("web", make_container("main", livenessProbe=probe)))
    pod = await cluster.until_ready()
    first = cluster.runtime.named("main")[0]
    assert probes.listener is not None
    probes.listener.probe_failed(objects.uid(pod), "main", first.id, ProbeKind.LIVENESS)
    pod = await cluster.until_pod(lambda p: statuses(p)["main"]["restartCount"] == 1)
    killing = ("Killing", "Container main failed liveness probe, will be restarted")
    await cluster.until(lambda: killing in cluster.api.events("web"))
    assert any(c.startswith("grace:main:") and 4 < float(c.split(":")[2]) <= 5 for c in cluster.runtime.calls)
    await cluster.until(lambda: ("stopped", "main", first.id) in probes.told)


async def test_readiness_and_startup(probed: tuple[Cluster, HandProbes]) -> None:
    cluster, probes = probed
    probes.unready.add("main")
    probes.unstarted.add("side")
    side = make_container("side", restartPolicy="Always", startupProbe={"exec": {"command": ["x"]}})
    await cluster.create(make_pod("web", make_container("main"), initContainers=[side]))
    pod = await cluster.until_pod(
        lambda p: "running" in statuses(p, "initContainerStatuses").get("side", {}).get("state", {})
    )
    assert "main" not in cluster.runtime.start_order
    probes.unstarted.clear()
    assert probes.listener is not None
    probes.listener.readiness_changed(objects.uid(pod), "side")
    pod = await cluster.until_pod(lambda p: "running" in statuses(p).get("main", {}).get("state", {}))
    assert not objects.condition_is_true(pod, "Ready")
    probes.unready.clear()
    probes.listener.readiness_changed(objects.uid(pod), "main")
    await cluster.until_ready()


async def test_failed_post_start_kills_and_restarts(cluster: Cluster) -> None:
    cluster.runtime.exec_results["bad",] = ExecResult(1, b"no", b"")
    hook = {"postStart": {"exec": {"command": ["bad"]}}}
    await cluster.create(make_pod("web", make_container("main", lifecycle=hook)))
    await cluster.until_pod(lambda p: statuses(p).get("main", {}).get("restartCount", 0) >= 1)
    await cluster.until(lambda: ("FailedPostStartHook", "PostStartHook failed") in cluster.api.events("web"))
    cluster.runtime.exec_results.clear()
    await cluster.until_ready()


async def test_container_waits_while_its_post_start_runs(cluster: Cluster) -> None:
    cluster.runtime.exec_seconds["slow",] = 0.3
    hook = {"postStart": {"exec": {"command": ["slow"]}}}
    await cluster.create(make_pod("web", make_container("main", lifecycle=hook), make_container("other")))
    pod = await cluster.until_pod(lambda p: "running" in statuses(p).get("other", {}).get("state", {}))
    assert statuses(pod)["main"]["state"] == {"waiting": {"reason": "ContainerCreating"}}
    await cluster.until_ready()


async def test_pre_stop_that_outlasts_the_grace_period(cluster: Cluster) -> None:
    cluster.runtime.exec_seconds["forever",] = 60
    hook = {"preStop": {"exec": {"command": ["forever"]}}}
    await cluster.create(make_pod("web", make_container("main", lifecycle=hook)))
    await cluster.until_ready()
    await cluster.api.client.delete(PODS, "web", namespace="default", grace_period_seconds=1)
    await cluster.until_gone()
    # Two seconds are left in any case.
    assert "grace:main:2" in cluster.runtime.calls


async def test_sidecars_end_last_and_in_reverse(cluster: Cluster) -> None:
    sides = [make_container("s1", restartPolicy="Always"), make_container("s2", restartPolicy="Always")]
    await cluster.create(make_pod("web", make_container("a"), make_container("b"), initContainers=sides))
    await cluster.until_ready()
    await cluster.api.client.delete(PODS, "web", namespace="default")
    await cluster.until_gone()
    assert cluster.runtime.stop_order[2:] == ["s2", "s1"]


async def test_eviction(cluster: Cluster) -> None:
    created = await cluster.create(make_pod())
    await cluster.until_ready()
    condition = {"type": "DisruptionTarget", "status": "True", "reason": "TerminationByKubelet", "message": "m"}
    gone = cluster.kubelet.evict(objects.uid(created), Verdict("Evicted", "low on memory", 0.0, condition))
    assert gone is not None
    pod = await cluster.until_pod(lambda p: p["status"]["phase"] == "Failed")
    assert (pod["status"]["reason"], pod["status"]["message"]) == ("Evicted", "low on memory")
    assert objects.condition_is_true(pod, "DisruptionTarget")
    pod = await cluster.until_pod(lambda p: "terminated" in statuses(p)["main"]["state"])


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ({"nodeSelector": {"disk": "fast"}}, "NodeAffinity"),
        ({"containers": [make_container("main", resources={"requests": {"cpu": "1000"}})]}, "OutOfcpu"),
        ({"securityContext": {"sysctls": [{"name": "kernel.msgmax", "value": "1"}]}}, "SysctlForbidden"),
        ({"securityContext": {"appArmorProfile": {"type": "RuntimeDefault"}}}, "AppArmor"),
    ],
)
async def test_refused_pods_fail(cluster: Cluster, spec: dict[str, Any], reason: str) -> None:
    pod = make_pod("web", **{k: v for k, v in spec.items() if k != "containers"})
    pod["spec"]["containers"] = spec.get("containers") or pod["spec"]["containers"]
    await cluster.create(pod)
    found = await cluster.until_pod(lambda p: p["status"].get("phase") == "Failed")
    assert found["status"]["reason"] == reason
    assert found["status"]["message"].startswith("Pod was rejected: ")
    assert "containerStatuses" not in found["status"] and not cluster.runtime.sandboxes
    await cluster.api.client.delete(PODS, "web", namespace="default")
    await cluster.until_gone()


async def test_host_ports_are_taken_once(cluster: Cluster) -> None:
    def with_port(name: str) -> Object:
        ports = [{"containerPort": 80, "hostPort": 8080, "protocol": "TCP"}]
        return make_pod(name, make_container("main", ports=ports))

    await cluster.create(with_port("one"))
    await cluster.until_ready("one")
    await cluster.create(with_port("two"))
    pod = await cluster.until_pod(lambda p: p["status"].get("phase") == "Failed", "two")
    assert pod["status"]["reason"] == "NodePorts"


async def test_sandbox_failure_is_retried(cluster: Cluster) -> None:
    cluster.runtime.fail["run_pod_sandbox"] = RuntimeFailure("no network")
    await cluster.create(make_pod())
    await cluster.until(lambda: any(r == "FailedCreatePodSandBox" for r, _ in cluster.api.events("web")))
    pod = cluster.pod()
    assert pod is not None and pod["status"]["phase"] == "Pending"
    assert statuses(pod)["main"]["state"]["waiting"]["reason"] == "ContainerCreating"
    cluster.runtime.fail.clear()
    await cluster.until_ready()


async def test_create_and_start_failures(cluster: Cluster) -> None:
    cluster.runtime.fail["create_container:main"] = RuntimeFailure("no such user")
    await cluster.create(make_pod("web", make_container("main"), make_container("other")))
    pod = await cluster.until_pod(
        lambda p: "CreateContainerError" in str(statuses(p).get("main", {}).get("state", {}).get("waiting"))
    )
    assert statuses(pod)["main"]["state"]["waiting"]["message"] == "no such user"
    # The other container is not held up.
    await cluster.until_pod(lambda p: statuses(p)["other"]["ready"])
    cluster.runtime.fail = {"start_container:main": RuntimeFailure("not executable")}
    await cluster.until_pod(
        lambda p: statuses(p)["main"]["state"].get("waiting", {}).get("reason") == "RunContainerError"
    )
    cluster.runtime.fail.clear()
    await cluster.until_ready()


async def test_end_is_retried_until_nothing_is_left(cluster: Cluster) -> None:
    await cluster.create(make_pod())
    await cluster.until_ready()
    cluster.runtime.fail["stop_container:main"] = RuntimeFailure("busy")
    await cluster.api.client.delete(PODS, "web", namespace="default")
    await cluster.until(lambda: any(r == "FailedKillPod" for r, _ in cluster.api.events("web")))
    assert cluster.pod() is not None
    cluster.runtime.fail.clear()
    await cluster.until_gone()


async def test_resize_in_place(cluster: Cluster) -> None:
    resources = {"requests": {"cpu": "100m", "memory": "32Mi"}, "limits": {"cpu": "200m", "memory": "64Mi"}}
    policy = [{"resourceName": "memory", "restartPolicy": "RestartContainer"}]
    await cluster.create(
        make_pod(
            "web",
            make_container("main", resources=resources),
            make_container("other", resources=resources, resizePolicy=policy),
        )
    )
    await cluster.until_ready()

    def grow(pod: Object) -> None:
        for ctr in pod["spec"]["containers"]:
            ctr["resources"]["limits"] = {"cpu": "300m", "memory": "128Mi"}

    main = cluster.runtime.named("main")[0]
    await cluster.api.change(PODS, "web", grow)
    pod = await cluster.until_pod(
        lambda p: statuses(p)["main"]["resources"]["limits"] == {"cpu": "300m", "memory": "128Mi"}
    )
    assert cluster.runtime.containers[main.id].resources.cpu_quota == 30000
    assert statuses(pod)["main"]["restartCount"] == 0
    # The other one's memory changes only with a restart.
    pod = await cluster.until_pod(lambda p: statuses(p)["other"]["restartCount"] == 1 and statuses(p)["other"]["ready"])
    assert statuses(pod)["other"]["resources"]["limits"]["memory"] == "128Mi"
    await cluster.until_pod(lambda p: objects.condition(p, "PodResizeInProgress") is None)
    given = {"limits": {"cpu": "300m", "memory": "128Mi"}, "requests": resources["requests"]}
    events = await cluster.until(
        lambda: (e := [e for e in cluster.api.events("web") if "Resize" in e[0]]) and len(e) == 2 and e
    )
    for (reason, message), words in zip(events, ("started", "completed"), strict=True):
        assert reason == f"Resize{words.capitalize()}"
        told = json.loads(message.removeprefix(f"Pod resize {words}: "))
        assert told == {"containers": [{"name": n, "resources": given} for n in ("main", "other")],
                        "generation": pod["metadata"].get("generation", 0)}  # fmt: skip

    def too_much(pod: Object) -> None:
        pod["spec"]["containers"][0]["resources"]["requests"] = {"cpu": "10000", "memory": "32Mi"}
        pod["spec"]["containers"][0]["resources"]["limits"] = {"cpu": "10000", "memory": "128Mi"}

    await cluster.api.change(PODS, "web", too_much)
    pod = await cluster.until_pod(lambda p: objects.condition(p, "PodResizePending"))
    pending = objects.condition(pod, "PodResizePending")
    assert pending is not None and pending["reason"] == "Infeasible"
    assert pending["message"].startswith("Node didn't have enough capacity: cpu, requested: 10000100, capacity: ")
    assert statuses(pod)["main"]["allocatedResources"]["cpu"] == "100m"
    await cluster.until(lambda: [m for r, m in cluster.api.events("web") if r == "ResizeInfeasible"
                                 and m.startswith('Pod resize Infeasible: {"containers":[{"name":"main"')
                                 and m.endswith(f'"error":"{pending["message"]}"}}')])  # fmt: skip
    # What was allocated is remembered by a kubelet that starts anew.
    await cluster.restart()
    await asyncio.sleep(0.1)
    pod = cluster.pod() or {}
    assert statuses(pod)["main"]["allocatedResources"]["cpu"] == "100m"
    assert statuses(pod)["main"]["restartCount"] == 0


async def test_restart_of_all_containers(cluster: Cluster) -> None:
    rules = [{"action": "RestartAllContainers", "exitCodes": {"operator": "In", "values": [42]}}]
    await cluster.create(
        make_pod(
            "web",
            make_container("main", restartPolicy="Never", restartPolicyRules=rules),
            make_container("other"),
            initContainers=[make_container("init", "exit", "0")],
        )
    )
    await cluster.until_ready()
    assert (objects.condition(cluster.pod() or {}, "AllContainersRestarting") or {})["status"] == "False"
    sandbox = set(cluster.runtime.sandboxes)
    cluster.runtime.exit(cluster.runtime.named("main")[0].id, 42)
    pod = await cluster.until_pod(
        lambda p: statuses(p)["main"]["restartCount"] == 1 and objects.condition_is_true(p, "Ready")
    )
    assert statuses(pod)["other"]["restartCount"] == 1
    assert cluster.runtime.start_order.count("init") == 2
    assert set(cluster.runtime.sandboxes) == sandbox
    assert (objects.condition(pod, "AllContainersRestarting") or {})["status"] == "False"


async def test_a_watcher_restarts_all_of_a_pod_that_restarts_nothing(cluster: Cluster) -> None:
    """The main container is killed and has no restart policy to come back by; a debugger stays ended; no hook runs."""
    rules = [{"action": "RestartAllContainers", "exitCodes": {"operator": "In", "values": [88]}}]
    watcher = make_container("watcher", restartPolicy="Always", restartPolicyRules=rules)
    main = make_container("main", lifecycle={"preStop": {"exec": {"command": ["hook"]}}})
    done = make_container("done", "exit", "0")
    await cluster.create(make_pod("web", main, done, initContainers=[watcher], restartPolicy="Never"))
    await cluster.until_pod(lambda p: "terminated" in statuses(p).get("done", {}).get("state", {}))

    def debug(pod: Object) -> None:
        pod["spec"]["ephemeralContainers"] = [make_container("debug")]

    await cluster.api.change(PODS, "web", debug)
    await cluster.until_pod(
        lambda p: "running" in statuses(p, "ephemeralContainerStatuses").get("debug", {}).get("state", {})
    )
    told: list[Object] = []
    written = cluster.kubelet.statuses.set

    def note(pod: Object, status: Object) -> None:
        told.append(status)
        written(pod, status)

    cluster.kubelet.statuses.set = note  # type: ignore[method-assign]
    cluster.runtime.exit(cluster.runtime.named("watcher")[0].id, 88)
    pod = await cluster.until_pod(lambda p: "running" in statuses(p)["main"]["state"]
                                  and statuses(p)["main"]["restartCount"] == 1)  # fmt: skip
    assert {s["phase"] for s in told} <= {"Pending", "Running"}
    restarting = [objects.condition({"status": s}, "AllContainersRestarting") for s in told]
    assert {(c or {}).get("status") for c in restarting} == {"True", "False"}
    assert next(c for c in restarting if c and c["status"] == "True")["reason"] == "RestartAllContainersStarted"
    assert statuses(pod)["done"]["restartCount"] == 1
    assert statuses(pod)["main"]["lastState"]["terminated"]["reason"] == "RestartingAllContainers"
    assert "terminated" in statuses(pod, "ephemeralContainerStatuses")["debug"]["state"]
    assert "exec_sync:main" not in cluster.runtime.calls


async def test_ephemeral_container(cluster: Cluster) -> None:
    await cluster.create(make_pod())
    await cluster.until_ready()

    def debug(pod: Object) -> None:
        pod["spec"]["ephemeralContainers"] = [make_container("debug", targetContainerName="main")]

    await cluster.api.change(PODS, "web", debug)
    pod = await cluster.until_pod(
        lambda p: "running" in statuses(p, "ephemeralContainerStatuses").get("debug", {}).get("state", {})
    )
    assert objects.condition_is_true(pod, "Ready")
    options = cluster.runtime.configs[cluster.runtime.named("debug")[0].id].security.namespaces
    assert options.target_id == cluster.runtime.named("main")[0].id
    cluster.runtime.exit(cluster.runtime.named("debug")[0].id, 0)
    await cluster.until_pod(lambda p: "terminated" in statuses(p, "ephemeralContainerStatuses")["debug"]["state"])
    assert cluster.runtime.start_order.count("debug") == 1


async def test_unknown_runtime_class(cluster: Cluster) -> None:
    await cluster.create(make_pod("web", runtimeClassName="special"))
    await cluster.until(
        lambda: any('RuntimeClass "special" not found' in m for r, m in cluster.api.events("web"))
    )
    assert all(r != "Pulled" for r, _ in cluster.api.events("web")), "told with each attempt"
    await cluster.api.client.create(
        RUNTIMECLASSES,
        {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": "special"}, "handler": "h"},
    )
    await cluster.until_ready()
    assert next(iter(cluster.runtime.sandbox_configs.values())).runtime_handler == "h"
    await cluster.until(lambda: any(r == "Pulled" for r, _ in cluster.api.events("web")))


async def test_finished_pod_survives_a_restart_with_its_words(cluster: Cluster) -> None:
    await cluster.create(make_pod(restartPolicy="Never"))
    await cluster.until_ready()
    container = cluster.runtime.named("main")[0]
    mount = next(m for m in container.mounts if m.container_path == "/dev/termination-log")
    with open(mount.host_path, "w", encoding="utf-8") as words:
        words.write("farewell")
    cluster.runtime.exit(container.id, 0)
    pod = await cluster.until_pod(lambda p: p["status"]["phase"] == "Succeeded")
    assert statuses(pod)["main"]["state"]["terminated"]["message"] == "farewell"
    await cluster.until(lambda: not any(cluster.config.pods_dir.iterdir()))
    await cluster.restart()
    await asyncio.sleep(0.1)
    after = cluster.pod() or {}
    assert after["status"]["phase"] == "Succeeded"
    assert statuses(after)["main"]["state"] == statuses(pod)["main"]["state"]
    await cluster.api.client.delete(PODS, "web", namespace="default")
    await cluster.until_gone()
    assert not cluster.runtime.containers


def pull_secret(name: str, user: str) -> Object:
    config = {"auths": {"registry.example.com": {"username": user, "password": "p"}}}
    return {
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": "default"},
        "data": {".dockerconfigjson": base64.b64encode(json.dumps(config).encode()).decode()},
    }  # fmt: skip


async def test_an_image_is_for_those_who_could_pull_it(cluster: Cluster) -> None:
    """KEP-2535: that it is on the node, for somebody else's credentials, is no leave to use it."""
    image, images = "registry.example.com/app:1", cluster.images
    for name, user in (("reg", "u"), ("same", "u"), ("other", "else")):
        await cluster.api.client.create(SECRETS, pull_secret(name, user))

    def why_not(pod: Object) -> str:
        return str(statuses(pod).get("main", {}).get("state", {}).get("waiting", {}).get("message", ""))

    async def pulls_for(name: str, secret: str = "", **container: str) -> list[str | None]:
        """As whom the registry was asked."""
        before = len(images.pulls)
        spec = {"imagePullSecrets": [{"name": secret}]} if secret else {}
        await cluster.create(make_pod(name, make_container("main", image=image, **container), **spec))
        await cluster.until_pod(lambda p: objects.condition_is_true(p, "Ready") or why_not(p), name)
        return [auth.username if auth else None for _, auth in images.pulls[before:]]

    images.registry.add(image)
    assert await pulls_for("first", "reg") == ["u"]
    assert await pulls_for("again", "reg") == []
    assert await pulls_for("same-words", "same") == []
    await cluster.restart()
    assert await pulls_for("after-a-restart", "reg") == []
    images.registry.clear()  # It refuses everybody who comes now.
    assert (await pulls_for("nobody"))[0] is None
    assert (await pulls_for("somebody-else", "other"))[0] == "else"
    for name in ("nobody", "somebody-else"):
        assert "manifest unknown" in why_not(cluster.pod(name) or {})
    await pulls_for("never", imagePullPolicy="Never")
    assert why_not(cluster.pod("never") or {}) == f'Container image "{image}" is not present with pull policy of Never'
    images.registry.add(image)  # It is open to all now.
    await cluster.until_ready("nobody")
    images.registry.clear()
    await pulls_for("everybody")
    await cluster.until_ready("everybody")


async def test_a_kubelet_that_died_while_it_pulled_leaves_the_image_to_nobody(tmp_path: Path) -> None:
    ImageAccess(tmp_path).pulling("example.com/app:1")
    access = ImageAccess(tmp_path)
    assert not access.is_open("example.com/app:1", "sha256:1") and access.is_open("example.com/loaded:1", "sha256:2")
    access.pulling("example.com/app:1")
    access.pulled("example.com/app:1", "sha256:1", None)
    assert access.is_open("example.com/app:2", "sha256:1") and not access.is_open("example.com/other:1", "sha256:1")
    access.retain([])
    assert access.is_open("example.com/app:1", "sha256:1")
    listed = ImageAccess(tmp_path, "NeverVerifyAllowlistedImages", ["example.com/team/*"])
    assert listed.is_open("example.com/team/x:1", "i") and not listed.is_open("example.com/x:1", "i")
    assert ImageAccess(tmp_path, "NeverVerify").is_open("example.com/x:1", "i")
    assert not ImageAccess(tmp_path, "AlwaysVerify").is_open("example.com/x:1", "i")


async def test_many_random_kubelet_deaths(cluster: Cluster) -> None:
    """Wherever the kubelet dies in Pods' lives: nothing is doubled, forgotten or left behind."""
    for number in range(4):
        await cluster.create(make_pod(f"p{number}", make_container("a"), make_container("b")))
    for round_ in range(15):
        await asyncio.sleep(0.001 * round_)
        await cluster.restart()
    for number in range(4):
        await cluster.until_ready(f"p{number}")
    running = [c for c in cluster.runtime.containers.values() if c.state is ContainerState.RUNNING]
    assert len(running) == 8
    for number in range(4):
        await cluster.api.client.delete(PODS, f"p{number}", namespace="default")
        await cluster.restart()
    for number in range(4):
        await cluster.until_gone(f"p{number}")
    await cluster.until(lambda: not cluster.runtime.containers and not cluster.runtime.sandboxes)
    await cluster.until(lambda: not any(cluster.config.pods_dir.iterdir()))


async def test_a_pod_deleted_while_its_sandbox_is_made_leaves_none(cluster: Cluster) -> None:
    made, may_end = asyncio.Event(), asyncio.Event()
    run = cluster.runtime.run_pod_sandbox

    async def slow(config: Any) -> Any:
        made.set()
        await may_end.wait()
        return await run(config)

    cluster.runtime.run_pod_sandbox = slow  # type: ignore[method-assign]
    uid = objects.uid(await cluster.create(make_pod()))
    async with asyncio.timeout(60):
        await made.wait()
    await cluster.api.client.delete(PODS, "web", namespace="default")
    await cluster.until(lambda: cluster.kubelet.workers.is_ending(uid))
    may_end.set()
    await cluster.until_gone()
    await cluster.until(lambda: not cluster.runtime.sandboxes)
