"""Which namespaces a Pod and its containers share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from podwright.api.objects import Object
from podwright.runtime.protocol import IdMapping, NamespaceMode, NamespaceOptions


def pod_namespaces(pod: Object, user_namespace: Sequence[IdMapping] = ()) -> NamespaceOptions:
    spec = pod["spec"]
    pid = NamespaceMode.CONTAINER
    if spec.get("hostPID"):
        pid = NamespaceMode.NODE
    elif spec.get("shareProcessNamespace"):
        pid = NamespaceMode.POD
    return NamespaceOptions(
        network=NamespaceMode.NODE if spec.get("hostNetwork") else NamespaceMode.POD,
        pid=pid,
        ipc=NamespaceMode.NODE if spec.get("hostIPC") else NamespaceMode.POD,
        user_namespace=tuple(user_namespace),
    )


def container_namespaces(options: NamespaceOptions, target_id: str) -> NamespaceOptions:
    """Of one container; `target_id` is the container that an ephemeral one looks at, "" if none."""
    if target_id and options.pid is NamespaceMode.CONTAINER:
        return replace(options, pid=NamespaceMode.TARGET, target_id=target_id)
    return options
