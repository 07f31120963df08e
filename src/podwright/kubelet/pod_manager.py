"""Which Pods this node should have: those of the API and the static ones, with the mirrors of the latter."""

from __future__ import annotations

from collections.abc import Sequence

from podwright.api import objects, pods
from podwright.api.objects import Object


class PodManager:
    """Pods by uid; mirrors are kept apart, by name."""

    def __init__(self) -> None:
        self._pods: dict[str, Object] = {}
        self._mirrors: dict[str, Object] = {}
        self._names: dict[str, str] = {}

    def put(self, pod: Object) -> None:
        if pods.is_mirror(pod):
            self._mirrors[objects.key(pod)] = pod
        else:
            self._pods[objects.uid(pod)] = pod
            self._names[objects.key(pod)] = objects.uid(pod)

    def remove(self, pod: Object) -> None:
        key = objects.key(pod)
        if pods.is_mirror(pod):
            known = self._mirrors.get(key)
            if known is not None and objects.uid(known) == objects.uid(pod):
                del self._mirrors[key]
            return
        self._pods.pop(objects.uid(pod), None)
        if self._names.get(key) == objects.uid(pod):
            del self._names[key]

    def get(self, uid: str) -> Object | None:
        return self._pods.get(uid)

    def by_name(self, namespace: str, name: str) -> Object | None:
        """The Pod of that name; of a static Pod that itself, not its mirror."""
        uid = self._names.get(f"{namespace}/{name}")
        return self._pods.get(uid) if uid is not None else None

    def mirror_of(self, static: Object) -> Object | None:
        return self._mirrors.get(objects.key(static))

    def mirrors(self) -> Sequence[Object]:
        return list(self._mirrors.values())

    def static_of(self, mirror: Object) -> Object | None:
        """The static Pod that a mirror shows."""
        found = self.by_name(objects.namespace(mirror), objects.name(mirror))
        return found if found is not None and pods.is_static(found) else None

    def all(self) -> Sequence[Object]:
        return list(self._pods.values())

    def static(self) -> Sequence[Object]:
        return [p for p in self._pods.values() if pods.is_static(p)]
