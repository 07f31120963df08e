"""Requests in the version that a webhook or policy asks to see them in (matchPolicy Equivalent)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

from podwright.api import conversion as builtin
from podwright.api.objects import Object
from podwright.api.resources import Resource
from podwright.apiserver.requests import AdmissionRequest

Convert = Callable[[Resource, Resource, Object], Awaitable[Object]]
"""From the version of a row into that of another."""


async def conversion(source: Resource, target: Resource, obj: Object) -> Object:
    """Of built-in kinds."""
    return builtin.convert(source, target, obj)


async def in_version(request: AdmissionRequest, version: Resource, convert: Convert) -> AdmissionRequest:
    """The request with its objects in `version`, which warnings and annotations are still shared with. Raises ApiError
    (500)."""
    source = request.resource
    if version is source and request.requested is None:
        return request
    asked = request.requested or source
    # What is no object of the resource itself (a Scale, PodExecOptions) has no other version of the resource's.
    if version is source or (request.subresource and (request.object or {}).get("kind") != source.kind):
        return replace(request, resource=version, requested=asked)
    obj, old = [
        None if one is None else await convert(source, version, one) for one in (request.object, request.old_object)
    ]
    return replace(request, resource=version, requested=asked, object=obj, old_object=old)
