"""Reading metrics through the API: metrics.k8s.io, custom.metrics.k8s.io and external.metrics.k8s.io."""

from __future__ import annotations

from dataclasses import dataclass

from podwright.api import objects, quantity
from podwright.api.objects import Object
from podwright.client.client import Client
from podwright.controllers import selection


class NoMetrics(Exception):
    """Nothing usable was answered."""


@dataclass(frozen=True, slots=True)
class PodMetric:
    """In thousandths. `timestamp` and `window` (seconds) say which time it covers."""

    value: int
    timestamp: float
    window: float


class MetricsClient:
    def __init__(self, client: Client) -> None:
        self._client = client

    async def resource(self, resource: str, namespace: str, selector: str, container: str = "") -> dict[str, PodMetric]:
        """By Pod name; a Pod of which a container lacks the resource is left out.

        Raises:
            ApiError: metrics.k8s.io is not served.
            NoMetrics: no Pod had it.
        """
        path = f"/apis/metrics.k8s.io/v1beta1/namespaces/{namespace}/pods"
        answer = await self._client.raw("GET", path, query={"labelSelector": selector})
        found: dict[str, PodMetric] = {}
        for item in answer.get("items") or ():
            values = [
                quantity.milli(c["usage"][resource]) if resource in (c.get("usage") or {}) else None
                for c in item.get("containers") or ()
                if not container or c.get("name") == container
            ]
            if values and None not in values:
                found[objects.name(item)] = PodMetric(
                    sum(v for v in values if v is not None), _time(item), _seconds(item.get("window"))
                )
        if not found:
            raise NoMetrics(f"no metrics returned from resource metrics API for {resource}")
        return found

    async def pods(self, metric: Object, namespace: str, selector: str) -> dict[str, PodMetric]:
        """A custom metric of each Pod."""
        path = f"/apis/custom.metrics.k8s.io/v1beta2/namespaces/{namespace}/pods/*/{metric['name']}"
        answer = await self._client.raw("GET", path, query=_query(metric, labelSelector=selector))
        found = {
            item["describedObject"]["name"]: PodMetric(
                quantity.milli(item["value"]), _time(item), float(item.get("windowSeconds") or 60)
            )
            for item in answer.get("items") or ()
        }
        if not found:
            raise NoMetrics("no metrics returned from custom metrics API")
        return found

    async def object(self, metric: Object, namespace: str, described: Object, plural: str) -> int:
        """A custom metric of one object, in thousandths."""
        where = "" if described["kind"] == "Namespace" else f"namespaces/{namespace}/"
        path = f"/apis/custom.metrics.k8s.io/v1beta2/{where}{plural}/{described['name']}/{metric['name']}"
        answer = await self._client.raw("GET", path, query=_query(metric))
        items = answer.get("items") or ()
        if not items:
            raise NoMetrics("no metrics returned from custom metrics API")
        return quantity.milli(items[0]["value"])

    async def external(self, metric: Object, namespace: str) -> list[int]:
        path = f"/apis/external.metrics.k8s.io/v1beta1/namespaces/{namespace}/{metric['name']}"
        selector = selection.to_query(metric.get("selector"))
        answer = await self._client.raw("GET", path, query={"labelSelector": selector} if selector else {})
        values = [quantity.milli(item["value"]) for item in answer.get("items") or ()]
        if not values:
            raise NoMetrics("no metrics returned from external metrics API")
        return values


def _query(metric: Object, **more: str) -> dict[str, str]:
    query = dict(more)
    selector = selection.to_query(metric.get("selector"))
    if selector:
        query["metricLabelSelector"] = selector
    return query


def _time(item: Object) -> float:
    stamp = item.get("timestamp")
    return objects.parse_time(stamp) if stamp else 0.0


def _seconds(text: object) -> float:
    """A Go duration such as "30s" or "1m30s"."""
    total, number = 0.0, ""
    for character in str(text or ""):
        if character.isdigit() or character == ".":
            number += character
        elif number:
            total += float(number) * {"h": 3600.0, "m": 60.0, "s": 1.0}.get(character, 0.0)
            number = ""
    return total or 60.0
