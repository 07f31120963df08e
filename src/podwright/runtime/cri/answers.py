"""CRI's messages → the protocol's dataclasses. Pure. Zero values are not in the messages."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from podwright.api.objects import Object
from podwright.runtime.cri.requests import MODES, SIGNALS
from podwright.runtime.protocol import (
    Container,
    ContainerState,
    Image,
    Mount,
    NamespaceMode,
    NamespaceOptions,
    Resources,
    Sandbox,
    SandboxMetadata,
    SandboxState,
)

OWNER = "podwright.io/owner"
"""Label of sandboxes and containers: whose they are on a socket that others use too."""
CGROUP_PARENT = "podwright.io/cgroup-parent"
"""Annotation of sandboxes: CRI does not tell what it was given."""
STATES = (ContainerState.CREATED, ContainerState.RUNNING, ContainerState.EXITED, ContainerState.UNKNOWN)
_SANDBOX_STATES = (SandboxState.READY, SandboxState.NOTREADY)
_NANO = 1e9


def info(answer: Object) -> Object:
    """What containerd and CRI-O tell beyond the interface in a verbose status."""
    text = (answer.get("info") or {}).get("info")
    return dict(orjson.loads(text)) if text else {}


def sandbox(answer: Object) -> Sandbox:
    """Of a verbose PodSandboxStatusResponse."""
    status = answer["status"]
    metadata, network = status.get("metadata") or {}, status.get("network") or {}
    options = ((status.get("linux") or {}).get("namespaces") or {}).get("options") or {}
    namespaces = NamespaceOptions(
        network=MODES[options.get("network", 0)], pid=MODES[options.get("pid", 0)], ipc=MODES[options.get("ipc", 0)]
    )
    on_host = namespaces.network == NamespaceMode.NODE
    ips = [network.get("ip", ""), *(more.get("ip", "") for more in network.get("additional_ips") or ())]
    annotations = status.get("annotations") or {}
    return Sandbox(
        id=status["id"],
        metadata=SandboxMetadata(
            metadata.get("name", ""), metadata.get("namespace", ""), metadata.get("uid", ""), metadata.get("attempt", 0)
        ),
        state=_SANDBOX_STATES[status.get("state", 0)],
        created_at=status.get("created_at", 0) / _NANO,
        ips=() if on_host else tuple(ip for ip in ips if ip),
        netns="" if on_host else _network_namespace(info(answer)),
        labels=_without(status.get("labels"), OWNER),
        annotations=_without(annotations, CGROUP_PARENT),
        cgroup_parent=annotations.get(CGROUP_PARENT, ""),
        namespaces=namespaces,
    )


def _network_namespace(told: Object) -> str:
    linux = (told.get("runtimeSpec") or {}).get("linux") or {}
    for namespace in linux.get("namespaces") or ():
        if namespace.get("type") == "network":
            return str(namespace.get("path") or "")
    return ""


def container(answer: Object, sandbox_id: str) -> Container:
    """Of a verbose ContainerStatusResponse, which does not name the sandbox."""
    status, told = answer["status"], info(answer)
    metadata = status.get("metadata") or {}
    spec = told.get("runtimeSpec") or {}
    user = ((status.get("user") or {}).get("linux")) or _user(spec)
    signal = SIGNALS[status.get("stop_signal", 0)]
    started, finished = status.get("started_at", 0), status.get("finished_at", 0)
    return Container(
        id=status["id"],
        sandbox_id=sandbox_id,
        name=metadata.get("name", ""),
        attempt=metadata.get("attempt", 0),
        image=(status.get("image") or {}).get("image", ""),
        image_ref=status.get("image_ref", ""),
        state=STATES[status.get("state", 0)],
        created_at=status.get("created_at", 0) / _NANO,
        # containerd notes the start after it: of a container that ends at once, later than the end.
        started_at=min(started, finished or started) / _NANO,
        finished_at=finished / _NANO,
        exit_code=status.get("exit_code", 0),
        reason=status.get("reason", ""),
        message=status.get("message", ""),
        pid=int(told.get("pid") or 0) if status.get("state", 0) == STATES.index(ContainerState.RUNNING) else 0,
        labels=_without(status.get("labels"), OWNER),
        annotations=status.get("annotations") or {},
        log_path=Path(status.get("log_path", "")),
        mounts=[
            Mount(m.get("container_path", ""), m.get("host_path", ""), m.get("readonly", False))
            for m in status.get("mounts") or ()
        ],
        resources=_resources((status.get("resources") or {}).get("linux") or {}),
        cgroup=str((spec.get("linux") or {}).get("cgroupsPath") or ""),
        stop_signal=f"SIG{signal}" if signal else "SIGTERM",
        user=(user.get("uid", 0), user.get("gid", 0), tuple(user.get("supplemental_groups") or ())),
    )


def _user(spec: Object) -> Object:
    user = (spec.get("process") or {}).get("user") or {}
    return {
        "uid": user.get("uid", 0), "gid": user.get("gid", 0), "supplemental_groups": user.get("additionalGids") or ()
    }  # fmt: skip


def _resources(linux: Object) -> Resources:
    return Resources(
        cpu_period=linux.get("cpu_period", 0),
        cpu_quota=linux.get("cpu_quota", 0),
        cpu_shares=linux.get("cpu_shares", 0),
        cpuset_cpus=linux.get("cpuset_cpus", ""),
        cpuset_mems=linux.get("cpuset_mems", ""),
        memory_limit=linux.get("memory_limit_in_bytes", 0),
        memory_swap_limit=linux.get("memory_swap_limit_in_bytes", 0),
        oom_score_adj=linux.get("oom_score_adj", 0),
        unified=linux.get("unified") or {},
    )


def image(found: Object, config: Mapping[str, Any]) -> Image:
    uid = found.get("uid")
    return Image(
        id=found["id"],
        repo_tags=found.get("repo_tags") or (),
        repo_digests=found.get("repo_digests") or (),
        size=found.get("size", 0),
        user=str(uid.get("value", 0)) if uid is not None else found.get("username", ""),
        config=config,
        pinned=found.get("pinned", False),
    )


def _without(pairs: Mapping[str, str] | None, name: str) -> dict[str, str]:
    return {key: value for key, value in (pairs or {}).items() if key != name}
