"""JSON patch (RFC 6902), with the limits and the errors of upstream's patch handler."""

from __future__ import annotations

import copy
from typing import Any

import orjson

from podwright.api import status
from podwright.api.objects import Object, deepcopy
from podwright.api.serialization import DecodeError, check_depth
from podwright.api.status import ApiError

MAX_OPERATIONS = 10_000
MAX_COPIED = 3 << 20
"""Bytes of JSON that all copy operations of a patch may add: a document copied into itself doubles."""


class _Inapplicable(Exception):
    """An operation does not fit the document."""


def apply(doc: Object, ops: Any) -> Object:
    """The document after all operations.

    Raises:
        ApiError: 400 if the patch is malformed, 413 for more than MAX_OPERATIONS operations, 422 if an operation does
            not fit the document (a missing path, a failed test).
    """
    if not isinstance(ops, list):
        raise status.bad_request(
            "json: cannot unmarshal object into Go value of type jsonpatch.Patch"
            if isinstance(ops, dict)
            else "error decoding patch: no list of operations"
        )
    if len(ops) > MAX_OPERATIONS:
        raise status.failure(
            413, "RequestEntityTooLarge",
            f"The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {len(ops)}",
        )
    root: Any = deepcopy(doc)
    copied = 0
    for op in ops:
        if not isinstance(op, dict):
            raise status.bad_request("error decoding patch: an operation is no object")
        try:
            if op.get("op") == "copy":
                copied += _copied(root, op)
                if copied > MAX_COPIED:
                    raise _Inapplicable(
                        f"Unable to complete the copy, the accumulated size increase of copy is {copied}, exceeding "
                        f"the limit {MAX_COPIED}"
                    )
            root = _apply(root, op)
        except _Inapplicable as e:
            raise _rejected() from e
    if not isinstance(root, dict):
        raise _rejected() from _Inapplicable("the patched document is no object")
    try:
        check_depth(root)
    except DecodeError as error:
        raise _rejected() from error
    return root


def _copied(root: Any, op: Object) -> int:
    """How many bytes an operation adds; 0 if that it does not fit is found out later."""
    origin = op.get("from")
    if not isinstance(origin, str):
        return 0
    value = _get(root, _pointer(origin), origin, "copy")
    try:
        return len(orjson.dumps(value))
    except orjson.JSONEncodeError as error:
        raise _Inapplicable(f"copy of {origin}: {error}") from None


def _rejected() -> ApiError:
    """As upstream says it: without the reason, which is the exception's cause. kubectl shows the message only if there
    are details, be they empty."""
    error = status.failure(422, "Invalid", "the server rejected our request due to an error in our request")
    error.status["details"] = {}
    return error


def _apply(root: Any, op: Object) -> Any:
    kind, path = op.get("op"), op.get("path")
    if not isinstance(path, str):
        raise status.bad_request("error decoding patch: an operation has no path")
    where = _pointer(path)
    if kind == "add":
        return _add(root, where, _value(op), path)
    if kind == "remove":
        return _remove(root, where, path)
    if kind == "replace":
        _get(root, where, path, "replace")
        if not where:
            return _value(op)
        return _put(root, where, _value(op), path)
    if kind in ("move", "copy"):
        origin = op.get("from")
        if not isinstance(origin, str):
            raise status.bad_request(f"error decoding patch: {kind} without from")
        source = _pointer(origin)
        value = _get(root, source, origin, kind)
        if kind == "copy":
            return _add(root, where, copy.deepcopy(value), path)
        if where[: len(source)] == source and where != source:
            raise _Inapplicable(f"move operation does not apply: {path} is below {origin}")
        return _add(_remove(root, source, origin), where, value, path)
    if kind == "test":
        wanted = op.get("value")
        try:
            found = _get(root, where, path, "test")
        except _Inapplicable:
            if wanted is None:
                return root
            raise
        if not _equal(found, wanted):
            raise _Inapplicable(f"testing value {path} failed: test failed")
        return root
    raise status.bad_request(f"error decoding patch: Unexpected kind: {kind}")


def _value(op: Object) -> Any:
    if "value" not in op:
        raise status.bad_request(f"error decoding patch: {op.get('op')} without value")
    return copy.deepcopy(op["value"])


def _pointer(path: str) -> list[str]:
    if not path:
        return []
    if path[0] != "/":
        raise _Inapplicable(f'doc is missing path: "{path}": missing value')
    return [step.replace("~1", "/").replace("~0", "~") for step in path[1:].split("/")]


def _index(container: list[Any], step: str, path: str, *, end: bool = False) -> int:
    digits = step.removeprefix("-")
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 9:
        raise _Inapplicable(f"invalid array index in {path}: {step}")
    index = int(step)
    size = len(container) + (1 if end else 0)
    if index < 0:
        index += size
    if not 0 <= index < size:
        raise _Inapplicable(f"Unable to access invalid index: {path}: {step}")
    return index


def _get(root: Any, where: list[str], path: str, op: str) -> Any:
    value = root
    for step in where:
        if isinstance(value, dict) and step in value:
            value = value[step]
        elif isinstance(value, list):
            value = value[_index(value, step, path)]
        else:
            raise _Inapplicable(f'{op} operation does not apply: doc is missing path: "{path}": missing value')
    return value


def _add(root: Any, where: list[str], value: Any, path: str) -> Any:
    if not where:
        return value
    container = _get(root, where[:-1], path, "add")
    step = where[-1]
    if isinstance(container, dict):
        container[step] = value
    elif isinstance(container, list):
        container.insert(len(container) if step == "-" else _index(container, step, path, end=True), value)
    else:
        raise _Inapplicable(f'add operation does not apply: doc is missing path: "{path}": missing value')
    return root


def _put(root: Any, where: list[str], value: Any, path: str) -> Any:
    container = _get(root, where[:-1], path, "replace")
    if isinstance(container, list):
        container[_index(container, where[-1], path)] = value
    else:
        container[where[-1]] = value
    return root


def _remove(root: Any, where: list[str], path: str) -> Any:
    _get(root, where, path, "remove")
    if not where:
        raise _Inapplicable("remove operation does not apply: the whole document")
    container = _get(root, where[:-1], path, "remove")
    if isinstance(container, list):
        del container[_index(container, where[-1], path)]
    else:
        del container[where[-1]]
    return root


def _equal(a: Any, b: Any) -> bool:
    """JSON equality: true is not 1, 1 is 1.0."""
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_equal(v, b[k]) for k, v in a.items())
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(_equal, a, b))
    return bool(a == b)
