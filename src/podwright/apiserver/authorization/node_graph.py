"""Which objects the Pods of a node use: what the Node authorizer answers from.

Kept up by changes, never searched: every Pod on a node counts one use of each object it names; PersistentVolumes and
VolumeAttachments hang on the claims and nodes they belong to.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

from podwright.api.objects import Object, name, namespace, uid
from podwright.api.pod_references import Vertex, used_by
from podwright.api.resources import (
    NODES,
    PERSISTENTVOLUMECLAIMS,
    PERSISTENTVOLUMES,
    PODS,
    RESOURCESLICES,
    VOLUMEATTACHMENTS,
)
from podwright.apiserver.requests import Objects


def _pv_secrets(volume: Object) -> Iterator[Vertex]:
    spec = volume.get("spec") or {}
    claim_ns = (spec.get("claimRef") or {}).get("namespace") or ""
    for source in spec.values():
        if not isinstance(source, dict):
            continue
        for field, reference in source.items():
            if field.endswith("SecretRef") or field == "secretRef":
                if isinstance(reference, dict) and reference.get("name"):
                    yield "secrets", reference.get("namespace") or claim_ns, reference["name"]


class NodeGraph:
    def __init__(self, objects: Objects) -> None:
        self._uses: dict[str, Counter[Vertex]] = {}
        self._pods: dict[str, dict[tuple[str, str], str]] = {}
        self._seen: dict[str, tuple[str, frozenset[Vertex]]] = {}
        self._volumes: dict[str, tuple[Vertex, frozenset[Vertex]]] = {}
        self._volumes_with: dict[Vertex, set[str]] = {}
        self._attachments: dict[str, str] = {}
        self._slices: dict[str, str] = {}
        self._config: dict[str, Vertex] = {}
        self._ends: list[Callable[[], None]] = [
            objects.subscribe(PODS, self._pod_changed),
            objects.subscribe(PERSISTENTVOLUMES, self._volume_changed),
            objects.subscribe(VOLUMEATTACHMENTS, self._attachment_changed),
            objects.subscribe(RESOURCESLICES, self._slice_changed),
            objects.subscribe(NODES, self._node_changed),
        ]

    def close(self) -> None:
        for end in self._ends:
            end()

    def uses(self, node: str, kind: str, ns: str, nm: str) -> bool:
        """Whether a Pod bound to `node` names the object, directly or over its claim's volume."""
        used = self._uses.get(node)
        if kind == "pods":
            return self._pods.get(node, {}).get((ns, nm)) is not None
        if kind == "volumeattachments":
            return self._attachments.get(nm) == node
        if kind == "resourceslices":
            return self._slices.get(nm) == node
        if kind == "persistentvolumes":
            volume = self._volumes.get(nm)
            return bool(used) and volume is not None and volume[0] in used  # type: ignore[operator]
        vertex = (kind, ns, nm)
        if used and vertex in used:
            return True
        if kind == "secrets" and used:
            return any(self._volumes[volume][0] in used for volume in self._volumes_with.get(vertex, ()))
        return self._config.get(node) == vertex

    def _pod_changed(self, old: Object | None, new: Object | None) -> None:
        if old is not None:
            self._forget_pod(old)
        if new is None:
            return
        node = (new.get("spec") or {}).get("nodeName")
        if not node:
            return
        phase = (new.get("status") or {}).get("phase")
        self._pods.setdefault(node, {})[namespace(new), name(new)] = uid(new)
        uses = frozenset() if phase in ("Succeeded", "Failed") else frozenset(used_by(new))
        self._seen[uid(new)] = (node, uses)
        self._uses.setdefault(node, Counter()).update(uses)

    def _forget_pod(self, pod: Object) -> None:
        node, uses = self._seen.pop(uid(pod), ("", frozenset()))
        if not node:
            return
        self._pods.get(node, {}).pop((namespace(pod), name(pod)), None)
        counter = self._uses[node]
        for vertex in uses:
            counter[vertex] -= 1
            if counter[vertex] <= 0:
                del counter[vertex]
        if not counter and not self._pods.get(node):
            self._uses.pop(node, None)
            self._pods.pop(node, None)

    def _volume_changed(self, old: Object | None, new: Object | None) -> None:
        if old is not None and (before := self._volumes.pop(name(old), None)):
            for vertex in before[1]:
                self._volumes_with[vertex].discard(name(old))
        claim = ((new or {}).get("spec") or {}).get("claimRef")
        if new is not None and claim:
            secrets = frozenset(_pv_secrets(new))
            vertex = (PERSISTENTVOLUMECLAIMS.plural, claim.get("namespace") or "", claim.get("name") or "")
            self._volumes[name(new)] = (vertex, secrets)
            for secret in secrets:
                self._volumes_with.setdefault(secret, set()).add(name(new))

    def _attachment_changed(self, old: Object | None, new: Object | None) -> None:
        if old is not None:
            self._attachments.pop(name(old), None)
        if new is not None:
            self._attachments[name(new)] = (new.get("spec") or {}).get("nodeName") or ""

    def _slice_changed(self, old: Object | None, new: Object | None) -> None:
        if old is not None:
            self._slices.pop(name(old), None)
        if new is not None:
            self._slices[name(new)] = (new.get("spec") or {}).get("nodeName") or ""

    def _node_changed(self, old: Object | None, new: Object | None) -> None:
        if old is not None:
            self._config.pop(name(old), None)
        source = (((new or {}).get("spec") or {}).get("configSource") or {}).get("configMap")
        if new is not None and source:
            self._config[name(new)] = ("configmaps", source.get("namespace") or "", source.get("name") or "")
