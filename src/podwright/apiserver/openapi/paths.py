"""The operations of a resource, in a form between OpenAPI v2 and v3 that both documents are written from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from podwright.api.objects import Object
from podwright.api.resources import Resource, Subresource
from podwright.apiserver.openapi import schemas

_TEXT = "string"
_FLAG = "boolean"
_INT = "integer"

_QUERY: dict[str, str] = {
    "allowWatchBookmarks": _FLAG, "continue": _TEXT, "dryRun": _TEXT, "fieldManager": _TEXT, "fieldSelector": _TEXT,
    "fieldValidation": _TEXT, "force": _FLAG, "gracePeriodSeconds": _INT, "labelSelector": _TEXT, "limit": _INT,
    "orphanDependents": _FLAG, "pretty": _TEXT, "propagationPolicy": _TEXT, "resourceVersion": _TEXT,
    "resourceVersionMatch": _TEXT, "sendInitialEvents": _FLAG, "timeoutSeconds": _INT, "watch": _FLAG,
    "ignoreStoreReadErrorWithClusterBreakingPotential": _FLAG,
    # logs, exec and proxies
    "container": _TEXT, "follow": _FLAG, "insecureSkipTLSVerifyBackend": _FLAG, "limitBytes": _INT, "previous": _FLAG,
    "sinceSeconds": _INT, "stream": _TEXT, "tailLines": _INT, "timestamps": _FLAG, "command": _TEXT, "stdin": _FLAG,
    "stdout": _FLAG, "stderr": _FLAG, "tty": _FLAG, "ports": _INT, "path": _TEXT,
}
_LIST = (
    "allowWatchBookmarks", "continue", "fieldSelector", "labelSelector", "limit", "resourceVersion",
    "resourceVersionMatch", "sendInitialEvents", "timeoutSeconds", "watch",
)
_WRITE = ("dryRun", "fieldManager", "fieldValidation")
_DELETE = (
    "dryRun", "gracePeriodSeconds", "ignoreStoreReadErrorWithClusterBreakingPotential", "orphanDependents",
    "propagationPolicy",
)
_CONNECT: dict[str, tuple[str, ...]] = {
    "log": ("container", "follow", "insecureSkipTLSVerifyBackend", "limitBytes", "previous", "sinceSeconds", "stream",
            "tailLines", "timestamps"),
    "exec": ("command", "container", "stderr", "stdin", "stdout", "tty"),
    "attach": ("container", "stderr", "stdin", "stdout", "tty"),
    "portforward": ("ports",),
    "proxy": ("path",),
}
_METHODS = {"get": "get", "update": "put", "patch": "patch", "delete": "delete", "create": "post"}
_ACTIONS = {
    "get": "read", "update": "replace", "patch": "patch", "delete": "delete", "create": "create", "list": "list",
    "deletecollection": "deletecollection",
}
_PATCH_TYPES = (
    "application/json-patch+json", "application/merge-patch+json", "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
)


@dataclass(slots=True)
class Operation:
    """`body` and `answer` are names of definitions ("" for none)."""

    path: str
    method: str
    id: str
    tag: str
    action: str
    kind: Object
    query: tuple[str, ...] = ()
    path_parameters: tuple[str, ...] = ()
    body: str = ""
    answer: str = ""
    consumes: tuple[str, ...] = ("*/*",)
    produces: tuple[str, ...] = ("application/json", "application/yaml")
    codes: tuple[int, ...] = (200,)
    description: str = ""


@dataclass(slots=True)
class Naming:
    """How upstream spells a group and version in operation ids and tags."""

    group: str
    version: str
    camel: str = field(init=False)
    tag: str = field(init=False)

    def __post_init__(self) -> None:
        bare = self.group.removesuffix(".k8s.io") or "core"
        parts = bare.replace("-", ".").split(".")
        self.camel = "".join(p[:1].upper() + p[1:] for p in parts) + self.version[:1].upper() + self.version[1:]
        self.tag = parts[0] + "".join(p[:1].upper() + p[1:] for p in parts[1:]) + "_" + self.version


def query_type(name: str) -> str:
    return _QUERY[name]


def operations(row: Resource, definition: str, list_definition: str) -> Iterator[Operation]:
    """All operations on a resource and its subresources."""
    naming = Naming(row.group, row.version)
    scope = "Namespaced" if row.namespaced else ""
    base = f"/apis/{row.group}/{row.version}" if row.group else f"/api/{row.version}"
    home = f"{base}/namespaces/{{namespace}}/{row.plural}" if row.namespaced else f"{base}/{row.plural}"
    kind: Object = {"group": row.group, "kind": row.kind, "version": row.version}
    outer = ("namespace",) if row.namespaced else ()
    inner = ("name", *outer)

    def made(verb: str, path: str, suffix: str, where: tuple[str, ...], **more: object) -> Operation:
        action = _ACTIONS[verb]
        prefix = "deleteCollection" if verb == "deletecollection" else action
        prefix = "delete" if verb == "deletecollection" else prefix
        middle = f"{naming.camel}{'Collection' if verb == 'deletecollection' else ''}{suffix}"
        return Operation(
            path=path, method=_METHODS.get(verb, "get" if verb == "list" else "delete"), id=f"{prefix}{middle}",
            tag=naming.tag, action=verb, kind=kind, path_parameters=where, **more,  # type: ignore[arg-type]
        )

    name = f"{scope}{row.kind}"
    for verb in row.verbs:
        if verb == "list":
            yield made("list", home, name, outer, query=_LIST, answer=list_definition)
            if row.namespaced:
                yield made("list", f"{base}/{row.plural}", f"{row.kind}ForAllNamespaces", (), query=_LIST,
                           answer=list_definition)
        elif verb == "create":
            yield made("create", home, name, outer, query=_WRITE, body=definition, answer=definition,
                       codes=(200, 201, 202))
        elif verb == "deletecollection":
            yield made("deletecollection", home, name, outer, query=(*_DELETE, *_LIST[1:8]),
                       body=schemas.DELETE_OPTIONS, answer=schemas.STATUS)
        elif verb == "get":
            yield made("get", f"{home}/{{name}}", name, inner, answer=definition)
        elif verb == "update":
            yield made("update", f"{home}/{{name}}", name, inner, query=_WRITE, body=definition, answer=definition,
                       codes=(200, 201))
        elif verb == "patch":
            yield made("patch", f"{home}/{{name}}", name, inner, query=(*_WRITE, "force"), body=schemas.PATCH,
                       answer=definition, consumes=patch_types(row), codes=(200, 201))
        elif verb == "delete":
            yield made("delete", f"{home}/{{name}}", name, inner, query=_DELETE, body=schemas.DELETE_OPTIONS,
                       answer=schemas.STATUS, codes=(200, 202))
    for sub in row.subresources:
        yield from _subresource(row, sub, naming, f"{home}/{{name}}/{sub.name}", name, inner, definition)


def patch_types(row: Resource) -> tuple[str, ...]:
    return tuple(t for t in _PATCH_TYPES if not (row.custom and "strategic" in t))


def _subresource(
    row: Resource, sub: Subresource, naming: Naming, path: str, name: str, where: tuple[str, ...], definition: str
) -> Iterator[Operation]:
    kind: Object = {
        "group": sub.group if sub.version else row.group, "kind": sub.kind or row.kind,
        "version": sub.version or row.version,
    }
    suffix = f"{name}{sub.name[:1].upper()}{sub.name[1:]}"
    connects = _CONNECT.get(sub.name)
    if connects is not None:
        verbs = sub.verbs
        for verb in verbs:
            method = _METHODS[verb]
            action = "get" if sub.name == "log" else "connect"
            prefix = "read" if sub.name == "log" else f"connect{method.capitalize()}"
            yield Operation(
                path, method, f"{prefix}{naming.camel}{suffix}", naming.tag, action, kind, connects, where,
                produces=("*/*",),
            )
        return
    body = definition
    if sub.version:
        short = sub.group.split(".")[0]
        body = f"io.k8s.api.{short}.{sub.version}.{sub.kind}"
    elif sub.kind:
        body = f"io.k8s.api.core.v1.{sub.kind}"
    for verb in sub.verbs:
        action = _ACTIONS[verb]
        is_patch = verb == "patch"
        yield Operation(
            path, _METHODS[verb], f"{action}{naming.camel}{suffix}", naming.tag, verb, kind,
            () if verb == "get" else (*_WRITE, "force") if is_patch else _WRITE, where,
            "" if verb == "get" else schemas.PATCH if is_patch else body, body,
            patch_types(row) if is_patch else ("*/*",),
            codes=(200,) if verb == "get" else (200, 201, 202) if verb == "create" else (200, 201),
        )
