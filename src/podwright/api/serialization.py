"""Request bodies into objects, and objects into YAML, the way upstream's JSON and YAML serializers do.

JSON goes through orjson; only a body that it refuses is looked at again, for the one thing that Go accepts and orjson
does not (text that is no valid UTF-8) and for upstream's message. YAML is read from libyaml's events by the rules of
YAML 1.1 as sigs.k8s.io/yaml applies them: no dates, no base-60 numbers, first document only. Neither can be made to
recurse deeper than :data:`MAX_DEPTH` or to grow by aliases.
"""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NoReturn

import orjson
import yaml

from podwright.api import status

JSON = "application/json"
YAML = "application/yaml"

MAX_DEPTH = 256
"""Lists and objects within each other; upstream takes 10,000."""

_ALIASED_NODES = 100_000
_MAX_STRICT_ERRORS = 100

_META_TYPE = (
    r'struct { APIVersion string "json:\"apiVersion,omitempty\""; Kind string "json:\"kind,omitempty\"" }'
)


@dataclass(slots=True)
class Decoded:
    """A body: ``obj`` is the object (any value if asked for), ``duplicates`` are strict decoding errors of keys that
    were given twice, complete texts such as 'duplicate field "spec.replicas"'. The last of several values counts."""

    obj: Any
    duplicates: list[str] = field(default_factory=list)


class DecodeError(ValueError):
    """The bytes are no JSON or YAML; the message is Go's."""


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
            value, duplicates = _from_yaml(body)
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
        _check_depth(value)
    return value


def _check_depth(value: Any) -> None:
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
    return int(text) if len(text) < 19 else float(text)


def _no_constant(text: str) -> NoReturn:
    raise DecodeError(f"invalid character '{text[0]}' looking for beginning of value")


def _lenient_json(body: bytes) -> Any:
    """What Go reads and orjson refuses: invalid UTF-8 and lone surrogates, which become U+FFFD."""
    text = body.decode("utf-8", "replace")
    try:
        value = json.loads(text, parse_int=_number, parse_constant=_no_constant)
    except json.JSONDecodeError as e:
        raise DecodeError(_go_message(text, e)) from e
    except RecursionError as e:
        raise DecodeError("exceeded max depth") from e
    except (OverflowError, ValueError) as e:
        raise DecodeError(f"invalid number: {e}") if not isinstance(e, DecodeError) else e from e
    _check_depth(value)
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
    return [f'duplicate field "{path}"' for path, _ in zip(found, range(_MAX_STRICT_ERRORS), strict=False)]


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


# YAML

_BOOLS = {
    word: truth
    for truth, words in ((True, ("y", "yes", "true", "on")), (False, ("n", "no", "false", "off")))
    for plain in words
    for word in (plain, plain.capitalize(), plain.upper())
}
_NULLS = frozenset(("", "~", "null", "Null", "NULL"))
_INT = re.compile(r"[-+]?(?:0[xX][0-9a-fA-F]+|0[bB][01]+|0[oO]?[0-7]*|[1-9][0-9]*)", re.ASCII)
_FLOAT = re.compile(r"[-+]?[0-9]*\.?[0-9]+(?:[eE][-+][0-9]+)?", re.ASCII)
_INFINITE = {
    f"{sign}{word}": sign for sign in ("", "+", "-") for word in (".inf", ".Inf", ".INF")
}
_NOT_NUMBERS = frozenset((".nan", ".NaN", ".NAN"))


def _plain(text: str) -> Any:
    """The value of an unquoted scalar."""
    if text in _NULLS:
        return None
    first = text[0]
    if first in "yYnNtTfFoO":
        return _BOOLS.get(text, text)
    if first not in "+-.0123456789":
        return text
    digits = text.replace("_", "")
    if _INT.fullmatch(digits):
        number = _integer(digits)
        if -(2**63) <= number < 2**64:
            return number
    if _FLOAT.fullmatch(digits):
        return float(digits)
    if text in _INFINITE:
        return -math.inf if _INFINITE[text] == "-" else math.inf
    return math.nan if text in _NOT_NUMBERS else text


def _integer(digits: str) -> int:
    sign = -1 if digits[0] == "-" else 1
    digits = digits.lstrip("+-")
    if len(digits) > 80:
        return 2**64
    if len(digits) > 1 and digits[0] == "0" and digits[1] in "01234567":
        return sign * int(digits, 8)
    return sign * int(digits, 0)


