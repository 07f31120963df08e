"""Making and ending sandboxes of a Pod, and the files that all its containers share."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

from podwright.api import objects, pods
from podwright.api.objects import Object
from podwright.client.events import WARNING
from podwright.kubelet.containers import hosts_file, resolv_conf
from podwright.kubelet.containers.host_identity import hostname_and_domain
from podwright.kubelet.containers.resources import limits_disk_writes, pids_limit, pod_resources
from podwright.kubelet.containers.sandbox_config import sandbox_config
from podwright.kubelet.sync.uncancelled import first_of, uncancelled
from podwright.kubelet.user_namespaces import NoIdsLeft
from podwright.kubelet.worker_context import WorkerContext
from podwright.runtime.protocol import RuntimeFailure, Sandbox, SandboxConfig, SandboxState

_BUFFERED = (
    "limits of disk writes hold for direct I/O only: control groups of version 1 do not throttle buffered writes"
)


class SandboxFailure(Exception):
    """The sandbox could not be made; it is tried again."""


@dataclass(frozen=True, slots=True)
class PodFiles:
    """Host paths of the Pod's /etc/hosts and /etc/resolv.conf."""

    hosts: Path
    resolv: Path


def files(context: WorkerContext, pod: Object) -> PodFiles:
    directory = context.config.pod_dir(objects.uid(pod))
    return PodFiles(directory / "etc-hosts", directory / "etc-resolv.conf")


async def config_of(context: WorkerContext, pod: Object, attempt: int) -> SandboxConfig:
    """RunPodSandbox's argument.

    Raises:
        SandboxFailure
    """
    try:
        mapping = context.user_namespaces.allocate(objects.uid(pod)) if pod["spec"].get("hostUsers") is False else ()
        name = pod["spec"].get("runtimeClassName") or ""
        handler = await context.runtime_handler(name) if name else ""
        return sandbox_config(
            pod, context.config, attempt=attempt, runtime_handler=handler, user_namespace=mapping
        )
    except (ValueError, NoIdsLeft, LookupError) as wrong:
        raise SandboxFailure(f"failed to generate sandbox config for pod: {wrong}") from wrong


async def run(context: WorkerContext, pod: Object, attempt: int) -> Sandbox:
    """Makes the sandbox with its cgroup limits and files.

    Raises:
        SandboxFailure: nothing of it is left.
    """
    config = await config_of(context, pod, attempt)
    try:
        # Neither needs the other; containers need both.
        async with asyncio.TaskGroup() as group:
            group.create_task(_prepare(context, pod, config))
            making = group.create_task(_make(context, config))
        sandbox = making.result()
        await _finish(context, pod, sandbox)
    except* (RuntimeFailure, OSError) as failures:
        raise SandboxFailure(str(first_of(failures))) from failures
    return sandbox


async def complete(context: WorkerContext, pod: Object, sandbox: Sandbox) -> None:
    """Does what is left to do for a sandbox that was found, if the kubelet that made it died before it was done. The
    hosts file comes last, so it tells.

    Raises:
        SandboxFailure
    """
    if files(context, pod).hosts.exists():
        return
    try:
        await _prepare(context, pod, await config_of(context, pod, sandbox.metadata.attempt))
        await _finish(context, pod, sandbox)
    except (RuntimeFailure, OSError) as failed:
        raise SandboxFailure(str(failed)) from failed


async def _finish(context: WorkerContext, pod: Object, sandbox: Sandbox) -> None:
    node = context.node
    await context.runtime.update_pod_resources(sandbox.id, pod_resources(pod, node.policy, node.allocatable))
    if node.policy.cgroup_version == 1 and limits_disk_writes(pod):
        context.recorder.event(pod, WARNING, "BufferedWritesNotLimited", _BUFFERED)
    allowed, asked = pids_limit(pod, node.policy)
    if allowed < asked:
        capped = f"Requested PID limit {asked} exceeds node podPidsLimit {allowed}; effective limit capped to {allowed}"
        context.recorder.event(pod, WARNING, "PIDLimitCapped", capped)
    write_hosts(context, pod, sandbox)


async def _make(context: WorkerContext, config: SandboxConfig) -> Sandbox:
    async def make() -> Sandbox:
        sandbox = await context.runtime.run_pod_sandbox(config)
        # Known even if the Pod was deleted meanwhile: who clears it away looks here.
        context.cache.put_sandbox(sandbox)
        return sandbox

    return await uncancelled(make())


async def _prepare(context: WorkerContext, pod: Object, config: SandboxConfig) -> None:
    dns, complaints = resolv_conf.dns_config(
        pod, context.node.host_dns, context.config.cluster_dns, context.config.cluster_domain
    )
    for complaint in complaints:
        reason = "MissingClusterDNS" if "ClusterDNS" in complaint else "DNSConfigForming"
        context.recorder.event(pod, WARNING, reason, complaint)

    def write() -> None:
        config.log_directory.mkdir(parents=True, exist_ok=True, mode=0o755)
        hosts_file.write(files(context, pod).resolv, resolv_conf.content(dns))

    await asyncio.to_thread(write)


def write_hosts(context: WorkerContext, pod: Object, sandbox: Sandbox) -> None:
    """Writes the Pod's /etc/hosts for the addresses that it has now."""
    name, domain = hostname_and_domain(pod, context.config.cluster_domain)
    text = hosts_file.content(pod, sandbox.ips, name, domain)
    hosts_file.write(files(context, pod).hosts, text)


async def stop(context: WorkerContext, uid: str, sandbox: Sandbox) -> None:
    """Kills what still runs in it and gives back its network.

    Raises:
        RuntimeFailure
    """
    if sandbox.state is SandboxState.READY:
        await uncancelled(context.runtime.stop_pod_sandbox(sandbox.id))
        context.cache.sandbox_stopped(uid, sandbox.id)
        for container in context.cache.pod(uid).alive():
            if container.sandbox_id == sandbox.id:
                await context.cache.refresh_container(uid, container.id)


async def remove(context: WorkerContext, uid: str, sandbox: Sandbox) -> None:
    """Removes it with its containers.

    Raises:
        RuntimeFailure
    """
    await uncancelled(context.runtime.remove_pod_sandbox(sandbox.id))
    context.cache.drop_sandbox(uid, sandbox.id)


def ips_of(context: WorkerContext, pod: Object, sandbox: Sandbox | None) -> list[str]:
    """The addresses by which the Pod is reached."""
    if pods.host_network(pod):
        return list(context.node.host_ips)
    return list(sandbox.ips) if sandbox is not None else []
