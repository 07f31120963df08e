"""GET of NodeMetrics and PodMetrics."""

from __future__ import annotations

from collections.abc import Iterator

from podwright.api import objects, status
from podwright.api.objects import Object
from podwright.api.resources import NODE_METRICS, NODES, POD_METRICS, PODS, Resource
from podwright.apiserver.cache.entries import Cached
from podwright.apiserver.exchange import Many, One, Reply, Request
from podwright.apiserver.handlers import Handlers
from podwright.apiserver.registry import lists
from podwright.apiserver.registry.registry import Registry
from podwright.apiserver.requests import Objects
from podwright.apiserver.resource_metrics.readings import NodeReading, Readings, rate

_Pair = tuple[dict[str, NodeReading], dict[str, NodeReading]]


def install_resource_metrics(handlers: Handlers, readings: Readings, found: Objects) -> None:
    async def node_metrics(registry: Registry, request: Request, row: Resource) -> Reply:
        return _answer(registry, request, row, _nodes(found, await readings.pair()))

    async def pod_metrics(registry: Registry, request: Request, row: Resource) -> Reply:
        return _answer(registry, request, row, _pods(found, await readings.pair(), request.info.namespace))

    handlers.virtual[NODE_METRICS.group, NODE_METRICS.plural] = node_metrics
    handlers.virtual[POD_METRICS.group, POD_METRICS.plural] = pod_metrics


def _answer(registry: Registry, request: Request, row: Resource, made: Iterator[Object]) -> Reply:
    """Raises ApiError: 404 for one object that is not known (yet), 400 for bad selectors."""
    info = request.info
    if info.verb == "get":
        for metrics in made:
            if objects.name(metrics) == info.name:
                return One(None, object=metrics)
        name = f"{info.namespace}/{info.name}" if row.namespaced else info.name
        raise status.not_found(row.group, row.kind.lower(), name)  # metrics-server names the kind
    wanted = lists.filter_of(registry, row, request)
    entries = (Cached.from_object(f"{objects.namespace(m)}/{objects.name(m)}", m, 0) for m in made)
    return Many(row, [entry for entry in entries if wanted.matches(entry)], 0)


def _usage(cores: float, memory: float) -> Object:
    return {"cpu": f"{round(cores * 1e9)}n", "memory": f"{int(memory) >> 10}Ki"}


def _metrics(row: Resource, of: Object, before: NodeReading, after: NodeReading) -> Object:
    meta = of["metadata"]
    metadata: Object = {"name": meta["name"]}
    if meta.get("namespace"):
        metadata["namespace"] = meta["namespace"]
    metadata["creationTimestamp"] = objects.format_time(after.at)
    if meta.get("labels"):
        metadata["labels"] = meta["labels"]
    return {
        "kind": row.kind, "apiVersion": row.api_version, "metadata": metadata,
        "timestamp": objects.format_time(after.at), "window": f"{after.at - before.at:.3f}s",
    }


def _nodes(found: Objects, pair: _Pair) -> Iterator[Object]:
    before, after = pair
    for node in sorted(found.list(NODES), key=objects.name):
        then, now = before.get(objects.name(node)), after.get(objects.name(node))
        if then is None or now is None:
            continue
        cores = rate(then.node, now.node, then.at, now.at)
        if cores is not None:
            yield {**_metrics(NODE_METRICS, node, then, now), "usage": _usage(cores, now.node.memory)}


def _pods(found: Objects, pair: _Pair, namespace: str) -> Iterator[Object]:
    """A Pod is told of once every running container of it was read twice, or started in between."""
    before, after = pair
    for pod in sorted(found.list(PODS, namespace), key=lambda p: (objects.namespace(p), objects.name(p))):
        node = pod["spec"].get("nodeName") or ""
        then, now = before.get(node), after.get(node)
        if then is None or now is None or (pod.get("status") or {}).get("phase") != "Running":
            continue
        statuses = (pod.get("status") or {}).get("containerStatuses") or ()
        containers = []
        for name in (s["name"] for s in statuses if "running" in (s.get("state") or {})):
            key = (objects.namespace(pod), objects.name(pod), name)
            counter = now.containers.get(key)
            cores = rate(then.containers.get(key), counter, then.at, now.at) if counter else None
            if counter is None or cores is None:
                break
            containers.append({"name": name, "usage": _usage(cores, counter.memory)})
        else:
            if containers:
                yield {**_metrics(POD_METRICS, pod, then, now), "containers": containers}
