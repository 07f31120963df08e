"""OpenAPI documents in protobuf, as client-go asks for the second form: gnostic's ``openapi.v2.Document`` and
``openapi.v3.Document``.

Field numbers are those of gnostic's OpenAPIv2.proto and OpenAPIv3.proto. Only what our documents hold has a row.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import orjson

from podwright.api.objects import Object
from podwright.api.protobuf.wire import BYTES, FIXED64, VARINT, key, varint

Encode = Callable[[Any], bytes]
"""A JSON value to a whole field, its key included."""


def encode(document: Object) -> bytes:
    """A document of either form as a message."""
    return _message("Document" if "swagger" in document else "3 Document", document)


def _block(number: int, body: bytes) -> bytes:
    return key(number, BYTES) + varint(len(body)) + body


def _text(number: int) -> Encode:
    return lambda value: _block(number, value.encode())


def _texts(number: int) -> Encode:
    return lambda values: b"".join(_block(number, v.encode()) for v in values)


def _integer(number: int) -> Encode:
    return lambda value: key(number, VARINT) + varint(int(value))


def _double(number: int) -> Encode:
    return lambda value: key(number, FIXED64) + struct.pack("<d", value)


def _any_body(value: Any) -> bytes:
    # Any holds YAML; JSON is YAML.
    return _block(2, orjson.dumps(value) + b"\n")


def _any(number: int) -> Encode:
    return lambda value: _block(number, _any_body(value))


def _anys(number: int) -> Encode:
    return lambda values: b"".join(_block(number, _any_body(v)) for v in values)


def _one(number: int, message: str) -> Encode:
    return lambda value: _block(number, _message(message, value))


def _many(number: int, message: str) -> Encode:
    return lambda values: b"".join(_block(number, _message(message, v)) for v in values)


def _named(number: int, inner: int, body: Callable[[Any], bytes]) -> Encode:
    """A JSON object as a message whose field `inner` repeats its members, name and value."""

    def encoded(value: Object) -> bytes:
        members = (_block(inner, _text(1)(name) + _block(2, body(item))) for name, item in value.items())
        return _block(number, b"".join(members))

    return encoded


def _schema(value: Any) -> bytes:
    return _message("Schema", value)


def _additional(number: int) -> Encode:
    return lambda value: _block(number, _integer(2)(value) if isinstance(value, bool) else _block(1, _schema(value)))


def _parameters(number: int) -> Encode:
    places = {"header": 1, "query": 3, "path": 4}

    def body(value: Object) -> bytes:
        place = value["in"]
        if place == "body":
            return _block(1, _message("BodyParameter", value))
        return _block(2, _block(places[place], _message(f"{place} parameter", value)))

    return lambda values: b"".join(_block(number, _block(1, body(v))) for v in values)


def _security(number: int) -> Encode:
    def body(requirement: Object) -> bytes:
        return b"".join(_block(1, _text(1)(n) + _block(2, _texts(1)(s))) for n, s in requirement.items())

    return lambda values: b"".join(_block(number, body(v)) for v in values)


def _parameter_rows(number_of_name: int, first: int) -> dict[str, Encode]:
    """Parameters in the query have one field more (allow_empty_value) before their type than those in path and head."""
    return {
        "required": _integer(1), "in": _text(2), "description": _text(3), "name": _text(number_of_name),
        "type": _text(first), "format": _text(first + 1), "default": _any(first + 4), "pattern": _text(first + 11),
        "uniqueItems": _integer(first + 14), "enum": _anys(first + 15),
    }  # fmt: skip


def _default(number: int) -> Encode:
    """In the third form only what is no object and no list has a place."""

    def encoded(value: Any) -> bytes:
        if isinstance(value, bool):
            return _block(number, _integer(2)(value))
        if isinstance(value, int | float):
            return _block(number, _double(1)(value))
        return _block(number, _text(3)(value)) if isinstance(value, str) else b""

    return encoded


def _schema_or_reference(value: Object) -> bytes:
    return _block(2, _text(1)(value["$ref"])) if "$ref" in value else _block(1, _message("3 Schema", value))


def _schema_3(number: int) -> Encode:
    return lambda value: _block(number, _schema_or_reference(value))


def _schemas_3(number: int) -> Encode:
    return lambda values: b"".join(_block(number, _schema_or_reference(v)) for v in values)


def _additional_3(number: int) -> Encode:
    return lambda value: _block(number, _integer(2)(value) if isinstance(value, bool) else _schema_3(1)(value))


def _content(number: int) -> Encode:
    return _named(number, 1, lambda v: _message("3 MediaType", v))


def _parameters_3(number: int) -> Encode:
    return lambda values: b"".join(_block(number, _block(1, _message("3 Parameter", v))) for v in values)


_ROWS: dict[str, dict[str, Encode]] = {
    "Document": {
        "swagger": _text(1), "info": _one(2, "Info"), "paths": _named(8, 2, lambda v: _message("PathItem", v)),
        "definitions": _named(9, 1, _schema), "security": _security(12),
        "securityDefinitions": _named(13, 1, lambda v: _block(2, _message("ApiKeySecurity", v))),
    },
    "Info": {"title": _text(1), "version": _text(2), "description": _text(3)},
    "ApiKeySecurity": {"type": _text(1), "name": _text(2), "in": _text(3), "description": _text(4)},
    "PathItem": {
        "get": _one(2, "Operation"), "put": _one(3, "Operation"), "post": _one(4, "Operation"),
        "delete": _one(5, "Operation"), "options": _one(6, "Operation"), "head": _one(7, "Operation"),
        "patch": _one(8, "Operation"), "parameters": _parameters(9),
    },
    "Operation": {
        "tags": _texts(1), "summary": _text(2), "description": _text(3), "operationId": _text(5),
        "produces": _texts(6), "consumes": _texts(7), "parameters": _parameters(8),
        "responses": _named(9, 1, lambda v: _block(1, _message("Response", v))), "schemes": _texts(10),
        "deprecated": _integer(11),
    },
    "Response": {"description": _text(1), "schema": lambda v: _block(2, _block(1, _schema(v)))},
    "BodyParameter": {
        "description": _text(1), "name": _text(2), "in": _text(3), "required": _integer(4), "schema": _one(5, "Schema"),
    },
    "query parameter": _parameter_rows(4, 6),
    "path parameter": _parameter_rows(4, 5),
    "header parameter": _parameter_rows(4, 5),
    "Schema": {
        "$ref": _text(1), "format": _text(2), "title": _text(3), "description": _text(4), "default": _any(5),
        "multipleOf": _double(6), "maximum": _double(7), "exclusiveMaximum": _integer(8), "minimum": _double(9),
        "exclusiveMinimum": _integer(10), "maxLength": _integer(11), "minLength": _integer(12), "pattern": _text(13),
        "maxItems": _integer(14), "minItems": _integer(15), "uniqueItems": _integer(16),
        "maxProperties": _integer(17), "minProperties": _integer(18), "required": _texts(19), "enum": _anys(20),
        "additionalProperties": _additional(21), "type": lambda v: _block(22, _text(1)(v)),
        "items": lambda v: _block(23, _block(1, _schema(v))), "allOf": _many(24, "Schema"),
        "properties": _named(25, 1, _schema), "example": _any(30),
    },
    "3 Document": {
        "openapi": _text(1), "info": _one(2, "3 Info"), "paths": _named(4, 1, lambda v: _message("3 PathItem", v)),
        "components": _one(5, "3 Components"), "security": _security(6),
    },
    "3 Info": {"title": _text(1), "description": _text(2), "version": _text(6)},
    "3 Components": {
        "schemas": _named(1, 1, _schema_or_reference),
        "securitySchemes": _named(7, 1, lambda v: _block(1, _message("3 SecurityScheme", v))),
    },
    "3 SecurityScheme": {"type": _text(1), "description": _text(2), "name": _text(3), "in": _text(4)},
    "3 PathItem": {
        "get": _one(4, "3 Operation"), "put": _one(5, "3 Operation"), "post": _one(6, "3 Operation"),
        "delete": _one(7, "3 Operation"), "options": _one(8, "3 Operation"), "head": _one(9, "3 Operation"),
        "patch": _one(10, "3 Operation"), "parameters": _parameters_3(13),
    },
    "3 Operation": {
        "tags": _texts(1), "summary": _text(2), "description": _text(3), "operationId": _text(5),
        "parameters": _parameters_3(6),
        "requestBody": lambda v: _block(7, _block(1, _message("3 RequestBody", v))),
        "responses": _named(8, 2, lambda v: _block(1, _message("3 Response", v))), "deprecated": _integer(10),
    },
    "3 Parameter": {
        "name": _text(1), "in": _text(2), "description": _text(3), "required": _integer(4), "schema": _schema_3(10),
    },
    "3 RequestBody": {"description": _text(1), "content": _content(2), "required": _integer(3)},
    "3 Response": {"description": _text(1), "content": _content(3)},
    "3 MediaType": {"schema": _schema_3(1)},
    "3 Schema": {
        "nullable": _integer(1), "example": _any(7), "title": _text(9), "multipleOf": _double(10),
        "maximum": _double(11), "exclusiveMaximum": _integer(12), "minimum": _double(13),
        "exclusiveMinimum": _integer(14), "maxLength": _integer(15), "minLength": _integer(16), "pattern": _text(17),
        "maxItems": _integer(18), "minItems": _integer(19), "uniqueItems": _integer(20),
        "maxProperties": _integer(21), "minProperties": _integer(22), "required": _texts(23), "enum": _anys(24),
        "type": _text(25), "allOf": _schemas_3(26), "oneOf": _schemas_3(27), "anyOf": _schemas_3(28),
        "not": _one(29, "3 Schema"), "items": lambda v: _block(30, _schema_3(1)(v)),
        "properties": _named(31, 1, _schema_or_reference), "additionalProperties": _additional_3(32),
        "default": _default(33), "description": _text(34), "format": _text(35),
    },
}  # fmt: skip

_EXTENSIONS = {
    "Info": 7, "ApiKeySecurity": 5, "PathItem": 10, "Operation": 13, "Response": 5, "BodyParameter": 6, "Schema": 31,
    "query parameter": 23, "path parameter": 22, "header parameter": 22, "Document": 16, "3 Document": 9, "3 Info": 7,
    "3 Components": 10, "3 SecurityScheme": 9, "3 PathItem": 14, "3 Operation": 13, "3 Parameter": 14,
    "3 RequestBody": 4, "3 Response": 5, "3 MediaType": 5, "3 Schema": 36,
}  # fmt: skip


def _message(name: str, value: Object) -> bytes:
    rows = _ROWS[name]
    parts = []
    for field, item in value.items():
        row = rows.get(field)
        if row is not None:
            parts.append(row(item))
        elif field.startswith("x-"):
            parts.append(_block(_EXTENSIONS[name], _text(1)(field) + _block(2, _any_body(item))))
    return b"".join(parts)
