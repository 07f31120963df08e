"""Container Device Interface: devices by a name such as ``vendor.com/gpu=0``, and what a container needs for them, from
files that a device's driver wrote (CDI specification, versions up to 1.0)."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
import yaml

from podwright.runtime.oci import devices
from podwright.runtime.protocol import RuntimeFailure

log = logging.getLogger(__name__)

DIRECTORIES = (Path("/etc/cdi"), Path("/var/run/cdi"))
"""A device in a later one hides its namesake in an earlier one."""

Edits = Mapping[str, Any]


def apply(document: dict[str, Any], names: Sequence[str], directories: Sequence[Path] = DIRECTORIES) -> None:
    """Changes a container's config.json to what its CDI devices need.

    Raises:
        RuntimeFailure: there is no such device, or it needs what is not known here.
    """
    known = _read(directories)
    missing = [name for name in names if name not in known]
    if missing:
        raise _failure(f"unresolvable CDI devices {', '.join(missing)}")
    whole: list[Edits] = []
    for name in dict.fromkeys(names):
        device, common = known[name]
        # What all devices of a file need is needed once.
        if not any(common is edits for edits in whole):
            whole.append(common)
            _edit(document, common)
        _edit(document, device)
    document["mounts"].sort(key=lambda mount: mount["destination"].rstrip("/").count("/"))


def _failure(message: str) -> RuntimeFailure:
    return RuntimeFailure(f"CDI device injection failed: {message}", "CreateContainerError")


def _read(directories: Sequence[Path]) -> dict[str, tuple[Edits, Edits]]:
    """Name → (the device's edits, its file's). Two files of one directory that tell of the same device are a conflict:
    then there is no such device."""
    found: dict[str, tuple[Edits, Edits]] = {}
    for directory in directories:
        here: dict[str, tuple[Edits, Edits]] = {}
        conflicts = set()
        for path in sorted(directory.glob("*")):
            if path.suffix not in (".json", ".yaml"):
                continue
            try:
                text = path.read_bytes()
                spec = orjson.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
                common = spec.get("containerEdits") or {}
                told = {f"{spec['kind']}={d['name']}": (d["containerEdits"], common) for d in spec["devices"]}
            except (OSError, ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError) as broken:
                log.warning("CDI: %s cannot be read: %r", path, broken)
                continue
            conflicts |= told.keys() & here.keys()
            here |= told
        found |= here
        for name in conflicts:
            del found[name]
    return found


def _edit(document: dict[str, Any], edits: Edits) -> None:
    for kind, value in edits.items():
        if kind not in _EDITS:
            raise _failure(f"containerEdits.{kind} is not supported")
        if value:
            _EDITS[kind](document, value)


def _env(document: dict[str, Any], entries: Sequence[str]) -> None:
    names = {entry.partition("=")[0] for entry in entries}
    process = document["process"]
    process["env"] = [*(e for e in process["env"] if e.partition("=")[0] not in names), *entries]


def _device_nodes(document: dict[str, Any], nodes: Sequence[Mapping[str, Any]]) -> None:
    linux = document["linux"]
    for told in nodes:
        path = told["path"]
        entry = {"path": path} | {k: told[k] for k in ("type", "major", "minor", "fileMode", "uid", "gid") if k in told}
        if not {"type", "major", "minor"} <= entry.keys():
            entry = devices.node(told.get("hostPath") or path, path) | entry
        linux["devices"] = [*(d for d in linux["devices"] if d["path"] != path), entry]
        rule = {"allow": True, "access": told.get("permissions") or "rwm"}
        linux["resources"]["devices"].append(rule | {k: entry[k] for k in ("type", "major", "minor")})


def _mounts(document: dict[str, Any], mounts: Sequence[Mapping[str, Any]]) -> None:
    for told in mounts:
        target = os.path.normpath(told["containerPath"])
        kind = {"type": told["type"]} if told.get("type") else {}
        options = list(told.get("options") or ())
        if not kind and not {"bind", "rbind"} & set(options):
            options.append("rbind")
        entry = {"destination": target, "source": told["hostPath"], "options": options, **kind}
        document["mounts"] = [*(m for m in document["mounts"] if m["destination"] != target), entry]


def _hooks(document: dict[str, Any], hooks: Sequence[Mapping[str, Any]]) -> None:
    for told in hooks:
        hook = {k: told[k] for k in ("path", "args", "env", "timeout") if k in told}
        document.setdefault("hooks", {}).setdefault(told["hookName"], []).append(hook)


def _groups(document: dict[str, Any], groups: Sequence[int]) -> None:
    user = document["process"]["user"]
    user["additionalGids"] = list(dict.fromkeys([*user["additionalGids"], *(g for g in groups if g)]))


_EDITS: Mapping[str, Callable[[dict[str, Any], Any], None]] = {
    "env": _env, "deviceNodes": _device_nodes, "mounts": _mounts, "hooks": _hooks, "additionalGids": _groups,
}  # fmt: skip
