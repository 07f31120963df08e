"""Attaches volumes of CSI drivers to the nodes whose Pods use them: makes VolumeAttachments, which the driver's
external-attacher fulfils, and takes them away when nothing on the node needs the volume any longer."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence

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
from podwright.client.events import NORMAL, WARNING
from podwright.client.informers import latest
from podwright.client.transport import STRATEGIC_MERGE_PATCH
from podwright.controllers import pods
from podwright.controllers.frame import Context, Controller, ignore_not_found
from podwright.controllers.volumes.binder import by_claim
from podwright.controllers.volumes.protection import claims_of

OUT_OF_SERVICE = "node.kubernetes.io/out-of-service"
_LONGEST_UNMOUNT = 360.0
"""Seconds that a node which is not well may take to unmount, before its volume is taken away from it."""
_EXCLUSIVE = {"ReadWriteOnce", "ReadWriteOncePod"}


def by_volume(attachment: Object) -> Iterable[str]:
    """Index function: the PersistentVolume that is attached."""
    name = (attachment["spec"].get("source") or {}).get("persistentVolumeName")
    return (name,) if name else ()


def by_node(attachment: Object) -> Iterable[str]:
    return (attachment["spec"].get("nodeName") or "",)


def by_attached(node: Object) -> Iterable[str]:
    """Index function: what a node's status says is attached."""
    return [a["name"] for a in (node.get("status") or {}).get("volumesAttached") or ()]


