"""The scale subresource: replicas of a workload as an autoscaling/v1 Scale."""

from __future__ import annotations

from typing import Any

from podwright.api import objects, schema, status
from podwright.api.objects import Object
from podwright.api.resources import Resource
from podwright.api.selectors import labels
from podwright.api.validation import field_errors
from podwright.apiserver.cache.entries import Cached
from podwright.apiserver.exchange import One, Request
from podwright.apiserver.registry.bodies import body_media, body_object, checked
from podwright.apiserver.registry.options import write_options
from podwright.apiserver.registry.patching import APPLY, patch_body, patched
from podwright.apiserver.registry.registry import Registry, ScalePaths
from podwright.apiserver.registry.updating import Update, apply_update, expect_name

_SCALE = "io.k8s.api.autoscaling.v1.Scale"


DEFAULT_PATHS = ScalePaths()


def _at(obj: Object, path: list[str]) -> Any:
    value: Any = obj
    for step in path:
        value = value.get(step) if isinstance(value, dict) else None
    return value


def _put(obj: Object, path: list[str], value: Any) -> None:
    for step in path[:-1]:
        obj = obj.setdefault(step, {})
    obj[path[-1]] = value


def _paths(registry: Registry, row: Resource) -> ScalePaths:
    return registry.scale_paths.get((row.group, row.version, row.plural), DEFAULT_PATHS)


def scale_of(registry: Registry, row: Resource, obj: Object) -> Object:
    """The Scale that an object shows."""
    paths = _paths(registry, row)
    metadata = obj["metadata"]
    scale: Object = {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {
            name: metadata[name]
            for name in ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
            if name in metadata
        },
        "spec": {},
        "status": {"replicas": _at(obj, paths.status) or 0},
    }
    replicas = _at(obj, paths.spec)
    if replicas:
        scale["spec"]["replicas"] = replicas
    if paths.selector:
        text = _at(obj, paths.selector)
        if isinstance(text, str) and text:
            scale["status"]["selector"] = text
    elif not row.custom:
        selector = (obj.get("spec") or {}).get("selector")
        if selector:
            scale["status"]["selector"] = _selector_text(row, selector)
    return scale


def _selector_text(row: Resource, selector: Object) -> str:
    if row.kind == "ReplicationController":
        return ",".join(f"{k}={v}" for k, v in sorted(selector.items()))
    plain = labels.from_map(selector.get("matchLabels"))
    more = labels.from_label_selector({"matchExpressions": selector.get("matchExpressions") or []})
    return str(labels.LabelSelector((*plain.requirements, *more.requirements)))


async def get_scale(registry: Registry, request: Request, row: Resource) -> One:
    info = request.info
    cached = await registry.get(row, info.namespace, info.name)
    return One(None, object=scale_of(registry, row, await registry.shown(row, cached)))


async def update_scale(registry: Registry, request: Request, row: Resource) -> One:
    """PUT and PATCH."""
    info = request.info
    is_patch = request.method == "PATCH"
    media = body_media(request.content_type)
    options = write_options(request, "PatchOptions" if is_patch else "UpdateOptions", apply=media == APPLY)
    scale_schema = schema.definition(_SCALE)
    body = await (
        patch_body(request, media, row) if is_patch else body_object(request, row, "Scale", "autoscaling/v1")
    )
    if not is_patch:
        body = checked(scale_schema, request, "Scale", "v1", body, options)
        expect_name(body, row, info.namespace, info.name)

    def change(live: Object) -> Object:
        if not is_patch:
            wanted = body
        else:
            merged = patched(
                "application/merge-patch+json" if media == APPLY else media, scale_schema,
                scale_of(registry, row, live), body,
            )
            wanted = checked(scale_schema, request, "Scale", "v1", merged, options)
        replicas = (wanted.get("spec") or {}).get("replicas") or 0
        if replicas < 0:
            raise status.invalid(
                "autoscaling", "Scale", info.name,
                [field_errors.invalid("spec.replicas", replicas, field_errors.NEGATIVE)],
            )
        result = objects.deepcopy(live)
        _put(result, _paths(registry, row).spec, replicas)
        version = wanted["metadata"].get("resourceVersion")
        if version:
            result["metadata"]["resourceVersion"] = version
        return result

    def taken(obj: Object, scale: Object) -> None:
        _put(obj, _paths(registry, row).spec, (scale.get("spec") or {}).get("replicas") or 0)

    update = Update(
        request, row, info.namespace, info.name, "scale", options, change, taken=taken,
        shown=lambda obj: scale_of(registry, row, obj),
        options_kind="PatchOptions" if is_patch else "UpdateOptions",
        explicit_version=not is_patch and bool(body["metadata"].get("resourceVersion")),
    )
    result = await apply_update(registry, update)
    obj = await registry.shown(row, result) if isinstance(result, Cached) else result
    return One(None, object=scale_of(registry, row, obj))
