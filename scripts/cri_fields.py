"""Reads names, numbers and types of CRI's fields off its public source, into the codec's data file.

Usage: cri_fields.py OUTPUT GIT_DIRECTORY

The git directory is a copy of kubernetes/cri-api. Windows' messages, and what is nobody's request or answer, are left
out; enumerations are integers. Beside them stands what containerd's own event service needs.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys

_MESSAGE = re.compile(r"^message (\w+) *\{([^}]*)\}", re.M)
_FIELD = re.compile(r"^\s*(repeated\s+)?(map<string, *(\w+)>|\w+)\s+(\w+) = (\d+)", re.M)
_SCALARS = {
    "string": "s", "bool": "b", "int32": "i", "int64": "i", "uint32": "i", "uint64": "i", "bytes": "y", "double": "d",
}  # fmt: skip
_PACKAGE = "runtime.v1"
_METHODS = """
Version Status RunPodSandbox StopPodSandbox RemovePodSandbox PodSandboxStatus ListPodSandbox CreateContainer
StartContainer StopContainer RemoveContainer ListContainers ContainerStatus UpdateContainerResources ReopenContainerLog
ExecSync Exec Attach ContainerStats ListImages ImageStatus PullImage RemoveImage ImageFsInfo
"""
_CONTAINERD = {
    "containerd.services.events.v1.SubscribeRequest": [[1, "filters", "s", "r"]],
    "containerd.services.events.v1.Envelope": [
        [2, "namespace", "s", ""], [3, "topic", "s", ""], [4, "event", "mcontainerd.Any", ""],
    ],
    "containerd.Any": [[1, "type_url", "s", ""], [2, "value", "y", ""]],
    "containerd.TaskDelete": [[1, "container_id", "s", ""]],
}

Rows = list[list[object]]


def kind(name: str, value: str, messages: set[str]) -> str:
    """A letter for a scalar, "m" and a name for a message, "M" and a kind for a map from strings."""
    if value:
        return "M" + kind(value, "", messages)
    if name in messages:
        return f"m{_PACKAGE}.{name}"
    return _SCALARS.get(name, "i")


def main() -> None:
    output, directory = sys.argv[1:]
    command = ["git", "-C", directory, "show", "HEAD:pkg/apis/runtime/v1/api.proto"]
    proto = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    proto = re.sub(r"^\s*enum \w+ \{.*?\}", "", re.sub(r"//[^\n]*", "", proto), flags=re.M | re.S)
    bodies = dict(_MESSAGE.findall(proto))
    pending = ["GetEventsRequest", "ContainerEventResponse"]
    pending += [f"{method}{side}" for method in _METHODS.split() for side in ("Request", "Response")]
    table: dict[str, Rows] = {}
    while pending:
        name = pending.pop()
        if f"{_PACKAGE}.{name}" in table:
            continue
        rows: Rows = []
        for repeated, type_name, value, field, number in _FIELD.findall(bodies[name]):
            if type_name.startswith("Windows"):
                continue
            rows.append([int(number), field, kind(type_name, value, set(bodies)), "r" if repeated else ""])
            pending += [t for t in (type_name, value) if t in bodies]
        table[f"{_PACKAGE}.{name}"] = rows
    table |= _CONTAINERD
    with open(output, "w") as file:
        json.dump({name: table[name] for name in sorted(table)}, file, separators=(",", ":"))
    print(f"{len(table)} messages, {sum(map(len, table.values()))} fields")


if __name__ == "__main__":
    main()
