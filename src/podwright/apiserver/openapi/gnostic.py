"""The OpenAPI v2 document in protobuf, the form in which client-go asks for it: gnostic's ``openapi.v2.Document``.

Field numbers are those of gnostic's OpenAPIv2.proto. Only what our documents hold has a row.
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
    """The v2 document as a message."""
    return _message("Document", document)


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
}  # fmt: skip

_EXTENSIONS = {
    "Info": 7, "ApiKeySecurity": 5, "PathItem": 10, "Operation": 13, "Response": 5, "BodyParameter": 6, "Schema": 31,
    "query parameter": 23, "path parameter": 22, "header parameter": 22, "Document": 16,
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
