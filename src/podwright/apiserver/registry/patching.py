"""PATCH in its four forms."""

from __future__ import annotations

from typing import Any

import orjson

from podwright.api import apply as server_side_apply
from podwright.api import objects, status
from podwright.api.go_messages import go_text, unconverted
from podwright.api.objects import Object
from podwright.api.patch import json_patch, merge, strategic
from podwright.api.resources import Resource
from podwright.api.schema import Schema
from podwright.api.validation import field_errors
from podwright.apiserver.exchange import One, Request
from podwright.apiserver.registry import managed_fields
from podwright.apiserver.registry.bodies import body_media, body_value, checked, complete
from podwright.apiserver.registry.creating import create_object
from podwright.apiserver.registry.options import WriteOptions, write_options
from podwright.apiserver.registry.registry import Registry
from podwright.apiserver.registry.updating import Update, apply_update, expect_name

JSON_PATCH = "application/json-patch+json"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"


def accepted(row: Resource) -> tuple[str, ...]:
    return (JSON_PATCH, MERGE, APPLY) if row.custom else (JSON_PATCH, MERGE, STRATEGIC, APPLY)


async def patch_body(request: Request, media: str, row: Resource) -> Any:
    """The patch as a JSON value. Raises ApiError (400, 413, 415)."""
    if media not in accepted(row):
        raise status.unsupported_media_type(accepted(row))
    if request.body_object is None:
        request.content_type = "application/yaml" if media == APPLY else "application/json"
    value = await body_value(request, any_value=True, strict=media != JSON_PATCH)
    if media == JSON_PATCH:
        if not isinstance(value, list):
            raise status.bad_request("json: cannot unmarshal object into Go value of type jsonpatch.Patch")
    elif not isinstance(value, dict):
        raise status.bad_request("the patch is no object")
    return value


def patched(media: str, schema: Schema, live: Object, patch: Any) -> Object:
    """Raises ApiError (400, 422)."""
    if media == JSON_PATCH:
        result = json_patch.apply(live, patch)
    elif media == MERGE:
        result = merge.apply(live, patch)
    else:
        result = strategic.apply(schema, live, patch)
    if not isinstance(result, dict) or not isinstance(result.get("metadata"), dict):
        raise status.failure(422, "Invalid", "the patched document is no object with metadata")
    return result


async def patch(registry: Registry, request: Request, row: Resource) -> One:
    """PATCH of an object or of a subresource of the same kind."""
    media = body_media(request.content_type)
    if media == APPLY:
        return await _apply(registry, request, row)
    info = request.info
    options = write_options(request, "PatchOptions")
    body = await patch_body(request, media, row)
    duplicates = request.duplicates
    _, stored = registry.storage(row)
    schema = registry.schema(row)

    async def change(live: Object) -> Object:
        served = registry.convert(stored, row, live)
        request.duplicates = duplicates
        result = patched(media, schema, served, body)
        _same_kind(result, row)

        def refused(problem: str) -> status.ApiError:
            return _unfit(media, body, result, problem)

        result = checked(schema, request, row.kind, row.version, result, options, refused=refused)
        expect_name(result, row, info.namespace, info.name)
        complete(schema, result)
        registry.rules.default(row, result)
        return registry.convert(row, stored, result)

    update = Update(
        request, row, info.namespace, info.name, info.subresource, options, change, options_kind="PatchOptions"
    )
    result = await apply_update(registry, update)
    return One.of(row, result)


def _unfit(media: str, patch: Any, result: Object, problem: str) -> status.ApiError:
    """The patched object is none of its kind. Upstream decodes the outcome of the first two forms of patch, and shows
    it; a strategic merge it converts as a map, and shows the patch."""
    if media == STRATEGIC:
        error = field_errors.invalid("patch", go_text(patch), unconverted(problem))
    else:
        error = field_errors.invalid("patch", orjson.dumps(result).decode(), problem)
    return status.invalid("", "", "", [error])


def _same_kind(obj: Object, row: Resource) -> None:
    if obj.get("apiVersion") != row.api_version or obj.get("kind") != row.kind:
        raise status.bad_request(
            f"the API version or kind in the patched object ({obj.get('apiVersion')}, {obj.get('kind')}) does not "
            f"match the expected one ({row.api_version}, {row.kind})"
        )


async def _apply(registry: Registry, request: Request, row: Resource) -> One:
    """Server-side apply: creates what is not there."""
    info = request.info
    options = write_options(request, "PatchOptions", apply=True)
    applied = await patch_body(request, APPLY, row)
    for field, expected in (("apiVersion", row.api_version), ("kind", row.kind)):
        if applied.get(field) != expected:
            raise status.bad_request(
                f"the {field} of the applied object ({applied.get(field)}) does not match the URL ({expected})"
            )
    if not isinstance(applied.get("metadata"), dict):
        applied["metadata"] = {}
    if not applied["metadata"].get("name"):
        applied["metadata"]["name"] = info.name  # the object's own stays
    if applied["metadata"].get("managedFields"):
        raise status.bad_request("metadata.managedFields must be nil")
    schema = registry.schema(row)
    applied = checked(schema, request, row.kind, row.version, applied, options, applied=True)
    expect_name(applied, row, info.namespace, info.name)
    _, stored = registry.storage(row)
    key = f"{info.namespace}/{info.name}" if row.namespaced else info.name
    await registry.fresh()
    if registry.cache(row).get(key) is None and not info.subresource:
        try:
            return await _apply_new(registry, request, row, applied, options)
        except status.ApiError as exc:
            if exc.reason != "AlreadyExists":
                raise

    def change(live: Object) -> Object:
        served = registry.convert(stored, row, live)
        result = _merge(registry, row, schema, served, applied, options, info.subresource)
        complete(schema, result)
        registry.rules.default(row, result)
        return registry.convert(row, stored, result)

    update = Update(
        request, row, info.namespace, info.name, info.subresource, options, change, apply=True,
        options_kind="PatchOptions",
    )
    result = await apply_update(registry, update)
    return One.of(row, result)


def _merge(
    registry: Registry, row: Resource, schema: Schema, live: Object | None, applied: Object, options: WriteOptions,
    subresource: str,
) -> Object:
    return server_side_apply.apply_patch(
        schema,
        live,
        applied,
        manager=options.manager,
        api_version=row.api_version,
        subresource=subresource,
        force=bool(options.force),
        now=objects.format_time(registry.now()),
        reset=managed_fields.reset(row, subresource),
    )


async def _apply_new(
    registry: Registry, request: Request, row: Resource, applied: Object, options: WriteOptions
) -> One:
    metadata = applied["metadata"]
    if metadata.get("uid"):
        raise status.conflict(
            row.group, row.plural, metadata["name"],
            f"uid mismatch: the provided object specified uid {metadata['uid']}, and no existing object was found",
        )
    if metadata.get("resourceVersion"):
        raise status.not_found(row.group, row.plural, metadata["name"])
    obj = _merge(registry, row, registry.schema(row), None, objects.deepcopy(applied), options, "")
    made = await create_object(registry, request, row, request.info.namespace, obj, options, apply=True)
    return One.of(row, made, 201)

