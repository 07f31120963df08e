"""How plugins answer: what a refusal is, and what is said of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from podwright.scheduler.state.nodes import Mask


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a plugin does not want a Pod. `plugin` is set by the framework."""

    message: str
    plugin: str = ""


@dataclass(slots=True)
class Reason:
    """One message for all nodes of `mask` (over the rows that were asked about)."""

    message: str
    mask: Mask
    resolvable: bool = True


class SkipType(Enum):
    SKIP = "Skip"


SKIP = SkipType.SKIP
"""A PreFilter's or PreScore's answer: the plugin has nothing to say of this Pod."""


@dataclass(frozen=True, slots=True)
class Wait:
    """A Permit plugin's answer: hold the Pod for at most `seconds`."""

    seconds: float


class PluginFailed(Exception):
    """A plugin raised or hung."""

    def __init__(self, plugin: str, point: str, message: str) -> None:
        super().__init__(f'running {point} plugin "{plugin}": {message}')
        self.plugin = plugin
        self.point = point
