"""Ranges of host ids for Pods with hostUsers: false: each its own 65,536, none shared (KEP-127)."""

from __future__ import annotations

from collections.abc import Sequence

from podwright.runtime.protocol import IdMapping


class NoIdsLeft(Exception):
    """Every range of the node is taken."""


class UserNamespaces:
    """`length` ids a Pod, from `length` on, as many Pods as `ranges`. What runs already is told by :meth:`taken`."""

    def __init__(self, length: int = 65536, ranges: int = 1024) -> None:
        self._length = length
        self._free = set(range(1, ranges + 1))
        self._of: dict[str, int] = {}

    def taken(self, uid: str, mappings: Sequence[IdMapping]) -> None:
        """A sandbox that was found running has this mapping."""
        for mapping in mappings:
            index = mapping.host_id // self._length
            self._free.discard(index)
            self._of[uid] = index

    def allocate(self, uid: str) -> list[IdMapping]:
        """The Pod's range; the same one when asked again.

        Raises:
            NoIdsLeft
        """
        index = self._of.get(uid)
        if index is None:
            if not self._free:
                raise NoIdsLeft("no user namespace IDs left on this node")
            index = min(self._free)
            self._free.discard(index)
            self._of[uid] = index
        return [IdMapping(host_id=index * self._length, container_id=0, length=self._length)]

    def release(self, uid: str) -> None:
        index = self._of.pop(uid, None)
        if index is not None:
            self._free.add(index)
