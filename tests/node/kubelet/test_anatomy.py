"""What real containers get beyond a plain life: parts of volumes, images as volumes, resizes, namespaces, ports."""

from __future__ import annotations

from podwright.api.objects import Object
from podwright.api.resources import PODS

from .conftest import BUSYBOX, KubeletNode, make_container, make_pod


async def test_sub_path_through_a_link_is_refused(node: KubeletNode) -> None:
    volumes: list[Object] = [{"name": "v", "emptyDir": {}}]
    first = make_container("plant", "ln -s / /v/out", volumeMounts=[{"name": "v", "mountPath": "/v"}])
    main = make_container("main", volumeMounts=[{"name": "v", "mountPath": "/host", "subPath": "out/etc"}])
    await node.create(make_pod("web", main, initContainers=[first], volumes=volumes))
    pod = await node.until_pod(
        lambda p: "CreateContainerConfigError" in str((p["status"].get("containerStatuses") or [{}])[0].get("state"))
    )
    message = pod["status"]["containerStatuses"][0]["state"]["waiting"]["message"]
    assert message.startswith("failed to prepare subPath for volumeMount") and "/etc" not in message


async def test_sub_path_expression_and_propagation(node: KubeletNode) -> None:
    volumes: list[Object] = [{"name": "v", "emptyDir": {}}]
    env = [{"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]
    mounts = [{"name": "v", "mountPath": "/mine", "subPathExpr": "$(POD)/x"}, {"name": "v", "mountPath": "/all"}]
    await node.create(make_pod("web", make_container(env=env, volumeMounts=mounts), volumes=volumes))
    await node.until_ready()
    await node.sh("echo 1 > /mine/f")
    assert await node.sh("cat /all/web/x/f") == "1\n"


async def test_image_volume(node: KubeletNode) -> None:
    volumes: list[Object] = [{"name": "i", "image": {"reference": BUSYBOX, "pullPolicy": "IfNotPresent"}}]
    mounts = [{"name": "i", "mountPath": "/image"}]
    await node.create(make_pod("web", make_container(volumeMounts=mounts), volumes=volumes))
    pod = await node.until_ready()
    assert "busybox" in await node.sh("ls /image/bin/")
    assert "Read-only" in await node.sh("touch /image/x")
    mounted = pod["status"]["containerStatuses"][0]["volumeMounts"][0]
    assert mounted["volumeStatus"]["image"]["imageRef"]


async def test_shared_and_private_namespaces(node: KubeletNode) -> None:
    await node.create(make_pod("web", make_container("a"), make_container("b"), shareProcessNamespace=True))
    await node.create(make_pod("other"))
    await node.until_ready()
    await node.until_ready("other")
    assert await node.sh("hostname", name="a") == await node.sh("hostname", name="b")
    processes = await node.sh("ps", name="a")
    assert processes.count("root     sleep 1000") == 2
    ns = [await node.sh("readlink /proc/self/ns/net", pod, name) for pod, name in
          (("web", "a"), ("web", "b"), ("other", "main"))]  # fmt: skip
    assert ns[0] == ns[1] != ns[2]


async def test_resize_is_felt(node: KubeletNode) -> None:
    resources = {"requests": {"cpu": "100m", "memory": "32Mi"}, "limits": {"cpu": "200m", "memory": "64Mi"}}
    await node.create(make_pod("web", make_container(resources=resources)))
    await node.until_ready()
    pid = node.container().pid
    read = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || cat /sys/fs/cgroup/memory.max"
    assert int(await node.sh(read)) == 64 << 20

    def grow(pod: Object) -> None:
        pod["spec"]["containers"][0]["resources"]["limits"] = {"cpu": "500m", "memory": "128Mi"}

    await node.api.change(PODS, "web", grow)
    await node.until_pod(
        lambda p: p["status"]["containerStatuses"][0]["resources"]["limits"] == {"cpu": "500m", "memory": "128Mi"}
    )
    assert int(await node.sh(read)) == 128 << 20
    assert node.container().pid == pid
