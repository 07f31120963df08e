"""Pods as controllers see and make them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from podwright.api import objects
from podwright.api.objects import Object, deepcopy
from podwright.api.resources import PODS
from podwright.api.status import ApiError
from podwright.client.client import Client
from podwright.client.events import NORMAL, WARNING, EventRecorder
from podwright.controllers.frame import is_terminating_namespace


def phase(pod: Object) -> str:
    return str((pod.get("status") or {}).get("phase") or "")


def is_finished(pod: Object) -> bool:
    return phase(pod) in ("Succeeded", "Failed")


def is_active(pod: Object) -> bool:
    """Neither finished nor being deleted."""
    return not is_finished(pod) and not objects.is_deleting(pod)


def is_ready(pod: Object) -> bool:
    return objects.condition_is_true(pod, "Ready")


def ready_since(pod: Object) -> float | None:
    """When the Ready condition turned True; None if it is not."""
    ready = objects.condition(pod, "Ready")
    if ready is None or ready.get("status") != "True":
        return None
    since = ready.get("lastTransitionTime")
    return objects.parse_time(since) if since else 0.0


def is_available(pod: Object, min_ready_seconds: int, now: float) -> bool:
    """Ready for at least `min_ready_seconds`."""
    since = ready_since(pod)
    if since is None:
        return False
    return not min_ready_seconds or (since > 0 and since + min_ready_seconds <= now)


def until_available(pod: Object, min_ready_seconds: int, now: float) -> float | None:
    """Seconds until a ready Pod becomes available; None if it is not ready, or available already."""
    since = ready_since(pod)
    if since is None or not min_ready_seconds or since + min_ready_seconds <= now:
        return None
    return since + min_ready_seconds - now


def restarts(pod: Object) -> int:
    """The highest restart count of its containers."""
    statuses = (pod.get("status") or {}).get("containerStatuses") or ()
    return max((int(s.get("restartCount") or 0) for s in statuses), default=0)


def creation_time(obj: Object) -> float:
    stamp = (obj.get("metadata") or {}).get("creationTimestamp")
    return objects.parse_time(stamp) if stamp else 0.0


def node_name(pod: Object) -> str:
    return str((pod.get("spec") or {}).get("nodeName") or "")


def from_template(template: Object, owner: Object, *, name: str = "", generate_name: str = "") -> Object:
    """A Pod of `owner` made from a Pod template; by default its name is generated from the owner's."""
    source = template.get("metadata") or {}
    metadata: Object = {
        "namespace": objects.namespace(owner), "labels": dict(source.get("labels") or {}),
        "annotations": dict(source.get("annotations") or {}), "ownerReferences": [objects.owner_reference(owner)],
    }
    if source.get("finalizers"):
        metadata["finalizers"] = list(source["finalizers"])
    if name:
        metadata["name"] = name
    else:
        metadata["generateName"] = generate_name or pod_prefix(objects.name(owner))
    return {
        "apiVersion": "v1", "kind": "Pod", "metadata": {k: v for k, v in metadata.items() if v},
        "spec": deepcopy(template.get("spec") or {}),
    }


def pod_prefix(owner: str) -> str:
    """The owner's name and a dash, without the dash where that would be no valid name."""
    return f"{owner}-" if len(owner) + 1 <= 253 else owner


class PodControl:
    """Creates and deletes Pods for an owner, and says so in Events on it."""

    def __init__(self, client: Client, events: EventRecorder) -> None:
        self._client = client
        self._events = events

    async def create(self, pod: Object, owner: Object) -> Object:
        """Raises ApiError as the server refuses; a terminating namespace is no event."""
        try:
            made = await self._client.create(PODS, pod)
        except ApiError as refused:
            if not is_terminating_namespace(refused):
                self._events.event(owner, WARNING, "FailedCreate", f"Error creating: {refused}")
            raise
        self._events.event(owner, NORMAL, "SuccessfulCreate", f"Created pod: {objects.name(made)}")
        return made

    async def delete(self, pod: Object, owner: Object) -> bool:
        """False if it was gone already. Deletes that very Pod: a namesake made since stays."""
        name, namespace = objects.name(pod), objects.namespace(pod)
        try:
            await self._client.delete(PODS, name, namespace=namespace, uid=objects.uid(pod))
        except ApiError as refused:
            if refused.code == 404:
                return False
            self._events.event(owner, WARNING, "FailedDelete", f"Error deleting: {refused}")
            raise
        self._events.event(owner, NORMAL, "SuccessfulDelete", f"Deleted pod: {name}")
        return True


def set_condition(conditions: list[Object], condition: Mapping[str, Any]) -> list[Object]:
    """The list with `condition` in place of the one of its type; the transition time stays where the status does, and
    nothing changes where status and reason stay."""
    current = next((c for c in conditions if c["type"] == condition["type"]), None)
    if current is None:
        return [*conditions, dict(condition)]
    if current.get("status") == condition.get("status") and current.get("reason") == condition.get("reason"):
        return conditions
    changed = dict(condition)
    if current.get("status") == condition.get("status") and "lastTransitionTime" in current:
        changed["lastTransitionTime"] = current["lastTransitionTime"]
    return [*(c for c in conditions if c["type"] != condition["type"]), changed]


def without_condition(conditions: list[Object], kind: str) -> list[Object]:
    return [c for c in conditions if c["type"] != kind]
