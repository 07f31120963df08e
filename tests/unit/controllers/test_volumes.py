"""Claims and volumes: binding, reclaiming, provisioning, protecting, growing."""

from __future__ import annotations

from controller_harness import Harness, make_node, make_pod

from podwright.api import objects
from podwright.api.objects import Object
from podwright.api.resources import (
    NODES,
    PERSISTENTVOLUMECLAIMS,
    PERSISTENTVOLUMES,
    PODS,
    STORAGECLASSES,
    VOLUMEATTRIBUTESCLASSES,
)
from podwright.controllers.ephemeral_volumes import EphemeralVolumeController
from podwright.controllers.volumes import (
    AttributesClassProtectionController,
    ClaimProtectionController,
    LocalPathProvisioner,
    PersistentVolumeBinder,
    VolumeExpansionController,
    VolumeProtectionController,
    matching,
)


def claim(name: str = "c", storage: str = "1Gi", **spec: object) -> Object:
    return {
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": storage}}, "storageClassName": "",
            **spec,
        },
    }


def volume(name: str = "v", storage: str = "1Gi", **spec: object) -> Object:
    return {
        "metadata": {"name": name},
        "spec": {
            "accessModes": ["ReadWriteOnce"], "capacity": {"storage": storage}, "hostPath": {"path": "/x"},
            "persistentVolumeReclaimPolicy": "Retain", **spec,
        },
    }


def storage_class(name: str = "local", mode: str = "WaitForFirstConsumer", *, default: bool = False) -> Object:
    made: Object = {"metadata": {"name": name}, "provisioner": matching.LOCAL_PATH, "volumeBindingMode": mode,
                    "reclaimPolicy": "Delete", "allowVolumeExpansion": True}  # fmt: skip
    if default:
        made["metadata"]["annotations"] = {matching.DEFAULT_CLASS: "true"}
    return made


def phase(h: Harness, name: str = "c") -> str:
    return str(h.api.read(PERSISTENTVOLUMECLAIMS, name)["status"]["phase"])


