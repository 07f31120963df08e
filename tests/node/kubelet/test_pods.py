"""Pods on real containers: their lives, what they share, what they see of their spec."""

from __future__ import annotations

import asyncio

from podwright.api import objects
from podwright.api.resources import CONFIGMAPS, PODS, SECRETS, SERVICES

from .conftest import SUBNET, KubeletNode, make_container, make_pod


async def test_life_and_death(node: KubeletNode) -> None:
    await node.create(make_pod("web", make_container("a"), make_container("b")))
    pod = await node.until_ready()
    assert pod["status"]["podIP"].startswith(SUBNET)
    hostname = await node.sh("hostname; cat /etc/hosts; hostname -i", name="a")
    assert hostname.startswith("web\n") and f"{pod['status']['podIP']}\tweb" in hostname
    await node.user.delete(PODS, "web", namespace="default")
    await node.until(lambda: node.pod() is None)


async def test_exit_code_reason_and_message(node: KubeletNode) -> None:
    script = "echo why > /dev/termination-log; exit 3"
    await node.create(make_pod("web", make_container(script=script), restartPolicy="Never"))
    pod = await node.until_phase("Failed")
    ended = pod["status"]["containerStatuses"][0]["state"]["terminated"]
    assert (ended["exitCode"], ended["reason"], ended["message"]) == (3, "Error", "why\n")


async def test_out_of_memory_is_said(node: KubeletNode) -> None:
    script = "x=a; while true; do x=$x$x; done"
    limits = {"limits": {"memory": "16Mi"}}
    await node.create(make_pod("web", make_container(script=script, resources=limits), restartPolicy="Never"))
    pod = await node.until_phase("Failed")
    assert pod["status"]["containerStatuses"][0]["state"]["terminated"]["reason"] == "OOMKilled"


async def test_crash_loop_counts(node: KubeletNode) -> None:
    await node.create(make_pod("web", make_container(script="exit 1")))
    pod = await node.until_pod(lambda p: (p["status"].get("containerStatuses") or [{}])[0].get("restartCount", 0) >= 2)
    assert pod["status"]["phase"] == "Running"
    assert pod["status"]["containerStatuses"][0]["lastState"]["terminated"]["exitCode"] == 1


async def test_environment(node: KubeletNode) -> None:
    await node.config_map("settings", color="blue", size="9")
    secret = {
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "hidden", "namespace": "default"},
        "data": {"word": "c2VzYW1l"},
    }  # fmt: skip
    await node.user.create(SECRETS, secret)
    service = {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "data-base", "namespace": "default"},
        "spec": {"clusterIP": "10.96.0.5", "ports": [{"port": 5432, "protocol": "TCP"}]},
    }  # fmt: skip
    await node.user.create(SERVICES, service)
    env = [
        {"name": "PLAIN", "value": "p"},
        {"name": "JOINED", "value": "$(PLAIN)-$(DATA_BASE_SERVICE_HOST)-$(NONE)-$$(PLAIN)"},
        {"name": "WORD", "valueFrom": {"secretKeyRef": {"name": "hidden", "key": "word"}}},
        {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "LIMIT", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}},
    ]
    main = make_container(
        script="sleep 1000 & wait",
        env=env,
        envFrom=[{"configMapRef": {"name": "settings"}, "prefix": "S_"}],
        resources={"limits": {"memory": "64Mi"}},
    )
    await node.create(make_pod("web", main))
    pod = await node.until_ready()
    found = dict(line.split("=", 1) for line in (await node.sh("env")).splitlines() if "=" in line)
    assert found["JOINED"] == "p-10.96.0.5-$(NONE)-$(PLAIN)"
    assert found["WORD"] == "sesame" and found["NAME"] == "web" and found["LIMIT"] == "64"
    assert found["IP"] == pod["status"]["podIP"]
    assert found["S_color"] == "blue" and found["S_size"] == "9"
    assert found["DATA_BASE_PORT_5432_TCP_ADDR"] == "10.96.0.5"


async def test_missing_config_map_heals(node: KubeletNode) -> None:
    main = make_container(env=[{"name": "C", "valueFrom": {"configMapKeyRef": {"name": "later", "key": "k"}}}])
    await node.create(make_pod("web", main))
    pod = await node.until_pod(
        lambda p: (p["status"].get("containerStatuses") or [{}])[0].get("state", {}).get("waiting", {}).get("reason")
        == "CreateContainerConfigError"
    )
    waiting = pod["status"]["containerStatuses"][0]["state"]["waiting"]
    assert waiting["message"] == 'configmap "later" not found'
    await node.config_map("later", k="v")
    await node.until_ready()
    assert (await node.sh("echo $C")).strip() == "v"


