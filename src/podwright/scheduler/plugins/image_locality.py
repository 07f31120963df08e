"""ImageLocality: prefers nodes that have the Pod's images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from podwright.scheduler.framework.handle import Handle
from podwright.scheduler.framework.protocols import MAX_SCORE
from podwright.scheduler.state.nodes import Ints, Rows
from podwright.scheduler.state.pods import PodInfo

_MB = 1024 * 1024
_LEAST = 23 * _MB
_MOST_PER_CONTAINER = 1000 * _MB


def normalized_name(image: str) -> str:
    """With the tag ":latest" if it has none, as nodes list images."""
    return image if image.rfind(":") > image.rfind("/") else f"{image}:latest"


class ImageLocality:
    """The bytes of the images that the node has, each in proportion to how many nodes have it, so that Pods do not
    heap up on the few nodes that have an image."""

    name = "ImageLocality"
    row_local = True
    ignores_pods = True

    def __init__(self, handle: Handle, args: Mapping[str, Any]) -> None:
        self._nodes = handle.nodes

    def score(self, pod: PodInfo, rows: Rows) -> Ints:
        nodes, spec = self._nodes, pod.cls.spec
        containers = [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]
        total = np.zeros(len(nodes.alive.of(rows)), np.int64)
        images = [normalized_name(c["image"]) for c in containers if c.get("image")]
        for image in images:
            column = nodes.image(image)
            holders = np.count_nonzero(column.of())
            if holders:
                total += (column.of(rows) * (holders / max(1, nodes.count))).astype(np.int64)
        if not total.any():
            return total
        most = max(1, len(containers)) * _MOST_PER_CONTAINER
        return MAX_SCORE * (np.clip(total, _LEAST, most) - _LEAST) // (most - _LEAST)
