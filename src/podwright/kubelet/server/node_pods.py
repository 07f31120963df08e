"""The kubelet's Pods as its server sees them."""

from __future__ import annotations

from collections.abc import Sequence

from podwright.api import objects
from podwright.api.objects import Object
from podwright.kubelet.kubelet import Kubelet
from podwright.kubelet.runtime_cache import PodRuntime


class KubeletPods:
    """Implements :class:`podwright.kubelet.server.server.NodePods`."""

    def __init__(self, kubelet: Kubelet) -> None:
        self._kubelet = kubelet

    def pods(self) -> Sequence[Object]:
        return [self._with_status(pod) for pod in self._kubelet.pods.all()]

    def pod(self, namespace: str, name: str) -> Object | None:
        pod = self._kubelet.pods.by_name(namespace, name)
        return self._with_status(pod) if pod is not None else None

    def pod_runtime(self, uid: str) -> PodRuntime:
        return self._kubelet.pod_runtime(uid)

    async def container_ended(self, uid: str, container_id: str) -> None:
        await self._kubelet.cache.ended(uid, container_id)

    def _with_status(self, pod: Object) -> Object:
        status = self._kubelet.pod_status(objects.uid(pod))
        return pod if status is None else {**pod, "status": status}
