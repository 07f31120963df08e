"""What the kubelet writes on sandboxes and containers, so that after a restart everything can be told from the runtime
alone. Names are upstream's where upstream has one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from podwright.api import objects, pods
from podwright.api.objects import Object
from podwright.runtime.protocol import Container, Sandbox

POD_NAME = "io.kubernetes.pod.name"
POD_NAMESPACE = "io.kubernetes.pod.namespace"
POD_UID = "io.kubernetes.pod.uid"
CONTAINER_NAME = "io.kubernetes.container.name"

CONTAINER_HASH = "io.kubernetes.container.hash"
RESTART_COUNT = "io.kubernetes.container.restartCount"
MESSAGE_PATH = "io.kubernetes.container.terminationMessagePath"
MESSAGE_POLICY = "io.kubernetes.container.terminationMessagePolicy"
PORTS = "io.kubernetes.container.ports"
PRE_STOP = "io.kubernetes.container.preStopHandler"
POD_GRACE = "io.kubernetes.pod.terminationGracePeriod"
ROLE = "podwright.io/container.role"
RESOURCES = "podwright.io/container.resources"
POSITION = "podwright.io/container.position"

MAIN, INIT, SIDECAR, EPHEMERAL = "main", "init", "sidecar", "ephemeral"


def of_pod(pod: Object) -> dict[str, str]:
    """Labels of a sandbox: the Pod's own and who it is."""
    return {
        **objects.labels(pod),
        POD_NAME: objects.name(pod),
        POD_NAMESPACE: objects.namespace(pod),
        POD_UID: objects.uid(pod),
    }


def of_container(pod: Object, ctr: Object) -> dict[str, str]:
    return {
        POD_NAME: objects.name(pod),
        POD_NAMESPACE: objects.namespace(pod),
        POD_UID: objects.uid(pod),
        CONTAINER_NAME: ctr["name"],
    }


def container_hash(ctr: Object) -> str:
    """Changes when the container has to be replaced: with its name or image (nothing else of a running one may
    change, but for resources, which are changed in place)."""
    text = json.dumps([ctr["name"], ctr.get("image", "")])
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def role(pod: Object, ctr: Object) -> str:
    if pods.is_ephemeral(pod, ctr["name"]):
        return EPHEMERAL
    if pods.is_init(pod, ctr["name"]):
        return SIDECAR if pods.is_sidecar(ctr) else INIT
    return MAIN


def container_annotations(pod: Object, ctr: Object, restart_count: int) -> dict[str, str]:
    """What is needed to judge, restart and end the container without the Pod object."""
    kind = role(pod, ctr)
    notes = {
        CONTAINER_HASH: container_hash(ctr),
        RESTART_COUNT: str(restart_count),
        MESSAGE_PATH: str(ctr.get("terminationMessagePath") or "/dev/termination-log"),
        MESSAGE_POLICY: str(ctr.get("terminationMessagePolicy") or "File"),
        POD_GRACE: str(int(pod["spec"].get("terminationGracePeriodSeconds", 30) or 0)),
        ROLE: kind,
        RESOURCES: json.dumps(ctr.get("resources") or {}),
    }
    if kind == SIDECAR:
        notes[POSITION] = str([c["name"] for c in pods.init_containers(pod)].index(ctr["name"]))
    if ctr.get("ports"):
        notes[PORTS] = json.dumps(ctr["ports"])
    pre_stop = (ctr.get("lifecycle") or {}).get("preStop")
    if pre_stop:
        notes[PRE_STOP] = json.dumps(pre_stop)
    return notes


def restart_count(container: Container) -> int:
    """How often the container had been started again when this one was made."""
    try:
        return int(container.annotations.get(RESTART_COUNT, container.attempt))
    except ValueError:
        return container.attempt


def pod_from_runtime(uid: str, sandboxes: tuple[Sandbox, ...], containers: tuple[Container, ...]) -> Object:
    """As much of a Pod object as ending it takes, made from what the runtime says."""
    notes: Mapping[str, str] = containers[0].labels if containers else sandboxes[0].labels
    grace = min((int(c.annotations.get(POD_GRACE, "30")) for c in containers), default=30)
    spec: Object = {"containers": [], "initContainers": [], "terminationGracePeriodSeconds": grace}
    positions: dict[str, int] = {}
    for container in containers:
        found = container.annotations
        ctr: Object = {
            "name": container.name,
            "image": container.image,
            "terminationMessagePath": found.get(MESSAGE_PATH, ""),
            "ports": json.loads(found.get(PORTS, "[]")),
        }
        if PRE_STOP in found:
            ctr["lifecycle"] = {"preStop": json.loads(found[PRE_STOP])}
        kind = found.get(ROLE, MAIN)
        where = spec["initContainers"] if kind in (INIT, SIDECAR) else spec["containers"]
        if kind == SIDECAR:
            ctr["restartPolicy"] = "Always"
        positions[container.name] = int(found.get(POSITION, "0"))
        if all(known["name"] != container.name for known in where):
            where.append(ctr)
    spec["initContainers"].sort(key=lambda c: positions.get(c["name"], 0))
    if sandboxes and not sandboxes[0].netns:
        spec["hostNetwork"] = True
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": notes.get(POD_NAME, sandboxes[0].metadata.name if sandboxes else ""),
            "namespace": notes.get(POD_NAMESPACE, sandboxes[0].metadata.namespace if sandboxes else ""),
            "uid": uid,
        },
        "spec": spec,
    }
