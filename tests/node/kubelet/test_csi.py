"""CSI volumes on real containers, served by a driver in this process: what it is told, and every order of failure."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.csi_driver import CsiDriver

from podwright.api import objects
from podwright.api.objects import Object
from podwright.api.resources import (
    CSIDRIVERS,
    CSINODES,
    NODES,
    PERSISTENTVOLUMECLAIMS,
    PERSISTENTVOLUMES,
    PODS,
    SECRETS,
    VOLUMEATTACHMENTS,
)
from podwright.kubelet.stats.summary import Summary

from .conftest import NODE, KubeletNode, make_container, make_pod

NAME = "test.csi.podwright.io"


@pytest.fixture
async def driver(node: KubeletNode, mark: str) -> AsyncIterator[CsiDriver]:
    made = CsiDriver(NAME, node.config.data_dir, Path("/var/lib/podwright") / mark / "backing")
    await made.start()
    await node.until(lambda: made.registered.get("plugin_registered"))
    made.calls.clear()
    try:
        yield made
    finally:
        # The Pods' volumes need it to the end.
        for pod in await node.user.items(PODS):
            await node.user.delete(PODS, objects.name(pod), namespace="default", grace_period_seconds=1)
        made.fail.clear()
        await node.until(lambda: not any(node.config.pods_dir.iterdir()))
        await made.stop()


async def _volume(node: KubeletNode, name: str = "pv", size: str = "1Gi", **csi: Any) -> None:
    """A PersistentVolume of the driver, bound to the claim of the same name."""
    claim: Object = {
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"volumeName": name, "accessModes": ["ReadWriteOnce"]},
        "status": {"phase": "Bound", "capacity": {"storage": "1Gi"}},
    }
    made = await node.user.create(PERSISTENTVOLUMECLAIMS, claim)
    ref = {"namespace": "default", "name": name, "uid": objects.uid(made)}
    mode = csi.pop("volumeMode", "Filesystem")
    await node.user.create(PERSISTENTVOLUMES, {
        "metadata": {"name": name},
        "spec": {
            "accessModes": ["ReadWriteOnce"], "capacity": {"storage": size}, "claimRef": ref, "volumeMode": mode,
            "csi": {"driver": NAME, "volumeHandle": f"handle-{name}", **csi},
        },
    })  # fmt: skip


async def _about(node: KubeletNode, **spec: Any) -> None:
    await node.user.create(CSIDRIVERS, {"metadata": {"name": NAME}, "spec": {"attachRequired": False, **spec}})


def _pod(name: str = "web", claim: str = "pv", **spec: Any) -> Object:
    main = make_container(volumeMounts=[{"name": "v", "mountPath": "/v"}])
    volumes = [{"name": "v", "persistentVolumeClaim": {"claimName": claim}}]
    return make_pod(name, main, volumes=volumes, terminationGracePeriodSeconds=1, **spec)


async def _gone(node: KubeletNode, name: str = "web") -> None:
    await node.user.delete(PODS, name, namespace="default", grace_period_seconds=1)
    await node.until(lambda: node.pod(name) is None)


def _mounts(node: KubeletNode) -> list[str]:
    table = Path("/proc/self/mountinfo").read_text().splitlines()
    return [p for p in (line.split()[4] for line in table) if "csi" in p and str(node.state) in p]


async def test_registration(node: KubeletNode, driver: CsiDriver) -> None:
    def entry() -> Object | None:
        found = node.api.find(CSINODES, NODE)
        return next(iter(found["spec"]["drivers"]), None) if found else None

    assert await node.until(entry) == {
        "name": NAME, "nodeID": f"id-of-{NAME}", "topologyKeys": ["topology.test/zone"], "allocatable": {"count": 7}
    }
    zoned = "topology.test/zone"
    seen = await node.until(lambda: (n := node.api.find(NODES, NODE)) and zoned in objects.labels(n) and n)
    assert objects.annotations(seen)["csi.volume.kubernetes.io/nodeid"] == f'{{"{NAME}":"id-of-{NAME}"}}'
    await driver.stop()
    await node.until(lambda: entry() is None)
    await driver.start()
    await node.until(entry)


async def test_stage_publish_share_and_take_down(node: KubeletNode, driver: CsiDriver) -> None:
    await _about(node, podInfoOnMount=True, fsGroupPolicy="File", tokenRequests=[{"audience": "vault"}])
    await node.user.create(
        SECRETS, {"metadata": {"name": "s", "namespace": "kube-system"}, "data": {"key": "dmFsdWU="}}
    )
    reference = {"name": "s", "namespace": "kube-system"}
    await _volume(node, fsType="ext4", volumeAttributes={"a": "b"}, nodeStageSecretRef=reference)
    await node.create(_pod(securityContext={"fsGroup": 4242}))
    await node.create(_pod("other"))
    await node.until_ready()
    await node.until_ready("other")
    await node.sh("echo shared > /v/f")
    assert await node.sh("cat /v/f", "other") == "shared\n"
    assert await node.sh("stat -c %g /v") == "4242\n"
    stage = driver.last("NodeStageVolume")
    assert stage["secrets"] == {"key": "value"} and stage["volume_context"] == {"a": "b"}
    assert stage["volume_capability"] == {"access_mode": {"mode": 1}, "mount": {"fs_type": "ext4"}}
    context = next(r for m, r in driver.calls if m == "NodePublishVolume")["volume_context"]
    assert context["csi.storage.k8s.io/pod.namespace"] == "default" and context["a"] == "b"
    assert context["csi.storage.k8s.io/ephemeral"] == "false"
    assert '{"vault":{"token":"token-' in context["csi.storage.k8s.io/serviceAccount.tokens"]
    await node.until(lambda: (node.api.find(NODES, NODE) or {})["status"].get("volumesInUse"))
    await _gone(node)
    assert "NodeUnstageVolume" not in driver.names()
    await _gone(node, "other")
    assert driver.names()[-2:] == ["NodeUnpublishVolume", "NodeUnstageVolume"]
    assert _mounts(node) == []
    assert (driver.backing / "handle-pv" / "f").read_text() == "shared\n"
    await node.until(lambda: not (node.api.find(NODES, NODE) or {})["status"].get("volumesInUse"))


async def test_every_call_may_fail_before_or_after_it_took_effect(node: KubeletNode, driver: CsiDriver) -> None:
    await _about(node)
    await _volume(node)
    for method in ("NodeStageVolume", "NodePublishVolume", "NodeUnpublishVolume", "NodeUnstageVolume"):
        for status in ("INTERNAL", "+UNAVAILABLE"):
            driver.fail[method] = [status]
            await node.create(_pod())
            await node.until_ready()
            assert "/v" in await node.sh("grep ' /v ' /proc/self/mountinfo")
            await _gone(node)
            assert driver.fail[method] == [] and _mounts(node) == [], (method, status)


async def test_a_kubelet_that_starts_anew_in_the_middle(node: KubeletNode, driver: CsiDriver) -> None:
    await _about(node)
    await _volume(node)
    driver.fail["NodePublishVolume"] = ["+INTERNAL"] * 1000
    await node.create(_pod())
    await node.until(lambda: driver.names().count("NodePublishVolume") >= 2)
    await node.kill()
    # The Pod is deleted while nobody is there, with its volume half up.
    await node.user.delete(PODS, "web", namespace="default", grace_period_seconds=0)
    assert len(_mounts(node)) == 2
    driver.calls.clear()
    await node.restart_from_nothing()
    await node.until(lambda: "NodeUnstageVolume" in driver.names())
    await node.until(lambda: not any(node.config.pods_dir.iterdir()))
    assert _mounts(node) == []


async def test_a_driver_that_is_away_is_waited_for(node: KubeletNode, driver: CsiDriver) -> None:
    await _about(node)
    await _volume(node)
    await node.create(_pod())
    await node.until_ready()
    await driver.stop()
    await node.user.delete(PODS, "web", namespace="default", grace_period_seconds=1)
    await node.until(lambda: any("not found in the list of registered CSI drivers" in m for _, m in
                                 node.api.events("web")))  # fmt: skip
    assert node.pod() is not None or list(node.config.pods_dir.iterdir())
    await driver.start()
    await node.until(lambda: not any(node.config.pods_dir.iterdir()))
    assert _mounts(node) == []


async def test_attached_first(node: KubeletNode, driver: CsiDriver) -> None:
    await node.user.create(CSIDRIVERS, {"metadata": {"name": NAME}, "spec": {}})
    await _volume(node)
    await node.create(_pod())
    used = await node.until(lambda: (node.api.find(NODES, NODE) or {})["status"].get("volumesInUse"))
    assert used == [f"kubernetes.io/csi/{NAME}^handle-pv"]
    assert "NodeStageVolume" not in driver.names()
    from podwright.kubelet.volumes.csi.requests import attachment_name

    await node.user.create(VOLUMEATTACHMENTS, {
        "metadata": {"name": attachment_name(NAME, "handle-pv", NODE)},
        "spec": {"attacher": NAME, "nodeName": NODE, "source": {"persistentVolumeName": "pv"}},
        "status": {"attached": True, "attachmentMetadata": {"lun": "5"}},
    })  # fmt: skip
    attached = [{"name": used[0], "devicePath": ""}]
    await node.api.change(NODES, NODE, lambda n: n["status"].update(volumesAttached=attached))
    await node.until_ready()
    assert driver.last("NodeStageVolume")["publish_context"] == {"lun": "5"}
    assert not any(reason == "FailedMount" for reason, _ in node.api.events("web"))


async def test_inline_volume(node: KubeletNode, driver: CsiDriver) -> None:
    inline = {"driver": NAME, "volumeAttributes": {"size": "small"}, "readOnly": True}
    main = make_container(volumeMounts=[{"name": "v", "mountPath": "/v"}])
    pod = make_pod("web", main, volumes=[{"name": "v", "csi": inline}], terminationGracePeriodSeconds=1)
    await node.create(pod)
    await node.until(lambda: any('volume mode "Ephemeral" not supported by driver' in m
                                 for _, m in node.api.events("web")))  # fmt: skip
    await _about(node, volumeLifecycleModes=["Persistent", "Ephemeral"], podInfoOnMount=True)
    await node.until_ready()
    assert "NodeStageVolume" not in driver.names()
    publish = driver.last("NodePublishVolume")
    assert publish["readonly"] and publish["volume_context"]["csi.storage.k8s.io/ephemeral"] == "true"
    assert publish["volume_id"].startswith("csi-")
    assert "Read-only" in await node.sh("touch /v/x")
    await _gone(node)
    assert driver.names()[-1] == "NodeUnpublishVolume" and _mounts(node) == []


async def test_growth_and_usage(node: KubeletNode, driver: CsiDriver) -> None:
    driver.capabilities = (1, 2, 3)
    await _about(node)
    await _volume(node, size="2Gi")
    await node.create(_pod())
    await node.until_ready()
    assert driver.last("NodeExpandVolume")["capacity_range"] == {"required_bytes": 2 << 30}
    claim = node.api.find(PERSISTENTVOLUMECLAIMS, "pv")
    assert claim["status"]["capacity"] == {"storage": "2Gi"}
    told = (await Summary(node.kubelet).make())["pods"][0]["volume"]
    (volume,) = (v for v in told if v["name"] == "v")
    assert (volume["usedBytes"], volume["capacityBytes"], volume["inodesUsed"]) == (40, 100, 4)
    assert volume["pvcRef"] == {"name": "pv", "namespace": "default"}


async def test_what_is_done_again_while_a_pod_runs(
    node: KubeletNode, driver: CsiDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A volume grows under a running Pod; one whose driver asks for it is published anew, with fresh tokens."""
    monkeypatch.setattr("podwright.kubelet.volumes.manager._LOOK_AGAIN", 0.2)
    driver.capabilities = (1, 3)
    await _about(node, requiresRepublish=True)
    await _volume(node)
    await node.create(_pod())
    await node.until_ready()
    await node.until(lambda: driver.names().count("NodePublishVolume") >= 3)
    assert "NodeExpandVolume" not in driver.names()
    await node.api.change(PERSISTENTVOLUMES, "pv", lambda v: v["spec"].update(capacity={"storage": "3Gi"}))
    await node.until(
        lambda: (node.api.find(PERSISTENTVOLUMECLAIMS, "pv") or {})["status"]["capacity"] == {"storage": "3Gi"}
    )
    assert await node.sh("grep -c ' /v ' /proc/self/mountinfo") == "1\n"


async def test_block_volume(node: KubeletNode, driver: CsiDriver) -> None:
    device = node.state / "device"
    os.mknod(device, 0o660 | 0o060000, os.makedev(7, 200))  # a loop device that nobody has set up
    await _about(node)
    await _volume(node, volumeMode="Block", volumeAttributes={"device": str(device)})
    main = make_container(volumeDevices=[{"name": "v", "devicePath": "/dev/mine"}])
    volumes = [{"name": "v", "persistentVolumeClaim": {"claimName": "pv"}}]
    await node.create(make_pod("web", main, volumes=volumes, terminationGracePeriodSeconds=1))
    await node.until_ready()
    assert await node.sh("test -b /dev/mine && stat -c %t:%T /dev/mine") == "7:c8\n"
    assert driver.last("NodeStageVolume")["volume_capability"] == {"access_mode": {"mode": 1}, "block": {}}
    await _gone(node)
    assert _mounts(node) == []
