"""PrioritySort: higher priority first, then who came first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from podwright.scheduler.framework.handle import Handle
from podwright.scheduler.state.pods import PodInfo


class PrioritySort:
    name = "PrioritySort"

    def __init__(self, handle: Handle, args: Mapping[str, Any]) -> None:
        pass

    def sort_key(self, pod: PodInfo) -> tuple[int, float]:
        return -pod.priority, pod.added
