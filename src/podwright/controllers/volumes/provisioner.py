"""The built-in provisioner podwright.io/local-path: a directory on the node where the first Pod will run."""

from __future__ import annotations

import posixpath

from podwright.api import objects
from podwright.api.objects import Object
from podwright.api.resources import NODES, PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES, PODS, STORAGECLASSES
from podwright.api.status import ApiError
from podwright.client.events import NORMAL, WARNING
from podwright.client.informers import latest
from podwright.controllers import pods
from podwright.controllers.frame import Context, Controller, ignore_not_found
from podwright.controllers.volumes import matching

HOST_NAME = "kubernetes.io/hostname"
_NAMESPACE = "kube-system"
_VOLUME = "volume//"
_PREFIX = "local-path-delete-"
_LABEL = "podwright.io/deletes-volume"


class LocalPathProvisioner(Controller):
    """Keys: claims to provision for, and "volume//NAME" for volumes to delete. A directory is removed by a short-lived
    Pod on its node, the only thing that can reach it."""

    name = "local-path-provisioner-controller"
    account = "persistent-volume-binder"
    workers = 2
    max_delay = 300.0

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.nodes = self.informer(NODES)
        self.classes = self.informer(STORAGECLASSES)
        self.volumes = self.informer(PERSISTENTVOLUMES, self._volume_changed)
        self.claims = self.informer(PERSISTENTVOLUMECLAIMS, self._claim_changed)
        self.cleaners = self.own_informer(PODS, self._cleaner_changed, namespace=_NAMESPACE, label_selector=_LABEL)

    def _claim_changed(self, old: Object | None, new: Object | None) -> None:
        if new is not None and _is_ours(new) and not new["spec"].get("volumeName") and not objects.is_deleting(new):
            self.enqueue(old, new)

    def _volume_changed(self, old: Object | None, new: Object | None) -> None:
        if new is not None and _is_to_be_deleted(new):
            self.queue.add(_VOLUME + objects.name(new))

    def _cleaner_changed(self, old: Object | None, new: Object | None) -> None:
        pod = latest(old, new)
        self.queue.add(_VOLUME + objects.labels(pod).get(_LABEL, ""))

    async def reconcile(self, key: str) -> None:
        if key.startswith(_VOLUME):
            await self._delete(key.removeprefix(_VOLUME))
        else:
            await self._provision(key)

    # -- making -----------------------------------------------------------------------------------------------------

    async def _provision(self, key: str) -> None:
        claim = self.claims.get(key)
        if claim is None or not _is_ours(claim) or claim["spec"].get("volumeName") or objects.is_deleting(claim):
            return
        storage_class = self.classes.get(matching.class_of(claim))
        name = f"pvc-{objects.uid(claim)}"
        if storage_class is None or self.volumes.get(name) is not None:
            return
        why = _refusal(claim)
        if why:
            message = f'failed to provision volume with StorageClass "{objects.name(storage_class)}": {why}'
            self.events.event(claim, WARNING, "ProvisioningFailed", message)
            return
        node = self._node_for(claim, storage_class)
        if node is None:
            return
        self.events.event(claim, NORMAL, "Provisioning",
                          f'External provisioner is provisioning volume for claim "{key}"')  # fmt: skip
        try:
            await self.client.create(PERSISTENTVOLUMES, self._volume(name, claim, storage_class, node))
        except ApiError as refused:
            if refused.reason != "AlreadyExists":
                self.events.event(claim, WARNING, "ProvisioningFailed", f"failed to create volume {name}: {refused}")
                raise
        self.events.event(claim, NORMAL, "ProvisioningSucceeded", f"Successfully provisioned volume {name}")

    def _node_for(self, claim: Object, storage_class: Object) -> Object | None:
        """The node that the scheduler chose; for immediate binding any that is ready."""
        chosen = objects.annotations(claim).get(matching.SELECTED_NODE)
        if chosen:
            return self.nodes.get(chosen)
        if storage_class.get("volumeBindingMode") == "WaitForFirstConsumer":
            return None
        ready = [
            n for n in self.nodes.items()
            if objects.condition_is_true(n, "Ready") and not (n.get("spec") or {}).get("unschedulable")
        ]  # fmt: skip
        return min(ready, key=objects.name, default=None)

    def _volume(self, name: str, claim: Object, storage_class: Object, node: Object) -> Object:
        root = (storage_class.get("parameters") or {}).get("nodePath") or self.config.pvc_local_path_root
        path = posixpath.join(root, f"{name}_{objects.namespace(claim)}_{objects.name(claim)}")
        host = objects.labels(node).get(HOST_NAME) or objects.name(node)
        expression = {"key": HOST_NAME, "operator": "In", "values": [host]}
        spec: Object = {
            "capacity": {"storage": claim["spec"]["resources"]["requests"]["storage"]},
            "accessModes": list(claim["spec"].get("accessModes") or ()),
            "persistentVolumeReclaimPolicy": storage_class.get("reclaimPolicy") or "Delete",
            "storageClassName": objects.name(storage_class),
            "volumeMode": "Filesystem",
            "hostPath": {"path": path, "type": "DirectoryOrCreate"},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}},
            "claimRef": {
                "apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": objects.namespace(claim),
                "name": objects.name(claim), "uid": objects.uid(claim),
            },
        }  # fmt: skip
        annotations = {matching.PROVISIONED_BY: matching.LOCAL_PATH, matching.SELECTED_NODE: objects.name(node)}
        return {
            "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name, "annotations": annotations},
            "spec": spec,
        }

    # -- removing ---------------------------------------------------------------------------------------------------

    async def _delete(self, name: str) -> None:
        volume = self.volumes.get(name)
        cleaner = self.cleaners.get(f"{_NAMESPACE}/{_PREFIX}{name}")
        if volume is None or not _is_to_be_deleted(volume):
            if cleaner is not None and not objects.is_deleting(cleaner):
                await self._remove_pod(cleaner)
            return
        node = objects.annotations(volume).get(matching.SELECTED_NODE, "")
        if self.nodes.get(node) is None:
            # With the node the directory is gone.
            await self._forget(volume)
            return
        if cleaner is None:
            await self._start_cleaner(volume, node)
        elif pods.phase(cleaner) == "Succeeded":
            await self._forget(volume)
            await self._remove_pod(cleaner)
        elif pods.phase(cleaner) == "Failed" and not objects.is_deleting(cleaner):
            self.events.event(volume, WARNING, "VolumeFailedDelete", f"pod {objects.name(cleaner)} failed")
            await self._remove_pod(cleaner)
            raise TimeoutError(f"volume {name} could not be removed; it is tried again")

    async def _forget(self, volume: Object) -> None:
        await ignore_not_found(self.client.delete(PERSISTENTVOLUMES, objects.name(volume), uid=objects.uid(volume)))

    async def _remove_pod(self, pod: Object) -> None:
        await ignore_not_found(self.client.delete(PODS, objects.name(pod), namespace=_NAMESPACE, uid=objects.uid(pod)))

    async def _start_cleaner(self, volume: Object, node: str) -> None:
        root, directory = posixpath.split(posixpath.normpath(volume["spec"]["hostPath"]["path"]))
        if not directory.startswith("pvc-"):
            return
        pod: Object = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": _PREFIX + objects.name(volume), "namespace": _NAMESPACE,
                "labels": {_LABEL: objects.name(volume)},
            },
            "spec": {
                "nodeName": node,
                "restartPolicy": "Never",
                "automountServiceAccountToken": False,
                "tolerations": [{"operator": "Exists"}],
                "containers": [{
                    "name": "rm",
                    "image": self.config.pvc_helper_image,
                    "command": ["rm", "-rf", f"/volumes/{directory}"],
                    "volumeMounts": [{"name": "volumes", "mountPath": "/volumes"}],
                }],
                "volumes": [{"name": "volumes", "hostPath": {"path": root, "type": "DirectoryOrCreate"}}],
            },
        }  # fmt: skip
        try:
            await self.client.create(PODS, pod)
        except ApiError as refused:
            if refused.reason != "AlreadyExists":
                raise


def _is_ours(claim: Object) -> bool:
    return objects.annotations(claim).get(matching.PROVISIONER) == matching.LOCAL_PATH


def _is_to_be_deleted(volume: Object) -> bool:
    return (
        objects.annotations(volume).get(matching.PROVISIONED_BY) == matching.LOCAL_PATH
        and (volume.get("status") or {}).get("phase") == "Released"
        and volume["spec"].get("persistentVolumeReclaimPolicy") == "Delete"
        and not objects.is_deleting(volume)
    )


def _refusal(claim: Object) -> str:
    if matching.mode(claim) == "Block":
        return "raw block volumes are not supported"
    if claim["spec"].get("selector") is not None:
        return "claim.Spec.Selector is not supported"
    if {"ReadWriteMany", "ReadOnlyMany"} & set(claim["spec"].get("accessModes") or ()):
        return "only ReadWriteOnce and ReadWriteOncePod volumes are supported"
    return ""
