"""YAML to JSON values and back, by the rules of sigs.k8s.io/yaml.

Documents are read from libyaml's events by YAML 1.1: yes and off are booleans, but there are no dates and no base-60
numbers; only the first document counts. Aliases cannot make a document grow without bounds, nor can nesting overflow.
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Iterator
from typing import Any

import yaml

MAX_DEPTH = 256
"""Lists and objects within each other; upstream takes 10,000."""

MAX_STRICT_ERRORS = 100
"""Keys given twice of which a client is told."""

_ALIASED_NODES = 100_000


class DecodeError(ValueError):
    """The bytes are no JSON or YAML; the message is Go's."""


_BOOLS = {
    word: truth
    for truth, words in ((True, ("y", "yes", "true", "on")), (False, ("n", "no", "false", "off")))
    for plain in words
    for word in (plain, plain.capitalize(), plain.upper())
}
_NULLS = frozenset(("", "~", "null", "Null", "NULL"))
_INT = re.compile(r"[-+]?(?:0[xX][0-9a-fA-F]+|0[bB][01]+|0[oO]?[0-7]*|[1-9][0-9]*)", re.ASCII)
_FLOAT = re.compile(r"[-+]?[0-9]*\.?[0-9]+(?:[eE][-+][0-9]+)?", re.ASCII)
_INFINITE = {f"{sign}{word}": sign for sign in ("", "+", "-") for word in (".inf", ".Inf", ".INF")}
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


def read_yaml(body: bytes) -> tuple[Any, list[str]]:
    """The first document, and the strict decoding errors of keys that were given twice.

    Raises:
        DecodeError: it is no YAML, nested too deep, or grows by aliases.
    """
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
        lines = "\n".join(builder.duplicates[:MAX_STRICT_ERRORS])
        duplicates = [f"error converting YAML to JSON: yaml: unmarshal errors:\n{lines}"]
    return value, duplicates


def from_yaml(body: bytes) -> Any:
    """Any value of the first YAML document (JSON is YAML too).

    Raises:
        DecodeError: it is no YAML, nested too deep, or grows by aliases.
    """
    return read_yaml(body)[0]


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
