"""A CustomResourceDefinition read into rows of the resource table."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from podwright.api.objects import Object
from podwright.api.resources import ALL_VERBS, Resource, Subresource

FINALIZER = "customresourcecleanup.apiextensions.k8s.io"


def storage_version(spec: Object) -> str:
    """The name of the version marked as storage; the first one's if none is."""
    versions = spec.get("versions") or []
    return str(next((v["name"] for v in versions if v.get("storage")), versions[0]["name"] if versions else ""))


def storage_path(spec: Object) -> str:
    return f"{spec['group']}/{spec['names']['plural']}"


def rows(crd: Object) -> Iterator[tuple[Resource, Object]]:
    """The row of each version that is served or stored, and the version's entry."""
    spec = crd["spec"]
    names = (crd.get("status") or {}).get("acceptedNames") or spec["names"]
    stored = storage_version(spec)
    for version in spec.get("versions") or []:
        if version.get("served") or version["name"] == stored:
            yield row(spec, names, version, stored), version


def row(spec: Object, names: Object, version: Object, stored: str) -> Resource:
    subresources: list[Subresource] = []
    declared = version.get("subresources") or {}
    if "status" in declared:
        subresources.append(Subresource("status"))
    if "scale" in declared:
        subresources.append(Subresource("scale", kind="Scale", group="autoscaling", version="v1"))
    return Resource(
        group=spec["group"], version=version["name"], plural=names["plural"], kind=names["kind"],
        namespaced=spec.get("scope") == "Namespaced", short_names=tuple(names.get("shortNames") or ()),
        categories=tuple(names.get("categories") or ()), subresources=tuple(subresources), verbs=ALL_VERBS,
        storage_path=storage_path(spec), storage_version=stored,
        singular=names.get("singular") or names["kind"].lower(), custom=True,
    )


def raw_schema(version: Object) -> Object:
    schema: Any = (version.get("schema") or {}).get("openAPIV3Schema")
    return schema if isinstance(schema, dict) else {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


def deprecation(row: Resource, version: Object) -> str:
    """The warning for who uses a deprecated version; "" for any other."""
    if not version.get("deprecated"):
        return ""
    return str(version.get("deprecationWarning") or f"{row.api_version} {row.kind} is deprecated")


def definition_name(row: Resource) -> str:
    """com.example.stable.v1.CronTab, as upstream names custom types in OpenAPI."""
    return ".".join([*reversed(row.group.split(".")), row.version, row.kind])
