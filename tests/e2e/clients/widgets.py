"""A custom resource for tests of clients."""

from __future__ import annotations

from typing import Any

_OPEN: dict[str, Any] = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}

NAME = "widgets.example.com"
DEFINITION: dict[str, Any] = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": NAME},
    "spec": {
        "group": "example.com",
        "scope": "Namespaced",
        "names": {"plural": "widgets", "singular": "widget", "kind": "Widget", "shortNames": ["wd"]},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "subresources": {
                    "status": {},
                    "scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"},
                },
                "additionalPrinterColumns": [
                    {"name": "Replicas", "type": "integer", "jsonPath": ".spec.replicas"},
                ],
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "spec": {
                                "type": "object",
                                "properties": {
                                    "replicas": {"type": "integer", "minimum": 0},
                                    "note": {"type": "string", "nullable": True},
                                    "free": _OPEN,
                                },
                            },
                            "status": _OPEN,
                        },
                    }
                },
            }
        ],
    },
}


def published(kind: str, schema: dict[str, Any]) -> dict[str, Any]:
    """A definition of one version, by its schema alone."""
    plural = kind.lower() + "s"
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.published.example.com"},
        "spec": {"group": "published.example.com", "scope": "Namespaced", "names": {"plural": plural, "kind": kind},
                 "versions": [version]},
    }  # fmt: skip


_NAME: dict[str, Any] = {"type": "string", "description": "Name of Bar."}
_FEELING = {"type": "string", "enum": ["Great", "Down"]}
_BAZS = {"type": "array", "description": "List of Bazs.", "items": {"type": "string"}}
_BAR_FIELDS = {"name": _NAME, "age": {"type": "string"}, "feeling": _FEELING, "bazs": _BAZS}
_BAR = {"type": "object", "required": ["name"], "properties": _BAR_FIELDS}
_BARS = {"type": "array", "description": "List of Bars and their specs.", "items": _BAR}
FOO: dict[str, Any] = {
    "type": "object", "description": "Foo for testing",
    "properties": {"spec": {"type": "object", "description": "Specification of Foo", "properties": {"bars": _BARS}}},
}  # fmt: skip
_WALDO = {"type": "object", "description": "Specification of Waldo", "properties": {"dummy": {"type": "object"}}}
WITHOUT_SCHEMA = _OPEN
OPEN_ROOT: dict[str, Any] = {**_OPEN, "description": "open at the root", "properties": {"spec": _WALDO}}
OPEN_SPEC: dict[str, Any] = {
    "type": "object", "description": "open below", "properties": {"spec": {**_OPEN, **_WALDO}},
}  # fmt: skip
