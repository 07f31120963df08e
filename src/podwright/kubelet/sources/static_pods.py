"""Making a static Pod of a manifest: name, uid and annotations as upstream gives them, defaults and checks as the API
server does (documentation page "Create static Pods")."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import orjson
import yaml

from podwright.api import defaulting, objects, pods, schema, typecheck, validation
from podwright.api.objects import Object
from podwright.api.resources import PODS


class BadManifest(Exception):
    """The manifest is no Pod that could run."""


def parse(data: bytes, *, node_name: str, source: str, origin: str, seen: str) -> Object:
    """The Pod of one manifest (YAML or JSON). `source` is "file" or "http", `origin` the path or URL, `seen` the time
    as an API time.

    Raises:
        BadManifest
    """
    try:
        raw = yaml.safe_load(data)
    except (yaml.YAMLError, UnicodeDecodeError) as wrong:
        raise BadManifest(f"couldn't parse as pod: {wrong}") from wrong
    return make(raw, node_name=node_name, source=source, origin=origin, seen=seen)


def parse_many(data: bytes, *, node_name: str, origin: str, seen: str) -> list[Object]:
    """The Pods of a URL, which may give a single Pod or a PodList.

    Raises:
        BadManifest
    """
    try:
        raw = yaml.safe_load(data)
    except (yaml.YAMLError, UnicodeDecodeError) as wrong:
        raise BadManifest(f"couldn't parse as pods: {wrong}") from wrong
    if isinstance(raw, dict) and raw.get("kind") in ("PodList", "List"):
        items: list[Any] = list(raw.get("items") or ())
        for item in items:
            if isinstance(item, dict):
                item.setdefault("kind", "Pod")
                item.setdefault("apiVersion", "v1")
    else:
        items = [raw]
    return [make(item, node_name=node_name, source="http", origin=origin, seen=seen) for item in items]


def make(raw: Any, *, node_name: str, source: str, origin: str, seen: str) -> Object:
    """The static Pod of a decoded manifest.

    Raises:
        BadManifest
    """
    if not isinstance(raw, dict) or raw.get("kind") != "Pod" or raw.get("apiVersion") != "v1":
        raise BadManifest("invalid pod: kind must be Pod and apiVersion v1")
    if not isinstance(raw.get("spec"), dict) or not isinstance(raw.get("metadata"), dict):
        raise BadManifest("invalid pod: metadata and spec are required")
    checked = typecheck.check(schema.for_resource(PODS), raw)
    if checked.errors:
        raise BadManifest(f"invalid pod: {checked.errors[0]}")
    if checked.unknown:
        raise BadManifest(f'invalid pod: unknown field "{checked.unknown[0]}"')
    pod = objects.deepcopy(checked.value)
    meta = pod["metadata"]
    if not meta.get("name"):
        raise BadManifest("invalid pod: name is needed for the pod")
    digest = hashlib.md5(orjson.dumps(raw, option=orjson.OPT_SORT_KEYS), usedforsecurity=False)
    digest.update(f"host:{node_name}{'file' if source == 'file' else 'url'}:{origin}".encode())
    uid = str(meta.get("uid") or digest.hexdigest())
    meta["uid"] = uid
    meta["name"] = f"{meta['name']}-{node_name}".lower()
    meta["namespace"] = meta.get("namespace") or "default"
    notes = meta["annotations"] = dict(meta.get("annotations") or {})
    notes[pods.CONFIG_HASH] = digest.hexdigest()
    notes[pods.CONFIG_SOURCE] = source
    notes[pods.CONFIG_SEEN] = seen
    meta.pop("creationTimestamp", None)
    spec = pod["spec"]
    spec["nodeName"] = node_name
    tolerations = list(spec.get("tolerations") or ())
    everything = {"operator": "Exists", "effect": "NoExecute"}
    if everything not in tolerations:
        tolerations.append(everything)
    spec["tolerations"] = tolerations
    pod["status"] = {"phase": "Pending"}
    _no_api_references(pod)
    _complete(pod)
    return pod


def _complete(pod: Object) -> None:
    """Defaults and checks of the API server."""
    defaulting.apply(PODS, pod)
    # The uid is the kubelet's word here, and a status is what no client may create a Pod with.
    bare = {**pod, "metadata": {k: v for k, v in pod["metadata"].items() if k != "uid"}}
    complaints = validation.validate_create(PODS, bare)
    if complaints:
        texts = "; ".join(f"{c.field}: {c.message}" for c in complaints)
        raise BadManifest(f"invalid pod: {texts}")


def _no_api_references(pod: Object) -> None:
    """Static Pods run without the API, so they must not name objects in it."""
    spec = pod["spec"]
    found = [f for f in ("serviceAccountName", "serviceAccount") if spec.get(f)]
    if found:
        raise BadManifest(f"static pods may not reference {found[0]}")
    for volume in spec.get("volumes") or ():
        for kind in ("secret", "configMap", "persistentVolumeClaim"):
            if isinstance(volume, dict) and kind in volume:
                raise BadManifest(f"static pods may not reference {kind}")
    for kind in ("initContainers", "containers"):
        for ctr in spec.get(kind) or ():
            _no_env_references(ctr)


def _no_env_references(ctr: Mapping[str, Any]) -> None:
    for source in ctr.get("envFrom") or ():
        for kind in ("configMapRef", "secretRef"):
            if kind in source:
                raise BadManifest(f"static pods may not reference {kind.removesuffix('Ref')}s")
    for entry in ctr.get("env") or ():
        for kind in ("configMapKeyRef", "secretKeyRef"):
            if kind in (entry.get("valueFrom") or {}):
                raise BadManifest(f"static pods may not reference {kind.removesuffix('KeyRef')}s")
