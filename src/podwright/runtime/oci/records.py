"""What the runtime remembers of sandboxes and containers: dataclasses, each in one JSON file.

The files are replaced whole but not synced: after a power cut every process they speak of is dead, and one that is
missing or torn is taken for garbage.
"""

from __future__ import annotations

import dataclasses
import enum
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import orjson

from podwright.runtime import atomic
from podwright.runtime.protocol import (
    Container,
    ContainerConfig,
    ContainerState,
    DiskLimits,
    NoSuchThing,
    Resources,
    Sandbox,
    SandboxConfig,
    SandboxState,
)

T = TypeVar("T")


@dataclass(slots=True)
class SandboxRecord:
    """`boot` is the boot in which it was made, `init_container` the reaper of a shared PID
    namespace, `cpu_quota` in microseconds, 0 if the Pod has none, `disk` the Pod's own limits."""

    id: str
    config: SandboxConfig
    created_at: float
    boot: str
    ready: bool = True
    ips: Sequence[str] = ()
    netns: str = ""
    init_container: str = ""
    cpu_quota: int = 0
    disk: DiskLimits = field(default_factory=DiskLimits)

    def public(self) -> Sandbox:
        return Sandbox(
            id=self.id,
            metadata=self.config.metadata,
            state=SandboxState.READY if self.ready else SandboxState.NOTREADY,
            created_at=self.created_at,
            ips=self.ips,
            netns=self.netns,
            labels=self.config.labels,
            annotations=self.config.annotations,
            cgroup_parent=self.config.cgroup_parent,
            namespaces=self.config.namespaces,
        )


@dataclass(slots=True)
class ContainerRecord:
    """`pid_start` and `conmon_start` (clock ticks since boot) tell a process from a later one of the same number.
    `hidden` marks the reaper of a shared PID namespace, which no one lists."""

    id: str
    sandbox_id: str
    config: ContainerConfig
    image_id: str
    image_ref: str
    boot: str
    created_at: float
    cgroup: str
    log_path: Path
    stop_signal: str
    user: tuple[int, int, Sequence[int]]
    resources: Resources = field(default_factory=Resources)
    state: ContainerState = ContainerState.CREATED
    started_at: float = 0.0
    finished_at: float = 0.0
    exit_code: int = 0
    reason: str = ""
    message: str = ""
    pid: int = 0
    pid_start: int = 0
    conmon_pid: int = 0
    conmon_start: int = 0
    hidden: bool = False
    shares_pids: bool = False

    def public(self) -> Container:
        running = self.state == ContainerState.RUNNING
        return Container(
            id=self.id,
            sandbox_id=self.sandbox_id,
            name=self.config.name,
            attempt=self.config.attempt,
            image=self.config.image,
            image_ref=self.image_ref,
            state=self.state,
            created_at=self.created_at,
            started_at=self.started_at,
            finished_at=self.finished_at,
            exit_code=self.exit_code,
            signal=self.exit_code - 128 if 128 < self.exit_code <= 192 and self.reason != "StartError" else 0,
            reason=self.reason,
            message=self.message,
            pid=self.pid if running else 0,
            labels=self.config.labels,
            annotations=self.config.annotations,
            log_path=self.log_path,
            mounts=self.config.mounts,
            resources=self.resources,
            cgroup=self.cgroup,
            stop_signal=self.stop_signal,
            user=self.user,
        )


def by_id(found: Mapping[str, T], identity: str, kind: str) -> T:
    """By id or by an unambiguous beginning of one. Raises NoSuchThing."""
    if identity in found:
        return found[identity]
    matching = [record for key, record in found.items() if key.startswith(identity)] if len(identity) >= 12 else []
    if len(matching) != 1:
        raise NoSuchThing(f'{kind} "{identity}" not found')
    return matching[0]


def save(path: Path, record: SandboxRecord | ContainerRecord) -> None:
    atomic.write(path, orjson.dumps(encode(record)))


def load(kind: type[T], path: Path) -> T | None:
    """The record in the file; None if it is not there or not whole."""
    try:
        return typing.cast(T, decode(kind, orjson.loads(path.read_bytes())))
    except (FileNotFoundError, orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError):
        return None


def encode(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: encode(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {str(k): encode(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [encode(v) for v in value]
    return value


@cache
def _fields(kind: type[Any]) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def decode(kind: Any, value: Any) -> Any:
    """The inverse of :func:`encode` for a value of type `kind`; sequences come back as tuples."""
    origin = typing.get_origin(kind)
    if origin in (typing.Union, types.UnionType):
        if value is None:
            return None
        return decode(next(a for a in typing.get_args(kind) if a is not type(None)), value)
    if origin is tuple:
        arguments = typing.get_args(kind)
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return tuple(decode(arguments[0], v) for v in value)
        return tuple(decode(a, v) for a, v in zip(arguments, value, strict=True))
    if origin in (list, Sequence):
        return tuple(decode(typing.get_args(kind)[0], v) for v in value)
    if origin in (dict, Mapping):
        return {k: decode(typing.get_args(kind)[1], v) for k, v in value.items()}
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        hints = _fields(kind)
        return kind(**{k: decode(hints[k], v) for k, v in value.items() if k in hints})
    if isinstance(kind, type) and issubclass(kind, enum.Enum | Path):
        return kind(value)
    return value
