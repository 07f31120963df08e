"""A Pod's life with a runtime in memory: from the API to running containers, to its status, to its deletion."""

from __future__ import annotations

import asyncio
import re

import pytest

from podwright.api import objects
from podwright.api.resources import LEASES, NODES, PODS
from podwright.kubelet.images import INVALID_NAME
from podwright.kubelet.pod_status import Verdict
from podwright.runtime.protocol import RuntimeFailure

from .conftest import Cluster, make_container, make_pod


def statuses(pod: objects.Object, kind: str = "containerStatuses") -> dict[str, objects.Object]:
    return {s["name"]: s for s in pod["status"].get(kind, [])}


async def test_pod_runs_and_says_so(cluster: Cluster) -> None:
    await cluster.create(make_pod())
    pod = await cluster.until_ready()
    status = pod["status"]
    assert status["phase"] == "Running"
    assert status["podIP"].startswith("10.1.0.") and status["podIPs"] == [{"ip": status["podIP"]}]
    assert status["hostIP"] == "192.0.2.7"
    assert status["observedGeneration"] == 1
    assert status["qosClass"] == "BestEffort"
    assert status["startTime"]
    kinds = {c["type"]: c["status"] for c in status["conditions"]}
    assert kinds == dict.fromkeys(
        ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"), "True"
    )
    main = statuses(pod)["main"]
    assert main["ready"] and main["started"] and main["restartCount"] == 0
    assert main["containerID"].startswith("podwright://")
    assert "startedAt" in main["state"]["running"] and main["lastState"] == {}


async def test_one_status_write_from_bind_to_ready(cluster: Cluster) -> None:
    await cluster.until(lambda: cluster.api.find(NODES, "node-1"))
    await cluster.create(make_pod("web", make_container("a"), make_container("b")))
    await cluster.until_ready()
    writes = [c for c in cluster.api.calls if c[0] in ("PATCH", "PUT") and "/pods/" in c[1]]
    assert writes == [("PATCH", "/api/v1/namespaces/default/pods/web/status")]


async def test_deleted_pod_goes(cluster: Cluster) -> None:
    await cluster.create(make_pod())
    await cluster.until_ready()
    await cluster.api.client.delete(PODS, "web", namespace="default")
    await cluster.until_gone()
    assert not cluster.runtime.containers and not cluster.runtime.sandboxes
    await cluster.until(lambda: not any(cluster.config.pods_dir.iterdir()))
    assert not any(cluster.config.logs_dir.iterdir())