async def test_volumes(node: KubeletNode) -> None:
    await node.config_map("settings", color="blue")
    volumes = [
        {"name": "disk", "emptyDir": {}},
        {"name": "memory", "emptyDir": {"medium": "Memory", "sizeLimit": "4Mi"}},
        {"name": "settings", "configMap": {"name": "settings"}},
        {"name": "info", "downwardAPI": {"items": [{"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]}},
        {
            "name": "all",
            "projected": {
                "sources": [
                    {"serviceAccountToken": {"path": "token", "expirationSeconds": 3600}},
                    {"configMap": {"name": "settings", "items": [{"key": "color", "path": "deep/color"}]}},
                ]
            },
        },
        {"name": "host", "hostPath": {"path": str(node.state / "shared"), "type": "DirectoryOrCreate"}},
    ]
    for volume in volumes:
        if "configMap" in volume or "downwardAPI" in volume or "projected" in volume:
            next(v for k, v in volume.items() if k != "name").setdefault("defaultMode", 0o644)
    mounts = [{"name": v["name"], "mountPath": f"/v/{v['name']}"} for v in volumes]
    mounts.append({"name": "disk", "mountPath": "/part", "subPath": "a/b"})
    pod = make_pod(
        "web",
        make_container("one", volumeMounts=mounts),
        make_container("two", volumeMounts=mounts[:1]),
        volumes=volumes,
        securityContext={"fsGroup": 4321},
    )
    await node.create(pod)
    await node.until_ready()
    assert await node.sh("cat /v/settings/color /v/info/name /v/all/deep/color", name="one") == "bluewebblue"
    assert (await node.sh("cat /v/all/token", name="one")).startswith("token-")
    assert "size=4096k" in await node.sh("grep /v/memory /proc/mounts", name="one")
    assert "tmpfs" in await node.sh("grep ' /v/all ' /proc/mounts", name="one")
    await node.sh("echo hello > /part/x; echo host > /v/host/y", name="one")
    assert await node.sh("cat /v/disk/a/b/x", name="two") == "hello\n"
    assert (node.state / "shared" / "y").read_text() == "host\n"
    assert "4321" in await node.sh("stat -c %g /v/disk /v/all/token", name="one")

    await node.api.change(CONFIGMAPS, "settings", lambda c: c["data"].update(color="red"))
    async with asyncio.timeout(60):
        while await node.sh("cat /v/settings/color /v/all/deep/color", name="one") != "redred":
            await asyncio.sleep(0.02)


async def test_kubelet_restart_keeps_containers(node: KubeletNode) -> None:
    volumes = [{"name": "disk", "emptyDir": {"medium": "Memory"}}]
    main = make_container("main", volumeMounts=[{"name": "disk", "mountPath": "/d"}])
    await node.create(make_pod("web", main, make_container("other"), volumes=volumes))
    await node.until_ready()
    await node.sh("echo kept > /d/x")
    pid = node.container().pid
    await node.restart()
    await node.until(lambda: node.kubelet.find_container("default", "web", "main"))
    assert node.container().pid == pid
    # It still is the one who restarts it.
    await node.runtime.kill_container(node.container().id, 9)
    pod = await node.until_pod(lambda p: p["status"]["containerStatuses"][0]["restartCount"] == 1)
    assert pod["status"]["containerStatuses"][0]["lastState"]["terminated"]["exitCode"] == 137
    await node.until(lambda: node.container().pid)
    assert await node.sh("cat /d/x") == "kept\n"


async def test_security_context(node: KubeletNode) -> None:
    main = make_container(
        securityContext={
            "runAsUser": 1000,
            "runAsGroup": 2000,
            "runAsNonRoot": True,
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        }
    )
    await node.create(make_pod("web", main, securityContext={"supplementalGroups": [3000]}))
    pod = await node.until_ready()
    found = await node.sh("id; grep -E 'NoNewPrivs|Seccomp:|CapEff' /proc/self/status; touch /x")
    assert "uid=1000" in found and "gid=2000" in found and "3000" in found
    assert "NoNewPrivs:\t1" in found and "Seccomp:\t2" in found and "CapEff:\t0000000000000000" in found
    assert "Read-only file system" in found
    user = pod["status"]["containerStatuses"][0]["user"]["linux"]
    assert (user["uid"], user["gid"]) == (1000, 2000)


async def test_root_is_refused_where_it_must_not_be(node: KubeletNode) -> None:
    await node.create(make_pod("web", make_container(securityContext={"runAsNonRoot": True})))
    pod = await node.until_pod(
        lambda p: (p["status"].get("containerStatuses") or [{}])[0].get("state", {}).get("waiting", {}).get("reason")
        == "CreateContainerConfigError"
    )
    message = pod["status"]["containerStatuses"][0]["state"]["waiting"]["message"]
    assert message.startswith("container has runAsNonRoot and image will run as root (pod: ")


async def test_missing_command_is_said(node: KubeletNode) -> None:
    await node.create(make_pod("web", {**make_container(), "command": ["/no/such/thing"]}))
    pod = await node.until_pod(
        lambda p: (p["status"].get("containerStatuses") or [{}])[0].get("lastState", {}).get("terminated")
    )
    assert pod["status"]["containerStatuses"][0]["lastState"]["terminated"]["exitCode"] in (127, 128)


async def test_hooks_and_order_of_the_end(node: KubeletNode) -> None:
    lifecycle = {
        "postStart": {"exec": {"command": ["sh", "-c", "echo begun > /shared/begun"]}},
        "preStop": {"exec": {"command": ["sh", "-c", "echo stopping >> /shared/order"]}},
    }
    mount = {"volumeMounts": [{"name": "shared", "mountPath": "/shared"}]}
    main = {
        "name": "main", "image": "docker.io/library/busybox:1.36", "lifecycle": lifecycle,
        "command": ["sh", "-c", "trap 'echo main >> /shared/order; exit 0' TERM; sleep 1000 & wait"], **mount,
    }  # fmt: skip
    side = {
        "name": "side", "image": "docker.io/library/busybox:1.36", "restartPolicy": "Always",
        "command": ["sh", "-c", "trap 'echo side >> /shared/order; exit 0' TERM; sleep 1000 & wait"], **mount,
    }  # fmt: skip
    shared = node.state / "order"
    await node.create(
        make_pod(
            "web", main, initContainers=[side],
            volumes=[{"name": "shared", "hostPath": {"path": str(shared), "type": "DirectoryOrCreate"}}],
        )
    )  # fmt: skip
    pod = await node.until_ready()
    assert objects.condition_is_true(pod, "Initialized")
    assert (shared / "begun").read_text() == "begun\n"
    await node.user.delete(PODS, "web", namespace="default", grace_period_seconds=5)
    await node.until(lambda: node.pod() is None)
    assert (shared / "order").read_text() == "stopping\nmain\nside\n"
