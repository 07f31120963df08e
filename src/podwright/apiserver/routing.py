"""What a URL asks for: upstream's RequestInfo, read off the path by splitting it."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote

from orjson import dumps

from podwright.api.status import bad_request

_VERBS = {"GET": "get", "HEAD": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_NAMESPACE_SUBRESOURCES = ("status", "finalize")
_SPECIAL_VERBS = ("watch", "proxy")


@dataclass(slots=True)
class RequestInfo:
    """`verb` is RBAC's verb for a resource, else the lower-case method. `parts` are the path segments from the
    resource name on (resource, name, subresource, whatever follows). Never changed after :func:`resolve`."""

    path: str
    verb: str
    is_resource: bool = False
    group: str = ""
    version: str = ""
    namespace: str = ""
    resource: str = ""
    subresource: str = ""
    name: str = ""
    parts: tuple[str, ...] = ()


class Query:
    """Query parameters; the first value of a name counts, as in upstream's option decoding."""

    __slots__ = ("_all", "_first")

    def __init__(self, pairs: list[tuple[str, str]]) -> None:
        self._all = pairs
        first: dict[str, str] = {}
        for name, value in pairs:
            first.setdefault(name, value)
        self._first = first

    @classmethod
    def parse(cls, text: str) -> Query:
        if not text:
            return EMPTY_QUERY
        try:
            return cls(parse_qsl(text, keep_blank_values=True, max_num_fields=1000))
        except ValueError:
            return EMPTY_QUERY

    def get(self, name: str, default: str = "") -> str:
        return self._first.get(name, default)

    def get_all(self, name: str) -> list[str]:
        return [v for n, v in self._all if n == name]

    def has(self, name: str) -> bool:
        return name in self._first

    def flag(self, name: str) -> bool:
        """Upstream's bool: present and neither "false" nor "0"."""
        value = self._first.get(name)
        return value is not None and value.lower() not in ("false", "0")

    def integer(self, name: str) -> int | None:
        """Upstream's int64; None if the parameter is missing or empty. Raises ApiError (400)."""
        text = self._first.get(name)
        if not text:
            return None
        try:
            return parsed_integer(text, signed=True)
        except ValueError as error:
            raise bad_request(str(error)) from None

    def __bool__(self) -> bool:
        return bool(self._all)

    def items(self) -> list[tuple[str, str]]:
        return list(self._all)


EMPTY_QUERY = Query([])


def parsed_integer(text: str, *, signed: bool) -> int:
    """Decimal digits that fit into 64 bits. Raises ValueError in the words of Go's strconv."""
    parser = "strconv.ParseInt" if signed else "strconv.ParseUint"
    digits = text[1:] if signed and text[:1] in ("+", "-") else text
    shown = dumps(text[:64]).decode()
    if not (digits.isascii() and digits.isdigit()):
        raise ValueError(f"{parser}: parsing {shown}: invalid syntax")
    value = int(text) if len(text) < 32 else 1 << 64
    if not -(1 << 63) <= value < 1 << (63 if signed else 64):
        raise ValueError(f"{parser}: parsing {shown}: value out of range")
    return value


def split_target(target: str) -> tuple[str, str]:
    """The decoded path and the raw query of a request target, which may be a whole URL (RFC 9112, 3.2.2)."""
    if not target.startswith("/") and "://" in target:
        rest = target.partition("://")[2]
        target = rest[len(rest.partition("/")[0]) :] or "/"
    path, _, query = target.partition("?")
    query = query.partition("#")[0]
    if "%" in path:
        path = unquote(path, errors="replace")
    return path, query


def resolve(method: str, path: str, query: Query) -> RequestInfo:
    """Never fails: what is no resource URL comes back with ``is_resource`` False."""
    parts = path.strip("/").split("/")
    if len(parts) < 3 or parts[0] not in ("api", "apis"):
        return RequestInfo(path, method.lower())
    if parts[0] == "api":
        group, version, rest = "", parts[1], parts[2:]
    else:
        if len(parts) < 4:
            return RequestInfo(path, method.lower())
        group, version, rest = parts[1], parts[2], parts[3:]
    verb = _VERBS.get(method, "")
    if rest[0] in _SPECIAL_VERBS and len(rest) > 1:
        verb, rest = rest[0], rest[1:]
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 1:
        namespace = rest[1]
        if len(rest) > 2 and rest[2] not in _NAMESPACE_SUBRESOURCES:
            rest = rest[2:]
    count = len(rest)
    name = rest[1] if count > 1 else ""
    subresource = rest[2] if count > 2 and verb != "proxy" else ""
    if not name:
        if verb == "get":
            verb = "watch" if query.flag("watch") else "list"
        elif verb == "delete":
            verb = "deletecollection"
    return RequestInfo(path, verb, True, group, version, namespace, rest[0], subresource, name, tuple(rest))