class AttachDetachController(Controller):
    """Keys: PersistentVolumes. One that does not come from a CSI driver, or whose driver needs no attaching, is none
    of its business."""

    name = "persistentvolume-attach-detach-controller"
    account = "attachdetach-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.nodes = self.informer(NODES, self._node_changed, attached=by_attached)
        self.drivers = self.informer(CSIDRIVERS)
        self.claims = self.informer(PERSISTENTVOLUMECLAIMS, self._claim_changed)
        self.volumes = self.informer(PERSISTENTVOLUMES, self.enqueue, claim=by_claim)
        self.attachments = self.informer(VOLUMEATTACHMENTS, self._attachment_changed, volume=by_volume, node=by_node)
        self.pods = self.informer(PODS, self._pod_changed, claims=claims_of)
        self._unwanted_since: dict[str, float] = {}

    # -- news -------------------------------------------------------------------------------------------------------

    def _pod_changed(self, old: Object | None, new: Object | None) -> None:
        pod = latest(old, new)
        if not pods.node_name(pod):
            return
        if old is not None and new is not None and pods.is_finished(old) == pods.is_finished(new):
            if pods.node_name(old):
                return
        for key in claims_of(pod):
            self._claim_changed(None, self.claims.get(key))

    def _claim_changed(self, old: Object | None, new: Object | None) -> None:
        if new is not None and new["spec"].get("volumeName"):
            self.queue.add(new["spec"]["volumeName"])

    def _attachment_changed(self, old: Object | None, new: Object | None) -> None:
        for name in by_volume(new if new is not None else old or {}):
            self.queue.add(name)

    def _node_changed(self, old: Object | None, new: Object | None) -> None:
        node = latest(old, new)
        if old is None or new is None or _detachable(old) != _detachable(new) or by_attached(old) != by_attached(new):
            for attachment in self.attachments.by_index("node", objects.name(node)):
                self._attachment_changed(None, attachment)

    # -- work -------------------------------------------------------------------------------------------------------

    async def reconcile(self, key: str) -> None:
        volume = self.volumes.get(key)
        if volume is None or not volume["spec"].get("csi"):
            return
        # Attachments that others made are theirs.
        here = {
            a["spec"]["nodeName"]: a for a in self.attachments.by_index("volume", key)
            if objects.name(a) == _attachment_name(volume, a["spec"]["nodeName"])
        }  # fmt: skip
        wanted = self._wanted(volume)
        gone: set[str] = set()
        for node, attachment in here.items():
            if node not in wanted and not objects.is_deleting(attachment):
                if await self._detach(key, attachment, volume):
                    gone.add(node)
            elif node in wanted:
                self._unwanted_since.pop(objects.name(attachment), None)
                self._complain(volume, attachment, wanted[node])
        for node, users in wanted.items():
            if node in here or self.nodes.get(node) is None:
                continue
            if set(volume["spec"].get("accessModes") or ()) <= _EXCLUSIVE and set(here) - {node}:
                self._tell(users, WARNING, "FailedAttachVolume",
                           f'Multi-Attach error for volume "{key}" Volume is already exclusively attached to one node '
                           "and can't be attached to another")  # fmt: skip
                continue
            await self._attach(volume, node)
        attached = {
            node for node, a in here.items()
            if node not in gone and not objects.is_deleting(a) and (a.get("status") or {}).get("attached")
        }  # fmt: skip
        await self._say_attached(volume, attached, wanted)

    def _wanted(self, volume: Object) -> dict[str, list[Object]]:
        """The Pods that use the volume, by their nodes."""
        source = volume["spec"].get("csi")
        ref = volume["spec"].get("claimRef")
        if not source or not ref:
            return {}
        driver = self.drivers.get(source["driver"])
        if driver is not None and (driver.get("spec") or {}).get("attachRequired") is False:
            return {}
        key = f"{ref.get('namespace')}/{ref.get('name')}"
        claim = self.claims.get(key)
        if claim is None or objects.uid(claim) != ref.get("uid"):
            return {}
        found: dict[str, list[Object]] = {}
        for pod in self.pods.by_index("claims", key):
            if pods.node_name(pod) and not pods.is_finished(pod):
                found.setdefault(pods.node_name(pod), []).append(pod)
        return found

    def _tell(self, users: Sequence[Object], kind: str, reason: str, message: str) -> None:
        for pod in users:
            self.events.event(pod, kind, reason, message)

    def _complain(self, volume: Object, attachment: Object, users: Sequence[Object]) -> None:
        status = attachment.get("status") or {}
        failure = (status.get("attachError") or {}).get("message")
        if failure and not status.get("attached"):
            self._tell(users, WARNING, "FailedAttachVolume",
                       f'AttachVolume.Attach failed for volume "{objects.name(volume)}" : {failure}')  # fmt: skip

    async def _attach(self, volume: Object, node: str) -> None:
        await self.client.create(VOLUMEATTACHMENTS, {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "VolumeAttachment",
            "metadata": {"name": _attachment_name(volume, node)},
            "spec": {
                "attacher": volume["spec"]["csi"]["driver"], "nodeName": node,
                "source": {"persistentVolumeName": objects.name(volume)},
            },
        })  # fmt: skip

    async def _detach(self, key: str, attachment: Object, volume: Object) -> bool:
        """Once the node has let go of it, or can be expected never to; False if it has to wait for that."""
        name, node = objects.name(attachment), self.nodes.get(attachment["spec"]["nodeName"])
        if node is not None:
            in_use, well, out = _detachable(node)
            if _unique_name(volume) in in_use and not out:
                since = self._unwanted_since.setdefault(name, self.clock.monotonic())
                left = since + _LONGEST_UNMOUNT - self.clock.monotonic()
                if well or left > 0:
                    # A node that is well says when it is done; one that is not is waited for so long.
                    if not well:
                        self.queue.add_after(key, left)
                    return False
            await self._write_attached(node, [n for n in by_attached(node) if n != _unique_name(volume)])
        self._unwanted_since.pop(name, None)
        await ignore_not_found(self.client.delete(VOLUMEATTACHMENTS, name, uid=objects.uid(attachment)))
        return True

    async def _say_attached(self, volume: Object, attached: set[str], wanted: Mapping[str, Sequence[Object]]) -> None:
        """Brings the status of the nodes to what is attached to them: their kubelets wait for it."""
        name = _unique_name(volume)
        for node in self.nodes.by_index("attached", name):
            if objects.name(node) not in attached:
                await self._write_attached(node, [n for n in by_attached(node) if n != name])
        for host in attached:
            found = self.nodes.get(host)
            if found is not None and name not in by_attached(found):
                await self._write_attached(found, [*by_attached(found), name])
                self._tell(wanted.get(host, ()), NORMAL, "SuccessfulAttachVolume",
                           f'AttachVolume.Attach succeeded for volume "{objects.name(volume)}" ')  # fmt: skip

    async def _write_attached(self, node: Object, names: Iterable[str]) -> None:
        listed = [{"name": name, "devicePath": ""} for name in sorted(names)]
        if [a["name"] for a in listed] == sorted(by_attached(node)):
            return
        # The whole list is replaced: two volumes of one node must not overwrite each other.
        patch = {"metadata": {"resourceVersion": node["metadata"].get("resourceVersion")},
                 "status": {"volumesAttached": listed}}  # fmt: skip
        await self.client.patch(
            NODES, objects.name(node), patch, subresource="status", content_type=STRATEGIC_MERGE_PATCH
        )


def _unique_name(volume: Object) -> str:
    """How a node's status calls the volume."""
    source = volume["spec"]["csi"]
    return f"kubernetes.io/csi/{source['driver']}^{source['volumeHandle']}"


def _attachment_name(volume: Object, node: str) -> str:
    source = volume["spec"]["csi"]
    return "csi-" + hashlib.sha256(f"{source['volumeHandle']}{source['driver']}{node}".encode()).hexdigest()


def _detachable(node: Object) -> tuple[frozenset[str], bool, bool]:
    """What of a node decides whether a volume may be taken from it: what it uses, whether it is well, whether it is
    declared out of service (KEP-2268)."""
    in_use = frozenset((node.get("status") or {}).get("volumesInUse") or ())
    taints = (node.get("spec") or {}).get("taints") or ()
    out = any(t.get("key") == OUT_OF_SERVICE for t in taints)
    return in_use, objects.condition_is_true(node, "Ready"), out