class _Builder:
    """Builds one document from libyaml's events."""

    def __init__(self, events: Iterator[Any]) -> None:
        self._events = events
        self._anchors: dict[str, tuple[Any, int]] = {}
        self._nodes = 0
        self._aliased = 0
        self.duplicates: list[str] = []

    def document(self) -> Any:
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                return self._node(next(self._events), 0)
        return None

    def _node(self, event: Any, depth: int) -> Any:
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        self._nodes += 1
        before = self._nodes
        value: Any
        if isinstance(event, yaml.ScalarEvent):
            value = self._scalar(event)
        elif depth >= MAX_DEPTH:
            raise DecodeError("error converting YAML to JSON: yaml: exceeded max depth")
        elif isinstance(event, yaml.SequenceStartEvent):
            value = []
            while not isinstance(item := next(self._events), yaml.SequenceEndEvent):
                value.append(self._node(item, depth + 1))
        else:
            value = self._mapping(depth)
        if event.anchor:
            self._anchors[event.anchor] = (value, self._nodes - before + 1)
        return value

    def _mapping(self, depth: int) -> dict[str, Any]:
        value: dict[str, Any] = {}
        merged: list[Any] = []
        while not isinstance(item := next(self._events), yaml.MappingEndEvent):
            line = item.start_mark.line + 1
            if isinstance(item, yaml.ScalarEvent) and item.value == "<<" and item.implicit[0]:
                merged.append(self._node(next(self._events), depth + 1))
                continue
            name = self._key(self._node(item, depth + 1), line)
            if name in value:
                self.duplicates.append(f'  line {line}: key "{name}" already set in map')
            value[name] = self._node(next(self._events), depth + 1)
        for source in merged:
            for entry in source if isinstance(source, list) else [source]:
                if not isinstance(entry, dict):
                    raise DecodeError(
                        "error converting YAML to JSON: yaml: map merge requires map or sequence of maps as the value"
                    )
                for name, item in entry.items():
                    value.setdefault(name, item)
        return value

    def _alias(self, event: Any) -> Any:
        if event.anchor not in self._anchors:
            raise DecodeError(f"error converting YAML to JSON: yaml: unknown anchor '{event.anchor}' referenced")
        value, nodes = self._anchors[event.anchor]
        self._nodes += nodes
        self._aliased += nodes
        if self._aliased > _ALIASED_NODES:
            raise DecodeError("error converting YAML to JSON: yaml: document contains excessive aliasing")
        return _copied(value)

    @staticmethod
    def _key(key: Any, line: int) -> str:
        if isinstance(key, str):
            return key
        if isinstance(key, bool):
            return "true" if key else "false"
        if isinstance(key, int | float):
            return str(key)
        raise DecodeError(f"error converting YAML to JSON: yaml: line {line}: unsupported map key")

    @staticmethod
    def _scalar(event: Any) -> Any:
        tag, text = event.tag, event.value
        if tag is None or tag == "!":
            value = _plain(text) if event.implicit[0] else text
        elif tag.endswith(":str"):
            value = text
        elif tag.endswith(":binary"):
            try:
                value = base64.b64decode(text).decode("utf-8", "replace")
            except ValueError as e:
                raise DecodeError("error converting YAML to JSON: yaml: !!binary value contains invalid base64") from e
        else:
            value = _plain(text)
        if isinstance(value, float) and not math.isfinite(value):
            raise DecodeError(f"error converting YAML to JSON: json: unsupported value: {text}")
        return value


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _copied(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_copied(v) for v in value]
    return value


_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _from_yaml(body: bytes) -> tuple[Any, list[str]]:
    try:
        builder = _Builder(iter(yaml.parse(body, Loader=_LOADER)))
        value = builder.document()
    except yaml.YAMLError as e:
        mark = getattr(e, "problem_mark", None)
        where = f"line {mark.line + 1}: " if mark else ""
        problem = getattr(e, "problem", None) or getattr(e, "reason", None) or "invalid document"
        raise DecodeError(f"error converting YAML to JSON: yaml: {where}{problem}") from e
    except (UnicodeDecodeError, StopIteration) as e:
        raise DecodeError("error converting YAML to JSON: yaml: invalid document") from e
    duplicates = []
    if builder.duplicates:
        lines = "\n".join(builder.duplicates[:_MAX_STRICT_ERRORS])
        duplicates = [f"error converting YAML to JSON: yaml: unmarshal errors:\n{lines}"]
    return value, duplicates


def from_yaml(body: bytes) -> Any:
    """Any value of the first YAML document (JSON is YAML too).

    Raises:
        DecodeError: it is no YAML, nested too deep, or grows by aliases.
    """
    return _from_yaml(body)[0]


class _Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
    """Go's style: block strings for many lines, double quotes where a plain word would be something else."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_str(dumper: Any, text: str) -> Any:
    style = None
    if "\n" in text:
        style = "|"
    elif not isinstance(_plain(text), str):
        style = '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_str)


def encode_yaml(obj: Any) -> bytes:
    """Block-style YAML with sorted keys, as ``kubectl get -o yaml`` and the API server write it."""
    text: str = yaml.dump(obj, Dumper=_Dumper, default_flow_style=False, allow_unicode=True, sort_keys=True)
    return text.encode()
