"""Whole OpenAPI documents."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from podwright.api.objects import Object
from podwright.api.resources import Resource
from podwright.api.schema import definitions
from podwright.apiserver.openapi import custom as custom_resources
from podwright.apiserver.openapi import schemas
from podwright.apiserver.openapi.paths import Operation, operations, query_type

_INFO = {"title": "Kubernetes", "version": "v1.37.1"}
_SECURITY = {
    "BearerToken": {
        "type": "apiKey", "in": "header", "name": "authorization", "description": "Bearer Token authentication",
    }
}
_DESCRIPTIONS = {200: "OK", 201: "Created", 202: "Accepted"}
_EXTENSION_ACTIONS = {"create": "post", "update": "put"}

CustomSchemas = Callable[[Resource], tuple[str, Object]]
"""Name and OpenAPI schema of a custom resource's version."""


def _names(row: Resource, custom: CustomSchemas) -> tuple[str, str]:
    if row.custom:
        name = custom(row)[0]
        return name, name + "List"
    return row.definition, schemas.list_definition(row)


def all_operations(rows: Iterable[Resource], custom: CustomSchemas) -> list[Operation]:
    found: list[Operation] = []
    for row in rows:
        definition, list_definition = _names(row, custom)
        found.extend(operations(row, definition, list_definition))
    return found


def _definitions(
    rows: Sequence[Resource], found: Sequence[Operation], custom: CustomSchemas, prefix: str,
    all_rows: Iterable[Resource],
) -> dict[str, Object]:
    wanted = {op.body for op in found} | {op.answer for op in found} | {schemas.WATCH_EVENT, schemas.STATUS}
    wanted |= {"io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta", "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta"}
    known = definitions()
    kinds = schemas.kinds(list(all_rows))
    result: dict[str, Object] = {}
    for name in schemas.reachable(wanted - {""}):
        result[name] = schemas.convert(name, known[name], prefix)
        if name in kinds:
            result[name]["x-kubernetes-group-version-kind"] = kinds[name]
    for row in rows:
        if row.custom:
            result.update(custom_resources.definitions(row, *custom(row), prefix))
    return dict(sorted(result.items()))


def v3(rows: Sequence[Resource], custom: CustomSchemas, all_rows: Iterable[Resource]) -> Object:
    """The document of one group version."""
    found = all_operations(rows, custom)
    paths: dict[str, Object] = {}
    for op in found:
        item = paths.setdefault(op.path, {"parameters": [*_path_parameters_v3(op), _pretty_v3()]})
        item[op.method] = _operation_v3(op)
    return {
        "openapi": "3.0.0",
        "info": _INFO,
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": _definitions(rows, found, custom, schemas.V3, all_rows), "securitySchemes": _SECURITY
        },
    }


def _pretty_v3() -> Object:
    return {"name": "pretty", "in": "query", "schema": {"type": "string", "uniqueItems": True}}


def _path_parameters_v3(op: Operation) -> list[Object]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "uniqueItems": True}}
        for name in op.path_parameters
    ]


def _operation_v3(op: Operation) -> Object:
    answer: Object = {"description": "OK"}
    media = [*op.produces]
    if op.action == "list":
        media.append("application/json;stream=watch")
    content: dict[str, Object] = {
        m: {"schema": {"$ref": schemas.V3 + op.answer} if op.answer else {"type": "string"}} for m in media
    }
    operation: Object = {
        "tags": [op.tag],
        "description": op.description or _described(op),
        "operationId": op.id,
        "responses": {
            **{str(code): {**answer, "description": _DESCRIPTIONS[code], "content": content} for code in op.codes},
            "401": {"description": "Unauthorized"},
        },
        "x-kubernetes-action": _EXTENSION_ACTIONS.get(op.action, op.action),
        "x-kubernetes-group-version-kind": op.kind,
    }
    if op.query:
        operation["parameters"] = [
            {"name": name, "in": "query", "schema": {"type": query_type(name), "uniqueItems": True}}
            for name in op.query
        ]
    if op.body:
        operation["requestBody"] = {
            "content": {m: {"schema": {"$ref": schemas.V3 + op.body}} for m in op.consumes},
            **({"required": True} if op.method in ("put", "post", "patch") else {}),
        }
    return operation


def _described(op: Operation) -> str:
    return f"{op.action} {op.kind['kind']}"


def v2(rows: Sequence[Resource], custom: CustomSchemas) -> Object:
    """The one document of everything."""
    found = all_operations(rows, custom)
    paths: dict[str, Object] = {}
    for op in found:
        item = paths.setdefault(
            op.path,
            {
                "parameters": [
                    *(_parameter_v2(n, "path", required=True) for n in op.path_parameters),
                    _parameter_v2("pretty", "query"),
                ]
            },
        )
        item[op.method] = _operation_v2(op)
    return {
        "swagger": "2.0",
        "info": _INFO,
        "paths": dict(sorted(paths.items())),
        "definitions": _definitions(rows, found, custom, schemas.V2, rows),
        "securityDefinitions": _SECURITY,
        "security": [{"BearerToken": []}],
    }


def _parameter_v2(name: str, place: str, **more: Any) -> Object:
    return {"name": name, "in": place, "type": "string", "uniqueItems": True, **more}


def _operation_v2(op: Operation) -> Object:
    parameters: list[Any] = []
    if op.body:
        body: Object = {"name": "body", "in": "body", "schema": {"$ref": schemas.V2 + op.body}}
        if op.method in ("put", "post", "patch"):
            body["required"] = True
        parameters.append(body)
    parameters += [{"name": n, "in": "query", "type": query_type(n), "uniqueItems": True} for n in op.query]
    schema: Object = {"$ref": schemas.V2 + op.answer} if op.answer else {"type": "string"}
    produces = [*op.produces]
    if op.action == "list":
        produces.append("application/json;stream=watch")
    return {
        "description": op.description or _described(op),
        "consumes": list(op.consumes),
        "produces": produces,
        "schemes": ["https"],
        "tags": [op.tag],
        "operationId": op.id,
        "parameters": parameters,
        "responses": {
            **{str(code): {"description": _DESCRIPTIONS[code], "schema": schema} for code in op.codes},
            "401": {"description": "Unauthorized"},
        },
        "x-kubernetes-action": _EXTENSION_ACTIONS.get(op.action, op.action),
        "x-kubernetes-group-version-kind": op.kind,
    }
