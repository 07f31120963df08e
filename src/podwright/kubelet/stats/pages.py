"""The kubelet server's pages about usage, for /stats/summary and Prometheus."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping

import orjson
import prometheus_client
from aiohttp import web

from podwright.api import objects, pods
from podwright.kubelet import config_file
from podwright.kubelet.kubelet import Kubelet
from podwright.kubelet.probes.manager import Probes
from podwright.kubelet.stats import node_usage
from podwright.kubelet.stats.pod_usage import PodUsage, usages
from podwright.kubelet.stats.summary import Summary
from podwright.runtime.protocol import ContainerStats

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Sample = tuple[Mapping[str, str], float]
_TYPES = {pods.INIT: "init_container", pods.REGULAR: "container", pods.EPHEMERAL: "ephemeral_container"}
_TEXT = {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}


def family(name: str, kind: str, about: str, samples: Iterable[Sample]) -> str:
    """One metric in the Prometheus text format; `kind` is counter or gauge."""
    lines = [f"# HELP {name} {about}", f"# TYPE {name} {kind}"]
    for labels, value in samples:
        listed = ",".join(f'{k}="{_escaped(v)}"' for k, v in labels.items())
        lines.append(f"{name}{{{listed}}} {value!r}" if listed else f"{name} {value!r}")
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _labels(usage: PodUsage, container: str = "") -> dict[str, str]:
    found = {"container": container} if container else {}
    return {**found, "namespace": objects.namespace(usage.pod), "pod": objects.name(usage.pod)}


def resource_metrics(found: Iterable[PodUsage], node: node_usage.NodeUsage) -> str:
    """/metrics/resource: what metrics-server reads."""
    found = list(found)
    each = [(u, c, s) for u in found for c, s in u.containers]
    used = node.memory_total - node.memory_available
    return "".join(
        (
            family(
                "container_cpu_usage_seconds_total", "counter", "CPU time used by the container in core-seconds",
                [(_labels(u, c.name), s.cpu_usage / 1e9) for u, c, s in each],
            ),
            family(
                "container_memory_working_set_bytes", "gauge", "Working set of the container in bytes",
                [(_labels(u, c.name), float(s.memory_working_set)) for u, c, s in each],
            ),
            family(
                "container_start_time_seconds", "gauge", "Start of the container since the epoch in seconds",
                [(_labels(u, c.name), c.started_at) for u, c, _ in each],
            ),
            family(
                "node_cpu_usage_seconds_total", "counter", "CPU time used by the node in core-seconds",
                [({}, node.cpu / 1e9)],
            ),
            family("node_memory_working_set_bytes", "gauge", "Working set of the node in bytes", [({}, float(used))]),
            family(
                "pod_cpu_usage_seconds_total", "counter", "CPU time used by the Pod in core-seconds",
                [(_labels(u), sum(s.cpu_usage for _, s in u.containers) / 1e9) for u in found],
            ),
            family(
                "pod_memory_working_set_bytes", "gauge", "Working set of the Pod in bytes",
                [(_labels(u), float(u.memory)) for u in found],
            ),
            family("resource_scrape_error", "gauge", "1 if there was an error, else 0", [({}, 0.0)]),
        )
    )  # fmt: skip


def container_metrics(found: Iterable[PodUsage]) -> str:
    """/metrics/cadvisor: the families that dashboards ask for first."""
    each = [(_labels(u, c.name) | {"image": c.image, "id": c.id}, s) for u in found for c, s in u.containers]
    rows: tuple[tuple[str, str, str, Callable[[ContainerStats], float]], ...] = (
        ("container_cpu_usage_seconds_total", "counter", "CPU time in seconds", lambda s: s.cpu_usage / 1e9),
        ("container_memory_usage_bytes", "gauge", "Memory in bytes", lambda s: s.memory_usage),
        ("container_memory_working_set_bytes", "gauge", "Working set in bytes", lambda s: s.memory_working_set),
        ("container_memory_rss", "gauge", "Anonymous memory in bytes", lambda s: s.memory_rss),
        ("container_fs_usage_bytes", "gauge", "Writable layer in bytes", lambda s: s.rootfs_bytes),
        ("container_fs_reads_bytes_total", "counter", "Bytes read", lambda s: s.disk_read_bytes),
        ("container_fs_writes_bytes_total", "counter", "Bytes written", lambda s: s.disk_write_bytes),
        ("container_fs_reads_total", "counter", "Reads", lambda s: s.disk_read_ops),
        ("container_fs_writes_total", "counter", "Writes", lambda s: s.disk_write_ops),
        ("container_processes", "gauge", "Processes", lambda s: s.pids),
    )
    return "".join(
        family(name, kind, about, [(labels, float(of(stats))) for labels, stats in each])
        for name, kind, about, of in rows
    )


def probe_metrics(probes: Probes) -> str:
    """/metrics/probes."""
    samples: list[Sample] = []
    for pod, container in probes.probed():
        for probe in container.probes.values():
            for result, count in probe.counts.items():
                labels = {
                    "container": container.name,
                    "namespace": objects.namespace(pod),
                    "pod": objects.name(pod),
                    "pod_uid": container.pod_uid,
                    "probe_type": probe.kind.title,
                    "result": result.value,
                }
                samples.append((labels, float(count)))
    return family("prober_probe_total", "counter", "Attempts of probes by result", samples)


def pages(kubelet: Kubelet) -> dict[str, Handler]:
    """By path; each reads what it tells when it is asked."""
    summary = Summary(kubelet)

    async def stats(request: web.Request) -> web.StreamResponse:
        return web.Response(body=orjson.dumps(await summary.make()), content_type="application/json")

    async def resource(request: web.Request) -> web.StreamResponse:
        node = await asyncio.to_thread(node_usage.read)
        return web.Response(text=resource_metrics(await usages(kubelet, disks=False), node), headers=_TEXT)

    async def cadvisor(request: web.Request) -> web.StreamResponse:
        return web.Response(text=container_metrics(await usages(kubelet, disks=False)), headers=_TEXT)

    async def probes(request: web.Request) -> web.StreamResponse:
        text = probe_metrics(kubelet.probes) if isinstance(kubelet.probes, Probes) else ""
        return web.Response(text=text, headers=_TEXT)

    async def metrics(request: web.Request) -> web.StreamResponse:
        active = list(kubelet.active_pods())
        running = sum(len(kubelet.pod_runtime(objects.uid(p)).running()) for p in active)
        own = family("kubelet_running_pods", "gauge", "Pods that run on the node", [({}, float(len(active)))])
        own += family(
            "kubelet_running_containers", "gauge", "Containers that run on the node",
            [({"container_state": "running"}, float(running))],
        )  # fmt: skip
        own += family(
            "kubelet_terminated_containers_total", "counter", "Containers that ended, by exit code",
            [({"container_type": _TYPES[kind], "exit_code": str(code), "reason": reason}, float(count))
             for (kind, code, reason), count in kubelet.exits.items()],
        )  # fmt: skip
        text = (await asyncio.to_thread(prometheus_client.generate_latest)).decode() + own
        return web.Response(text=text, headers=_TEXT)

    async def configz(request: web.Request) -> web.StreamResponse:
        told = {"kubeletconfig": config_file.document(kubelet.config)}
        return web.Response(body=orjson.dumps(told, default=str), content_type="application/json")

    return {
        "/configz": configz,
        "/stats/summary": stats,
        "/metrics": metrics,
        "/metrics/resource": resource,
        "/metrics/cadvisor": cadvisor,
        "/metrics/probes": probes,
    }