async def test_nothing_of_a_gone_pod_is_kept_in_memory(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    probed: set[str] = set()
    monkeypatch.setattr(cluster.kubelet.probes, "add_pod", lambda pod: probed.add(objects.uid(pod)))
    monkeypatch.setattr(cluster.kubelet.probes, "remove_pod", probed.discard)
    await cluster.create(make_pod())
    await cluster.until_ready()
    assert probed
    await cluster.api.client.delete(PODS, "web", namespace="default")
    await cluster.until_gone()
    cache = cluster.kubelet.cache
    await cluster.until(lambda: not (cache._views or cache._containers or cache._sandboxes))
    assert not probed


async def test_grace_period_is_the_deletions(cluster: Cluster) -> None:
    await cluster.create(make_pod())
    await cluster.until_ready()
    await cluster.api.client.delete(PODS, "web", namespace="default", grace_period_seconds=7)
    await cluster.until_gone()
    assert any(c.startswith("grace:main:") and 6.5 < float(c.split(":")[2]) <= 7 for c in cluster.runtime.calls)


async def test_forced_deletion_cuts_a_grace_period_short(cluster: Cluster) -> None:
    await cluster.create(make_pod("web", make_container("main", "ignore-term")))
    await cluster.until_ready()
    await cluster.api.client.delete(PODS, "web", namespace="default")
    await cluster.until(lambda: "stop_container:main" in cluster.runtime.calls)
    await cluster.api.client.delete(PODS, "web", namespace="default", grace_period_seconds=0)
    await cluster.until(lambda: not cluster.runtime.containers, seconds=5)


async def test_restart_policy_never_fails_the_pod(cluster: Cluster) -> None:
    await cluster.create(make_pod("web", make_container("main", "exit", "3"), restartPolicy="Never"))
    pod = await cluster.until_pod(lambda p: p["status"].get("phase") == "Failed")
    ended = statuses(pod)["main"]["state"]["terminated"]
    assert ended["exitCode"] == 3 and ended["reason"] == "Error"
    assert statuses(pod)["main"]["restartCount"] == 0
    ready = objects.condition(pod, "Ready")
    assert ready is not None and ready["reason"] == "PodFailed"
    # Its container stays, for its log.
    assert len(cluster.runtime.named("main")) == 1


async def test_restart_policy_on_failure_ends_in_success(cluster: Cluster) -> None:
    await cluster.create(make_pod("web", make_container("main", "exit", "0"), restartPolicy="OnFailure"))
    pod = await cluster.until_pod(lambda p: p["status"].get("phase") == "Succeeded")
    assert statuses(pod)["main"]["state"]["terminated"]["reason"] == "Completed"
    ready = objects.condition(pod, "Ready")
    assert ready is not None and (ready["status"], ready["reason"]) == ("False", "PodCompleted")


async def test_restart_policy_always_backs_off(cluster: Cluster) -> None:
    await cluster.create(make_pod("web", make_container("main", "exit", "1")))
    pod = await cluster.until_pod(
        lambda p: statuses(p).get("main", {}).get("state", {}).get("waiting", {}).get("reason") == "CrashLoopBackOff"
    )
    assert pod["status"]["phase"] == "Running"
    main = statuses(pod)["main"]
    assert main["lastState"]["terminated"]["exitCode"] == 1
    uid = objects.uid(pod)
    assert main["state"]["waiting"]["message"].endswith(f"restarting failed container=main pod=web_default({uid})")
    assert main["state"]["waiting"]["message"].startswith("back-off ")
    await cluster.until_pod(lambda p: statuses(p)["main"]["restartCount"] >= 3)
    # No more than the present instance and the one before are kept.
    await cluster.until(lambda: len(cluster.runtime.named("main")) <= 2)
    await cluster.until(lambda: any(r == "BackOff" for r, _ in cluster.api.events("web")))


async def test_init_containers_in_order_then_sidecar_then_mains(cluster: Cluster) -> None:
    spec = make_pod(
        "web",
        make_container("a"),
        make_container("b"),
        initContainers=[
            make_container("one", "exit", "0"),
            make_container("side", restartPolicy="Always"),
            make_container("two", "exit", "0"),
        ],
    )
    await cluster.create(spec)
    pod = await cluster.until_ready()
    order = cluster.runtime.start_order
    assert order[:3] == ["one", "side", "two"] and set(order[3:]) == {"a", "b"}
    inits = statuses(pod, "initContainerStatuses")
    assert inits["one"]["ready"] and inits["side"]["started"] and inits["two"]["state"]["terminated"]["exitCode"] == 0
    await cluster.api.client.delete(PODS, "web", namespace="default")
    await cluster.until_gone()
    # "one" and "two" ended by themselves; the sidecar goes last.
    assert cluster.runtime.stop_order[-1] == "side"


async def test_failed_init_container_fails_the_pod(cluster: Cluster) -> None:
    await cluster.create(
        make_pod("web", make_container("a"), initContainers=[make_container("one", "exit", "1")], restartPolicy="Never")
    )
    pod = await cluster.until_pod(lambda p: p["status"].get("phase") == "Failed")
    assert "a" not in cluster.runtime.start_order
    condition = objects.condition(pod, "Initialized")
    assert condition is not None and condition["message"] == "containers with incomplete status: [one]"


async def test_sidecar_does_not_keep_a_finished_pod(cluster: Cluster) -> None:
    await cluster.create(
        make_pod(
            "web",
            make_container("job", "sleep", "0.05"),
            initContainers=[make_container("side", restartPolicy="Always")],
            restartPolicy="Never",
        )
    )
    pod = await cluster.until_pod(lambda p: p["status"].get("phase") == "Succeeded")
    assert statuses(pod, "initContainerStatuses")["side"]["state"]["terminated"]


@pytest.mark.parametrize("command", [("exit", "0"), ("exit", "0", "already")])
async def test_main_container_has_ended_while_the_sidecar_still_takes_its_grace_period(
    cluster: Cluster, command: tuple[str, ...]
) -> None:
    await cluster.create(
        make_pod(
            "web",
            make_container("job", *command),
            initContainers=[make_container("side", "ignore-term", restartPolicy="Always")],
            restartPolicy="Never",
        )
    )
    pod = await cluster.until_pod(lambda p: "terminated" in statuses(p).get("job", {}).get("state", {}))
    assert pod["status"]["phase"] == "Running"
    assert "running" in statuses(pod, "initContainerStatuses")["side"]["state"]


async def test_image_that_cannot_be_pulled(cluster: Cluster) -> None:
    pod = make_pod("web", make_container("main", image="example.com/none:1"))
    await cluster.create(pod)
    await cluster.until_pod(
        lambda p: statuses(p)["main"]["state"].get("waiting", {}).get("reason") == "ErrImagePull"
        if "containerStatuses" in p["status"] else False
    )  # fmt: skip
    found = await cluster.until_pod(
        lambda p: statuses(p)["main"]["state"].get("waiting", {}).get("reason") == "ImagePullBackOff"
    )
    message = statuses(found)["main"]["state"]["waiting"]["message"]
    assert message == 'Back-off pulling image "example.com/none:1": ErrImagePull: manifest unknown'
    assert found["status"]["phase"] == "Pending"
    cluster.images.registry.add("example.com/none:1")
    await cluster.until_ready()
    expected = {
        ("Pulling", 'Pulling image "example.com/none:1"'),
        ("Failed", 'Failed to pull image "example.com/none:1": manifest unknown'),
        ("Failed", "Error: ErrImagePull"),
        ("BackOff", 'Back-off pulling image "example.com/none:1"'),
        ("Failed", "Error: ImagePullBackOff"),
        ("Created", "Container created"),
        ("Started", "Container started"),
    }
    await cluster.until(lambda: expected <= set(cluster.api.events("web")))
    words = (
        r'Successfully pulled image "example.com/none:1" in \S+s \(\S+s including waiting\)\. Image size: 1000 bytes\.'
    )
    assert [m for r, m in cluster.api.events("web") if r == "Pulled" and re.fullmatch(words, m)]


@pytest.mark.parametrize("policy", ["Always", "IfNotPresent", "Never"])
@pytest.mark.parametrize("name", ["Busy:Box:1", "example.com/UPPER", "-x/y", "a b"])
async def test_name_that_is_none(cluster: Cluster, name: str, policy: str) -> None:
    await cluster.create(make_pod("web", make_container("main", image=name, imagePullPolicy=policy)))

    def why(pod: objects.Object) -> objects.Object:
        return dict(statuses(pod).get("main", {}).get("state", {}).get("waiting") or {})

    waiting = why(await cluster.until_pod(lambda p: why(p).get("reason") == INVALID_NAME))
    start = f'Failed to apply default image tag "{name}": couldn\'t parse image name "{name}": invalid reference format'
    assert waiting["message"].startswith(start)
    await cluster.until(lambda: "InspectFailed" in {r for r, _ in cluster.api.events("web")})
    assert cluster.images.pulls == []


async def test_active_deadline(cluster: Cluster) -> None:
    await cluster.create(make_pod("web", activeDeadlineSeconds=1))
    pod = await cluster.until_pod(lambda p: p["status"].get("phase") == "Failed")
    assert pod["status"]["reason"] == "DeadlineExceeded"
    assert pod["status"]["message"] == "Pod was active on the node longer than the specified deadline"
    await cluster.until(lambda: not any(c.pid for c in cluster.runtime.containers.values()))


async def test_dead_sandbox_is_replaced(cluster: Cluster) -> None:
    await cluster.create(make_pod())
    await cluster.until_ready()
    sandbox = next(iter(cluster.runtime.sandboxes))
    await cluster.runtime.stop_pod_sandbox(sandbox)
    uid = next(iter(cluster.runtime.containers.values())).labels["io.kubernetes.pod.uid"]
    cluster.kubelet.cache.sandbox_stopped(uid, sandbox)
    pod = await cluster.until_pod(
        lambda p: statuses(p)["main"]["restartCount"] == 1 and objects.condition_is_true(p, "Ready")
    )
    assert len([s for s in cluster.runtime.sandboxes.values() if s.state.value == "SANDBOX_READY"]) == 1
    assert pod["status"]["phase"] == "Running"


async def test_kubelet_restart_disturbs_nothing(cluster: Cluster) -> None:
    await cluster.create(make_pod("web", make_container("main"), make_container("crash", "exit", "1")))
    await cluster.until_pod(lambda p: statuses(p).get("crash", {}).get("restartCount", 0) >= 2)
    main = cluster.runtime.named("main")
    for _ in range(3):
        await cluster.restart()
        await asyncio.sleep(0.05)
    assert cluster.runtime.named("main") == main
    before = statuses(cluster.pod() or {})["crash"]["restartCount"]
    pod = await cluster.until_pod(lambda p: statuses(p)["crash"]["restartCount"] > before)
    assert statuses(pod)["main"]["restartCount"] == 0


@pytest.mark.parametrize("deleted", [False, True])
async def test_container_whose_start_the_kubelet_did_not_live_to_see(cluster: Cluster, deleted: bool) -> None:
    """Another takes its place, and it does not stay beside that one, nor in a Pod that has ended."""
    cluster.runtime.fail["start_container"] = RuntimeFailure("killed at this very point")
    created = await cluster.create(make_pod())
    await cluster.until(lambda: cluster.runtime.containers)
    await cluster.restart()
    if deleted:
        gone = await cluster.until(lambda: cluster.kubelet.evict(objects.uid(created), Verdict("Evicted", "", 0.0)))
        await asyncio.wait_for(gone.wait(), 5)
        assert not cluster.runtime.containers and cluster.runtime.sandboxes
        return
    cluster.runtime.fail.clear()
    pod = await cluster.until_ready()
    await cluster.until(lambda: len(cluster.runtime.containers) == 1)
    assert statuses(pod)["main"]["restartCount"] == 0


async def test_pod_deleted_while_the_kubelet_was_away(cluster: Cluster) -> None:
    await cluster.create(make_pod())
    await cluster.until_ready()
    await cluster.kill()
    await cluster.api.client.delete(PODS, "web", namespace="default", grace_period_seconds=0)
    cluster.kubelet = cluster.new_kubelet()
    await cluster.start()
    await cluster.until(lambda: not cluster.runtime.containers and not cluster.runtime.sandboxes)
    await cluster.until(lambda: not any(cluster.config.pods_dir.iterdir()))


async def test_exit_while_the_api_is_away_is_told_later(cluster: Cluster) -> None:
    await cluster.create(make_pod("web", make_container("main", "sleep", "0.2"), restartPolicy="Never"))
    await cluster.until_ready()
    await cluster.api.set_down(True)
    await cluster.until(lambda: not any(c.pid for c in cluster.runtime.containers.values()))
    await cluster.api.set_down(False)
    await cluster.until_pod(lambda p: p["status"]["phase"] == "Succeeded")


async def test_node_registers_with_lease(cluster: Cluster) -> None:
    node = await cluster.until(lambda: cluster.api.find(NODES, "node-1"))
    assert objects.condition_is_true(node, "Ready")
    assert node["status"]["allocatable"]["pods"] == "110"
    assert node["status"]["addresses"][0] == {"type": "InternalIP", "address": "192.0.2.7"}
    assert node["status"]["nodeInfo"]["containerRuntimeVersion"] == "fake://1.0"
    first = await cluster.until(lambda: cluster.api.find(LEASES, "node-1", "kube-node-lease"))
    renewed = first["spec"]["renewTime"]
    await cluster.until(
        lambda: (cluster.api.find(LEASES, "node-1", "kube-node-lease") or first)["spec"]["renewTime"] != renewed
    )


async def test_an_exit_is_told_before_anything_is_done_about_it(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop = cluster.runtime.stop_pod_sandbox
    let_go = asyncio.Event()

    async def slow(sandbox_id: str) -> None:
        await let_go.wait()
        await stop(sandbox_id)

    monkeypatch.setattr(cluster.runtime, "stop_pod_sandbox", slow)
    await cluster.create(make_pod(restartPolicy="Never"))
    await cluster.until_ready()
    (container,) = cluster.runtime.containers.values()
    cluster.runtime.exit(container.id, 3)
    pod = await cluster.until_pod(lambda p: p["status"]["phase"] == "Failed")
    assert statuses(pod)["main"]["state"]["terminated"]["exitCode"] == 3
    assert objects.condition_is_true(pod, "PodReadyToStartContainers")
    let_go.set()
    await cluster.until_pod(lambda p: not objects.condition_is_true(p, "PodReadyToStartContainers"))
