"""Request bodies: into objects of the row's kind, with upstream's checks and field validation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from podwright.api import objects, serialization, status, typecheck
from podwright.api.apply import undeclared
from podwright.api.objects import Object
from podwright.api.resources import Resource
from podwright.api.schema import OBJECT, Schema
from podwright.apiserver import codecs
from podwright.apiserver.exchange import Request
from podwright.apiserver.negotiation import JSON, PROTOBUF, YAML
from podwright.apiserver.registry.options import IGNORE, STRICT, WriteOptions

_MAX_SHOWN = 100


def body_media(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower() or JSON


async def body_value(request: Request, *, any_value: bool = False, kind: str = "", strict: bool = False) -> Any:
    """The body as a JSON value, the request's own copy.

    Raises:
        ApiError: 400 malformed, 413 too large, 415 a media type that nobody here reads.
    """
    if request.body_object is not None:
        value = request.body_object
        return objects.deepcopy(value) if isinstance(value, dict) else value
    body = await request.read_body()
    media = body_media(request.content_type)
    if media not in (JSON, YAML):
        codec = codecs.find(media)
        if codec is None:
            raise status.unsupported_media_type((JSON, YAML, *codecs.media_types()))
        try:
            return codec.decode(body)
        except ValueError as exc:
            raise status.bad_request(str(exc)) from exc
    decoded = serialization.decode(body, media, find_duplicates=strict, kind=kind, any_value=any_value)
    if decoded.duplicates:
        request.duplicates = decoded.duplicates
    return decoded.obj


async def body_object(request: Request, row: Resource, kind: str = "", api_version: str = "") -> Object:
    """The object of the body; an absent kind and apiVersion are those of the URL.

    Raises:
        ApiError: as :func:`body_value`, and 400 if it is of another kind.
    """
    kind = kind or row.kind
    api_version = api_version or row.api_version
    if row.custom and body_media(request.content_type) == PROTOBUF:
        raise status.unsupported_media_type((JSON, YAML, "application/apply-patch+yaml"))
    wants_duplicates = request.query.get("fieldValidation") != IGNORE
    obj = await body_value(request, kind=kind, strict=wants_duplicates)
    if not isinstance(obj, dict):
        raise status.bad_request("the body is no object")
    expect_kind(obj, kind, api_version)
    return obj


def expect_kind(obj: Object, kind: str, api_version: str) -> None:
    got_version, got_kind = obj.get("apiVersion"), obj.get("kind")
    if not got_version:
        obj["apiVersion"] = api_version
    elif got_version != api_version:
        raise status.bad_request(
            f"the API version in the data ({got_version}) does not match the expected API version ({api_version})"
        )
    if not got_kind:
        obj["kind"] = kind
    elif got_kind != kind:
        short = api_version.rpartition("/")[2]
        raise status.bad_request(
            f'{got_kind} in version "{short}" cannot be handled as a {kind}: '
            f"no kind \"{got_kind}\" is registered for version \"{api_version}\""
        )


def checked(
    schema: Schema, request: Request, kind: str, version: str, obj: Object, options: WriteOptions, *,
    applied: bool = False, refused: Callable[[str], status.ApiError] | None = None,
) -> Object:
    """Types and unknown fields, by the fieldValidation level; gives the object as decoding keeps it, or of an apply
    with the zeros that it states (it owns those too).

    Raises:
        ApiError: 400 (or what `refused` makes of the message) for a wrong type, and with Strict for unknown or doubled
            fields; in an apply unknown fields are always wrong.
    """
    found = typecheck.check(schema, obj, as_sent=applied)
    prefix = "" if refused else f'{kind} in version "{version}" cannot be handled as a {kind}: '
    refused = refused or status.bad_request
    if found.errors:
        raise refused(prefix + found.errors[0])
    if applied:
        if found.unknown:
            raise undeclared(schema, obj, found.unknown)
        prefix = "error strict decoding patch: "
    else:
        prefix += "strict decoding error: "
    problems = [*request.duplicates, *(f'unknown field "{path}"' for path in found.unknown)]
    request.duplicates = []
    if len(problems) > 1 and not schema.custom:
        problems.sort(key=lambda problem: _place(obj, problem))
    if problems and options.field_validation != IGNORE:
        if options.field_validation == STRICT:
            raise refused(prefix + ", ".join(problems[:_MAX_SHOWN]))
        request.warnings.extend(problems[:_MAX_SHOWN])
    value: Object = found.value
    metadata = value.get("metadata")
    if not isinstance(metadata, dict):
        value = {**value, "metadata": {}}
    return value


def _place(obj: Object, problem: str) -> tuple[int, ...]:
    """Where in the document a problem's field is: upstream's decoder tells of them as it meets them."""
    value: Any = obj
    place: list[int] = []
    for step in problem.partition('"')[2].rstrip('"').replace("[", ".").split("."):
        if isinstance(value, dict) and step in value:
            place.append(list(value).index(step))
            value = value[step]
        elif isinstance(value, list) and (index := int(step[:-1]) if step[:-1].isdigit() else len(value)) < len(value):
            place.append(index)
            value = value[index]
        else:
            break
    return tuple(place)


def complete(schema: Schema, obj: Object) -> None:
    """An absent spec is an empty one: a struct that Go holds by value."""
    if not schema.custom and "spec" not in obj:
        spec = schema.properties.get("spec")
        if spec is not None and spec.kind == OBJECT:
            obj["spec"] = {}
