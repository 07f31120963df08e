"""Which nodes wait for a NoExecute taint, zone by zone, and how fast they get it: when most of a zone fails at once the
fault is more likely ours or the network's, so that eviction slows down or stops."""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass, field

from podwright.controllers.config import ControllerConfig
from podwright.controllers.node_lifecycle.conditions import FULL, NORMAL, PARTIAL, zone_state


@dataclass(slots=True)
class _Zone:
    state: str = NORMAL
    rate: float = 0.0
    statuses: dict[str, str] = field(default_factory=dict)
    pending: OrderedDict[str, None] = field(default_factory=OrderedDict)
    taken_at: float = -math.inf


class Zones:
    """Times are monotonic seconds."""

    def __init__(self, config: ControllerConfig) -> None:
        self._config = config
        self._zones: dict[str, _Zone] = {}
        self._zone_of: dict[str, str] = {}
        self.halted = False
        """Every zone is fully disrupted: nobody is evicted."""

    def observe(self, node: str, zone: str, ready: str) -> bool:
        """True if the state of any zone changed by it."""
        if self._zone_of.get(node, zone) != zone:
            self.remove(node)
        self._zone_of[node] = zone
        place = self._zones.setdefault(zone, _Zone(rate=self._config.node_eviction_rate))
        if place.statuses.get(node) == ready:
            return False
        place.statuses[node] = ready
        return self._judge()

    def remove(self, node: str) -> bool:
        zone = self._zone_of.pop(node, None)
        if zone is None:
            return False
        place = self._zones[zone]
        place.statuses.pop(node, None)
        place.pending.pop(node, None)
        if not place.statuses:
            del self._zones[zone]
        return self._judge()

    def _judge(self) -> bool:
        config, changed = self._config, False
        for place in self._zones.values():
            state = zone_state(place.statuses.values(), config.unhealthy_zone_threshold)
            if state != place.state:
                place.state, changed = state, True
        halted = bool(self._zones) and all(p.state == FULL for p in self._zones.values())
        if halted != self.halted:
            self.halted, changed = halted, True
        for place in self._zones.values():
            if halted:
                place.rate = 0.0
            elif place.state == PARTIAL:
                large = len(place.statuses) > config.large_cluster_size_threshold
                place.rate = config.secondary_node_eviction_rate if large else 0.0
            else:
                place.rate = config.node_eviction_rate
        return changed

    def zones(self) -> list[str]:
        return list(self._zones)

    def add(self, node: str) -> str:
        """Puts the node in line; gives its zone."""
        zone = self._zone_of[node]
        self._zones[zone].pending[node] = None
        return zone

    def discard(self, node: str) -> None:
        zone = self._zone_of.get(node)
        if zone is not None:
            self._zones[zone].pending.pop(node, None)

    def clear(self) -> None:
        for place in self._zones.values():
            place.pending.clear()

    def take(self, zone: str, now: float) -> tuple[str | None, float | None]:
        """(the node whose turn it is, None) or (None, seconds to wait); (None, None) if nothing is to be done."""
        place = self._zones.get(zone)
        if place is None or not place.pending or place.rate <= 0:
            return None, None
        # By the rate of now, which may have changed since the last one was taken.
        due = place.taken_at + 1.0 / place.rate
        if now < due:
            return None, due - now
        node, _ = place.pending.popitem(last=False)
        place.taken_at = now
        return node, None

    def put_back(self, node: str) -> None:
        """Its turn was not used: it is first in line again, and need not wait anew."""
        zone = self._zone_of.get(node)
        if zone is not None:
            place = self._zones[zone]
            place.pending[node] = None
            place.pending.move_to_end(node, last=False)
            place.taken_at = -math.inf