async def test_a_claim_gets_the_smallest_volume_that_fits() -> None:
    async with Harness().running(PersistentVolumeBinder) as h:
        for name, size in (("large", "10Gi"), ("small", "512Mi"), ("fitting", "2Gi")):
            h.api.add(PERSISTENTVOLUMES, volume(name, size))
        await h.settle()
        assert h.api.read(PERSISTENTVOLUMES, "large")["status"]["phase"] == "Available"
        h.api.add(PERSISTENTVOLUMECLAIMS, claim())
        await h.settle()
        bound = h.api.read(PERSISTENTVOLUMECLAIMS, "c")
        assert bound["spec"]["volumeName"] == "fitting"
        assert bound["status"] == {"phase": "Bound", "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "2Gi"}}
        assert matching.BIND_COMPLETED in objects.annotations(bound)
        taken = h.api.read(PERSISTENTVOLUMES, "fitting")
        assert taken["spec"]["claimRef"]["uid"] == objects.uid(bound)
        assert taken["status"]["phase"] == "Bound"


async def test_a_claim_waits_for_a_volume_that_fits() -> None:
    async with Harness().running(PersistentVolumeBinder) as h:
        h.api.add(PERSISTENTVOLUMECLAIMS, claim(selector={"matchLabels": {"kind": "fast"}}))
        h.api.add(PERSISTENTVOLUMES, volume("plain"))
        await h.settle()
        assert phase(h) == "Pending"
        assert "FailedBinding" in h.event_reasons("c")
        fast = volume("fast")
        fast["metadata"]["labels"] = {"kind": "fast"}
        h.api.add(PERSISTENTVOLUMES, fast)
        await h.settle()
        assert phase(h) == "Bound"


async def test_prebound_both_ways() -> None:
    async with Harness().running(PersistentVolumeBinder) as h:
        h.api.add(PERSISTENTVOLUMES, volume("big", "9Gi", claimRef={"name": "c", "namespace": "default"}))
        h.api.add(PERSISTENTVOLUMES, volume("fit"))
        h.api.add(PERSISTENTVOLUMECLAIMS, claim())
        h.api.add(PERSISTENTVOLUMECLAIMS, claim("named", volumeName="fit"))
        await h.settle()
        assert h.api.read(PERSISTENTVOLUMECLAIMS, "c")["spec"]["volumeName"] == "big"
        assert phase(h, "named") == "Bound"


async def test_two_claims_never_share_a_volume() -> None:
    async with Harness().running(PersistentVolumeBinder) as h:
        h.api.add(PERSISTENTVOLUMES, volume())
        h.api.add(PERSISTENTVOLUMECLAIMS, claim("a"))
        h.api.add(PERSISTENTVOLUMECLAIMS, claim("b"))
        await h.settle()
        assert sorted((phase(h, "a"), phase(h, "b"))) == ["Bound", "Pending"]


async def test_a_retained_volume_is_released_and_a_lost_one_loses_its_claim() -> None:
    async with Harness().running(PersistentVolumeBinder) as h:
        h.api.add(PERSISTENTVOLUMES, volume())
        h.api.add(PERSISTENTVOLUMECLAIMS, claim())
        await h.settle()
        h.api.remove(PERSISTENTVOLUMECLAIMS, "c")
        await h.settle()
        assert h.api.read(PERSISTENTVOLUMES, "v")["status"]["phase"] == "Released"
        h.api.add(PERSISTENTVOLUMECLAIMS, claim())
        await h.settle()
        assert phase(h) == "Pending"
        h.api.add(PERSISTENTVOLUMES, volume("w"))
        await h.settle()
        h.api.remove(PERSISTENTVOLUMES, "w")
        await h.settle()
        assert phase(h) == "Lost"


async def test_the_default_class_is_given_later() -> None:
    async with Harness().running(PersistentVolumeBinder) as h:
        bare = claim()
        del bare["spec"]["storageClassName"]
        h.api.add(PERSISTENTVOLUMECLAIMS, bare)
        await h.settle()
        h.api.add(STORAGECLASSES, storage_class(default=True))
        await h.settle()
        assert h.api.read(PERSISTENTVOLUMECLAIMS, "c")["spec"]["storageClassName"] == "local"


async def test_local_volumes_are_made_where_the_first_pod_goes_and_removed_with_the_claim() -> None:
    async with Harness().running(PersistentVolumeBinder, LocalPathProvisioner) as h:
        h.api.add(NODES, make_node("n"))
        h.api.add(STORAGECLASSES, storage_class())
        h.api.add(PERSISTENTVOLUMECLAIMS, claim(storageClassName="local"))
        await h.settle()
        assert phase(h) == "Pending" and "WaitForFirstConsumer" in h.event_reasons("c")
        annotations = {matching.SELECTED_NODE: "n"}
        h.api.change(PERSISTENTVOLUMECLAIMS, "c", {"metadata": {"annotations": annotations}})
        await h.settle()
        assert phase(h) == "Bound"
        (made,) = h.api.objects(PERSISTENTVOLUMES)
        uid = objects.uid(h.api.read(PERSISTENTVOLUMECLAIMS, "c"))
        assert objects.name(made) == f"pvc-{uid}"
        assert made["spec"]["hostPath"]["path"] == f"/opt/local-path-provisioner/pvc-{uid}_default_c"
        term = made["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"][0]["matchExpressions"][0]
        assert term["values"] == ["n"]
        h.api.remove(PERSISTENTVOLUMECLAIMS, "c")
        await h.settle()
        (cleaner,) = h.api.objects(PODS)
        assert cleaner["spec"]["nodeName"] == "n"
        assert cleaner["spec"]["containers"][0]["command"][-1] == f"/volumes/pvc-{uid}_default_c"
        h.api.set_status(PODS, objects.name(cleaner), {"phase": "Succeeded"}, "kube-system")
        await h.settle()
        assert h.api.objects(PERSISTENTVOLUMES) == [] and h.api.objects(PODS) == []


async def test_what_the_local_provisioner_cannot_do_is_said() -> None:
    async with Harness().running(PersistentVolumeBinder, LocalPathProvisioner) as h:
        h.api.add(NODES, make_node("n"))
        h.api.add(STORAGECLASSES, storage_class(mode="Immediate"))
        h.api.add(PERSISTENTVOLUMECLAIMS, claim("block", storageClassName="local", volumeMode="Block"))
        h.api.add(PERSISTENTVOLUMECLAIMS, claim("fine", storageClassName="local"))
        await h.settle()
        assert "ProvisioningFailed" in h.event_reasons("block")
        assert phase(h, "fine") == "Bound"


async def test_claims_grow() -> None:
    kinds = (PersistentVolumeBinder, LocalPathProvisioner, VolumeExpansionController)
    async with Harness().running(*kinds) as h:
        h.api.add(NODES, make_node("n"))
        h.api.add(STORAGECLASSES, storage_class(mode="Immediate"))
        h.api.add(PERSISTENTVOLUMECLAIMS, claim(storageClassName="local"))
        await h.settle()
        h.api.change(PERSISTENTVOLUMECLAIMS, "c", {"spec": {"resources": {"requests": {"storage": "3Gi"}}}})
        await h.settle()
        assert h.api.read(PERSISTENTVOLUMECLAIMS, "c")["status"]["capacity"] == {"storage": "3Gi"}
        assert h.api.objects(PERSISTENTVOLUMES)[0]["spec"]["capacity"] == {"storage": "3Gi"}


async def test_a_claim_in_use_is_kept_until_its_pod_ends() -> None:
    async with Harness().running(ClaimProtectionController) as h:
        h.api.add(PERSISTENTVOLUMECLAIMS, claim())
        await h.settle()
        assert h.api.read(PERSISTENTVOLUMECLAIMS, "c")["metadata"]["finalizers"] == ["kubernetes.io/pvc-protection"]
        volumes = [{"name": "d", "persistentVolumeClaim": {"claimName": "c"}}]
        h.api.add(PODS, make_pod("p", node="n", volumes=volumes))
        h.api.remove(PERSISTENTVOLUMECLAIMS, "c")
        await h.settle()
        assert h.api.find(PERSISTENTVOLUMECLAIMS, "c", "default") is not None
        h.api.set_status(PODS, "p", {"phase": "Succeeded"})
        await h.settle()
        assert h.api.find(PERSISTENTVOLUMECLAIMS, "c", "default") is None


async def test_a_bound_volume_is_kept() -> None:
    async with Harness().running(VolumeProtectionController) as h:
        h.api.add(PERSISTENTVOLUMES, {**volume(), "status": {"phase": "Bound"}})
        await h.settle()
        h.api.remove(PERSISTENTVOLUMES, "v")
        await h.settle()
        assert h.api.find(PERSISTENTVOLUMES, "v") is not None
        h.api.set_status(PERSISTENTVOLUMES, "v", {"phase": "Released"})
        await h.settle()
        assert h.api.find(PERSISTENTVOLUMES, "v") is None


async def test_an_attributes_class_is_kept_while_claims_or_volumes_name_it() -> None:
    async with Harness().running(AttributesClassProtectionController) as h:
        h.api.add(VOLUMEATTRIBUTESCLASSES, {"metadata": {"name": "gold"}, "driverName": "d"})
        await h.settle()
        assert h.api.read(VOLUMEATTRIBUTESCLASSES, "gold")["metadata"]["finalizers"] == ["kubernetes.io/vac-protection"]
        h.api.add(PERSISTENTVOLUMECLAIMS, claim(volumeAttributesClassName="gold"))
        h.api.add(PERSISTENTVOLUMES, volume(volumeAttributesClassName="gold"))
        h.api.remove(VOLUMEATTRIBUTESCLASSES, "gold")
        await h.settle()
        h.api.change(PERSISTENTVOLUMECLAIMS, "c", {
            "spec": {"volumeAttributesClassName": "tin"}, "status": {"currentVolumeAttributesClassName": "gold"}})
        h.api.remove(PERSISTENTVOLUMES, "v")
        await h.settle()
        assert h.api.find(VOLUMEATTRIBUTESCLASSES, "gold") is not None, "the claim's volume still has it"
        h.api.change(PERSISTENTVOLUMECLAIMS, "c", {"status": {"currentVolumeAttributesClassName": "tin"}})
        await h.settle()
        assert h.api.find(VOLUMEATTRIBUTESCLASSES, "gold") is None


async def test_generic_ephemeral_volumes_get_a_claim_owned_by_the_pod() -> None:
    async with Harness().running(EphemeralVolumeController) as h:
        spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
        template = {"metadata": {"labels": {"x": "y"}}, "spec": spec}
        volumes = [{"name": "scratch", "ephemeral": {"volumeClaimTemplate": template}}]
        pod = h.api.add(PODS, make_pod("p", volumes=volumes))
        await h.settle()
        made = h.api.read(PERSISTENTVOLUMECLAIMS, "p-scratch")
        assert made["metadata"]["labels"] == {"x": "y"} and made["spec"] == spec
        assert made["metadata"]["ownerReferences"] == [objects.owner_reference(pod)]
        h.api.add(PERSISTENTVOLUMECLAIMS, claim("q-scratch"))
        h.api.add(PODS, make_pod("q", volumes=volumes))
        await h.settle()
        assert "FailedBinding" in h.event_reasons("q")
