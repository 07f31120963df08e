"""What the kubelet asks of a Pod object again and again: its containers by kind, where it came from, how long it may
take to end. Pure functions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from podwright.api import objects
from podwright.api.objects import Object

CONFIG_SOURCE = "kubernetes.io/config.source"
CONFIG_MIRROR = "kubernetes.io/config.mirror"
CONFIG_HASH = "kubernetes.io/config.hash"
CONFIG_SEEN = "kubernetes.io/config.seen"
CONTAINER_ID_PREFIX = "podwright://"

CRITICAL_PRIORITY = 2_000_000_000


def annotations_of(pod: Object) -> Mapping[str, str]:
    return (pod.get("metadata") or {}).get("annotations") or {}


def containers(pod: Object) -> Sequence[Object]:
    return pod["spec"].get("containers") or ()


def init_containers(pod: Object) -> Sequence[Object]:
    return pod["spec"].get("initContainers") or ()


def ephemeral_containers(pod: Object) -> Sequence[Object]:
    return pod["spec"].get("ephemeralContainers") or ()


def all_containers(pod: Object) -> Iterator[Object]:
    """Init, main and ephemeral containers, in this order."""
    yield from init_containers(pod)
    yield from containers(pod)
    yield from ephemeral_containers(pod)


def container(pod: Object, name: str) -> Object | None:
    for found in all_containers(pod):
        if found["name"] == name:
            return found
    return None


def is_sidecar(ctr: Object) -> bool:
    """Of an init container: whether it is restartable, so runs beside the main ones (KEP-753)."""
    return ctr.get("restartPolicy") == "Always"


def is_init(pod: Object, name: str) -> bool:
    return any(c["name"] == name for c in init_containers(pod))


def is_ephemeral(pod: Object, name: str) -> bool:
    return any(c["name"] == name for c in ephemeral_containers(pod))


def is_mirror(pod: Object) -> bool:
    return CONFIG_MIRROR in annotations_of(pod)


def is_static(pod: Object) -> bool:
    source = annotations_of(pod).get(CONFIG_SOURCE, "api")
    return source != "api" and not is_mirror(pod)


def is_critical(pod: Object) -> bool:
    """Static and system-critical Pods: admitted first, evicted last."""
    if is_static(pod) or is_mirror(pod):
        return True
    return int(pod["spec"].get("priority") or 0) >= CRITICAL_PRIORITY


def is_terminal(pod: Object) -> bool:
    """Whether the API says that the Pod has ended for good."""
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def host_network(pod: Object) -> bool:
    return bool(pod["spec"].get("hostNetwork"))


def termination_grace(pod: Object) -> float:
    """Seconds between the stop signal and SIGKILL when the Pod is ended: of its deletion, else of its spec."""
    meta = pod["metadata"]
    if meta.get("deletionTimestamp") and meta.get("deletionGracePeriodSeconds") is not None:
        return float(meta["deletionGracePeriodSeconds"])
    grace = pod["spec"].get("terminationGracePeriodSeconds")
    return float(30 if grace is None else grace)


def container_id(runtime_id: str) -> str:
    """How statuses spell a container's id."""
    return CONTAINER_ID_PREFIX + runtime_id if runtime_id else ""


def runtime_id(text: str) -> str:
    """The runtime's id of a status' containerID."""
    return text.partition("://")[2] or text


def describe(pod: Object) -> str:
    """"namespace/name(uid)": how logs call a Pod."""
    return f"{objects.key(pod)}({objects.uid(pod)})"
