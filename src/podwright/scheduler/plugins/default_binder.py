"""DefaultBinder: a POST to pods/binding."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from podwright.api import objects
from podwright.api.resources import PODS
from podwright.scheduler.framework.handle import Handle
from podwright.scheduler.state.pods import PodInfo


class DefaultBinder:
    name = "DefaultBinder"

    def __init__(self, handle: Handle, args: Mapping[str, Any]) -> None:
        self._client = handle.client

    async def bind(self, pod: PodInfo, node: str) -> bool:
        namespace, name = pod.namespace, objects.name(pod.pod)
        binding = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": name, "namespace": namespace, "uid": pod.uid},
            "target": {"kind": "Node", "name": node},
        }
        await self._client.create(PODS, binding, namespace=namespace, name=name, subresource="binding")
        return True
