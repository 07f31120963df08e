"""Pages that are neither resources nor discovery: /, /version, /metrics."""

from __future__ import annotations

import orjson

from podwright.apiserver import flow_dumps
from podwright.apiserver.encoding import Encoder
from podwright.apiserver.exchange import Bytes, Request
from podwright.apiserver.flowcontrol import Classifier
from podwright.apiserver.handlers import Handlers
from podwright.apiserver.health import VERSION
from podwright.apiserver.metrics import METRICS_TYPE, Metrics
from podwright.apiserver.pipeline import Pipeline
from podwright.apiserver.registry.registry import Registry

_BUILD = {
    "major": "major", "minor": "minor", "git_version": "gitVersion", "git_commit": "gitCommit",
    "git_tree_state": "gitTreeState", "build_date": "buildDate", "go_version": "goVersion", "compiler": "compiler",
    "platform": "platform",
}


def install_pages(
    handlers: Handlers, metrics: Metrics, registry: Registry, pipeline: Pipeline, flows: Classifier, encoder: Encoder
) -> None:
    async def version(request: Request) -> Bytes:
        return Bytes(orjson.dumps(VERSION, option=orjson.OPT_INDENT_2))

    async def root(request: Request) -> Bytes:
        groups = {f"/apis/{row.group}" for row in registry.table if row.group}
        versions = {f"/apis/{row.group}/{row.version}" for row in registry.table if row.group}
        listed = (page for page in handlers.pages if page != "/" and not page.startswith(flow_dumps.PATH))
        paths = sorted({*listed, *groups, *versions})
        return Bytes(orjson.dumps({"paths": paths}, option=orjson.OPT_INDENT_2))

    async def show_metrics(request: Request) -> Bytes:
        for kind, executing in pipeline.executing.items():
            metrics.inflight.labels(kind).set(executing)
        for path, cache in registry.feed.caches.items():
            metrics.objects.labels(path).set(len(cache.objects))
        for row in registry.table:
            if "list" in row.verbs and row.storage_group != "":
                metrics.resource_objects.labels(row.group, row.plural).set(len(registry.cache(row).objects))
        metrics.stored_bytes.labels("etcd-0").set(await registry.store.size())
        return Bytes(metrics.text(), METRICS_TYPE)

    metrics.registry.register(flows.tallies)
    metrics.tell_build({label: VERSION[name] for label, name in _BUILD.items()})
    flow_dumps.install_dumps(handlers, flows)
    handlers.pages["/version"] = version
    handlers.pages["/"] = root
    handlers.pages["/metrics"] = show_metrics
