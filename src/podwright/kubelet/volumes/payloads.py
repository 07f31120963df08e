"""The files of configMap, secret, downwardAPI and projected volumes."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from podwright.api import objects
from podwright.api.objects import Object
from podwright.api.resources import CONFIGMAPS, SECRETS, Resource
from podwright.api.status import ApiError
from podwright.client.transport import ServerUnreachable
from podwright.kubelet.containers.downward import field_value, resource_value
from podwright.kubelet.volumes import trust_bundles
from podwright.kubelet.volumes.atomic_writer import FileContent
from podwright.kubelet.volumes.mounted import VolumeContext, VolumeFailure

_DEFAULT_MODE = 0o644
_TOKEN_MODE = 0o600
_DEFAULT_EXPIRATION = 3600


async def config_map(context: VolumeContext, source: Object, mode: int | None = None) -> dict[str, FileContent]:
    obj = await _object(context, CONFIGMAPS, source.get("name") or "", bool(source.get("optional")))
    if obj is None:
        return {}
    data = {k: v.encode() for k, v in (obj.get("data") or {}).items()}
    data.update({k: base64.b64decode(v) for k, v in (obj.get("binaryData") or {}).items()})
    return _files(data, source, _mode(source, mode), "configmap", bool(source.get("optional")))


async def secret(context: VolumeContext, source: Object, mode: int | None = None) -> dict[str, FileContent]:
    name = source.get("secretName") or source.get("name") or ""
    obj = await _object(context, SECRETS, name, bool(source.get("optional")))
    if obj is None:
        return {}
    data = {k: base64.b64decode(v) for k, v in (obj.get("data") or {}).items()}
    return _files(data, source, _mode(source, mode), "secret", bool(source.get("optional")))


def _mode(source: Object, given: int | None) -> int:
    found = source.get("defaultMode")
    if given is not None:
        return given
    return _DEFAULT_MODE if found is None else int(found)


def _files(
    data: Mapping[str, bytes], source: Object, mode: int, kind: str, optional: bool
) -> dict[str, FileContent]:
    items = source.get("items")
    if not items:
        return {key: FileContent(value, mode) for key, value in data.items()}
    found = {}
    for item in items:
        if item["key"] not in data:
            if optional:
                continue
            raise VolumeFailure(f"references non-existent {kind} key: {item['key']}")
        found[item["path"]] = FileContent(data[item["key"]], _item_mode(item, mode))
    return found


def _item_mode(item: Object, mode: int) -> int:
    return mode if item.get("mode") is None else int(item["mode"])


async def _object(context: VolumeContext, resource: Resource, name: str, optional: bool) -> Object | None:
    """Reads it and follows it from now on, unless it can never change."""
    namespace = objects.namespace(context.pod)
    uid = objects.uid(context.pod)
    pinned = context.objects.pinned(uid, resource, namespace, name)
    if pinned is not None:
        return pinned
    try:
        obj = await context.objects.find(resource, namespace, name)
    except ApiError as refused:
        raise VolumeFailure(str(refused)) from refused
    except ServerUnreachable as lost:
        raise VolumeFailure(f"couldn't get {resource.kind.lower()} {namespace}/{name}: {lost}") from lost
    if obj is not None and obj.get("immutable"):
        context.objects.pin(uid, resource, namespace, obj)
    else:
        context.objects.follow(uid, resource, namespace, name)
    if obj is None and not optional:
        raise VolumeFailure(f'{resource.kind.lower()} "{name}" not found')
    return obj


async def downward_api(context: VolumeContext, source: Object, mode: int | None = None) -> dict[str, FileContent]:
    mode = _mode(source, mode)
    found = {}
    for item in source.get("items") or ():
        try:
            if "fieldRef" in item:
                text = field_value(context.pod, item["fieldRef"]["fieldPath"], context.facts)
            else:
                text = resource_value(context.pod, item["resourceFieldRef"], context.facts, "")
        except ValueError as wrong:
            raise VolumeFailure(str(wrong)) from wrong
        found[item["path"]] = FileContent(text.encode(), _item_mode(item, mode))
    return found


async def projected(context: VolumeContext, source: Object) -> dict[str, FileContent]:
    mode = _mode(source, None)
    found: dict[str, FileContent] = {}
    for index, part in enumerate(source.get("sources") or ()):
        if part.get("configMap"):
            found.update(await config_map(context, part["configMap"], mode))
        elif part.get("secret"):
            found.update(await secret(context, part["secret"], mode))
        elif part.get("downwardAPI"):
            found.update(await downward_api(context, part["downwardAPI"], mode))
        elif part.get("serviceAccountToken"):
            found.update(await _token(context, part["serviceAccountToken"], mode))
        elif part.get("clusterTrustBundle"):
            found.update(await trust_bundles.payload(context, part["clusterTrustBundle"], mode))
        elif part.get("podCertificate"):
            found.update(await _certificate(context, index, part["podCertificate"], mode))
        else:
            raise VolumeFailure(f"projected volume source {', '.join(part)} is not supported")
    return found


async def _token(context: VolumeContext, source: Object, mode: int) -> dict[str, FileContent]:
    try:
        token = await context.tokens.get(
            context.pod, source.get("audience") or "", int(source.get("expirationSeconds") or _DEFAULT_EXPIRATION)
        )
    except (ApiError, ServerUnreachable) as refused:
        raise VolumeFailure(f"failed to fetch token: {refused}") from refused
    return {source["path"]: _private(context, token.value.encode(), mode, _one_user(context.pod))}


def _private(context: VolumeContext, data: bytes, mode: int, uid: int | None) -> FileContent:
    """A credential: only the user that all containers run as may read it, and the fsGroup."""
    return FileContent(data, mode if context.fs_group is None and uid is None else _TOKEN_MODE, uid)


async def _certificate(context: VolumeContext, index: int, source: Object, mode: int) -> dict[str, FileContent]:
    assert context.certificates is not None
    credential = await context.certificates.get(context.pod, (context.volume, index), source)
    uid = source.get("user")
    uid = _one_user(context.pod) if uid is None else int(uid)
    files = (
        ("keyPath", credential.key), ("certificateChainPath", credential.chain),
        ("credentialBundlePath", credential.key + credential.chain),
    )  # fmt: skip
    return {source[path]: _private(context, data, mode, uid) for path, data in files if source.get(path)}


def _one_user(pod: Object) -> int | None:
    """The user that every container of the Pod runs as by its spec, None if there is no such one."""
    of_pod: Mapping[str, Any] = pod["spec"].get("securityContext") or {}
    users: set[Any] = set()
    for kind in ("initContainers", "containers"):
        for ctr in pod["spec"].get(kind) or ():
            own = (ctr.get("securityContext") or {}).get("runAsUser")
            users.add(of_pod.get("runAsUser") if own is None else own)
    return int(next(iter(users))) if len(users) == 1 and None not in users else None
