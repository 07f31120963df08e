"""/metrics, with upstream's names where the meaning is the same."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from podwright.apiserver.exchange import Request
from podwright.apiserver.routing import RequestInfo

_BUCKETS = (
    0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 45, 60,
)
METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SIZES = (1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9)
_READS = frozenset(("get", "list"))
_LABELS = ("verb", "group", "version", "resource", "subresource", "scope")


class Metrics:
    """Counts requests. Label children are kept so that counting costs a dictionary look-up."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "apiserver_request_total", "Requests, by verb, resource and response code.",
            (*_LABELS, "component", "code"), registry=self.registry,
        )
        self._seconds = Histogram(
            "apiserver_request_duration_seconds", "Seconds until the response was ready.",
            (*_LABELS, "component"), buckets=_BUCKETS, registry=self.registry,
        )
        self._watches = Gauge(
            "apiserver_longrunning_requests", "Watches and other long requests now open.",
            (*_LABELS, "component"), registry=self.registry,
        )
        self.inflight = Gauge(
            "apiserver_current_inflight_requests", "Requests being served.", ("request_kind",), registry=self.registry,
        )
        self.objects = Gauge(
            "apiserver_storage_objects", "Stored objects.", ("resource",), registry=self.registry
        )
        self._sizes = Histogram(
            "apiserver_response_sizes", "Bytes of the answers to reads.", (*_LABELS, "component"), buckets=_SIZES,
            registry=self.registry,
        )
        self.resource_objects = Gauge(
            "apiserver_resource_objects", "Stored objects.", ("group", "resource"), registry=self.registry
        )
        self.stored_bytes = Gauge(
            "apiserver_storage_size_bytes", "Bytes that the store takes.", ("storage_cluster_id",),
            registry=self.registry,
        )
        self._kept: dict[tuple[object, ...], tuple[Counter, Histogram, Histogram | None]] = {}

    def tell_build(self, facts: Mapping[str, str]) -> None:
        told = Gauge("kubernetes_build_info", "What runs stands in the labels.", tuple(facts), registry=self.registry)
        told.labels(**facts).set(1)

    def observe(self, request: Request, code: int, seconds: float, size: int) -> None:
        info = request.info
        if code in (401, 403, 404, 405) or not info.is_resource:
            info = _UNKNOWN
        key = (
            info.verb, info.group, info.version, info.resource, info.subresource, bool(info.name),
            bool(info.namespace), code,
        )
        kept = self._kept.get(key)
        if kept is None:
            labels = _labels(info)
            kept = (
                self._requests.labels(*labels, "apiserver", str(code)), self._seconds.labels(*labels, "apiserver"),
                self._sizes.labels(*labels, "apiserver") if info.verb in _READS else None,
            )
            if len(self._kept) < 4096:
                self._kept[key] = kept
        kept[0].inc()
        kept[1].observe(seconds)
        if kept[2] is not None:
            kept[2].observe(size)

    def watch_began(self, request: Request) -> None:
        self._watches.labels(*_labels(request.info), "apiserver").inc()

    def watch_ended(self, request: Request) -> None:
        self._watches.labels(*_labels(request.info), "apiserver").dec()

    def text(self) -> bytes:
        # The process's own registry: of it and of components that run in it, such as the scheduler.
        return generate_latest(self.registry) + generate_latest(REGISTRY)


_UNKNOWN = RequestInfo("", "")
"""Paths that nobody serves are counted as one: clients must not be able to make labels."""


def _labels(info: RequestInfo) -> tuple[str, str, str, str, str, str]:
    if not info.is_resource:
        return ("", "", "", "", "", "")
    scope = "resource" if info.name else "namespace" if info.namespace else "cluster"
    return (info.verb.upper(), info.group[:64], info.version[:16], info.resource[:64], info.subresource[:32], scope)
