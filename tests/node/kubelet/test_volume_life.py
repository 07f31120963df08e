"""Volumes while a Pod runs, and when it or the node does not: changes, limits, ends in the middle."""

from __future__ import annotations

from podwright.api import objects
from podwright.api.objects import Object
from podwright.api.resources import CONFIGMAPS, PODS
from podwright.kubelet.eviction.manager import Evictions
from podwright.kubelet.volumes.mount_points import below

from .conftest import KubeletNode, make_container, make_pod


async def test_a_change_reaches_the_file_and_an_immutable_one_is_not_watched(node: KubeletNode) -> None:
    await node.config_map("changes", k="1")
    await node.user.create(
        CONFIGMAPS, {"metadata": {"name": "fixed", "namespace": "default"}, "data": {"k": "1"}, "immutable": True}
    )
    volumes = [{"name": n, "configMap": {"name": n}} for n in ("changes", "fixed")]
    main = make_container(volumeMounts=[{"name": v["name"], "mountPath": f"/{v['name']}"} for v in volumes])
    await node.create(make_pod("web", main, volumes=volumes))
    uid = objects.uid(await node.until_ready())
    # Nobody may change an immutable one; if it changed all the same, this node would not look.
    await node.api.change(CONFIGMAPS, "fixed", lambda o: o.update(data={"k": "2"}))
    await node.api.change(CONFIGMAPS, "changes", lambda o: o.update(data={"k": "2"}))
    file = node.config.pod_dir(uid) / "volumes/kubernetes.io~configmap/changes/k"
    await node.until(lambda: file.read_text() == "2")
    assert await node.sh("cat /changes/k /fixed/k") == "21"


async def test_an_empty_dir_over_its_limit_ends_its_pod(node: KubeletNode) -> None:
    volumes = [{"name": "v", "emptyDir": {"sizeLimit": "1Mi"}}]
    main = make_container(volumeMounts=[{"name": "v", "mountPath": "/v"}])
    await node.create(make_pod("web", main, volumes=volumes, terminationGracePeriodSeconds=1))
    await node.until_ready()
    evictions = Evictions(node.kubelet)
    await evictions.check()
    await node.sh("dd if=/dev/zero of=/v/f bs=1M count=2 2>/dev/null; sync")
    await evictions.check()
    pod = await node.until_phase("Failed")
    assert pod["status"]["reason"] == "Evicted"
    assert pod["status"]["message"] == 'Usage of EmptyDir volume "v" exceeds the limit "1Mi". '


async def test_every_kind_of_volume_and_a_node_that_dies_while_they_are_mounted(node: KubeletNode) -> None:
    """At ten moments while the volumes come and go, the kubelet is gone and another one begins: no mount is left."""
    await node.config_map("cm", k="v")
    volumes: list[Object] = [
        {"name": "memory", "emptyDir": {"medium": "Memory"}},
        {"name": "disk", "emptyDir": {}},
        {"name": "config", "configMap": {"name": "cm"}},
        {"name": "token", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}},
        {"name": "names", "downwardAPI": {"items": [{"path": "n", "fieldRef": {"fieldPath": "metadata.name"}}]}},
    ]
    mounts = [{"name": v["name"], "mountPath": f"/{v['name']}"} for v in volumes]
    mounts += [{"name": "config", "mountPath": "/file", "subPath": "k"},
               {"name": "disk", "mountPath": "/part", "subPath": "a/b"}]  # fmt: skip
    directories = node.config.pods_dir
    for number in range(10):
        name = f"p{number}"
        main = make_container(volumeMounts=mounts)
        await node.create(make_pod(name, main, volumes=volumes, terminationGracePeriodSeconds=1))
        # So many mounts and files are there when the kubelet goes.
        await node.until(lambda n=number: len(below(directories)) + len(list(directories.rglob("*"))) >= 2 * n)
        await node.restart()
        await node.until_ready(name)
        assert await node.sh("cat /file /names/n; test -d /part && echo well", name) == f"v{name}well\n"
        await node.user.delete(PODS, name, namespace="default", grace_period_seconds=1)
        await node.restart()
        await node.until(lambda name=name: node.pod(name) is None)
    await node.until(lambda: not any(node.config.pods_dir.iterdir()))
    assert below(node.config.pods_dir) == []
