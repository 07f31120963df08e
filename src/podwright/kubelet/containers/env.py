"""The environment of a container: env, envFrom, valueFrom and Services, in upstream's order and with its messages."""

from __future__ import annotations

import base64
import binascii
import logging
import os
import stat
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from podwright.api import objects
from podwright.api.objects import Object
from podwright.api.resources import CONFIGMAPS, SECRETS, Resource
from podwright.api.status import ApiError
from podwright.client.transport import ServerUnreachable
from podwright.kubelet.containers import env_files
from podwright.kubelet.containers.downward import DownwardFacts, field_value, resource_value
from podwright.kubelet.containers.expansion import expand
from podwright.kubelet.containers.failures import config_error
from podwright.kubelet.containers.service_links import service_variables
from podwright.runtime.linux import RESOLVE_BENEATH, openat2

log = logging.getLogger(__name__)

_LARGEST_FILE = 64 << 10

Finder = Callable[[Resource, str, str], Awaitable[Object | None]]
"""(resource, namespace, name) → the object, None if there is none."""


@dataclass(frozen=True, slots=True)
class EnvSources:
    """Where values come from. `volume_path` gives the host directory of an emptyDir by its volume's name."""

    find: Finder
    facts: DownwardFacts
    services: Iterable[Object] = ()
    volumes: Mapping[str, Path] = field(default_factory=dict)


async def environment(pod: Object, ctr: Object, sources: EnvSources) -> dict[str, str]:
    """Name → value, in order.

    Raises:
        ContainerFailure: something referred to is missing (CreateContainerConfigError).
    """
    namespace = objects.namespace(pod)
    links = pod["spec"].get("enableServiceLinks")
    found: dict[str, str] = {}
    for source in ctr.get("envFrom") or ():
        found.update(await _from_source(namespace, source, sources))
    services = service_variables(sources.services, namespace, links is None or bool(links))
    for entry in ctr.get("env") or ():
        name = entry["name"]
        value = await _value(pod, ctr, entry, found, services, sources)
        if value is None:
            continue
        services.pop(name, None)
        found[name] = value
    for name, value in services.items():
        found.setdefault(name, value)
    return found


async def _from_source(namespace: str, source: Object, sources: EnvSources) -> dict[str, str]:
    prefix = source.get("prefix") or ""
    if "configMapRef" in source:
        ref = source["configMapRef"]
        obj = await _object(CONFIGMAPS, namespace, ref, sources)
        data = {} if obj is None else (obj.get("data") or {})
    elif "secretRef" in source:
        ref = source["secretRef"]
        obj = await _object(SECRETS, namespace, ref, sources)
        data = {} if obj is None else {k: _decoded(v) for k, v in (obj.get("data") or {}).items()}
    else:
        return {}
    return {prefix + key: data[key] for key in sorted(data) if key and "=" not in prefix + key}


async def _object(resource: Resource, namespace: str, ref: Object, sources: EnvSources) -> Object | None:
    """The object, None if it is missing and optional."""
    name = ref.get("name") or ""
    try:
        found = await sources.find(resource, namespace, name)
    except ApiError as refused:
        raise config_error(str(refused)) from refused
    except ServerUnreachable as lost:
        raise config_error(f"couldn't get {resource.kind} {namespace}/{name}: {lost}") from lost
    if found is None and not ref.get("optional"):
        raise config_error(f'{resource.kind.lower()} "{name}" not found')
    return found


def _decoded(text: str) -> str:
    """Bytes that are no UTF-8 become U+FFFD, as in the OCI configuration that runtimes write in Go."""
    try:
        return base64.b64decode(text).decode(errors="replace")
    except binascii.Error as wrong:
        raise config_error(f"secret value is no base64: {wrong}") from wrong


async def _value(
    pod: Object,
    ctr: Object,
    entry: Object,
    found: Mapping[str, str],
    services: Mapping[str, str],
    sources: EnvSources,
) -> str | None:
    """None: an optional source is missing."""
    source = entry.get("valueFrom")
    if not source:
        return expand(entry.get("value") or "", found, services)
    namespace = objects.namespace(pod)
    try:
        if "fieldRef" in source:
            return field_value(pod, source["fieldRef"]["fieldPath"], sources.facts)
        if "resourceFieldRef" in source:
            return resource_value(pod, source["resourceFieldRef"], sources.facts, ctr["name"])
    except ValueError as wrong:
        raise config_error(str(wrong)) from wrong
    if "configMapKeyRef" in source:
        ref = source["configMapKeyRef"]
        obj = await _object(CONFIGMAPS, namespace, ref, sources)
        return _key(obj, (obj or {}).get("data") or {}, ref, f"ConfigMap {namespace}/{ref.get('name')}")
    if "secretKeyRef" in source:
        ref = source["secretKeyRef"]
        obj = await _object(SECRETS, namespace, ref, sources)
        value = _key(obj, (obj or {}).get("data") or {}, ref, f"Secret {namespace}/{ref.get('name')}")
        return None if value is None else _decoded(value)
    if "fileKeyRef" in source:
        return _file_key(source["fileKeyRef"], sources)
    return ""


def _key(obj: Object | None, data: Mapping[str, str], ref: Object, where: str) -> str | None:
    if obj is None:
        return None
    if ref["key"] not in data:
        if ref.get("optional"):
            return None
        raise config_error(f"couldn't find key {ref['key']} in {where}")
    return data[ref["key"]]


def _read_inside(volume: Path, path: str) -> str:
    """A regular file of a volume; the kernel sees to it that no link leads out. Raises OSError, ValueError."""
    root = os.open(volume, os.O_PATH | os.O_DIRECTORY)
    try:
        file = openat2(root, path, os.O_RDONLY | os.O_NONBLOCK, resolve=RESOLVE_BENEATH)
    finally:
        os.close(root)
    with open(file, encoding="utf-8") as content:
        found = os.fstat(file)
        if not stat.S_ISREG(found.st_mode) or found.st_size > _LARGEST_FILE:
            raise ValueError("no regular file, or too large")
        return content.read()


def _file_key(ref: Object, sources: EnvSources) -> str | None:
    volume = sources.volumes.get(ref["volumeName"])
    if volume is None:
        raise config_error(f"cannot find the volume \"{ref['volumeName']}\" referenced by FileKeyRef")
    try:
        variables = env_files.parse(_read_inside(volume, ref["path"]))
    except FileNotFoundError:
        if ref.get("optional"):
            return None
        raise config_error(f"file not found: {ref['path']}") from None
    except (OSError, ValueError) as wrong:
        raise config_error(f"couldn't parse env file {ref['path']}: {wrong}") from wrong
    if ref["key"] not in variables:
        if ref.get("optional"):
            return None
        raise config_error(f"environment variable key \"{ref['key']}\" not found in file \"{ref['path']}\"")
    return variables[ref["key"]]
