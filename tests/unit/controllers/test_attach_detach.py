"""Attaching and detaching: attachments are made for the nodes whose Pods need them, and go when those have let go."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from controller_harness import Harness, make_node, make_pod

from podwright.api import objects
from podwright.api.objects import Object
from podwright.api.resources import (
    CSIDRIVERS,
    NODES,
    PERSISTENTVOLUMECLAIMS,
    PERSISTENTVOLUMES,
    PODS,
    VOLUMEATTACHMENTS,
)
from podwright.controllers.volumes import AttachDetachController

NAME = "kubernetes.io/csi/d.test^h"


@pytest.fixture
async def h() -> AsyncIterator[Harness]:
    async with Harness().running(AttachDetachController) as running:
        yield running


async def _setup(h: Harness, modes: tuple[str, ...] = ("ReadWriteOnce",)) -> None:
    for node in ("n1", "n2"):
        await h.client.create(NODES, make_node(node))
    made = await h.client.create(PERSISTENTVOLUMECLAIMS, {
        "metadata": {"name": "c", "namespace": "default"}, "spec": {"volumeName": "v", "accessModes": list(modes)},
    })
    await h.client.create(PERSISTENTVOLUMES, {
        "metadata": {"name": "v"},
        "spec": {
            "accessModes": list(modes), "csi": {"driver": "d.test", "volumeHandle": "h"},
            "claimRef": {"namespace": "default", "name": "c", "uid": objects.uid(made)},
        },
    })  # fmt: skip
    await h.settle()


async def _pod(h: Harness, name: str, node: str) -> None:
    pod = make_pod(name)
    pod["spec"]["nodeName"] = node
    pod["spec"]["volumes"] = [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]
    await h.client.create(PODS, pod)
    await h.settle()


def _attached(h: Harness, node: str) -> list[str]:
    (found,) = (n for n in h.api.objects(NODES) if objects.name(n) == node)
    return [a["name"] for a in (found.get("status") or {}).get("volumesAttached") or ()]


async def _fulfil(h: Harness, attachment: Object, **status: object) -> None:
    """The external-attacher's part."""
    wanted = {**attachment, "status": {"attached": True, **status}}
    await h.client.update_status(VOLUMEATTACHMENTS, wanted)
    await h.settle()


async def _in_use(h: Harness, node: str, *names: str) -> None:
    await h.client.patch(NODES, node, {"status": {"volumesInUse": list(names)}}, subresource="status")
    await h.settle()


async def test_attach_tell_and_detach_when_the_node_has_let_go(h: Harness) -> None:
    await _setup(h)
    await _pod(h, "p", "n1")
    (attachment,) = h.api.objects(VOLUMEATTACHMENTS)
    assert attachment["spec"] == {"attacher": "d.test", "nodeName": "n1", "source": {"persistentVolumeName": "v"}}
    assert _attached(h, "n1") == []
    await _fulfil(h, attachment)
    assert _attached(h, "n1") == [NAME]
    await _in_use(h, "n1", NAME)
    h.api.purge(PODS, "p", "default")
    await h.settle()
    assert h.api.objects(VOLUMEATTACHMENTS) and _attached(h, "n1") == [NAME]
    await _in_use(h, "n1")
    assert not h.api.objects(VOLUMEATTACHMENTS) and _attached(h, "n1") == []


async def test_an_exclusive_volume_waits_for_the_other_node(h: Harness) -> None:
    await _setup(h)
    await _pod(h, "p", "n1")
    await _fulfil(h, h.api.objects(VOLUMEATTACHMENTS)[0])
    await _pod(h, "q", "n2")
    assert len(h.api.objects(VOLUMEATTACHMENTS)) == 1
    assert any("Multi-Attach error" in e["message"] for e in h.events())
    h.api.purge(PODS, "p", "default")
    await h.settle()
    (attachment,) = h.api.objects(VOLUMEATTACHMENTS)
    assert attachment["spec"]["nodeName"] == "n2" and _attached(h, "n1") == []


async def test_a_shared_volume_is_attached_twice(h: Harness) -> None:
    await _setup(h, ("ReadWriteMany",))
    await _pod(h, "p", "n1")
    await _pod(h, "q", "n2")
    assert {a["spec"]["nodeName"] for a in h.api.objects(VOLUMEATTACHMENTS)} == {"n1", "n2"}


async def test_a_dead_node_loses_its_volume_after_six_minutes_or_at_once_if_out_of_service(h: Harness) -> None:
    for out in (False, True):
        name = f"p{out}"
        if not out:
            await _setup(h)
        await _pod(h, name, "n1")
        await _fulfil(h, h.api.objects(VOLUMEATTACHMENTS)[0])
        await _in_use(h, "n1", NAME)
        dead = [{"type": "Ready", "status": "Unknown"}]
        await h.client.patch(NODES, "n1", {"status": {"conditions": dead}}, subresource="status")
        h.api.purge(PODS, name, "default")
        await h.settle()
        assert h.api.objects(VOLUMEATTACHMENTS)
        if out:
            taint = {"key": "node.kubernetes.io/out-of-service", "effect": "NoExecute"}
            await h.client.patch(NODES, "n1", {"spec": {"taints": [taint]}})
            await h.settle()
        else:
            await h.advance(350)
            assert h.api.objects(VOLUMEATTACHMENTS)
            await h.advance(15)
        assert not h.api.objects(VOLUMEATTACHMENTS)


async def test_failure_is_told_and_a_driver_may_need_no_attaching(h: Harness) -> None:
    await _setup(h)
    await _pod(h, "p", "n1")
    await _fulfil(h, h.api.objects(VOLUMEATTACHMENTS)[0], attached=False, attachError={"message": "no room"})
    assert 'AttachVolume.Attach failed for volume "v" : no room' in [e["message"] for e in h.events()]
    h.api.purge(PODS, "p", "default")
    await h.settle()
    await h.client.create(CSIDRIVERS, {"metadata": {"name": "d.test"}, "spec": {"attachRequired": False}})
    await _pod(h, "q", "n1")
    assert not h.api.objects(VOLUMEATTACHMENTS)
