"""The types of metrics.k8s.io/v1beta1 (k8s.io/metrics), which the published definitions leave out because an add-on
serves them elsewhere."""

from __future__ import annotations

from typing import Any

_NAME = "io.k8s.metrics.pkg.apis.metrics.v1beta1."
_META = "io.k8s.apimachinery.pkg.apis.meta.v1."


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/$defs/{name}"}


_USAGE: dict[str, Any] = {
    "description": "What is used, by resource: cpu in cores, memory (the working set) in bytes.",
    "type": "object",
    "additionalProperties": _ref("io.k8s.apimachinery.pkg.api.resource.Quantity"),
}


def _metrics(kind: str, description: str, extra: str, type_: dict[str, Any]) -> dict[str, Any]:
    return {
        "description": description,
        "type": "object",
        "required": ["timestamp", "window", extra],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": _ref(_META + "ObjectMeta"),
            "timestamp": {"description": "The end of the time that was looked at.", **_ref(_META + "Time")},
            "window": {"description": "How long that time was, such as 15s.", "type": "string"},
            extra: type_,
        },
        "x-kubernetes-group-version-kind": [{"group": "metrics.k8s.io", "kind": kind, "version": "v1beta1"}],
    }


def _list(kind: str) -> dict[str, Any]:
    return {
        "description": f"A list of {kind}.",
        "type": "object",
        "required": ["items"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": _ref(_META + "ListMeta"),
            "items": {"type": "array", "items": _ref(_NAME + kind)},
        },
        "x-kubernetes-group-version-kind": [{"group": "metrics.k8s.io", "kind": f"{kind}List", "version": "v1beta1"}],
    }


DEFINITIONS: dict[str, dict[str, Any]] = {
    _NAME + "ContainerMetrics": {
        "description": "What one container uses.",
        "type": "object",
        "required": ["name", "usage"],
        "properties": {"name": {"type": "string"}, "usage": _USAGE},
    },
    _NAME + "NodeMetrics": _metrics("NodeMetrics", "What a node uses.", "usage", _USAGE),
    _NAME + "NodeMetricsList": _list("NodeMetrics"),
    _NAME + "PodMetrics": _metrics(
        "PodMetrics", "What the containers of a Pod use.", "containers",
        {"type": "array", "items": _ref(_NAME + "ContainerMetrics")},
    ),
    _NAME + "PodMetricsList": _list("PodMetrics"),
}
