"""Other API servers' documents beside our own: kube-aggregator's rules (kube-openapi, pkg/aggregator).

Of another server's second-form document counts what its group version needs. Definitions of one name that say different
things are told apart by a suffix; of paths the first one counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from podwright.api.objects import Object
from podwright.apiserver.openapi.schemas import V2, V3

_KINDS = "x-kubernetes-group-version-kind"
_METHODS = ("get", "put", "post", "delete", "options", "head", "patch")


def narrowed(document: Object, path: str) -> Object:
    """The paths below a group version's, and the definitions that they lead to. Raises ValueError for what is no such
    document."""
    try:
        paths = {p: dict(item) for p, item in (document.get("paths") or {}).items() if p.startswith(path + "/")}
        definitions: Object = document.get("definitions") or {}
        wanted: dict[str, Any] = {}
        open_: list[Any] = [paths]
        while open_:
            for name in references(open_.pop()):
                if name in definitions and name not in wanted:
                    wanted[name] = dict(definitions[name])
                    open_.append(definitions[name])
        found = {"paths": paths, "definitions": wanted}
        third_form(found)
    except (AttributeError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"no OpenAPI document: {error}") from None
    return found


def references(value: Any) -> Iterable[str]:
    """Names of the definitions that a part of a document refers to."""
    if isinstance(value, dict):
        ref = value.get("$ref")
        if isinstance(ref, str):
            yield ref.removeprefix(V2)
        for item in value.values():
            yield from references(item)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


def _referring(value: Any, name_of: Callable[[str], str]) -> Any:
    """The same with each reference changed."""
    if isinstance(value, dict):
        return {
            k: name_of(v) if k == "$ref" and isinstance(v, str) else _referring(v, name_of) for k, v in value.items()
        }
    return [_referring(item, name_of) for item in value] if isinstance(value, list) else value


def merge(own: Object, others: Iterable[Object]) -> Object:
    """`own` with the paths and definitions of the others, which are :func:`narrowed`."""
    paths, definitions = dict(own["paths"]), dict(own["definitions"])
    for other in others:
        renamed: dict[str, str] = {}
        for name, definition in other["definitions"].items():
            free, count = name, 1
            while free in definitions and _said(definitions[free]) != _said(definition):
                count += 1
                free = f"{name}_v{count}"
            renamed[name] = free
        for name, definition in _referring(other["definitions"], partial(_renamed, names=renamed)).items():
            known = definitions.get(renamed[name])
            definitions[renamed[name]] = definition if known is None else _with_kinds(known, definition)
        for path, item in other["paths"].items():
            paths.setdefault(path, _referring(item, partial(_renamed, names=renamed)))
    return {**own, "paths": paths, "definitions": definitions}


def _renamed(reference: str, names: dict[str, str]) -> str:
    name = reference.removeprefix(V2)
    return V2 + names.get(name, name)


def _said(definition: Object) -> Object:
    return {k: v for k, v in definition.items() if k != _KINDS}


def _with_kinds(known: Object, other: Object) -> Object:
    kinds = [*(known.get(_KINDS) or ()), *(k for k in other.get(_KINDS) or () if k not in (known.get(_KINDS) or ()))]
    return {**known, _KINDS: kinds} if kinds else known


def third_form(document: Object) -> Object:
    """A second-form document as a third-form one, for servers that have no such document themselves."""
    changed = _referring(document, lambda ref: ref.replace(V2, V3))
    return {
        "openapi": "3.0.0",
        "info": document.get("info") or {"title": "", "version": ""},
        "paths": {path: _path_item(item) for path, item in changed["paths"].items()},
        "components": {"schemas": changed["definitions"]},
    }


def _path_item(item: Object) -> Object:
    made = {method: _operation(item[method]) for method in _METHODS if method in item}
    return {**made, "parameters": [_parameter(p) for p in item.get("parameters") or () if p.get("in") != "body"]}


def _operation(operation: Object) -> Object:
    made = {k: v for k, v in operation.items() if k not in ("consumes", "produces", "schemes", "parameters")}
    parameters: list[Object] = operation.get("parameters") or []
    made["parameters"] = [_parameter(p) for p in parameters if p.get("in") != "body"]
    for body in (p for p in parameters if p.get("in") == "body"):
        media = operation.get("consumes") or ("application/json",)
        made["requestBody"] = {
            "content": {m: {"schema": body["schema"]} for m in media},
            **({"required": True} if body.get("required") else {}),
        }
    produces = operation.get("produces") or ("application/json",)
    made["responses"] = {
        code: {
            "description": answer.get("description") or "",
            **({"content": {m: {"schema": answer["schema"]} for m in produces}} if "schema" in answer else {}),
        }
        for code, answer in (operation.get("responses") or {}).items()
    }
    return made


def _parameter(parameter: Object) -> Object:
    outer: Object = {k: parameter[k] for k in ("name", "in", "description", "required") if k in parameter}
    return {**outer, "schema": {k: v for k, v in parameter.items() if k not in outer}}
