"""Request bodies into objects, the way upstream's JSON and YAML serializers do.

JSON goes through orjson; only a body that it refuses is looked at again, for the one thing that Go accepts and orjson
does not (text that is no valid UTF-8) and for upstream's message. No body can make it recurse deeper than
:data:`MAX_DEPTH`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NoReturn

import orjson

from podwright.api import status
from podwright.api.yaml_documents import MAX_DEPTH, MAX_STRICT_ERRORS, DecodeError, encode_yaml, from_yaml, read_yaml

__all__ = [
    "JSON", "MAX_DEPTH", "YAML", "DecodeError", "Decoded", "check_depth", "decode", "encode_yaml", "from_json",
    "from_yaml",
]

JSON = "application/json"
YAML = "application/yaml"


_META_TYPE = (r'struct { APIVersion string "json:\"apiVersion,omitempty\""; Kind string "json:\"kind,omitempty\"" }')


@dataclass(slots=True)
class Decoded:
    """A body: ``obj`` is the object (any value if asked for), ``duplicates`` are strict decoding errors of keys that
    were given twice, complete texts such as 'duplicate field "spec.replicas"'. The last of several values counts."""

    obj: Any
    duplicates: list[str] = field(default_factory=list)


def decode(
    body: bytes, content_type: str = JSON, *, find_duplicates: bool = False, kind: str = "", any_value: bool = False
) -> Decoded:
    """Reads a body of `content_type` (JSON or YAML; parameters after ";" are ignored).

    `kind` is the kind expected, for the message. With `any_value` the body need not be an object (a JSON patch is a
    list).

    Raises:
        ApiError: 400 if the body is malformed or no object, 415 for another content type.
    """
    media = content_type.partition(";")[0].strip().lower()
    try:
        if media.endswith("yaml"):
            value, duplicates = read_yaml(body)
            decoded = Decoded(value, duplicates if find_duplicates else [])
        elif media.endswith("json") or not media:
            decoded = Decoded(from_json(body))
            if find_duplicates:
                decoded.duplicates = _json_duplicates(body, decoded.obj)
        else:
            raise status.unsupported_media_type((JSON, YAML))
        if any_value:
            return decoded
        if decoded.obj is None:
            decoded.obj = {}
        if not isinstance(decoded.obj, dict):
            raise DecodeError(
                "couldn't get version/kind; json parse error: "
                f"json: cannot unmarshal {_word(decoded.obj)} into Go value of type {_META_TYPE}"
            )
    except DecodeError as e:
        message = str(e)
        if not message.startswith(("couldn't get", "error converting")):
            message = f"couldn't get version/kind; json parse error: {message}"
        if kind:
            message = f"the object provided is unrecognized (must be of type {kind}): {message} ({_summary(body)})"
        raise status.bad_request(message) from e
    return decoded


def _word(value: Any) -> str:
    if isinstance(value, list):
        return "array"
    if isinstance(value, bool):
        return "bool"
    return "string" if isinstance(value, str) else "number"


def _summary(body: bytes) -> str:
    """The start of a body as upstream quotes it: text if it looks like JSON, otherwise hexadecimal."""
    if not body:
        return "<empty>"
    more = " ..." if len(body) > 30 else ""
    if body[:1] == b"{":
        return body[:30].decode("utf-8", "replace") + more
    return body[:30].hex() + more


def from_json(body: bytes) -> Any:
    """Any JSON value.

    Raises:
        DecodeError: it is no JSON or nested too deep.
    """
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        value = _lenient_json(body)
    if body.count(b"{") + body.count(b"[") > MAX_DEPTH:
        check_depth(value)
    return value


def check_depth(value: Any) -> None:
    """Raises DecodeError for more than MAX_DEPTH lists and objects within each other."""
    level, depth = [value] if isinstance(value, dict | list) else [], 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            raise DecodeError("exceeded max depth")
        below: list[Any] = []
        for item in level:
            below.extend(item.values() if item.__class__ is dict else item)
        level = [item for item in below if item.__class__ is dict or item.__class__ is list]


def _number(text: str) -> int | float:
    return int(text) if len(text) < 19 else _float(text)


def _float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise DecodeError(f"json: cannot unmarshal number {text[:32]} into Go value of type float64")
    return number


def _no_constant(text: str) -> NoReturn:
    raise DecodeError(f"invalid character '{text[0]}' looking for beginning of value")


def _lenient_json(body: bytes) -> Any:
    """What Go reads and orjson refuses: invalid UTF-8 and lone surrogates, which become U+FFFD."""
    text = body.decode("utf-8", "replace")
    try:
        value = json.loads(text, parse_int=_number, parse_float=_float, parse_constant=_no_constant)
    except json.JSONDecodeError as e:
        raise DecodeError(_go_message(text, e)) from e
    except RecursionError as e:
        raise DecodeError("exceeded max depth") from e
    except (OverflowError, ValueError) as e:
        raise DecodeError(f"invalid number: {e}") if not isinstance(e, DecodeError) else e from e
    check_depth(value)
    return json.loads(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace").decode())


def _go_message(text: str, error: json.JSONDecodeError) -> str:
    at = error.pos
    if "control character" in error.msg:
        return f"invalid character {text[at]!r} in string literal"
    if error.msg.startswith("Unterminated") or at >= len(text.rstrip()):
        return "unexpected end of JSON input"
    if error.msg.startswith("Invalid"):
        escaped = text[at + 1 : at + 2]
        return f"invalid character {escaped!r} in string escape code" if escaped else "unexpected end of JSON input"
    character = f"'{text[at]}'" if text[at] != "'" else r"'\''"
    if error.msg.startswith("Extra data"):
        return f"invalid character {character} after top-level value"
    if error.msg.startswith(("Expecting property name", "Illegal trailing comma before end of object")):
        return f"invalid character {character} looking for beginning of object key string"
    if error.msg.startswith("Expecting ':'"):
        return f"invalid character {character} after object key"
    if error.msg.startswith("Expecting ','"):
        where = "object key:value pair" if _innermost(text[:at]) == "{" else "array element"
        return f"invalid character {character} after {where}"
    return f"invalid character {character} looking for beginning of value"


def _innermost(text: str) -> str:
    """The bracket that is open at the end of a text of valid JSON tokens."""
    open_: list[str] = []
    for token in re.findall(r'"(?:[^"\\]|\\.)*"|[\[\]{}]', text):
        if token in "[{":
            open_.append(token)
        elif token in "]}" and open_:
            open_.pop()
    return open_[-1] if open_ else ""


class _Pairs(list[tuple[str, Any]]):
    """An object whose keys may repeat."""


def _json_duplicates(body: bytes, value: Any) -> list[str]:
    # Written out again, an object has exactly as many '":' as before unless a key was dropped or the body is spaced
    # or escaped unusually: a test at the speed of C, and only if it fails a slow look.
    if orjson.dumps(value).count(b'":') == body.count(b'":'):
        return []
    text = body.decode("utf-8", "replace")
    found = _repeated(json.loads(text, object_pairs_hook=_Pairs, parse_int=_number), "")
    return [f'duplicate field "{path}"' for path, _ in zip(found, range(MAX_STRICT_ERRORS), strict=False)]


def _repeated(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, _Pairs):
        seen: set[str] = set()
        for name, item in value:
            where = f"{path}.{name}" if path else name
            if name in seen:
                yield where
            seen.add(name)
            yield from _repeated(item, where)
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield from _repeated(item, f"{path}[{i}]")
